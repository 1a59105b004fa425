"""Sessions, orphans and signals of processes, as /proc and the kernel tell of them."""

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_PROC: Final = Path("/proc")


def adopt_orphans() -> None:
    """Have orphans below this process become its children, as they do for pid 1."""
    if os.getpid() != 1:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(*, but: int | None) -> None:
    """Take the exit status of every ended child but one, whose status somebody else wants."""
    with suppress(ChildProcessError):
        for pid in _children(os.getpid()):
            if pid != but:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def living_in_session(session: int) -> list[int]:
    """The processes of a session that still run; a zombie does not."""
    living = []
    for pid, fields in _processes():
        if int(fields[3]) == session and fields[0] not in ("Z", "X"):
            living.append(pid)
    return living


def kill_session(session: int) -> None:
    """SIGKILL for every process of a session, also for those that have left its process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(session, signal.SIGKILL)
    for pid in living_in_session(session):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _children(parent: int) -> list[int]:
    return [pid for pid, fields in _processes() if int(fields[1]) == parent]


def _processes() -> list[tuple[int, list[str]]]:
    """Pid and the fields of its stat behind the name: state, parent, group, session and so on."""
    found = []
    for path in _PROC.iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                # The name stands in brackets and may hold blanks and brackets.
                found.append((int(path.name), (path / "stat").read_text().rpartition(")")[2].split()))
    return found
