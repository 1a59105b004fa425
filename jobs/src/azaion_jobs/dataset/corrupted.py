"""Moving bad pairs out of an annotation folder, in turns with the annotation queue.

The queue may be at work on the same files. So each pair is moved under the lock of the tree, never while a
group of messages is half applied, and only if it is still bad then.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from azaion_jobs.dataset import images, labels
from azaion_jobs.dataset.durability import sync_folder
from azaion_jobs.dataset.labels import Flaw, FlawError
from azaion_jobs.tree import AnnotationFolder, Tree

WAIT_SECONDS = 60.0
"""How long the queue may keep the tree to itself before bad pairs are left where they are."""

_PAUSE_SECONDS = 0.05

_log = logging.getLogger("azaion_jobs.dataset.corrupted")


class _TreeBusyError(Exception):
    """The queue did not give the tree free in time."""


class Quarantine:
    """Moves pairs from `source` to data-corrupted; a pair is its image, its label, or both."""

    def __init__(
        self,
        tree: Tree,
        source: AnnotationFolder,
        *,
        wait_seconds: float = WAIT_SECONDS,
        step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._tree = tree
        self._source = source
        self._target = tree.data_corrupted
        self._wait_seconds = wait_seconds
        self._step = step
        self._busy = False
        self._moved = False

    def finish_interrupted(self) -> None:
        """Move the labels whose images an earlier attempt had moved when it was killed."""
        for stem in sorted(stems_in(self._target.images, ".jpg")):
            if not self._is_half_moved(stem):
                continue
            with self._turn(stem) as granted:
                if granted and self._is_half_moved(stem):
                    self._move_label(stem)

    def move(self, stem: str) -> bool:
        """Move this pair if it is still bad; False if it stays."""
        with self._turn(stem) as granted:
            if not granted or judge(self._source, stem) is None:
                return False
            for folder in (self._target.images, self._target.labels):
                folder.mkdir(parents=True, exist_ok=True)
            # The label of an earlier bad pair of this name would pass for this one's.
            _file(self._target.labels, stem, ".txt").unlink(missing_ok=True)
            # A label leaves after its image, so that no image ever waits for a label.
            _file(self._source.images, stem, ".jpg").replace(_file(self._target.images, stem, ".jpg"))
            self._moved = True
            self._step("corrupt image moved")
            if _file(self._source.labels, stem, ".txt").exists():
                self._move_label(stem)
            return True

    def sync(self) -> None:
        """Make all moves durable."""
        if self._moved:
            for parts in (self._target, self._source):
                sync_folder(parts.images)
                sync_folder(parts.labels)
            self._step("moves synced")

    def _move_label(self, stem: str) -> None:
        self._target.labels.mkdir(parents=True, exist_ok=True)
        _file(self._source.labels, stem, ".txt").replace(_file(self._target.labels, stem, ".txt"))
        self._moved = True
        self._step("corrupt label moved")

    def _is_half_moved(self, stem: str) -> bool:
        # The queue leaves no such state behind: a label that it puts into the folder brings its image along.
        return (
            _file(self._source.labels, stem, ".txt").exists()
            and not _file(self._source.images, stem, ".jpg").exists()
            and _file(self._target.images, stem, ".jpg").exists()
            and not _file(self._target.labels, stem, ".txt").exists()
        )

    @contextmanager
    def _turn(self, stem: str) -> Iterator[bool]:
        """Hold the lock of the tree while no group is being applied; False if that could not be had."""
        if self._busy:
            yield False
            return
        self._tree.queue.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._tree.queue.tree_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                self._wait(descriptor)
            except _TreeBusyError:
                self._busy = True
                _log.warning(
                    "Corrupt pairs stay where they are, because the annotation queue keeps the tree locked;"
                    " the next dataset moves them",
                    extra={"context": {"first": stem, "lock": str(self._tree.queue.tree_lock)}},
                )
            yield not self._busy
        finally:
            os.close(descriptor)

    def _wait(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not self._tree.queue.group.exists():
                    return
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            except BlockingIOError:
                pass
            if time.monotonic() >= deadline:
                raise _TreeBusyError
            time.sleep(_PAUSE_SECONDS)


def judge(source: AnnotationFolder, stem: str) -> Flaw | None:
    """What is wrong with this pair; None if nothing is, or if its image is gone."""
    image = _file(source.images, stem, ".jpg")
    if not stem.isprintable():
        return unprintable() if os.path.lexists(image) else None
    try:
        descriptor = os.open(image, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        whole = images.check_open(descriptor)
        if not whole:
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                stream.seek(0)
                images.encode_anew(stream.read())
        labels.classes_of(_file(source.labels, stem, ".txt").read_bytes())
    except FlawError as error:
        return error.flaw
    except FileNotFoundError:
        return missing_label()
    except IsADirectoryError:
        return Flaw("the label is no regular file")
    finally:
        os.close(descriptor)
    return None


def unprintable() -> Flaw:
    """A name that no list could show."""
    return Flaw("the name has characters that cannot be printed")


def irregular() -> Flaw:
    """A folder or the like under the name of an image."""
    return Flaw("the image is no regular file")


def missing_label() -> Flaw:
    """An image alone."""
    return Flaw("the label is missing")


def stems_in(folder: Path, suffix: str) -> Iterator[str]:
    """The names in a folder that end with `suffix`, without it; dot files are nobody's business."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if entry.name.endswith(suffix) and not entry.name.startswith("."):
                    yield entry.name.removesuffix(suffix)
    except FileNotFoundError:
        return


def _file(folder: Path, stem: str, suffix: str) -> Path:
    # Not by the tree: what is moved here may have a name that the tree would refuse.
    return folder / f"{stem}{suffix}"
