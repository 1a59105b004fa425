"""The files of a dataset in the making: what has been taken into which split, and what it adds up to."""

import errno
import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, NamedTuple, Self

from azaion_jobs.dataset import images
from azaion_jobs.dataset.classes import SLOTS
from azaion_jobs.dataset.corrupted import irregular, missing_label, unprintable
from azaion_jobs.dataset.labels import MOST_BYTES, Flaw, FlawError, classes_of
from azaion_jobs.dataset.manifest import Amount, ClassCounts, Corrupt, Entry
from azaion_jobs.tree import SPLITS, AnnotationFolder, DatasetFolder

_REFUSED_LINKS: Final = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
)
_TOLD_EVERY = 10_000
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_log = logging.getLogger("azaion_jobs.dataset.snapshot")


class _Taken(NamedTuple):
    """One good pair."""

    split: str
    image_bytes: int
    label_sha256: bytes


class _Target:
    """One split: its open folders, and what is in them."""

    def __init__(self, folder: AnnotationFolder, stack: ExitStack) -> None:
        self.images_folder = _open_folder(folder.images, stack)
        self.labels_folder = _open_folder(folder.labels, stack)
        self.images = 0
        self.objects_by_class = [0] * SLOTS
        self.images_by_class = [0] * SLOTS

    def count(self, classes: Sequence[int], sign: int) -> None:
        """Add an image with objects of these classes, or take it off."""
        self.images += sign
        for one in classes:
            self.objects_by_class[one] += sign
        for one in set(classes):
            self.images_by_class[one] += sign

    def of_class(self, slot: int) -> Amount:
        return Amount(self.images_by_class[slot], self.objects_by_class[slot])

    @property
    def amount(self) -> Amount:
        return Amount(self.images, sum(self.objects_by_class))


class Snapshot:
    """Takes pairs from `source` into the splits of `folder`; to be used in `with`.

    It keeps some hundred bytes an image, never a label.
    """

    def __init__(self, folder: DatasetFolder, source: AnnotationFolder, step: Callable[[str], None]) -> None:
        self._folder = folder
        self._source = source
        self._step = step
        self._stack = ExitStack()
        self._good: dict[str, _Taken] = {}
        self._bad: dict[str, Flaw | None] = {}
        self._repaired: set[str] = set()
        self._targets: dict[str, _Target] = {}
        self._source_images = self._source_labels = -1
        self.copied = 0

    def __enter__(self) -> Self:
        for split in SPLITS:
            parts = self._folder.split(split)
            parts.images.mkdir(parents=True)
            parts.labels.mkdir()
            self._targets[split] = _Target(parts, self._stack)
        for folder in (self._source.images, self._source.labels):
            # An installation that has never got an annotation has no folders for them.
            folder.mkdir(parents=True, exist_ok=True)
        self._source_images = _open_folder(self._source.images, self._stack)
        self._source_labels = _open_folder(self._source.labels, self._stack)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def good(self) -> frozenset[str]:
        """The images that are in the dataset as it is now."""
        return frozenset(self._good)

    @property
    def bad(self) -> frozenset[str]:
        """The images that could not be taken: corrupt, or gone since they were listed."""
        return frozenset(self._bad)

    def take(self, stem: str, split: str) -> None:
        """Put this pair into this split, unless it is corrupt or gone."""
        target = self._targets[split]
        try:
            self._good[stem] = self._pair(stem, split, target)
        except FlawError as error:
            self._bad[stem] = error.flaw
            _unlink(f"{stem}.jpg", target.images_folder)
        except _GoneError:
            self._bad[stem] = None
        if not (len(self._good) + len(self._bad)) % _TOLD_EVERY:
            _log.info(
                "Forming the dataset",
                extra={"context": {"images": len(self._good), "corrupt": len(self._bad)}},
            )

    def correct(self, stem: str, split: str | None) -> None:
        """See to it that this pair is in this split, or in none."""
        taken = self._good.get(stem)
        if taken is None:
            if split is not None:
                self.take(stem, split)
            return
        if taken.split == split:
            return
        old = self._targets[taken.split]
        classes = classes_of(_read(f"{stem}.txt", old.labels_folder))
        old.count(classes, -1)
        if split is None:
            _unlink(f"{stem}.jpg", old.images_folder)
            _unlink(f"{stem}.txt", old.labels_folder)
            del self._good[stem]
            self._repaired.discard(stem)
        else:
            new = self._targets[split]
            os.rename(
                f"{stem}.txt", f"{stem}.txt", src_dir_fd=old.labels_folder, dst_dir_fd=new.labels_folder
            )
            os.rename(
                f"{stem}.jpg", f"{stem}.jpg", src_dir_fd=old.images_folder, dst_dir_fd=new.images_folder
            )
            new.count(classes, +1)
            self._good[stem] = taken._replace(split=split)
        self._step("split corrected")

    def splits(self) -> dict[str, str]:
        """The split of each image."""
        return {stem: taken.split for stem, taken in self._good.items()}

    def write_files(self) -> str:
        """Write the list of images and return the hash of the dataset."""
        sha = hashlib.sha256()
        with self._folder.files.open("w", encoding="utf-8", newline="") as file:
            for line in self._lines():
                file.write(line)
                sha.update(line.encode())
        self._step("files.txt written")
        return sha.hexdigest()

    def amounts(self) -> dict[str, Amount]:
        """Images and objects of each split."""
        return {split: target.amount for split, target in self._targets.items()}

    def class_counts(self, names: Sequence[str]) -> tuple[ClassCounts, ...]:
        """Images and objects of each class that occurs, in each split."""
        return tuple(
            ClassCounts(
                slot, names[slot], {split: target.of_class(slot) for split, target in self._targets.items()}
            )
            for slot in range(SLOTS)
            if any(target.objects_by_class[slot] for target in self._targets.values())
        )

    def unmeasured(self, names: Sequence[str]) -> tuple[str, ...]:
        """Classes that are trained and not measured."""
        train, valid = self._targets["train"].objects_by_class, self._targets["valid"].objects_by_class
        return tuple(names[slot] for slot in range(SLOTS) if train[slot] and not valid[slot])

    def corrupt(self) -> tuple[Corrupt, ...]:
        """The pairs that were bad, by name."""
        return tuple(
            Corrupt(stem, flaw.reason, flaw.line)
            for stem, flaw in sorted(self._bad.items())
            if flaw is not None
        )

    def repaired(self) -> tuple[str, ...]:
        """The images that had to be encoded anew, by name."""
        return tuple(sorted(self._repaired))

    def _lines(self) -> Iterator[str]:
        for split in sorted(SPLITS):
            stems = sorted(stem for stem, taken in self._good.items() if taken.split == split)
            for stem in stems:
                taken = self._good[stem]
                yield Entry(split, stem, taken.image_bytes, taken.label_sha256.hex()).line

    def _pair(self, stem: str, split: str, target: _Target) -> _Taken:
        if not stem.isprintable():
            raise FlawError(unprintable())
        image = f"{stem}.jpg"
        self._link(image, target)
        self._step("image linked")
        descriptor = os.open(image, _READ, dir_fd=target.images_folder)
        try:
            size = os.fstat(descriptor).st_size
            whole = images.check_open(descriptor)
        finally:
            os.close(descriptor)
        try:
            label = _read(f"{stem}.txt", self._source_labels)
        except FileNotFoundError:
            raise FlawError(missing_label()) from None
        classes = classes_of(label)
        if not whole:
            size = _encode_anew(image, target.images_folder)
            self._repaired.add(stem)
            self._step("image encoded anew")
        _write(f"{stem}.txt", target.labels_folder, label)
        self._step("label written")
        target.count(classes, +1)
        return _Taken(split, size, hashlib.sha256(label).digest())

    def _link(self, image: str, target: _Target) -> None:
        try:
            os.link(image, image, src_dir_fd=self._source_images, dst_dir_fd=target.images_folder)
        except FileNotFoundError:
            raise _GoneError from None
        except OSError as error:
            if error.errno not in _REFUSED_LINKS:
                raise
            self._copy(image, target, error)

    def _copy(self, image: str, target: _Target, refusal: OSError) -> None:
        try:
            source = os.open(image, _READ, dir_fd=self._source_images)
        except FileNotFoundError:
            raise _GoneError from None
        if not stat.S_ISREG(os.fstat(source).st_mode):
            os.close(source)
            raise FlawError(irregular())
        with os.fdopen(source, "rb") as content:
            created = os.open(image, _CREATE, 0o644, dir_fd=target.images_folder)
            with os.fdopen(created, "wb") as copy:
                shutil.copyfileobj(content, copy)
        if not self.copied:
            _log.warning(
                "Images are copied, because they cannot be linked; this takes disk space for each dataset",
                extra={"context": {"first": image, "refusal": refusal.strerror}},
            )
        self.copied += 1


class _GoneError(Exception):
    """The image has left the source since it was listed."""


def _open_folder(folder: os.PathLike[str], stack: ExitStack) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor


def _read(name: str, folder: int) -> bytes:
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        # One byte more, so that what is too large is seen to be.
        return os.read(descriptor, MOST_BYTES + 1)
    except IsADirectoryError:
        raise FlawError(Flaw("the label is no regular file")) from None
    finally:
        os.close(descriptor)


def _write(name: str, folder: int, content: bytes) -> None:
    descriptor = os.open(name, _CREATE, 0o644, dir_fd=folder)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)


def _encode_anew(image: str, folder: int) -> int:
    with os.fdopen(os.open(image, _READ, dir_fd=folder), "rb") as file:
        encoded = images.encode_anew(file.read())
    # A new file: the old one is a link to the source, which stays as it is.
    os.unlink(image, dir_fd=folder)
    _write(image, folder, encoded)
    return len(encoded)


def _unlink(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
