"""The request to stop, and waiting that it cuts short.

Signals arrive in the main thread; a wake-up pipe makes every wait of that thread end at once, also when a
child ends.
"""

import os
import select
import signal
import time
from contextlib import suppress
from types import FrameType
from typing import Final

_ASKED_BY: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether somebody has asked for the stop of this pod, and since when."""

    def __init__(self) -> None:
        self.since: float | None = None
        """The moment, by the monotonic clock; None while nobody has asked."""
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)

    def install(self) -> None:
        """From now on SIGTERM asks for the stop. Only from the main thread."""
        for number in _ASKED_BY:
            signal.signal(number, self._asked)
        # A handler of our own, so that the end of a child writes to the wake-up pipe.
        signal.signal(signal.SIGCHLD, _ignored)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    @property
    def requested(self) -> bool:
        """Whether somebody has asked."""
        return self.since is not None

    def pause(self, seconds: float) -> bool:
        """Wait so long, less if a signal arrives; returns `requested`."""
        self.wait_for(None, seconds)
        return self.requested

    def wait_for(self, descriptor: int | None, seconds: float) -> None:
        """Wait until the descriptor has something to read, a signal arrives, or the time is over."""
        wanted = [self._woken] if descriptor is None else [self._woken, descriptor]
        select.select(wanted, [], [], max(0.0, seconds))
        with suppress(BlockingIOError):
            while os.read(self._woken, 512):
                pass

    def _asked(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self.since is None:
            self.since = time.monotonic()


def _ignored(number: int, frame: FrameType | None) -> None:
    del number, frame
