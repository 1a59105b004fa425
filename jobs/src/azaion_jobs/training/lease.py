"""The run directory belongs to one supervisor at a time, and to the newest attempt.

`flock` on lease.lock is held for life; the trainer inherits it, so that a supervisor that was killed alone
does not leave the directory to its successor before its trainer is gone. Under the lock lease.json gets a
higher `fence`, which every checkpoint carries.
"""

import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from azaion_jobs.contract import RunSpec
from azaion_jobs.training.checkpoints import CheckpointStore
from azaion_jobs.training.durable import write_durably
from azaion_jobs.tree import RunFolder

_LOOK_EVERY: Final = 0.1
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})

_log = logging.getLogger("azaion_jobs.supervisor")


class LeaseError(Exception):
    """The run directory cannot be had; the message says why."""


class NewerAttemptError(LeaseError):
    """A newer attempt is, or was, in the run directory."""


class StillHeldError(LeaseError):
    """An older attempt did not let go in time."""


class ForeignDirectoryError(LeaseError):
    """The run directory belongs to another run, or is no run directory."""


class WaitInterruptedError(LeaseError):
    """The wait was cut short because this supervisor is to stop."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The hold of this process on a run directory; it ends with the process and its trainer."""

    fence: int
    descriptor: int
    """To be handed to the trainer, which then holds the lock too."""


def claim(folder: RunFolder, spec: RunSpec) -> None:
    """Make sure that the run directory is this run's; a missing or empty one is taken into possession.

    `prepare` makes the directory and writes run.json into it; a run by hand has nobody else to do so.
    """
    folder.root.mkdir(parents=True, exist_ok=True)
    whose = owner(folder)
    if not whose and not any(folder.root.iterdir()):
        write_durably(folder.run, spec.to_json().encode())
        return
    if whose != spec.run.uid:
        belongs = f"the run with UID {whose}" if whose else "no run"
        msg = (
            f"The model directory {folder.root} belongs to {belongs}, not to {spec.run.name} (UID "
            f"{spec.run.uid}); name another modelDirectory."
        )
        raise ForeignDirectoryError(msg)


def owner(folder: RunFolder) -> str:
    """The UID of the run that the directory was made for; empty if it says none."""
    run = _document(folder.run).get("run")
    uid = run.get("uid") if isinstance(run, dict) else None
    return uid if isinstance(uid, str) else ""


def take(folder: RunFolder, spec: RunSpec, *, wait: float, pause: Callable[[float], bool]) -> Lease:
    """Lock the directory and raise its fence.

    Waits up to `wait` seconds for whoever holds it. `pause` sleeps for the seconds it is given, or less, and
    returns True when the wait is to be given up.
    """
    descriptor = _lock(folder, spec, wait=wait, pause=pause)
    lease = _document(folder.lease)
    if _number(lease, "attempt") > spec.attempt:
        os.close(descriptor)
        msg = (
            f"Attempt {_number(lease, 'attempt')} was in {folder.root} already; "
            f"attempt {spec.attempt} must not touch it any more."
        )
        raise NewerAttemptError(msg)
    # The list of checkpoints knows the fence too, should lease.json be lost.
    written = CheckpointStore(folder.root, fence=0, attempt=spec.attempt).manifest().fence
    fence = max(_number(lease, "fence"), written) + 1
    content = {
        "version": 1,
        "fence": fence,
        "attempt": spec.attempt,
        "uid": spec.run.uid,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_durably(folder.lease, (json.dumps(content) + "\n").encode())
    return Lease(fence, descriptor)


def _lock(folder: RunFolder, spec: RunSpec, *, wait: float, pause: Callable[[float], bool]) -> int:
    deadline = time.monotonic() + wait
    told = False
    while True:
        descriptor = os.open(folder.lease_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
        if _locked(descriptor, folder.lease_lock):
            return descriptor
        os.close(descriptor)
        holder = _number(_document(folder.lease), "attempt")
        if holder > spec.attempt:
            msg = f"Attempt {holder} holds {folder.root}; attempt {spec.attempt} is of no use any more."
            raise NewerAttemptError(msg)
        if time.monotonic() >= deadline:
            msg = f"{folder.root} is still held by attempt {holder} after {wait:g} s."
            raise (NewerAttemptError if holder >= spec.attempt else StillHeldError)(msg)
        if not told:
            _log.info("Waiting for attempt %d to let go of %s", holder, folder.root)
            told = True
        if pause(_LOOK_EVERY):
            msg = f"Stopped while waiting for {folder.root}."
            raise WaitInterruptedError(msg)


def _locked(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _log.warning("This filesystem has no locks; only the fence keeps attempts apart")
        return True
    # Somebody may have removed the file in between; a lock on a file without a name keeps nobody out.
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _number(document: dict[str, Any], name: str) -> int:
    value = document.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
