"""Waiting for processes that are not our children."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def open_all(pids: Iterable[int | None]) -> list[int]:
    """A file descriptor for each process that lives; it stays that process's, whoever gets the pid later."""
    descriptors = []
    for pid in pids:
        if pid:
            try:
                descriptors.append(os.pidfd_open(pid))
            except ProcessLookupError:
                continue
    return descriptors


def await_end(descriptors: Iterable[int], *, seconds: float) -> bool:
    """Waits until all have ended, closes the descriptors; False if some lived on."""
    waiting, deadline = set(descriptors), time.monotonic() + seconds
    while waiting and (left := deadline - time.monotonic()) > 0:
        ended, _, _ = select.select(waiting, [], [], left)
        for descriptor in ended:
            os.close(descriptor)
            waiting.remove(descriptor)
    for descriptor in waiting:
        os.close(descriptor)
    return not waiting
