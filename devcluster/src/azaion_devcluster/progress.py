"""Tells the person waiting what takes so long. Silence for a few seconds is fine, longer is not."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_SECONDS = 3.0
_TERMINAL_EVERY = 1.0
_PLAIN_EVERY = 30.0


def say(text: str) -> None:
    """One line for the person at the terminal; stdout stays free for results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Shows `what` with the seconds it takes, once it takes longer than a few."""
    started, done = time.monotonic(), threading.Event()
    terminal = sys.stderr.isatty()

    def report() -> None:
        wait = _PATIENCE_SECONDS
        while not done.wait(wait):
            seconds = time.monotonic() - started
            if terminal:
                print(f"\r\033[K{what} … {seconds:.0f} s", end="", file=sys.stderr, flush=True)
            else:
                say(f"{what} … {seconds:.0f} s")
            wait = _TERMINAL_EVERY if terminal else _PLAIN_EVERY

    reporter = threading.Thread(target=report, name="progress", daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()
        seconds = time.monotonic() - started
        if seconds >= _PATIENCE_SECONDS:
            say(("\r\033[K" if terminal else "") + f"{what}: {seconds:.0f} s")
