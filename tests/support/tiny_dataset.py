"""A dataset of drawn shapes, small enough to learn on a processor within a minute."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = 96
RED_RECTANGLE, BLUE_ELLIPSE = 0, 1
# As OpenCV has them: blue, green, red.
_COLOURS = {RED_RECTANGLE: (0, 0, 255), BLUE_ELLIPSE: (255, 0, 0)}

LEARNING: dict[str, object] = {
    "optimizer": "AdamW",
    "lr0": 0.002,
    "mosaic": 0.0,
    "warmup_epochs": 0,
    "scale": 0.1,
    "translate": 0.05,
    "nbs": 8,
}
"""Hyperparameters with which 16 epochs in batches of 8 reach an mAP50 above 0.7."""


def draw_dataset(folder: Path, *, train: int = 64, valid: int = 16, size: int = SIZE, seed: int = 0) -> Path:
    """Fill `folder` with splits, labels and data.yaml; the same arguments draw the same bytes."""
    random = np.random.default_rng(seed)
    for split, count in (("train", train), ("valid", valid), ("test", 0)):
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True)
        for number in range(count):
            image, lines = _drawn(random, size)
            cv2.imwrite(str(folder / split / "images" / f"{number:04}.jpg"), image)
            (folder / split / "labels" / f"{number:04}.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "data.yaml").write_text(
        "train: train/images\nval: valid/images\ntest: test/images\n"
        "nc: 2\nnames: {0: rectangle, 1: ellipse}\n",
        encoding="utf-8",
    )
    return folder


def _drawn(random: np.random.Generator, size: int) -> tuple[np.ndarray, list[str]]:
    noise = random.normal(110, 25, (size, size, 3))
    image = np.clip(noise, 0, 255).astype(np.uint8)
    lines = []
    for _ in range(random.integers(1, 4)):
        kind = int(random.integers(0, 2))
        width, height = (int(side) for side in random.integers(size // 8, size // 3 + 1, 2))
        left, top = int(random.integers(0, size - width)), int(random.integers(0, size - height))
        centre = (left + width // 2, top + height // 2)
        if kind == RED_RECTANGLE:
            cv2.rectangle(image, (left, top), (left + width, top + height), _COLOURS[kind], -1)
        else:
            cv2.ellipse(image, centre, (width // 2, height // 2), 0, 0, 360, _COLOURS[kind], -1)
        box = ((left + width / 2) / size, (top + height / 2) / size, width / size, height / size)
        lines.append(" ".join([str(kind), *(f"{value:.6f}" for value in box)]) + "\n")
    return image, lines
