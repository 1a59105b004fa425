"""The small parts: state, lease and the last word, each on a folder of its own."""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from azaion_jobs.contract import Outcome, RunIdentity, RunSpec, TrainingSpec, Verdict
from azaion_jobs.training import last_word
from azaion_jobs.training.lease import (
    ForeignDirectoryError,
    NewerAttemptError,
    StillHeldError,
    WaitInterruptedError,
    claim,
    take,
)
from azaion_jobs.training.state import Furthest, State
from azaion_jobs.tree import RunFolder

SPEC = RunSpec(run=RunIdentity(name="winter", uid="u"), dataset="d", model_directory="m")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "m")
    claim(folder, SPEC)
    return folder


def go_on(seconds: float) -> bool:
    return False


def give_up(seconds: float) -> bool:
    return True


def test_an_empty_directory_is_taken_into_possession(folder: RunFolder) -> None:
    assert RunSpec.from_json(folder.run.read_bytes()) == SPEC
    claim(folder, SPEC)


@pytest.mark.parametrize("owner", ['{"run": {"uid": "other"}}', "{}", "no JSON"])
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, owner: str) -> None:
    (tmp_path / "run.json").write_text(owner)
    with pytest.raises(ForeignDirectoryError, match="name another modelDirectory"):
        claim(RunFolder(tmp_path), SPEC)
    assert (tmp_path / "run.json").read_text() == owner


def test_every_hold_has_a_higher_fence(folder: RunFolder) -> None:
    for fence in (1, 2, 3):
        lease = take(folder, SPEC, wait=0, pause=go_on)
        assert lease.fence == fence
        os.close(lease.descriptor)
    assert json.loads(folder.lease.read_bytes())["attempt"] == 1


@pytest.mark.parametrize("text", ["", "{", '{"fence": "x"}', "[]"])
def test_a_lost_lease_file_does_not_lower_the_fence(folder: RunFolder, text: str) -> None:
    manifest = {"version": 1, "fence": 7, "status": "training", "entries": [], "setAside": [], "sealed": {}}
    folder.checkpoints.write_text(json.dumps(manifest))
    folder.lease.write_text(text)
    lease = take(folder, SPEC, wait=0, pause=go_on)
    assert lease.fence == 8
    os.close(lease.descriptor)


def test_an_older_attempt_comes_too_late(folder: RunFolder) -> None:
    os.close(take(folder, replace(SPEC, attempt=3), wait=0, pause=go_on).descriptor)
    before = folder.lease.read_bytes()
    with pytest.raises(NewerAttemptError, match="Attempt 3 was in"):
        take(folder, SPEC, wait=0, pause=go_on)
    assert folder.lease.read_bytes() == before


@pytest.mark.parametrize(
    ("attempt", "pause", "error"),
    [
        (2, go_on, StillHeldError),
        (1, go_on, NewerAttemptError),
        (2, give_up, WaitInterruptedError),
    ],
)
def test_a_held_directory_is_not_to_be_had(
    folder: RunFolder, attempt: int, pause: Callable[[float], bool], error: type[Exception]
) -> None:
    lease = take(folder, SPEC, wait=0, pause=go_on)
    with pytest.raises(error):
        take(folder, replace(SPEC, attempt=attempt), wait=0 if pause is go_on else 9, pause=pause)
    os.close(lease.descriptor)


def test_a_lock_on_a_removed_file_keeps_nobody_out(folder: RunFolder) -> None:
    lease = take(folder, SPEC, wait=0, pause=go_on)
    folder.lease_lock.unlink()
    again = take(folder, SPEC, wait=0, pause=go_on)
    with pytest.raises(BlockingIOError), folder.lease_lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lease.descriptor)
    os.close(again.descriptor)


def test_what_was_learned_is_remembered(folder: RunFolder) -> None:
    state = State(
        batch_size=6,
        workers=3,
        validation_batch=4,
        nan_seen=True,
        causes={"TrainerKilled": 2},
        furthest=Furthest(epoch=3, batch=9),
    )
    state.save(folder)
    assert State.load(folder, SPEC) == state
    # Whoever asks for less than was learned gets less.
    smaller = replace(SPEC, training=TrainingSpec(batch_size=2, workers=1))
    assert (State.load(folder, smaller).batch_size, State.load(folder, smaller).workers) == (2, 1)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"batchSize": 0, "workers": 1}', '{"version": 9, "batchSize": 1, "workers": 1}']
)
def test_a_damaged_state_is_put_aside(folder: RunFolder, text: str) -> None:
    folder.supervisor.write_text(text)
    assert State.load(folder, SPEC) == State.new(SPEC)
    assert not folder.supervisor.exists()


def test_the_last_word_holds_no_secret(folder: RunFolder, tmp_path: Path) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    verdict = Verdict(
        outcome=Outcome.INTERNAL_ERROR,
        reason="TrainerCrashed",
        message="login failed: password=hunter2hunter2",
        traceback="line\n" * 3000 + "token: hunter2hunter2",
    )
    left = last_word.leave(verdict, termination_message=message, folder=folder)
    texts = (message.read_text(), folder.verdict.read_text(), left.message + left.traceback)
    assert not [text for text in texts if "hunter2" in text]
    assert len(message.read_bytes()) <= 4096
    assert Verdict.from_json(folder.verdict.read_bytes()) == left


def test_without_a_kubelet_there_is_no_termination_message(folder: RunFolder, tmp_path: Path) -> None:
    verdict = Verdict(outcome=Outcome.DONE, reason="Done", message="Done.")
    last_word.leave(verdict, termination_message=tmp_path / "absent", folder=None)
    assert not (tmp_path / "absent").exists()
    assert not folder.verdict.exists()
