"""Forming a dataset, against a bare pass that does no more than has to be done to the disk.

AZAION_BENCH_IMAGES says of how many images; the promise is about 100,000. AZAION_BENCH_FOLDER says where, so
that a disk of one's choice can be measured.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_jobs.config import Config, Directories
from azaion_jobs.dataset import manifest
from azaion_jobs.dataset.durability import sync_file_system
from azaion_jobs.dataset.forming import Options, form
from support.annotated_tree import a_tree, jpeg

if TYPE_CHECKING:
    from collections.abc import Callable

    from azaion_jobs.tree import Tree
    from support.benchmark import Report

_IMAGES = 20_000
_ROUNDS = 3
_TARGET_RATIO = 2.0
_TARGET_MEGABYTES = 300.0
_OBJECTS = 5
_HEAD = 4096


def measure(report: Report) -> None:
    count = int(os.environ.get("AZAION_BENCH_IMAGES", _IMAGES))
    with tempfile.TemporaryDirectory(dir=os.environ.get("AZAION_BENCH_FOLDER")) as folder:
        tree = a_tree(Path(folder) / "tree")
        _fill(tree, count)
        bare, forming, memory = [], [], []
        # In turns, so that neither gets the better part of a shared machine.
        for number in range(_ROUNDS):
            bare.append(_in_a_process(_bare_pass, tree.root, Path(folder) / f"bare{number}")[0])
            seconds, megabytes = _in_a_process(_form, tree.root, Path(f"d{number}"))
            forming.append(seconds)
            memory.append(megabytes)
        median = sorted(forming)[_ROUNDS // 2]
        baseline = sorted(bare)[_ROUNDS // 2]
        report.figure("bare_pass_median", baseline, "s")
        report.figure(f"form_{count}_median", median, "s", baseline=baseline, target=_TARGET_RATIO)
        report.figure(f"form_{count}_memory", max(memory), "MB", target=_TARGET_MEGABYTES)
        started = time.monotonic()
        problems = manifest.verify(tree.dataset("d0").root)
        report.figure(f"verify_{count}", time.monotonic() - started, "s")
        if problems:
            raise RuntimeError(problems[0])


def _fill(tree: Tree, count: int) -> None:
    whole = jpeg(1280, 720, padding=2 * _HEAD)
    media = tree.queue.media.open("w", encoding="utf-8")
    with media:
        for number in range(count):
            # As long as the names of the platform.
            stem = f"{number:08x}-0000-4000-8000-000000000000"
            tree.data.image(stem).write_bytes(whole)
            tree.data.label(stem).write_text(
                "".join(
                    f"{(number + line) % 17} 0.5{line}1234 0.4{line}5678 0.123456 0.234567\n"
                    for line in range(_OBJECTS)
                )
            )
            media.write(json.dumps({"name": stem, "medium": f"film{number // 50}", "time": number}) + "\n")
    sync_file_system(tree.root)


def _in_a_process(work: Callable[[Path, Path], None], first: Path, second: Path) -> tuple[float, float]:
    """Seconds of the work itself, and the most memory its process has ever had."""
    # Forked, because this module is loaded by path and could not be found again.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(work, first, second, sender))
    process.start()
    sender.close()
    figures: tuple[float, float] = receiver.recv()
    process.join()
    return figures


def _measured(work: Callable[[Path, Path], None], first: Path, second: Path, sender: object) -> None:
    started = time.monotonic()
    work(first, second)
    seconds = time.monotonic() - started
    sender.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000))  # type: ignore[attr-defined]


def _tree(root: Path) -> Tree:
    return Config(directories=Directories(root=str(root))).tree


def _form(root: Path, name: Path) -> None:
    # Each round has a seed of its own, else it would reuse the one before.
    form(_tree(root), Options(name=str(name), seed=int(str(name)[1:])))


def _bare_pass(root: Path, target: Path) -> None:
    """Head and tail of each image, each label read and written, a link, one syncfs."""
    data = _tree(root).data
    (target / "images").mkdir(parents=True)
    (target / "labels").mkdir()
    with ExitStack() as stack:
        folders = []
        for folder in (data.images, data.labels, target / "images", target / "labels"):
            folders.append(os.open(folder, os.O_RDONLY))
            stack.callback(os.close, folders[-1])
        images, labels, new_images, new_labels = folders
        for image in sorted(path.name for path in data.images.iterdir()):
            label = f"{image.removesuffix('.jpg')}.txt"
            descriptor = os.open(image, os.O_RDONLY, dir_fd=images)
            os.pread(descriptor, _HEAD, 0)
            os.pread(descriptor, 2, os.fstat(descriptor).st_size - 2)
            os.close(descriptor)
            descriptor = os.open(label, os.O_RDONLY, dir_fd=labels)
            content = os.read(descriptor, 1 << 20)
            os.close(descriptor)
            descriptor = os.open(label, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=new_labels)
            os.write(descriptor, content)
            os.close(descriptor)
            os.link(image, image, src_dir_fd=images, dst_dir_fd=new_images)
    sync_file_system(target)
