import json
import math
from pathlib import Path

import pytest

from azaion_jobs.contract import Outcome, RunIdentity, RunSpec, TrainingSpec, Verdict
from azaion_jobs.contract.messages import Checkpoint, CheckpointFailed, Epoch, Started, Step, Validating
from azaion_jobs.contract.progress import Progress, ProgressError
from azaion_jobs.training.progress import Tracker
from azaion_jobs.training.state import State
from azaion_jobs.tree import RunFolder

SPEC = RunSpec(
    run=RunIdentity(name="winter", uid="u"),
    dataset="d",
    model_directory="m",
    training=TrainingSpec(epochs=10),
)


def tracker(folder: Path) -> Tracker:
    return Tracker(SPEC, RunFolder(folder), fence=3)


def step(batch: int, seconds: float = 4.0) -> Step:
    return Step(
        time=0, epoch=1, batch=batch, batches=100, loss=1, step_seconds=seconds, wait_seconds=seconds / 4
    )


def epoch(number: int, seconds: float = 100, loss: float = 0.5) -> Epoch:
    return Epoch(
        time=0,
        epoch=number,
        epochs=10,
        loss=loss,
        map50=0.1 * number,
        map50_95=0.05 * number,
        seconds=seconds,
        lr=0.01,
    )


def test_before_the_first_epoch_the_pace_of_the_steps_tells_the_time_left(tmp_path: Path) -> None:
    follow = tracker(tmp_path)
    assert follow.snapshot().eta_seconds is None
    for batch in range(1, 51):
        follow.hear(step(batch))
    now = follow.snapshot()
    assert (now.phase, now.epoch, now.batch, now.batches) == ("training", 0, 50, 100)
    assert now.percent == 5
    assert now.step_seconds == 4
    assert now.data_wait_ratio == 0.25
    assert now.eta_seconds == pytest.approx(9.5 * 400)


def test_epochs_tell_the_time_left_by_the_recent_ones(tmp_path: Path) -> None:
    follow = tracker(tmp_path)
    for number, seconds in enumerate([900, 100, 100, 120, 100, 5000], start=1):
        follow.hear(epoch(number, seconds))
    now = follow.snapshot()
    assert (now.epoch, now.percent, now.eta_seconds) == (6, 60, 400)
    # The next attempt knows the pace from the file.
    later = tracker(tmp_path)
    later.hear(
        Started(
            time=0, batch_size=8, batches=10, epochs=10, epoch=6, batch=5, device="0", cuda=True, parameters=1
        )
    )
    now = later.snapshot()
    assert (now.epoch, now.eta_seconds, now.effective_batch_size) == (6, 350, 8)
    assert now.map50 == pytest.approx(0.6)


def test_an_epoch_that_is_repeated_replaces_its_line(tmp_path: Path) -> None:
    follow = tracker(tmp_path)
    for number in (1, 2, 3, 2, 3):
        follow.hear(epoch(number, loss=number / 7))
    follow = tracker(tmp_path)
    follow.hear(epoch(3, loss=0.125))
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[2]["loss"] == 0.125
    assert {"epochs", "mAP50", "mAP50_95", "seconds", "lr", "batchSize", "attempt", "fence", "time"} < set(
        lines[0]
    )


def test_a_damaged_line_costs_itself_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "progress.jsonl").write_text('{"epoch": 1, "seconds": 5}\n{"epoch": 2, "sec\n[]\n')
    follow = tracker(tmp_path)
    follow.hear(epoch(2))
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert "A line of progress.jsonl cannot be read" in caplog.text


def test_what_is_not_finite_has_no_value(tmp_path: Path) -> None:
    follow = tracker(tmp_path)
    follow.hear(epoch(1, seconds=math.nan, loss=math.nan))
    now = Progress.from_json(follow.snapshot().to_json())
    assert (now.epoch, now.loss, now.eta_seconds) == (1, None, None)
    assert "loss" not in follow.metrics()


def test_a_rehearsal_counts_nothing(tmp_path: Path) -> None:
    follow = tracker(tmp_path)
    follow.doing("rehearsing", "It rehearses.")
    follow.hear(step(50))
    follow.hear(epoch(1))
    now = follow.snapshot()
    assert (now.phase, now.epoch, now.batch, now.message) == ("rehearsing", 0, 0, "It rehearses.")
    assert not (tmp_path / "progress.jsonl").exists()


def test_phases_follow_the_messages(tmp_path: Path) -> None:
    follow = tracker(tmp_path)
    phases = []
    for message in (
        step(1),
        Validating(time=0, epoch=1, batch=1, batches=2),
        epoch(1),
        epoch(10),
        Validating(time=0, epoch=10, batch=1, batches=2),
    ):
        follow.hear(message)
        phases.append(follow.snapshot().phase)
    assert phases == ["training", "validating", "training", "finishing", "finishing"]


def test_checkpoints_and_their_failures_show(tmp_path: Path) -> None:
    follow = tracker(tmp_path)
    follow.hear(CheckpointFailed(time=0, reason="The disk is full."))
    assert follow.snapshot().checkpoint_problem == "The disk is full."
    follow.hear(Checkpoint(time=0, epoch=1, batch=7, stage="train", file="x.pt", size=9, seconds=1))
    now = follow.snapshot(silent_seconds=4)
    assert (now.checkpoint_failures, now.checkpoint_problem, now.last_progress_seconds) == (1, "", 4)
    assert now.checkpoint is not None
    assert (now.checkpoint.epoch, now.checkpoint.batch, now.checkpoint.file) == (1, 7, "x.pt")


def test_what_the_supervisor_decided_shows(tmp_path: Path) -> None:
    follow = tracker(tmp_path)
    follow.learned(State(batch_size=6, workers=3, learning_rate_scale=0.5, restarts_ever=4, stalls_ever=1))
    now = follow.snapshot()
    assert (now.batch_size, now.effective_batch_size, now.workers) == (11, 6, 3)
    assert (now.learning_rate_scale, now.restarts, now.stalls) == (0.5, 4, 1)


def test_the_end_of_the_last_attempt_is_told(tmp_path: Path) -> None:
    verdict = Verdict(outcome=Outcome.STALLED, reason="TrainingStalled", message="It stood still.")
    (tmp_path / "verdict.json").write_text(verdict.to_json())
    previous = tracker(tmp_path).snapshot().previous
    assert previous is not None
    assert (previous.outcome, previous.message) == ("Stalled", "It stood still.")


def test_progress_is_read_as_it_was_written(tmp_path: Path) -> None:
    follow = tracker(tmp_path)
    follow.hear(step(3))
    follow.hear(epoch(1))
    now = follow.snapshot()
    assert Progress.from_json(now.to_json()) == now
    document = json.loads(now.to_json())
    assert {"mAP50", "mAP50_95", "etaSeconds", "effectiveBatchSize"} <= set(document)
    # A newer trainer says more than this operator knows.
    assert Progress.from_json(json.dumps(document | {"later": 1})) == now


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "must be a JSON object"),
        ('{"version": 2}', "progress.version is 2"),
        ("{}", "progress lacks run"),
    ],
)
def test_what_is_no_progress_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ProgressError, match=complaint):
        Progress.from_json(text)
