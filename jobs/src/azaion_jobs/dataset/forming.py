"""Forming a dataset: a snapshot of an annotation folder, divided, checked and hard-linked.

Everything is put together in a dot folder, made durable at once and then renamed, so that a kill at any
moment leaves either nothing or a whole dataset. Each pair is linked first and judged by its link: whatever
becomes of the source meanwhile, what was judged is what is in the dataset. The split of an image follows
from the number of good groups, which is known only at the end; so all are placed as if none were bad, and
the few at the borders for which that was wrong are moved afterwards.
"""

import datetime as dt
import fcntl
import functools
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from azaion_jobs.dataset import assignment, classes, manifest, media
from azaion_jobs.dataset.assignment import Percentages
from azaion_jobs.dataset.corrupted import WAIT_SECONDS, Quarantine, stems_in
from azaion_jobs.dataset.durability import rename_to_free_name, sync_file_system, sync_folder
from azaion_jobs.dataset.errors import (
    DatasetChangedError,
    DatasetNameError,
    FormingElsewhereError,
    TreeMissingError,
)
from azaion_jobs.dataset.manifest import Corrupt, Manifest, ManifestError
from azaion_jobs.dataset.snapshot import Snapshot
from azaion_jobs.tree import AnnotationFolder, DatasetFolder, Tree, is_single_part

BY_HAND: Final = "by-hand"
"""Stands for the UID of a run where there is none."""

ABANDONED_SECONDS: Final = 24 * 3600.0
"""After this long, what a run left behind in making is removed by any other."""

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DATED = re.compile(r"azaion-\d{4}-\d{2}-\d{2}(-\d+)?")
_LOGGED_PAIRS = 50

_log = logging.getLogger("azaion_jobs.dataset.forming")

Step = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What is asked for."""

    name: str = ""
    """Of the dataset; empty for a dated one."""
    seed: int = 0
    split: Percentages = field(default_factory=Percentages)
    group_by: Literal["image", "medium"] = "image"
    augmented: bool = False
    """Whether the images are those of data-processed."""
    run_uid: str = BY_HAND

    def __post_init__(self) -> None:
        """Refuse names that lead elsewhere."""
        if self.name and (not is_single_part(self.name) or self.name.startswith(".")):
            msg = f"The dataset name {self.name!r} must be one plain name without a slash or a leading dot."
            raise DatasetNameError(msg)
        if _UID.fullmatch(self.run_uid) is None:
            msg = f"The run UID {self.run_uid!r} must be at most 100 letters, digits and ._- characters."
            raise DatasetNameError(msg)


@dataclass(frozen=True, slots=True)
class Formed:
    """The dataset that is now there."""

    name: str
    manifest: Manifest
    reused: bool
    """Whether it was there before."""

    @property
    def hash(self) -> str:
        """Of the dataset."""
        return self.manifest.hash


def form(  # noqa: PLR0913 - what tests replace, each with the default that is meant
    tree: Tree,
    options: Options,
    *,
    already_corrupt: Iterable[Corrupt] = (),
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    queue_wait_seconds: float = WAIT_SECONDS,
    step: Step = lambda _: None,
) -> Formed:
    """Form the dataset, or find the one that is already what was asked for.

    `already_corrupt` are pairs that a step before has moved away, for the manifest. `step` is told of every
    change on the disk. Raises DatasetError and its kin for what is wrong with the data, TreeMissingError
    without a tree, FormingElsewhereError while another process forms a dataset for this run, and OSError for
    trouble with the disk.
    """
    found = existing(tree, options)
    if found is not None:
        return found
    known = classes.read(tree.classes)
    tree.datasets.mkdir(exist_ok=True)
    _remove_abandoned(tree, options)
    source = tree.data_processed if options.augmented else tree.data
    quarantine = Quarantine(tree, source, wait_seconds=queue_wait_seconds, step=step)
    with _workplace(tree, options) as workplace:
        quarantine.finish_interrupted()
        folder = DatasetFolder(workplace)
        made = _left_complete(folder, options, source, known)
        if made is None:
            _empty(workplace, step)
            known_media = functools.partial(media.read, tree.queue.media)
            made = _Making(folder, source, options, known, step).make(
                known_media, now(), tuple(already_corrupt)
            )
        # Who gave a name wants a dataset of that name.
        same = None if options.name else _same_as(tree, made)
        if same is None:
            sync_file_system(workplace)
            step("synced")
        _move_corrupt(quarantine, made.corrupt)
        if same is not None:
            _empty(workplace, step)
            workplace.rmdir()
            step("dropped for one that is the same")
            return Formed(same, manifest.read(tree.dataset(same).root), reused=True)
        name = _rename(tree, workplace, options.name, made)
        step("renamed")
        sync_folder(tree.datasets)
        step("folder synced")
    return Formed(name, made, reused=False)


def require_tree(tree: Tree) -> None:
    """Raise TreeMissingError unless the tree's marker is there."""
    if not tree.marker.exists():
        msg = (
            f"{tree.marker} is missing: the disk of {tree.root} is not mounted, or this is no tree of ours;"
            " mount it, or create the tree with './dev deploy --init-tree'."
        )
        raise TreeMissingError(msg)


def existing(tree: Tree, options: Options) -> Formed | None:
    """The dataset with the name asked for, or the one that an earlier attempt of this run has made.

    Raises TreeMissingError without a tree, DatasetChangedError if the dataset is not what its manifest says.
    """
    require_tree(tree)
    if options.name:
        folder = tree.dataset(options.name).root
        if not os.path.lexists(folder):
            return None
        return _verified(folder)
    if options.run_uid == BY_HAND:
        return None
    for folder, found in _datasets(tree):
        if found.run == options.run_uid:
            return _verified(folder)
    return None


def _verified(folder: Path) -> Formed:
    problems = manifest.verify(folder)
    if problems:
        raise DatasetChangedError(" ".join(problems))
    return Formed(folder.name, manifest.read(folder), reused=True)


def _datasets(tree: Tree) -> Iterator[tuple[Path, Manifest]]:
    """The complete datasets of the tree, by name."""
    try:
        folders = sorted(tree.datasets.iterdir())
    except FileNotFoundError:
        return
    for folder in folders:
        if folder.name.startswith("."):
            continue
        try:
            yield folder, manifest.read(folder)
        except (ManifestError, OSError):
            # Made by hand, or by the software before this one: not ours to reuse.
            continue


def _same_as(tree: Tree, made: Manifest) -> str | None:
    """A dataset that already holds exactly this, unless somebody has changed it since."""
    for folder, found in _datasets(tree):
        if (found.hash, found.description_sha256) == (made.hash, made.description_sha256):
            problems = manifest.verify(folder)
            if not problems:
                return folder.name
            _log.warning(
                "A dataset with the same content has been changed and is not used",
                extra={"context": {"dataset": folder.name, "problem": problems[0]}},
            )
    return None


@contextmanager
def _workplace(tree: Tree, options: Options) -> Iterator[Path]:
    """The dot folder of this run, for this process alone."""
    folder = tree.dataset_in_making(options.run_uid).root
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        _lock(folder, stack)
        yield folder


def _lock(folder: Path, stack: ExitStack) -> None:
    elsewhere = f"Another process is forming a dataset in {folder}; wait until it has ended and try again."
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FormingElsewhereError(elsewhere) from None
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.path.samestat(os.fstat(descriptor), folder.stat())
    except (BlockingIOError, FileNotFoundError):
        ours = False
    # The folder may have become a dataset between the opening and the lock.
    if not ours:
        raise FormingElsewhereError(elsewhere)


def _left_complete(
    folder: DatasetFolder, options: Options, source: AnnotationFolder, known: classes.Classes
) -> Manifest | None:
    """What a killed attempt of this run had finished but for the rename, if it is what is asked for now."""
    # By hand there is no telling how long ago that was.
    if options.run_uid == BY_HAND or not folder.manifest.exists() or manifest.verify(folder.root):
        return None
    left = manifest.read(folder.root)
    wanted = (options.seed, _percent(options.split), options.group_by, source.root.name, known.sha256)
    found = (left.seed, dict(left.split), left.group_by, left.source, left.classes_sha256)
    return left if found == wanted and left.run == options.run_uid else None


def _remove_abandoned(tree: Tree, options: Options) -> None:
    own = tree.dataset_in_making(options.run_uid).root.name
    pattern = tree.dataset_in_making("*").root.name
    for folder in tree.datasets.glob(pattern):
        if folder.name == own:
            continue
        try:
            if time.time() - folder.stat().st_mtime < ABANDONED_SECONDS:
                continue
            with ExitStack() as stack:
                _lock(folder, stack)
                shutil.rmtree(folder)
        except (FormingElsewhereError, FileNotFoundError):
            continue
        _log.info("Removed what an attempt has left behind", extra={"context": {"folder": str(folder)}})


def _empty(folder: Path, step: Step) -> None:
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
        step("leftover removed")


def _move_corrupt(quarantine: Quarantine, corrupt: tuple[Corrupt, ...]) -> None:
    for place, one in enumerate(corrupt):
        moved = quarantine.move(one.name)
        if place < _LOGGED_PAIRS:
            _log.warning(
                "Corrupt pair left out",
                extra={"context": {"name": one.name, "reason": one.reason, "line": one.line, "moved": moved}},
            )
    quarantine.sync()
    if len(corrupt) > _LOGGED_PAIRS:
        _log.warning(
            "More corrupt pairs were left out; the manifest lists them all",
            extra={"context": {"pairs": len(corrupt)}},
        )


def _rename(tree: Tree, workplace: Path, wanted: str, made: Manifest) -> str:
    if wanted:
        rename_to_free_name(workplace, tree.dataset(wanted).root)
        return wanted
    for name in dated_names(made.created):
        try:
            rename_to_free_name(workplace, tree.dataset(name).root)
        except FileExistsError:
            continue
        return name
    raise AssertionError  # the names have no end


def dated_names(created: str) -> Iterator[str]:
    """Names for a dataset of that time, best first: the day in UTC, then with -2, -3 and so on."""
    dated = f"azaion-{created[:10]}"
    yield dated
    number = 2
    while True:
        yield f"{dated}-{number}"
        number += 1


def _run(options: Options) -> str:
    return "" if options.run_uid == BY_HAND else options.run_uid


def _percent(split: Percentages) -> dict[str, int]:
    return {"train": split.train, "valid": split.valid, "test": split.test}


class _Making:
    """One pass over the source, from listing to manifest."""

    def __init__(
        self,
        folder: DatasetFolder,
        source: AnnotationFolder,
        options: Options,
        known: classes.Classes,
        step: Step,
    ) -> None:
        self._folder = folder
        self._source = source
        self._options = options
        self._known = known
        self._step = step

    def make(
        self,
        read_media: Callable[[frozenset[str]], Mapping[str, str]],
        created: dt.datetime,
        already_corrupt: tuple[Corrupt, ...],
    ) -> Manifest:
        """Fill the folder and return the manifest that was written into it."""
        listed = frozenset(stems_in(self._source.images, ".jpg"))
        known_media = read_media(listed)
        with Snapshot(self._folder, self._source, self._step) as snapshot:
            wanted = self._splits(listed, known_media)
            for stem in sorted(wanted):
                snapshot.take(stem, wanted[stem])
            usable = self._usable(listed, snapshot.bad)
            final = self._splits(usable, known_media)
            for stem in sorted(snapshot.good | final.keys()):
                snapshot.correct(stem, final.get(stem))
            splits = snapshot.splits()
            content_hash = snapshot.write_files()
            self._write(self._folder.description, classes.description(self._known))
            made = Manifest(
                created=created.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                run=_run(self._options),
                source=self._source.root.name,
                seed=self._options.seed,
                group_by=self._options.group_by,
                split=_percent(self._options.split),
                counts=snapshot.amounts(),
                classes=snapshot.class_counts(self._known.names),
                unmeasured=snapshot.unmeasured(self._known.names),
                media=manifest.Media(*media.in_two_splits(known_media, splits)),
                corrupt=(*already_corrupt, *snapshot.corrupt()),
                repaired=snapshot.repaired(),
                variants_left_out=len(usable) - len(final),
                copied=snapshot.copied,
                classes_sha256=self._known.sha256,
                description_sha256=_sha256_of(self._folder.description),
                hash=content_hash,
            )
        self._write(self._folder.manifest, made.to_json())
        return made

    def _usable(self, listed: frozenset[str], bad: frozenset[str]) -> frozenset[str]:
        usable = listed - bad
        if not self._options.augmented:
            return usable
        # Without its original a variant could pass for one.
        return frozenset(stem for stem in usable if assignment.original_of(stem, listed) not in bad)

    def _splits(self, stems: frozenset[str], known_media: Mapping[str, str]) -> dict[str, str]:
        by_medium = known_media.get if self._options.group_by == "medium" else lambda _: None
        splits = assignment.split_of_each(stems, self._options.seed, self._options.split, by_medium)
        if not self._options.augmented:
            return splits
        # A figure measured on distorted copies would say nothing: variants are for train.
        return {
            stem: split
            for stem, split in splits.items()
            if split == "train" or assignment.original_of(stem, stems) == stem
        }

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text, encoding="utf-8")
        self._step(f"{file.name} written")


def _sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
