"""The checkpoints of a run: written whole, found again, never trusted without their hash.

Standard library only: the supervisor reads what the trainer writes. Each state lies in `weights/` with a
description beside it, and counts once it is entered in checkpoints.json. The description is there for the day
on which that list is lost or was overwritten by an older attempt: then the list is made anew from it.
"""

import errno
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final, Self

from azaion_jobs.training.durable import DurableFile, Step, no_step, sha256_of, sync_folder, write_durably
from azaion_jobs.tree import RunFolder

MANIFEST_VERSION: Final = 1
KEEP_WITHIN_EPOCH: Final = 2
NEVER_FEWER: Final = 2

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_DESCRIPTION_SUFFIX = ".json"
_CORRUPT_SUFFIX = ".corrupt"
_SHA256 = re.compile(r"[0-9a-f]{64}")

_log = logging.getLogger("azaion_jobs.checkpoints")


class CheckpointError(Exception):
    """Something is wrong with the checkpoints; the message says what."""


class CheckpointWriteError(CheckpointError):
    """A checkpoint could not be written, not even after older ones were removed."""


class FencedOffError(CheckpointError):
    """A newer attempt owns the run directory: this one must write nothing more."""


class ManifestError(CheckpointError):
    """checkpoints.json, or a description, is not what it should be."""


class Stage(StrEnum):
    """Where in training a state was taken."""

    TRAIN = "train"
    """Inside an epoch: `epoch` (from 0) runs, `batch` of its batches are done."""
    VALIDATE = "validate"
    """All batches of `epoch` (from 0) are done, its validation is not."""
    EPOCH = "epoch"
    """`epoch` epochs are done; `batch` is 0."""
    FINAL = "final"
    """Training is over; the state is whole, so that the run can be extended."""


class Status(StrEnum):
    """How far the run has come, as checkpoints.json has it."""

    TRAINING = "training"
    FINISHED = "finished"
    STOPPED_EARLY = "stoppedEarly"


_WITHIN_EPOCH = frozenset({Stage.TRAIN, Stage.VALIDATE})
_STAGE_ORDER = {stage: rank for rank, stage in enumerate(Stage)}


@dataclass(frozen=True, slots=True)
class Entry:
    """One state, as it was when it was written."""

    epoch: int
    batch: int
    stage: Stage
    fence: int
    attempt: int
    size: int
    sha256: str
    time: str
    file: str

    @classmethod
    def from_dict(cls, data: object) -> Self:
        """Read what `asdict` wrote; ManifestError names the field that is wrong."""
        if not isinstance(data, dict):
            msg = "An entry must be an object."
            raise ManifestError(msg)
        numbers = {name: _number(data, name) for name in ("epoch", "batch", "fence", "attempt", "size")}
        try:
            stage = Stage(str(data.get("stage")))
        except ValueError:
            msg = f"'stage' must be one of {', '.join(Stage)}, not {data.get('stage')!r}."
            raise ManifestError(msg) from None
        sha256, time, file = (data.get(name) for name in ("sha256", "time", "file"))
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            msg = "'sha256' must be 64 hexadecimal digits."
            raise ManifestError(msg)
        if not isinstance(time, str):
            msg = "'time' must be text."
            raise ManifestError(msg)
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".pt"):
            msg = f"'file' must be the name of a state in the folder of weights, not {file!r}."
            raise ManifestError(msg)
        return cls(stage=stage, sha256=sha256, time=time, file=file, **numbers)

    @property
    def position(self) -> tuple[int, int, int, int]:
        """By this order, of two states the later one is newer when the list is lost."""
        # After a validation the count of finished epochs is one more, so epochs compare as they are.
        return (self.fence, self.epoch, self.batch, _STAGE_ORDER[self.stage])


@dataclass(frozen=True, slots=True)
class SetAside:
    """A state that was not what its entry says."""

    file: str
    reason: str
    time: str


@dataclass(frozen=True, slots=True)
class Seal:
    """Name and content of a file that a finished run leaves behind."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What checkpoints.json says."""

    fence: int = 0
    status: Status = Status.TRAINING
    entries: tuple[Entry, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    sealed: Mapping[str, Seal] = field(default_factory=dict)
    """Empty until all is done that follows training; then the weights that the run leaves, by name."""

    def to_json(self) -> bytes:
        """The file's content."""
        content = {
            "version": MANIFEST_VERSION,
            "fence": self.fence,
            "status": self.status,
            "entries": [asdict(entry) for entry in self.entries],
            "setAside": [asdict(one) for one in self.set_aside],
            "sealed": {name: asdict(seal) for name, seal in self.sealed.items()},
        }
        return (json.dumps(content, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read the file's content; ManifestError says what is wrong with it."""
        try:
            data = json.loads(text)
        except ValueError as error:
            msg = f"It is not JSON: {error}."
            raise ManifestError(msg) from error
        if not isinstance(data, dict) or data.get("version") != MANIFEST_VERSION:
            msg = f"'version' must be {MANIFEST_VERSION}."
            raise ManifestError(msg)
        try:
            return cls(
                fence=_number(data, "fence"),
                status=Status(data["status"]),
                entries=tuple(Entry.from_dict(one) for one in data["entries"]),
                set_aside=tuple(SetAside(**one) for one in data["setAside"]),
                sealed={name: Seal(**seal) for name, seal in data["sealed"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = f"It has not the form of a list of checkpoints: {error!r}."
            raise ManifestError(msg) from error


class CheckpointStore:
    """The checkpoints of one run directory, as one attempt sees and writes them.

    `fence` is the number under which this attempt holds the directory. `step` is told each step of writing.
    """

    def __init__(
        self, run_directory: Path, *, fence: int, attempt: int, keep: int = 3, step: Step = no_step
    ) -> None:
        self._folder = RunFolder(run_directory)
        self._fence = fence
        self._attempt = attempt
        self._keep = keep
        self._step = step

    @property
    def status(self) -> Status:
        """How far the run has come."""
        return self.manifest().status

    @property
    def sealed(self) -> Mapping[str, Seal]:
        """What a finished run leaves; empty while something remains to be done."""
        return self.manifest().sealed

    def entries(self) -> tuple[Entry, ...]:
        """The checkpoints that count, the newest last; nothing is said yet about what is in the files."""
        return self.manifest().entries

    def path(self, entry: Entry) -> Path:
        """Where the state of this entry lies."""
        return self._folder.weights / entry.file

    def manifest(self) -> Manifest:
        """The list of the highest fence; made anew from the descriptions where it is lost or stale."""
        return self._read_or_remake(self._described())

    def _read_or_remake(self, described: list[Entry]) -> Manifest:
        newest_fence = max((entry.fence for entry in described), default=0)
        listed, damage = self._listed()
        if listed is not None and listed.fence >= newest_fence:
            return listed
        if listed is None and not described and damage is None:
            return Manifest()
        before = listed or Manifest()
        _log.warning(
            "The list of checkpoints is made anew from the files: %s",
            damage or "the list is that of an older attempt, or missing",
        )
        known = {entry.file for entry in described}
        entries = sorted(
            [
                *described,
                *(one for one in before.entries if one.file not in known and self.path(one).exists()),
            ],
            key=lambda entry: entry.position,
        )
        return replace(before, fence=newest_fence, entries=tuple(entries))

    def save(self, write: Callable[[BinaryIO], None], *, epoch: int, batch: int, stage: Stage) -> Entry:
        """Write a state durably, enter it in the list, and remove what is no longer needed.

        `write` is called with a stream, and once more if the disk was full the first time. Raises
        FencedOffError when a newer attempt has taken over, CheckpointWriteError when it cannot be written.
        """
        try:
            entry = self._write_or_make_room(write, epoch=epoch, batch=batch, stage=stage)
            manifest = self._own_manifest(just_written=entry)
            others = tuple(one for one in manifest.entries if one.file != entry.file)
            self._write_manifest(replace(manifest, entries=(*others, entry)))
        except OSError as error:
            msg = f"A checkpoint could not be written to {self._folder.weights}: {error.strerror or error}."
            raise CheckpointWriteError(msg) from error
        self.prune()
        return entry

    def newest_good(self) -> Entry | None:
        """The newest state whose size and hash are as entered.

        Whatever is newer and is not so is renamed to `*.corrupt` and noted, for people to look at.
        """
        while entries := self.entries():
            entry = entries[-1]
            problem = self._problem(entry)
            if problem is None:
                return entry
            self._set_aside(entry, problem)
        return None

    def good(self) -> Iterable[Entry]:
        """All good states, the newest first; touches nothing."""
        return (entry for entry in reversed(self.entries()) if self._problem(entry) is None)

    def finish(self, status: Status) -> None:
        """Enter that training is over; from then on no attempt trains in this directory again."""
        if status is Status.TRAINING:
            msg = "A run finishes as finished or stoppedEarly."
            raise ValueError(msg)
        self._write_manifest(replace(self._own_manifest(), status=status))

    def seal(self, files: Mapping[str, Seal]) -> None:
        """Enter the weights that stay, after all that follows training is done."""
        manifest = self._own_manifest()
        if manifest.status is Status.TRAINING or not files:
            msg = "Only a finished run is sealed, with the files it leaves."
            raise ValueError(msg)
        self._write_manifest(replace(manifest, sealed=dict(files)))

    def prune(self, keep: int | None = None) -> None:
        """Remove states that are no longer needed, and their entries first.

        Kept are the newest `keep` of whole epochs, the newest two inside an epoch, any final one, and never
        fewer than two altogether. best.pt, last.pt, epochN.pt and final.pt are no states and stay.
        """
        manifest = self._own_manifest()
        wanted = _wanted(manifest.entries, self._keep if keep is None else keep)
        if len(wanted) < len(manifest.entries):
            self._keep_only(manifest, wanted)
        self._remove_remains()
        self._step("pruned")

    def _own_manifest(self, *, just_written: Entry | None = None) -> Manifest:
        """The list, to be written by this attempt; refuses where a newer attempt has it."""
        manifest = self._read_or_remake([entry for entry in self._described() if entry != just_written])
        newest = max(manifest.fence, self._lease_fence())
        if newest > self._fence:
            msg = (
                f"The run directory {self._folder.root} belongs to a newer attempt "
                f"(fence {newest}, ours is {self._fence})."
            )
            raise FencedOffError(msg)
        return replace(manifest, fence=self._fence)

    def _lease_fence(self) -> int:
        try:
            fence = json.loads(self._folder.lease.read_bytes())["fence"]
        except (OSError, ValueError, KeyError, TypeError):
            # The lease is the supervisor's to judge; here it can only add a reason to stop.
            return 0
        return fence if isinstance(fence, int) else 0

    def _listed(self) -> tuple[Manifest | None, ManifestError | None]:
        try:
            return Manifest.from_json(self._folder.checkpoints.read_bytes()), None
        except FileNotFoundError:
            return None, None
        except ManifestError as error:
            return None, error

    def _described(self) -> list[Entry]:
        """What the descriptions beside the states say; an unreadable one has nothing to say."""
        entries = []
        for path in self._folder.weights.glob(f"state-*.pt{_DESCRIPTION_SUFFIX}"):
            try:
                entry = Entry.from_dict(json.loads(path.read_bytes()))
            except (OSError, ValueError, ManifestError):
                continue
            if path.name == entry.file + _DESCRIPTION_SUFFIX and self.path(entry).exists():
                entries.append(entry)
        return entries

    def _write_or_make_room(
        self, write: Callable[[BinaryIO], None], *, epoch: int, batch: int, stage: Stage
    ) -> Entry:
        try:
            return self._write(write, epoch=epoch, batch=batch, stage=stage)
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            _log.warning("The disk is full: older checkpoints are removed to make room for a new one")
            self._make_room()
            return self._write(write, epoch=epoch, batch=batch, stage=stage)

    def _write(self, write: Callable[[BinaryIO], None], *, epoch: int, batch: int, stage: Stage) -> Entry:
        self._own_manifest()
        self._folder.weights.mkdir(exist_ok=True)
        name = f"state-f{self._fence}-e{epoch}-b{batch}-{stage}.pt"
        description = self._folder.weights / (name + _DESCRIPTION_SUFFIX)
        with DurableFile(self._folder.weights / name, step=self._step, prefix="state: ") as file:
            write(file.stream)
            # First away with what would describe another state of that name.
            description.unlink(missing_ok=True)
            file.commit(sync_parent=False)
            size, sha256 = file.size, file.sha256
        entry = Entry(
            epoch=epoch,
            batch=batch,
            stage=stage,
            fence=self._fence,
            attempt=self._attempt,
            size=size,
            sha256=sha256,
            time=_now(),
            file=name,
        )
        write_durably(
            description, json.dumps(asdict(entry)).encode(), step=self._step, prefix="description: "
        )
        return entry

    def _write_manifest(self, manifest: Manifest) -> None:
        # Asked again: writing the state can have taken long.
        if self._lease_fence() > self._fence:
            self._own_manifest()
        write_durably(self._folder.checkpoints, manifest.to_json(), step=self._step, prefix="list: ")

    def _problem(self, entry: Entry) -> str | None:
        path = self.path(entry)
        try:
            size = path.stat().st_size
            if size != entry.size:
                return f"it has {size} bytes instead of {entry.size}"
            if sha256_of(path) != entry.sha256:
                return "its content is not what was written"
        except FileNotFoundError:
            return "it is missing"
        except OSError as error:
            return f"it cannot be read: {error.strerror or error}"
        return None

    def _set_aside(self, entry: Entry, problem: str) -> None:
        _log.warning(
            "Checkpoint %s cannot be used: %s. The one before is used",
            entry.file,
            problem,
            extra={"context": {"file": entry.file}},
        )
        manifest = self._own_manifest()
        path = self.path(entry)
        if path.exists():
            path.replace(path.with_name(path.name + _CORRUPT_SUFFIX))
        self._description(entry).unlink(missing_ok=True)
        sync_folder(self._folder.weights)
        note = SetAside(file=entry.file, reason=problem, time=_now())
        rest = tuple(one for one in manifest.entries if one.file != entry.file)
        self._write_manifest(replace(manifest, entries=rest, set_aside=(*manifest.set_aside, note)))

    def _make_room(self) -> None:
        """The utmost: two good states stay, and remains of interrupted writes go."""
        manifest = self._own_manifest()
        good: list[Entry] = []
        for entry in reversed(manifest.entries):
            if len(good) < NEVER_FEWER and self._problem(entry) is None:
                good.append(entry)
        self._remove_remains()
        if len(good) == NEVER_FEWER:
            # The list needs room too, so the files go first; an entry without its file is passed over.
            keep = {entry.file for entry in good}
            self._remove(entry for entry in manifest.entries if entry.file not in keep)
            self._keep_only(manifest, keep)

    def _remove_remains(self) -> None:
        """What writers left that were killed; this attempt is the only one that writes here."""
        for remains in self._folder.weights.glob(".*.tmp"):
            remains.unlink(missing_ok=True)

    def _keep_only(self, manifest: Manifest, keep: set[str]) -> None:
        stay = tuple(entry for entry in manifest.entries if entry.file in keep)
        self._write_manifest(replace(manifest, entries=stay))
        self._remove(entry for entry in manifest.entries if entry.file not in keep)

    def _remove(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._description(entry).unlink(missing_ok=True)
            self.path(entry).unlink(missing_ok=True)

    def _description(self, entry: Entry) -> Path:
        return self._folder.weights / (entry.file + _DESCRIPTION_SUFFIX)


def _wanted(entries: tuple[Entry, ...], keep: int) -> set[str]:
    """The files of the entries that stay."""
    epochs = [entry.file for entry in entries if entry.stage is Stage.EPOCH]
    within = [entry.file for entry in entries if entry.stage in _WITHIN_EPOCH]
    final = [entry.file for entry in entries if entry.stage is Stage.FINAL]
    wanted = {*epochs[len(epochs) - min(keep, len(epochs)) :], *within[-KEEP_WITHIN_EPOCH:], *final}
    for entry in reversed(entries):
        if len(wanted) >= NEVER_FEWER:
            break
        wanted.add(entry.file)
    return wanted


def _number(data: Mapping[str, object], name: str) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        msg = f"{name!r} must be a whole number from 0, not {value!r}."
        raise ManifestError(msg)
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
