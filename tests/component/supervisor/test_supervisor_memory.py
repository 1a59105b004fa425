"""Out of memory on the GPU and on the host, NaN, a GPU that goes away: what changes, what is remembered."""

import json

import pytest

from support.stub_trainer import Fault, Script
from support.supervised import Supervised


def batches(supervised: Supervised) -> list[int]:
    return [start["batch"] for start in supervised.starts()]


def test_out_of_memory_goes_down_the_ladder_and_is_remembered(supervised: Supervised) -> None:
    supervised.script(Script(memory=5, faults=[Fault("exit 65", "e1b1")]))
    assert supervised.run() == 65
    assert batches(supervised) == [11, 11, 8, 8, 6, 6, 4]
    assert supervised.run(supervised.attempt(2)) == 0, supervised.log().read_text()
    assert batches(supervised) == [11, 11, 8, 8, 6, 6, 4, 4]
    assert supervised.store().status == "finished"


def test_what_does_not_fit_even_at_the_smallest_batch_ends_the_attempt(supervised: Supervised) -> None:
    supervised.script(Script(memory=1))
    assert supervised.run() == 77
    assert batches(supervised) == [11, 11, 8, 8, 6, 6, 4, 4, 3, 3, 2, 2]
    assert supervised.verdict().reason == "GpuOutOfMemory"
    # Nobody begins at the top again.
    assert supervised.run(supervised.attempt(2)) == 77
    assert batches(supervised)[12:] == [2]


def test_out_of_memory_in_validation_shrinks_the_validation_batch_alone(supervised: Supervised) -> None:
    supervised.script(Script(validation_memory=6))
    assert supervised.run() == 0, supervised.log().read_text()
    assert set(batches(supervised)) == {11}
    assert [start["validation_batch"] for start in supervised.starts()] == [None, 11, 5]
    # The epoch's steps are not taken again: the state was saved before the validation.
    assert len(supervised.steps()) == 3 * 8


def test_validation_that_does_not_fit_one_image_ends_the_attempt(supervised: Supervised) -> None:
    supervised.script(Script(validation_memory=0))
    assert supervised.run() == 77
    assert [start["validation_batch"] for start in supervised.starts()] == [None, 11, 5, 2, 1]


@pytest.mark.parametrize("do", ["host_oom", "SIGBUS"])
def test_host_memory_is_answered_with_half_the_workers(supervised: Supervised, do: str) -> None:
    supervised.script(Script(faults=[Fault(do, "e0b5")]))
    assert supervised.run() == 0, supervised.log().read_text()
    assert [(start["batch"], start["workers"]) for start in supervised.starts()] == [(11, 2), (11, 1)]


def test_host_memory_that_never_suffices_ends_as_out_of_memory(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("SIGBUS", "e0b1", times=99)]))
    assert supervised.run() == 77
    assert [start["workers"] for start in supervised.starts()] == [2, 1, 0, 0]


def test_nan_goes_back_once_with_a_lower_rate(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("nan", "e1b5"), Fault("SIGKILL", "e2b5")]))
    assert supervised.run() == 0, supervised.log().read_text()
    assert [start["scale"] for start in supervised.starts()] == [1.0, 0.5, 0.5]
    assert supervised.starts()[1]["resume"].endswith("e1-b3-train.pt")


def test_nan_that_comes_back_ends_as_diverged(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("nan", "e1b5", times=99)]))
    assert supervised.run() == 78
    assert [start["scale"] for start in supervised.starts()] == [1.0, 0.5]
    assert supervised.verdict().outcome == "Diverged"
    # Remembered: the next attempt has no second chance either.
    assert supervised.run(supervised.attempt(2)) == 78
    assert len(supervised.starts()) == 3


def test_a_gpu_that_is_gone_ends_the_pod_at_once(supervised: Supervised) -> None:
    (supervised.place / "gpus.json").write_text("[1000]")
    supervised.spec = supervised.with_training(gpus=1)
    supervised.script(Script(cuda=True, faults=[Fault("SIGKILL", "e0b5"), Fault("no_cuda", "no_cuda")]))
    assert supervised.run() == 76
    assert len(supervised.starts()) == 2
    assert supervised.verdict().reason == "GpuLost"


def test_a_gpu_that_keeps_the_memory_ends_the_pod_and_never_shrinks_the_batch(supervised: Supervised) -> None:
    (supervised.place / "gpus.json").write_text("[1000]")
    supervised.spec = supervised.with_training(gpus=1)
    supervised.script(Script(cuda=True, faults=[Fault("hold_gpu", "e0b5")]))
    assert supervised.run() == 76
    assert supervised.verdict().reason == "GpuMemoryHeld"
    assert supervised.state()["batchSize"] == 11


def test_a_gpu_that_gives_the_memory_back_is_used_again(supervised: Supervised) -> None:
    (supervised.place / "gpus.json").write_text(json.dumps([10**9]))
    supervised.spec = supervised.with_training(gpus=1)
    supervised.script(Script(cuda=True, faults=[Fault("SIGKILL", "e0b5")]))
    assert supervised.run() == 0, supervised.log().read_text()
