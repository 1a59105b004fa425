from pathlib import Path
from typing import BinaryIO

import pytest

from azaion_jobs.contract import ExitCode
from azaion_jobs.training.checkpoints import CheckpointStore, Entry, Seal, Stage, Status
from azaion_jobs.training.decision import Facts, Finished, Fresh, Refuse, Resume, decide

OURS = "uid-of-ours"
SEAL = {"best.pt": Seal(size=1, sha256="0" * 64)}


def save(store: CheckpointStore, epoch: int, batch: int, stage: Stage) -> Entry:
    def write(stream: BinaryIO) -> None:
        stream.write(f"{epoch} {batch} {stage}".encode())

    return store.save(write, epoch=epoch, batch=batch, stage=stage)


class Directory:
    """A run directory that things happen to; the name of a case is the name of what happened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = CheckpointStore(path, fence=1, attempt=1)
        self.owner = OURS

    def none(self) -> None:
        pass

    def foreign_and_empty(self) -> None:
        self.owner = "another"

    def earlier_deployment(self) -> None:
        (self.path / "best.pt").write_bytes(b"weights")

    def partial(self) -> None:
        save(self.store, 1, 0, Stage.EPOCH)
        save(self.store, 1, 5, Stage.VALIDATE)

    def stopped(self) -> None:
        save(self.store, 1, 0, Stage.EPOCH)
        save(self.store, 1, 3, Stage.TRAIN)

    def foreign(self) -> None:
        self.partial()
        self.owner = "another"

    def corrupt_newest(self) -> None:
        self.partial()
        self.store.path(self.store.entries()[-1]).write_bytes(b"?")

    def all_corrupt(self) -> None:
        self.partial()
        for entry in self.store.entries():
            self.store.path(entry).write_bytes(b"?")

    def killed_in_the_final_validation(self) -> None:
        self.partial()
        save(self.store, 2, 0, Stage.EPOCH)

    def killed_in_the_strip(self) -> None:
        self.killed_in_the_final_validation()
        self.store.finish(Status.FINISHED)

    def finished(self) -> None:
        self.killed_in_the_strip()
        self.store.seal(SEAL)

    def stopped_early(self) -> None:
        self.killed_in_the_final_validation()
        self.store.finish(Status.STOPPED_EARLY)
        self.store.seal(SEAL)

    def states_of_a_finished_run_lost(self) -> None:
        self.killed_in_the_strip()
        for entry in self.store.entries():
            self.store.path(entry).unlink()

    def newer_attempt(self) -> None:
        self.partial()
        save(CheckpointStore(self.path, fence=9, attempt=9), 2, 0, Stage.EPOCH)


def make(path: Path, case: str) -> str:
    """Bring the directory into the state that the case names; returns whose it is."""
    directory = Directory(path)
    getattr(directory, case.replace(" ", "_"))()
    return directory.owner


def told(directory: Path, owner: str, fence: int) -> object:
    store = CheckpointStore(directory, fence=fence, attempt=fence)
    decision = decide(Facts.read(store, directory, uid=OURS, owner=owner, fence=fence))
    match decision:
        case Fresh():
            return "fresh"
        case Resume(entry):
            return (entry.epoch, entry.batch, str(entry.stage))
        case Finished(status):
            return str(status)
        case Refuse(_, code):
            return code


TABLE = {
    "none": "fresh",
    "partial": (1, 5, "validate"),
    "stopped": (1, 3, "train"),
    "finished": "finished",
    "stopped early": "stoppedEarly",
    "killed in the final validation": (2, 0, "epoch"),
    "killed in the strip": (2, 0, "epoch"),
    "corrupt newest": (1, 0, "epoch"),
    "all corrupt": "fresh",
    "states of a finished run lost": ExitCode.BAD_DATA,
    "foreign": ExitCode.BAD_SPEC,
    "foreign and empty": ExitCode.BAD_SPEC,
    "earlier deployment": ExitCode.BAD_SPEC,
    "newer attempt": ExitCode.FENCED_OFF,
}


@pytest.mark.parametrize("fence", [1, 2], ids=["restarted in place", "new attempt"])
@pytest.mark.parametrize("case", TABLE)
def test_the_table(tmp_path: Path, case: str, fence: int) -> None:
    owner = make(tmp_path, case)
    assert told(tmp_path, owner, fence) == TABLE[case]
    # Asked again, nothing has changed by having asked.
    assert told(tmp_path, owner, fence) == TABLE[case]


@pytest.mark.parametrize("case", ["finished", "stopped early", "foreign", "newer attempt"])
def test_a_directory_that_is_not_to_be_trained_in_is_not_touched(tmp_path: Path, case: str) -> None:
    owner = make(tmp_path, case)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    told(tmp_path, owner, 1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_foreign_directory_keeps_its_spoilt_states(tmp_path: Path) -> None:
    make(tmp_path, "all corrupt")
    before = sorted(tmp_path.rglob("*"))
    assert told(tmp_path, "another", 2) == ExitCode.BAD_SPEC
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_refused_says_why(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, fence=1, attempt=1)
    decision = decide(Facts.read(store, tmp_path, uid=OURS, owner="", fence=1))
    assert isinstance(decision, Refuse)
    assert "belongs to no run" in decision.reason
