"""What goes wrong ends with the exit code, the message and the checkpoints that the contract promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from azaion_jobs.contract import ExitCode
from azaion_jobs.contract.messages import Failed

from .conftest import Run, Runs


def failure(run: Run) -> Failed:
    last = run.messages()[-1]
    assert isinstance(last, Failed), run.output()
    return last


@pytest.mark.parametrize(
    ("act", "kind"),
    [("train:0:2:oom", "oom"), ("train:1:2:oom", "oom"), ("validate:0:0:oom", "oom_validation")],
)
def test_out_of_memory_is_left_to_the_supervisor(runs: Runs, act: str, kind: str) -> None:
    run = runs.run(epochs=2)
    assert run.start(act=act) == ExitCode.OUT_OF_MEMORY, run.output()
    assert failure(run).kind == kind
    assert "out of memory" in failure(run).message
    assert "Traceback" in failure(run).traceback
    # What was done before is not lost.
    assert run.store().newest_good() is not None


def test_nan_is_seen_at_once_and_never_saved(runs: Runs) -> None:
    run = runs.run(epochs=2)
    assert run.start(act="train:0:3:nan") == ExitCode.DIVERGED, run.output()
    assert failure(run).kind == "nan"
    assert "batch 4 of epoch 1" in failure(run).message
    assert [(entry.epoch, entry.batch) for entry in run.store().entries()] == [(0, 2), (0, 3)]
    assert not run.folder.last.exists()


def bad_spec(run: Run) -> None:
    object.__setattr__(run.spec.training, "gpus", 2)


def missing_model(run: Run) -> None:
    object.__setattr__(run.spec.training, "model", "yolo26x.pt")


def truncated_model(run: Run) -> None:
    object.__setattr__(run.spec.training, "model", "cut.pt")
    (run.root / "models" / "cut.pt").write_bytes(b"PK\x03\x04 only the beginning")


def dropped_image(run: Run) -> None:
    labels = run.root / "datasets" / run.spec.dataset / "train" / "labels"
    (labels / "0003.txt").write_text("7 0.5 0.5 0.1 0.1\n")


def no_object(run: Run) -> None:
    for label in (run.root / "datasets" / run.spec.dataset / "valid" / "labels").iterdir():
        label.write_text("")


@pytest.mark.parametrize(
    ("prepare", "kind", "code", "words"),
    [
        (bad_spec, "spec", ExitCode.BAD_SPEC, "training.gpus is 2"),
        (missing_model, "data", ExitCode.BAD_DATA, "yolo26x.pt is not there"),
        (truncated_model, "data", ExitCode.BAD_DATA, "cut.pt"),
        (dropped_image, "data", ExitCode.BAD_DATA, "1 of 26 images of the train split"),
        (no_object, "data", ExitCode.BAD_DATA, "valid split holds no object"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input(runs: Runs, prepare: object, kind: str, code: ExitCode, words: str) -> None:
    run = runs.run()
    assert callable(prepare)
    prepare(run)
    assert run.start() == code, run.output()
    assert failure(run).kind == kind
    assert words in failure(run).message
    assert run.store().entries() == ()


@pytest.mark.parametrize("how", ["truncated", "no state", "of another model"])
def test_states_that_cannot_be_gone_on_from(runs: Runs, tmp_path: Path, how: str) -> None:
    run = runs.run(epochs=1)
    state = tmp_path / "state.pt"
    if how == "of another model":
        other = runs.run(epochs=1, model="yolo11n.yaml")
        assert other.start(act="train:0:1:TERM") == ExitCode.STOPPED_ON_REQUEST, other.output()
        entry = other.store().entries()[-1]
        state.write_bytes(other.store().path(entry).read_bytes())
    else:
        state.write_bytes(b"PK\x03\x04" if how == "truncated" else b"")
    assert run.start("--resume", str(state)) == ExitCode.BAD_DATA, run.output()
    assert failure(run).kind == "data"
