"""A run that was stopped, wherever and however, ends as one that never was."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from azaion_jobs.contract import ExitCode
from azaion_jobs.contract.messages import Epoch, Finished, Started
from azaion_jobs.contract.run import StartFrom
from azaion_jobs.training.checkpoints import Status
from azaion_jobs.training.decision import Finished as IsFinished

from .conftest import Run, Runs

LONG = bool(os.environ.get("AZAION_TEST_LONG"))
KILLED, STOPPED = -9, ExitCode.STOPPED_ON_REQUEST


def final_state(run: Run) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run.folder.final, weights_only=True)
    return state


def assert_same(one: Any, other: Any, where: str = "state") -> None:
    """Bit for bit, all the way down."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for name in one:
            if name != "results":
                assert_same(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert_same(mine, theirs, f"{where}[{index}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


# Seven batches an epoch, the last of two images: with nbs 12 the optimizer steps after batches 2, 5 and 6.
SCENARIOS: dict[str, tuple[dict[str, Any], list[tuple[str, int, int]]]] = {
    "accumulated, killed in each epoch": (
        {"nbs": 12, "warmup_epochs": 1.5},
        [("train:0:4:KILL", 0, KILLED), ("train:1:3:TERM", 2, STOPPED), ("validate:2:1:KILL", 0, KILLED)],
    ),
    "strict mosaic, closed at the end": (
        {"mosaic": 1.0, "close_mosaic": 1, "exact": "strict"},
        [("validate:0:0:TERM", 2, STOPPED), ("train:1:5:KILL", 0, KILLED), ("train:2:0:TERM", 2, STOPPED)],
    ),
}
if LONG:
    SCENARIOS |= {
        "stepping every batch, six stops": (
            {"epochs": 7, "warmup_epochs": 1, "cos_lr": True},
            [
                # Not the very first batch: before its step there is no state to go on from.
                (f"train:{epoch}:{epoch + 1}:{how}", epoch % 2 * 2, code)
                for epoch, (how, code) in enumerate([("KILL", KILLED), ("TERM", STOPPED)] * 3)
            ],
        ),
        "strict mosaic, accumulated, mixed": (
            {
                "epochs": 6,
                "nbs": 12,
                "mosaic": 1.0,
                "mixup": 0.3,
                "multi_scale": 0.3,
                "close_mosaic": 2,
                "exact": "strict",
                "optimizer": "MuSGD",
                "lr0": 0.01,
            },
            [
                ("train:0:6:TERM", 2, STOPPED),
                ("train:2:1:KILL", 0, KILLED),
                ("validate:3:0:KILL", 2, KILLED),
                ("train:4:4:TERM", 0, STOPPED),
                ("validate:5:1:TERM", 2, STOPPED),
            ],
        ),
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_stopped_run_ends_as_one_that_never_was(runs: Runs, scenario: str) -> None:
    settings, stops = SCENARIOS[scenario]
    straight = runs.run(**settings, minutes=10)
    assert straight.start() == 0, straight.output()
    stopped = runs.run(**settings)
    for place, workers, code in stops:
        assert stopped.start(act=place, workers=workers) == code, stopped.output()
    assert stopped.start(workers=2) == 0, stopped.output()

    assert stopped.rows() == straight.rows()
    assert len(straight.rows()) == straight.spec.training.epochs
    assert_same(final_state(stopped), final_state(straight))
    # Nothing was done twice but the batches since the last state.
    starts = [message for message in stopped.messages() if isinstance(message, Started)]
    assert (starts[0].epoch, starts[0].batch) == (0, 0)
    assert all((start.epoch, start.batch) > (0, 0) for start in starts[1:])
    told = [message.epoch for message in stopped.messages() if isinstance(message, Epoch)]
    assert told == list(range(1, straight.spec.training.epochs + 1))


def test_a_finished_run_is_sealed_and_refused(runs: Runs) -> None:
    run = runs.run(epochs=1)
    assert run.start() == 0, run.output()
    assert run.store().status is Status.FINISHED
    assert set(run.store().sealed) == {"best.pt", "last.pt", "final.pt"}
    assert isinstance(run.messages()[-1], Finished)
    assert run.decision() == IsFinished(Status.FINISHED)
    weights = torch.load(run.folder.best, weights_only=False)
    assert weights["optimizer"] is None
    before = {path: path.stat().st_mtime_ns for path in run.folder.weights.iterdir()}
    assert run.start() == ExitCode.BAD_DATA
    assert {path: path.stat().st_mtime_ns for path in run.folder.weights.iterdir()} == before


def test_killed_between_the_end_and_the_seal_only_the_rest_is_done(runs: Runs) -> None:
    run = runs.run(epochs=1)
    # The second validation is that of the finish, on a copy: the epoch's own has the same number.
    assert run.start(act="validate:0:0:KILL") == KILLED
    assert run.start() == 0, run.output()
    rows = run.rows()
    manifest = run.store().manifest()
    run.folder.checkpoints.write_bytes(manifest.to_json().replace(b'"sealed"', b'"sealed_before"', 1))
    content = run.folder.checkpoints.read_text().replace('"sealed_before": {', '"sealed": {}, "before": {')
    run.folder.checkpoints.write_text(content)
    assert run.store().sealed == {}
    assert run.start() == 0, run.output()
    assert set(run.store().sealed) == {"best.pt", "last.pt", "final.pt"}
    assert run.rows() == rows


def test_a_smaller_batch_goes_on_in_the_middle_of_an_epoch(runs: Runs) -> None:
    run = runs.run(epochs=2)
    assert run.start(act="train:0:3:TERM") == STOPPED
    assert (
        run.start("--batch-size", "3", "--validation-batch", "2", "--learning-rate-scale", "0.5") == 0
    ), run.output()
    started = [message for message in run.messages() if isinstance(message, Started)][-1]
    # Ten of the 26 images are left: four batches of three at most.
    assert (started.batch_size, started.batches, started.batch) == (3, 9, 5)
    rates = [float(row["lr/pg0"]) for row in run.rows()]
    assert rates[0] == pytest.approx(0.001)


def test_another_run_goes_on_from_the_last_state_of_a_finished_one(runs: Runs) -> None:
    first = runs.run(epochs=1)
    assert first.start() == 0, first.output()
    directory = first.spec.model_directory
    longer = runs.run(epochs=2, images=30, start_from=StartFrom(model_directory=directory))
    assert longer.start() == 0, longer.output()
    assert [row["epoch"] for row in longer.rows()] == ["2"]
    updates = [final_state(run)["updates"] for run in (first, longer)]
    # Seven steps, then eight more of a larger set.
    assert updates == [7, 15]
    no_longer = runs.run(epochs=1, start_from=StartFrom(model_directory=directory))
    assert no_longer.start() == ExitCode.BAD_SPEC
    assert "training.epochs must be more" in no_longer.output()


@pytest.mark.parametrize("layout", ["best.pt", "weights/best.pt"])
def test_a_dated_model_of_the_earlier_deployment_is_a_base(runs: Runs, layout: str) -> None:
    first = runs.run(epochs=1)
    assert first.start() == 0, first.output()
    legacy = runs.root / "models" / "azaion-2025-11-20" / layout
    legacy.parent.mkdir(parents=True)
    first.folder.best.rename(legacy)
    run = runs.run(epochs=1, model="azaion-2025-11-20")
    assert run.start() == 0, run.output()
    assert run.store().status is Status.FINISHED


def test_early_stopping_is_told_as_such(runs: Runs) -> None:
    run = runs.run(epochs=5)
    assert run.start(act="train:1:2:no_better") == 0, run.output()
    assert run.store().status is Status.STOPPED_EARLY
    assert len(run.rows()) == 2
    assert isinstance(finished := run.messages()[-1], Finished)
    assert finished.status == "stoppedEarly"
    assert run.decision() == IsFinished(Status.STOPPED_EARLY)
