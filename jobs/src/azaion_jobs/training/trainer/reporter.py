"""Tells the supervisor how it goes, without ever making training wait or fail.

Standard library only. The pipe is written without blocking, from the training thread itself: loader workers
are forked from this process, and a second thread is what one does not want to fork.
"""

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Self

from azaion_jobs.contract.messages import PIPE_VARIABLE, Message, Scanning, Step, Validating, encode

now = time.monotonic
"""The clock of all messages."""

_PAUSE_SECONDS: Final = 0.5
# Only what must not be lost is kept while nobody reads: some lines an epoch.
_MOST_WAITING: Final = 4096
_LAST_WORDS_SECONDS: Final = 5.0


class Reporter:
    """Sends messages to a pipe; without one it does nothing.

    Measurements inside an epoch go out at most twice a second and are dropped while the pipe is full;
    everything else waits for room.
    """

    def __init__(self, descriptor: int | None, *, clock: Callable[[], float] = now) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._last: dict[type[Message], float] = {}
        if descriptor is not None:
            os.set_blocking(descriptor, False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """The pipe that the supervisor opened, if there is a supervisor."""
        with contextlib.suppress(ValueError, OSError):
            descriptor = int(environ.get(PIPE_VARIABLE, ""))
            os.fstat(descriptor)
            return cls(descriptor)
        return cls(None)

    def send(self, message: Message) -> None:
        """Send it, keep it for later, or drop it, whichever its kind allows."""
        if self._descriptor is None:
            return
        self._flush()
        if _can_be_dropped(message):
            pause = self._clock() - self._last.get(type(message), -_PAUSE_SECONDS)
            if self._waiting or pause < _PAUSE_SECONDS:
                return
        self._last[type(message)] = self._clock()
        # Nothing that goes wrong here is worth a training.
        with contextlib.suppress(Exception):
            self._waiting.append(encode(message))
            self._flush()

    def close(self) -> None:
        """Give the reader a few seconds for what still waits; then it is lost."""
        end = self._clock() + _LAST_WORDS_SECONDS
        while self._descriptor is not None and self._waiting and self._clock() < end:
            with contextlib.suppress(OSError, ValueError):
                select.select([], [self._descriptor], [], 0.2)
            self._flush()

    def _flush(self) -> None:
        while self._waiting and self._descriptor is not None:
            line = self._waiting[0]
            try:
                written = os.write(self._descriptor, line)
            except BlockingIOError:
                return
            except OSError:
                # The reader is gone for good.
                self._descriptor = None
                self._waiting.clear()
                return
            if written < len(line):
                self._waiting[0] = line[written:]
                return
            self._waiting.popleft()


def _can_be_dropped(message: Message) -> bool:
    """Measurements can, but for the ones that begin or end something."""
    match message:
        case Step():
            return message.batch < message.batches
        case Validating():
            return message.batch > 0
        case Scanning():
            return message.done < message.total
    return False
