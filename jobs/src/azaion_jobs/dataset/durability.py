"""What a dataset asks of the file system beyond Python's standard library."""

import ctypes
import errno
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

_AT_FDCWD = -100
_NOREPLACE = 1
# What a file system or a kernel answers that does not know the flag.
_UNKNOWN_FLAG = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})


def sync_file_system(folder: Path) -> None:
    """Make everything written to the file system of this folder durable, with one call for all files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames in this folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_to_free_name(source: Path, target: Path) -> None:
    """Rename, but raise FileExistsError if the target is there, empty or not."""
    failed = _libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _NOREPLACE)
    if not failed:
        return
    number = ctypes.get_errno()
    if number in _UNKNOWN_FLAG:
        # A plain rename would replace an empty folder, and nothing else.
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)
        return
    raise OSError(number, os.strerror(number), str(source), None, str(target))
