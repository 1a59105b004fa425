"""The trainer is killed, in every way and at every moment; the run ends with all its epochs all the same."""

import os
import random
import signal
from itertools import pairwise

import pytest

from support.stub_trainer import Fault, Script
from support.supervised import Supervised

WRITE_POINTS = [
    *(f"state: {what}" for what in ("opened", "half written", "written", "synced", "renamed")),
    *(
        f"{part}: {what}"
        for part in ("description", "list")
        for what in ("opened", "half written", "written", "synced", "renamed", "folder synced")
    ),
    "pruned",
]


def lost_steps(supervised: Supervised) -> list[int]:
    """For each change of trainer, how many steps were taken again."""
    lost = []
    batches = Script().batches
    for (epoch, batch, pid), (next_epoch, next_batch, next_pid) in pairwise(supervised.steps()):
        if pid != next_pid:
            lost.append((epoch * batches + batch) - (next_epoch * batches + next_batch) + 1)
    return lost


def assert_whole(supervised: Supervised) -> None:
    """Every step of every epoch was taken, and at the end everything is in its place."""
    assert {step[:2] for step in supervised.steps()} == {
        (epoch, batch) for epoch in range(supervised.spec.training.epochs) for batch in range(1, 9)
    }
    assert [line["epoch"] for line in supervised.epoch_lines()] == list(
        range(1, supervised.spec.training.epochs + 1)
    )
    assert supervised.store().status == "finished"
    assert supervised.store().sealed


def test_a_kill_at_every_write_point_loses_one_interval_at_most(supervised: Supervised) -> None:
    supervised.spec = supervised.with_epochs(12)
    supervised.script(Script(faults=[Fault("SIGKILL", point) for point in WRITE_POINTS]))
    assert supervised.run() == 0, supervised.log().read_text()
    assert_whole(supervised)
    # Every fault has struck, each in a trainer of its own.
    assert len(supervised.starts()) == len(WRITE_POINTS) + 1
    assert max(lost_steps(supervised)) <= Script().every


@pytest.mark.parametrize("seed", range(3))
def test_kills_in_random_moments_lose_one_interval_at_most(supervised: Supervised, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    supervised.spec = supervised.with_epochs(40)
    supervised.script(Script(step_seconds=0.01))
    process = supervised.start()
    for _ in range(5):
        before = len(supervised.steps())
        # Further than the next checkpoint, so that the budget is earned back.
        supervised.await_steps(before + chance.randint(4, 8))
        os.kill(supervised.starts()[-1]["pid"], signal.SIGKILL)
    assert supervised.ended(process) == 0, supervised.log().read_text()
    assert_whole(supervised)
    assert len(supervised.starts()) == 6
    # One interval, and the steps between the last look and the kill.
    assert max(lost_steps(supervised)) <= Script().every


@pytest.mark.parametrize("do", ["SIGKILL", "SIGSEGV", "exit 70", "exit 75", "exit 1", "exit 0", "internal"])
def test_a_crash_is_answered_by_a_restart_in_place(supervised: Supervised, do: str) -> None:
    supervised.script(Script(faults=[Fault(do, "e1b5")]))
    assert supervised.run() == 0, supervised.log().read_text()
    assert_whole(supervised)
    assert len(supervised.starts()) == 2
    assert supervised.starts()[1]["resume"].endswith("e1-b3-train.pt")
    assert supervised.state()["restartsEver"] == 1


def test_a_crash_loop_ends_by_its_budget(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("internal", "e0b2", times=99)]))
    assert supervised.run() == 70
    assert len(supervised.starts()) == 1 + supervised.spec.limits.same_cause
    verdict = supervised.verdict()
    assert (verdict.outcome, verdict.reason) == ("InternalError", "TrainerCrashed")
    assert "RuntimeError: Something broke" in verdict.traceback
    assert "hunter2" not in supervised.folder.verdict.read_text() + supervised.log().read_text()


def test_budgets_are_remembered_and_earned_back_by_a_checkpoint(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("internal", "e0b2", times=5)]))
    assert supervised.run() == 70
    # The next attempt has one try only, since nothing has got any further.
    assert supervised.run(supervised.attempt(2)) == 70
    assert len(supervised.starts()) == 4 + 1
    assert supervised.run(supervised.attempt(3)) == 0, supervised.log().read_text()
    assert supervised.state()["causes"] == {}


def test_different_causes_share_a_budget(supervised: Supervised) -> None:
    faults = [
        Fault(do, f"e0b{batch}") for batch, do in enumerate(["SIGKILL", "exit 75", "exit 0"] * 3, start=1)
    ]
    supervised.script(Script(every=99, batches=20, faults=faults))
    assert supervised.run() == 70
    assert len(supervised.starts()) == 1 + supervised.spec.limits.restarts


@pytest.mark.parametrize(
    ("code", "exit_code", "outcome"),
    [
        (64, 64, "BadSpec"),
        (65, 65, "BadData"),
        (69, 69, "ServiceUnavailable"),
        (74, 74, "StorageFault"),
        (76, 76, "GpuFault"),
        (80, 80, "FencedOff"),
    ],
)
def test_what_a_restart_cannot_cure_ends_the_attempt(
    supervised: Supervised, code: int, exit_code: int, outcome: str
) -> None:
    supervised.script(Script(faults=[Fault(f"exit {code}", "e1b1", times=99)]))
    assert supervised.run() == exit_code
    assert len(supervised.starts()) == 1
    assert supervised.termination().outcome == outcome


def test_a_kill_after_training_only_repeats_what_follows_it(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("SIGKILL", "finish")]))
    assert supervised.run() == 0, supervised.log().read_text()
    assert len(supervised.steps()) == 24
    assert_whole(supervised)


def test_a_finished_run_is_never_touched_again(supervised: Supervised) -> None:
    assert supervised.run() == 0
    before = {path: path.read_bytes() for path in supervised.folder.weights.iterdir()}
    assert supervised.run(supervised.attempt(2)) == 0
    assert len(supervised.starts()) == 1
    assert {path: path.read_bytes() for path in supervised.folder.weights.iterdir()} == before
    assert supervised.verdict().epoch == 3


def test_a_run_that_stopped_early_is_finished(supervised: Supervised) -> None:
    supervised.script(Script(stop_early_after=2))
    assert supervised.run() == 0, supervised.log().read_text()
    assert supervised.store().status == "stoppedEarly"
    assert supervised.run(supervised.attempt(2)) == 0
    assert len(supervised.starts()) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_bad_newest_checkpoint_is_set_aside(supervised: Supervised, damage: str) -> None:
    supervised.script(Script(faults=[Fault("exit 65", "e1b7")]))
    assert supervised.run() == 65
    newest, before = supervised.store().entries()[-1], supervised.store().entries()[-2]
    path = supervised.store().path(newest)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "flipped":
        path.write_bytes(content[:-1] + b"\1")
    else:
        path.unlink()
    assert supervised.run(supervised.attempt(2)) == 0, supervised.log().read_text()
    assert supervised.starts()[1]["resume"].endswith(before.file)
    assert_whole(supervised)
    assert path.with_name(path.name + ".corrupt").exists() is (damage != "gone")


def test_when_all_checkpoints_are_bad_it_starts_anew(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("exit 65", "e1b7")]))
    assert supervised.run() == 65
    for entry in supervised.store().entries():
        supervised.store().path(entry).write_bytes(b"")
    assert supervised.run(supervised.attempt(2)) == 0, supervised.log().read_text()
    assert supervised.starts()[1]["resume"] == "None"
    assert_whole(supervised)


def test_a_loaders_worker_does_not_outlive_its_trainer(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("worker", "e0b4"), Fault("SIGKILL", "e1b1")]))
    (supervised.place / "shm" / "torch_17").write_bytes(b"segment")
    assert supervised.run() == 0, supervised.log().read_text()
    (worker,) = supervised.workers()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert list((supervised.place / "shm").iterdir()) == []
