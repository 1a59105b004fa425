"""Files that are whole or absent, whatever happens while they are written.

Standard library only. A file is written under a temporary name (dot files are skipped by every reader),
synced, renamed, and the folder is synced, in this order; so a name never stands for half a file, not even
after a power cut.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, cast

Step = Callable[[str], None]
"""Is told what has just been done; tests end the process there."""

CHUNK: Final = 1 << 20
_MOST_BEHIND: Final = 256 << 20


def no_step(name: str) -> None:
    """Nobody watches the steps."""


def sync_folder(folder: Path) -> None:
    """Make renames and removals in this folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_beside(path: Path) -> Path:
    """The name under which `path` is written; of this process alone, so that two writers never meet."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


class _HashBeside:
    """A SHA-256 that is computed in a thread of its own, while the disk is waited for."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._collected = bytearray()
        self._behind: deque[tuple[Future[None], int]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take a copy: the writer may use its buffer again."""
        self._collected += data
        if len(self._collected) >= CHUNK:
            self._hand_over()

    def result(self) -> str:
        """The hash of all that was taken."""
        self._hand_over()
        while self._behind:
            self._behind.popleft()[0].result()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _hand_over(self) -> None:
        piece, self._collected = self._collected, bytearray()
        self._behind.append((self._thread.submit(self._hash.update, piece), len(piece)))
        # A disk that is faster than the hash must not fill the memory.
        while sum(length for _, length in self._behind) > _MOST_BEHIND:
            self._behind.popleft()[0].result()


class DurableFile:
    """Writes `path` and hashes what passes; the name appears with `commit`, and not at all without it.

    To be used as a context manager. Anything that only wants `write` can write into it, torch.save included.
    """

    def __init__(self, path: Path, *, step: Step = no_step, prefix: str = "") -> None:
        self.path = path
        self.temporary = temporary_beside(path)
        self.size = 0
        self._hash = _HashBeside()
        self._step = step
        self._prefix = prefix
        self._file = self.temporary.open("wb")

    def __enter__(self) -> Self:
        self._tell("opened")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A full disk can refuse the rest of the buffer; what matters then is that the file goes.
        with suppress(OSError):
            self._file.close()
        self._hash.close()
        self.temporary.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """The hash of what was written so far; waits for it."""
        return self._hash.result()

    @property
    def stream(self) -> BinaryIO:
        """This file, for those who want a stream: it can be written and flushed, no more."""
        return cast("BinaryIO", self)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Take the next bytes."""
        first = self.size == 0
        length = len(data) if isinstance(data, bytes | bytearray) else data.nbytes
        self._file.write(data)
        self._hash.update(data)
        self.size += length
        if first and length:
            self._file.flush()
            self._tell("half written")
        return length

    def writelines(self, parts: Iterable[bytes]) -> None:
        """Take one after the other."""
        for part in parts:
            self.write(part)

    def flush(self) -> None:
        """Hand what is buffered to the kernel."""
        self._file.flush()

    def commit(self, *, sync_parent: bool = True) -> None:
        """Sync, rename, sync the folder (or leave that to the caller, who has more to rename)."""
        self._file.flush()
        self._tell("written")
        os.fsync(self._file.fileno())
        self._tell("synced")
        self._file.close()
        self.temporary.replace(self.path)
        self._tell("renamed")
        if sync_parent:
            sync_folder(self.path.parent)
            self._tell("folder synced")

    def _tell(self, what: str) -> None:
        self._step(f"{self._prefix}{what}")


def write_durably(path: Path, data: bytes, *, step: Step = no_step, prefix: str = "") -> None:
    """Replace the content of `path` in one stroke."""
    with DurableFile(path, step=step, prefix=prefix) as file:
        file.write(data)
        file.commit()


def link_durably(source: Path, target: Path) -> None:
    """Let `target` name the same file as `source`, replacing what it named before.

    The bytes are on disk once. Where the filesystem has no hard links, they are copied.
    """
    temporary = temporary_beside(target)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        copy_durably(source, target)
        return
    # Renaming onto another name of the same file does nothing and leaves the temporary name.
    temporary.replace(target)
    temporary.unlink(missing_ok=True)
    sync_folder(target.parent)


def copy_durably(source: Path, target: Path) -> str:
    """Copy, and return the hash of what was copied."""
    with DurableFile(target) as file, source.open("rb") as original:
        while chunk := original.read(CHUNK):
            file.write(chunk)
        file.commit()
        return file.sha256


def sha256_of(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
