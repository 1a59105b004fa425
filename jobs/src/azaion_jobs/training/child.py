"""The trainer as a process: started in a session of its own, heard over a pipe, ended without remains."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from azaion_jobs.contract.messages import PIPE_VARIABLE, Message, MessageError, decode
from azaion_jobs.training import processes

_CHUNK: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 20
_LOOK_EVERY: Final = 0.05

_log = logging.getLogger("azaion_jobs.supervisor")


class Child:
    """One trainer. Whoever starts it must call `end` before starting another one."""

    def __init__(self, process: "subprocess.Popen[bytes]", pipe: int) -> None:
        self._process = process
        self._pipe = pipe
        self._rest = b""
        self._open = True
        self._complained = False

    @classmethod
    def start(
        cls, command: Sequence[str], *, lock: int, environment: Mapping[str, str] | None = None
    ) -> Self:
        """Start the command; it inherits the lock of the run directory and the writing end of a pipe."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        launcher = [sys.executable, "-m", "azaion_jobs.training.launch", str(os.getpid())]
        try:
            process = subprocess.Popen(  # noqa: S603 - the supervisor's own command
                [*launcher, *command],
                env={**os.environ, **(environment or {}), PIPE_VARIABLE: str(theirs)},
                pass_fds=(theirs, lock),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """Its pid, which is its session's number too."""
        return self._process.pid

    @property
    def pipe(self) -> int | None:
        """The reading end, for those who wait for messages; None once nobody can write any more."""
        return self._pipe if self._open else None

    def poll(self) -> int | None:
        """Its exit status, None while it runs; ended orphans are reaped on the way."""
        returncode = self._process.poll()
        processes.reap_orphans(but=self.pid)
        return returncode

    def messages(self) -> list[Message]:
        """What it has said since the last call; never waits."""
        chunks = [self._rest]
        with suppress(BlockingIOError):
            while chunk := os.read(self._pipe, _CHUNK):
                chunks.append(chunk)
            self._open = False
        *lines, self._rest = b"".join(chunks).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            self._rest = b""
        return [message for line in lines if line.strip() and (message := self._decoded(line))]

    def request_stop(self) -> None:
        """Ask it to write a checkpoint and to leave."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def end(self, *, wait: float, shared_memory: Path | None) -> bool:
        """Kill what is left of its session, reap it, empty the shared memory it used.

        Returns False if something outlived `wait` seconds: a process that hangs in a driver or on a disk.
        """
        deadline = time.monotonic() + wait
        processes.kill_session(self.pid)
        gone = _until(lambda: self.poll() is not None and not self._remains(), deadline)
        if shared_memory is not None:
            empty(shared_memory)
        return gone

    def close(self) -> None:
        """Give the pipe back, after its last messages have been read."""
        os.close(self._pipe)

    def _remains(self) -> bool:
        if not processes.living_in_session(self.pid):
            return False
        # Something may have been forked between the look and the signal.
        processes.kill_session(self.pid)
        return True

    def _decoded(self, line: bytes) -> Message | None:
        try:
            return decode(line)
        except MessageError as error:
            # Another version of the trainer, or a library that writes where it should not.
            if not self._complained:
                _log.warning("A message of the trainer is skipped: %s", error)
                self._complained = True
            return None


def empty(folder: Path) -> None:
    """Remove the files of a memory filesystem; segments of killed processes stay there for ever."""
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                path.unlink()


def _until(true: Callable[[], bool], deadline: float) -> bool:
    while not true():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_EVERY)
    return True
