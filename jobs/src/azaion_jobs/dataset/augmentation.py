"""Augmentation: keeps data-processed filled with eight images for each one in data.

It can be killed at any time and goes on where it was. The image of an original, written last, is the mark
that all of its eight are there; the original's label, which follows from the source label, tells whether they
are still what they should be.
"""

import itertools
import logging
import multiprocessing
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from azaion_jobs.dataset import assignment, boxes, variants
from azaion_jobs.dataset.corrupted import WAIT_SECONDS, Quarantine, judge, stems_in
from azaion_jobs.dataset.durability import sync_file_system, sync_folder
from azaion_jobs.dataset.errors import WorkerLostError
from azaion_jobs.dataset.forming import require_tree
from azaion_jobs.dataset.labels import FlawError, classes_of
from azaion_jobs.dataset.manifest import Corrupt
from azaion_jobs.tree import AnnotationFolder, Tree

BATCH: Final = 64
"""Images made durable together."""

_log = logging.getLogger("azaion_jobs.dataset.augmentation")


@dataclass(frozen=True, slots=True)
class Augmented:
    """What has been done."""

    made: int
    """Originals augmented now."""
    kept: int
    """Originals that were done before."""
    removed: int
    """Files of originals that are gone, or of attempts that were killed."""
    skipped: int
    """Originals that could not be read."""
    corrupt: tuple[Corrupt, ...]
    """Pairs that were moved out of data."""


def augment(  # noqa: PLR0913 - what tests replace, each with the default that is meant
    tree: Tree,
    *,
    seed: int,
    processes: int | None = None,
    batch: int = BATCH,
    queue_wait_seconds: float = WAIT_SECONDS,
    step: Callable[[str], None] = lambda _: None,
) -> Augmented:
    """Bring data-processed up to date with data.

    `processes` are as many as there are cores unless said otherwise. Raises TreeMissingError without a tree,
    WorkerLostError when a process was killed (most likely for want of memory), OSError for trouble with the
    disk.
    """
    require_tree(tree)
    source, target = tree.data, tree.data_processed
    for folder in (source.images, source.labels, target.images, target.labels):
        folder.mkdir(parents=True, exist_ok=True)
    corrupt = _move_corrupt(tree, queue_wait_seconds, step)
    listed = frozenset(stems_in(source.images, ".jpg"))
    removed = _remove_strangers(target, listed, step)
    work = _Work(source, target, listed, seed)
    made = skipped = 0
    tasks = work.tasks()
    first = next(tasks, None)
    if first is not None:
        with _Pool(processes or len(os.sched_getaffinity(0))) as pool:
            for chunk in _chunks(itertools.chain([first], tasks), batch):
                _withdraw(target, chunk, step)
                done = list(pool.map(variants.augment, chunk))
                step("batch written")
                _put_in_place(target, done, step)
                made += sum(not one.failure for one in done)
                skipped += sum(bool(one.failure) for one in done)
                _log.info("Augmenting", extra={"context": {"made": made, "kept": work.kept}})
        sync_file_system(target.images)
    return Augmented(made, work.kept, removed, skipped + work.skipped, corrupt)


class _Pool:
    """Processes, not threads; spawned, because forking a process with threads is a gamble."""

    def __init__(self, processes: int) -> None:
        self._executor = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=variants.start_worker,
            initargs=(os.getpid(),),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def map(
        self, work: Callable[[variants.Task], variants.Done], tasks: Iterable[variants.Task]
    ) -> Iterator[variants.Done]:
        try:
            yield from self._executor.map(work, tasks)
        except BrokenProcessPool:
            msg = (
                "A process of the augmentation was killed, most likely for want of memory; give the pod more"
                " memory or fewer cores."
            )
            raise WorkerLostError(msg) from None


class _Work:
    """What there is to do; asked image by image, so that nothing is held."""

    def __init__(
        self, source: AnnotationFolder, target: AnnotationFolder, listed: frozenset[str], seed: int
    ) -> None:
        self._source = source
        self._target = target
        self._listed = listed
        self._seed = seed
        self.kept = 0
        self.skipped = 0

    def tasks(self) -> Iterator[variants.Task]:
        for stem in sorted(self._listed):
            if not stem.isprintable():
                self.skipped += 1
                continue
            label = self._corrected(stem)
            if label is None:
                self.skipped += 1
            elif self._is_done(stem, label):
                self.kept += 1
            else:
                yield variants.Task(
                    stem,
                    str(self._source.image(stem)),
                    label,
                    str(self._target.images),
                    str(self._target.labels),
                    self._seed,
                    tuple(
                        number
                        for number in range(1, variants.COUNT + 1)
                        # An image of that name is an original itself.
                        if f"{stem}_{number}" not in self._listed
                    ),
                )

    def _corrected(self, stem: str) -> bytes | None:
        try:
            label = self._source.label(stem).read_bytes()
            classes_of(label)
        except (FileNotFoundError, FlawError):
            return None
        return boxes.label(boxes.correct(boxes.parse(label)))

    def _is_done(self, stem: str, label: bytes) -> bool:
        try:
            return self._target.image(stem).exists() and self._target.label(stem).read_bytes() == label
        except FileNotFoundError:
            return False


def _move_corrupt(tree: Tree, wait_seconds: float, step: Callable[[str], None]) -> tuple[Corrupt, ...]:
    quarantine = Quarantine(tree, tree.data, wait_seconds=wait_seconds, step=step)
    quarantine.finish_interrupted()
    corrupt = []
    for stem in sorted(stems_in(tree.data.images, ".jpg")):
        flaw = judge(tree.data, stem)
        if flaw is not None and quarantine.move(stem):
            corrupt.append(Corrupt(stem, flaw.reason, flaw.line))
    quarantine.sync()
    return tuple(corrupt)


def _remove_strangers(target: AnnotationFolder, listed: Collection[str], step: Callable[[str], None]) -> int:
    """Remove the outputs of originals that are gone, and what killed attempts left under temporary names."""
    removed = 0
    # Images before labels: what has no image is not there for anybody.
    for folder in (target.images, target.labels):
        for path in sorted(folder.iterdir()):
            if path.name.startswith(variants.TEMPORARY) or not _is_wanted(path, listed):
                path.unlink()
                removed += 1
                step("stranger removed")
    return removed


def _is_wanted(path: Path, listed: Collection[str]) -> bool:
    if path.suffix not in (".jpg", ".txt") or not path.is_file():
        # Not ours.
        return True
    stem = path.name.removesuffix(path.suffix)
    return stem in listed or assignment.is_variant(stem, listed)


def _withdraw(target: AnnotationFolder, chunk: Iterable[variants.Task], step: Callable[[str], None]) -> None:
    """Take away the marks of images that are made anew, and the variants they may no longer have."""
    for task in chunk:
        for stem in (task.stem, *(f"{task.stem}_{number}" for number in task.variants)):
            target.image(stem).unlink(missing_ok=True)
            target.label(stem).unlink(missing_ok=True)
            step("old output removed")
    sync_folder(target.images)


def _put_in_place(
    target: AnnotationFolder, done: Iterable[variants.Done], step: Callable[[str], None]
) -> None:
    """Give a batch its names, the originals' last, each time with all before made durable."""
    written = [one for one in done if not one.failure]
    for one in done:
        if one.failure:
            _log.warning("Not augmented", extra={"context": {"name": one.stem, "reason": one.failure}})
        if one.lost:
            _log.warning(
                "Variants left out, because a transform failed",
                extra={"context": {"name": one.stem, "lost": list(one.lost)}},
            )
    sync_file_system(target.images)
    step("batch synced")
    for one in written:
        for stem in one.made:
            _rename(target, stem, step)
    sync_folder(target.labels)
    sync_folder(target.images)
    step("variants synced")
    for one in written:
        _rename(target, one.stem, step)
    step("batch in place")


def _rename(target: AnnotationFolder, stem: str, step: Callable[[str], None]) -> None:
    (target.labels / f"{variants.temporary(stem)}.txt").replace(target.label(stem))
    step("label in place")
    (target.images / f"{variants.temporary(stem)}.jpg").replace(target.image(stem))
    step("image in place")


def _chunks(tasks: Iterator[variants.Task], size: int) -> Iterator[list[variants.Task]]:
    while chunk := list(itertools.islice(tasks, size)):
        yield chunk
