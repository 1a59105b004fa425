"""Augmentation, against the plain limit: decoding an image once and encoding seven, on one core."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from azaion_jobs.dataset import boxes, variants
from azaion_jobs.dataset.augmentation import augment
from support.annotated_tree import a_tree, add, real_jpeg

if TYPE_CHECKING:
    from support.benchmark import Report

_IMAGES = 160
_WIDTH, _HEIGHT = 1280, 720
_LABEL = "3 0.5 0.5 0.4 0.3\n7 0.99 0.5 0.2 0.1\n1 0.2 0.2 0.1 0.1\n"


def measure(report: Report) -> None:
    """Figures count outputs: eight to an image."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=os.environ.get("AZAION_BENCH_FOLDER")) as folder:
        tree = a_tree(Path(folder))
        for number in range(_IMAGES):
            add(tree.data, f"i{number:03d}", image=real_jpeg(_WIDTH, _HEIGHT, seed=number), label=_LABEL)
        limit = _plain(tree.data.image("i000").read_bytes())
        core = _one_core(tree.data.image("i000"), Path(folder))
        report.figure("decode_encode_limit", limit, "img/s/core")
        report.figure("augment_one_core", core, "img/s/core", baseline=limit)
        started = time.monotonic()
        augment(tree, seed=0)
        whole = 8 * _IMAGES / (time.monotonic() - started)
        report.figure(f"augment_{_IMAGES}_images_whole", whole / cores, "img/s/core")
        started = time.monotonic()
        augment(tree, seed=0)
        report.figure("augment_nothing_to_do", time.monotonic() - started, "s")


def _plain(image: bytes) -> float:
    cv2.setNumThreads(0)
    started = time.monotonic()
    rounds = 6
    for _ in range(rounds):
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError("The image cannot be decoded.")
        for _ in range(variants.COUNT):
            cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, variants.QUALITY])
    return 8 * rounds / (time.monotonic() - started)


def _one_core(image: Path, folder: Path) -> float:
    label = boxes.label(boxes.correct(boxes.parse(_LABEL.encode())))
    images, labels = folder / "images", folder / "labels"
    images.mkdir()
    labels.mkdir()

    def task(stem: str) -> variants.Task:
        return variants.Task(stem, str(image), label, str(images), str(labels), 0, tuple(range(1, 8)))

    # The first pays for the imports.
    variants.augment(task("warm"))
    started = time.monotonic()
    rounds = 6
    for number in range(rounds):
        variants.augment(task(f"i{number}"))
    return 8 * rounds / (time.monotonic() - started)
