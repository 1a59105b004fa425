"""Counts how often a folder is opened or read, by whichever path and in whichever namespace."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_OPEN, _ACCESS, _CREATE, _DELETE, _MODIFY = 0x20, 0x1, 0x100, 0x200, 0x2
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 16


class OpenWatch:
    """The kernel's own record for one inode, through inotify."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._queue = -1

    def __enter__(self) -> Self:
        self._queue = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = _OPEN | _ACCESS | _CREATE | _DELETE | _MODIFY
        watch = self._libc.inotify_add_watch(self._queue, os.fsencode(self._folder), mask)
        if self._queue < 0 or watch < 0:
            raise OSError(ctypes.get_errno(), "inotify refused", str(self._folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._queue)

    def events(self) -> int:
        """How many there were since the last call."""
        count, offset = 0, 0
        try:
            content = os.read(self._queue, _BUFFER)
        except BlockingIOError:
            return 0
        while offset < len(content):
            _, _, _, length = _EVENT.unpack_from(content, offset)
            offset += _EVENT.size + length
            count += 1
        return count
