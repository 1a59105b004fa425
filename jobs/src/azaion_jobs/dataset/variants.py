"""Eight images out of one: what a worker process of the augmentation does.

The transforms are made anew in each process, and each variant is drawn from a seed of its own, so that it
does not matter how many processes there are or where an earlier attempt stopped.
"""

import ctypes
import hashlib
import os
import signal
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from azaion_jobs.dataset import boxes
from azaion_jobs.dataset.boxes import Box

COUNT: Final = 7
QUALITY: Final = 95
TEMPORARY: Final = ".augmenting-"
"""What the name of a file starts with that is not yet in its place."""

_PR_SET_PDEATHSIG = 1

Pixels: TypeAlias = Any
"""An array of rows, columns and three colours; numpy's types would have to be imported for its name."""


Pipeline: TypeAlias = Any
"""What albumentations has composed; it has no types."""


class Task(NamedTuple):
    """One image to be augmented; folders as text, because many tasks travel between processes."""

    stem: str
    image: str
    label: bytes
    """The corrected label of the original."""
    images: str
    labels: str
    seed: int
    variants: tuple[int, ...]


class Done(NamedTuple):
    """What has been written under temporary names."""

    stem: str
    made: tuple[str, ...]
    """Stems of the variants."""
    lost: tuple[str, ...] = ()
    """Variants that a transform has failed on, and how."""
    failure: str = ""
    """Why nothing could be made of the image."""


def start_worker(parent: int) -> None:
    """Prepare this process: it has one core to itself, and must not outlive the one that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    # Stopping is the business of the process that hands out the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2  # noqa: PLC0415 - heavy, and only for workers

    cv2.setNumThreads(0)


def augment(task: Task) -> Done:
    """Write all variants of one image, and the original, under temporary names."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    try:
        content = Path(task.image).read_bytes()
    except FileNotFoundError:
        return Done(task.stem, (), failure="the image is gone")
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if pixels is None:
        return Done(task.stem, (), failure="the image cannot be decoded")
    original = boxes.parse(task.label)
    made, lost = [], []
    for number in task.variants:
        stem = f"{task.stem}_{number}"
        try:
            image, found = _variant(pixels, original, variant_seed(task.seed, task.stem, number))
            encoded = _encoded(image)
        # Whatever a transform chokes on costs one variant, not the image.
        except Exception as error:  # noqa: BLE001
            lost.append(f"{stem}: {type(error).__name__}: {error}")
            continue
        _write(task, stem, encoded, boxes.label(boxes.correct(found)))
        made.append(stem)
    _write(task, task.stem, content, task.label)
    return Done(task.stem, tuple(made), tuple(lost))


def variant_seed(seed: int, stem: str, number: int) -> int:
    """Where the random numbers of this variant start."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{stem}/{number}".encode()).digest()[:4])


def temporary(stem: str) -> str:
    """The name of a file before it is in its place, without the suffix."""
    return f"{TEMPORARY}{stem}"


def _variant(pixels: Pixels, original: list[Box], seed: int) -> tuple[Pixels, list[Box]]:
    transform = _pipeline()
    transform.set_random_seed(seed)
    result = transform(
        image=pixels, bboxes=[box[1:] for box in original], slots=[box.slot for box in original]
    )
    # Labels come back as floats.
    found = [
        Box(int(slot), *(float(number) for number in box))
        for slot, box in zip(result["slots"], result["bboxes"], strict=True)
    ]
    return result["image"], found


@cache
def _pipeline() -> Pipeline:
    # Else it asks the network for a newer version.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations  # type: ignore[import-untyped]  # noqa: PLC0415

    return albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=0.6),
            albumentations.RandomBrightnessContrast(p=0.4),
            albumentations.Affine(scale=(0.8, 1.2), rotate=(-35, 35), shear=(-10, 10), p=0.8),
            albumentations.MotionBlur(p=0.1),
            albumentations.HueSaturationValue(p=0.4),
        ],
        bbox_params=albumentations.BboxParams(
            format="yolo",
            label_fields=["slots"],
            clip=True,
            filter_invalid_bboxes=True,
            min_visibility=0,
        ),
    )


def _encoded(pixels: Pixels) -> bytes:
    import cv2  # noqa: PLC0415

    written, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not written:
        msg = "OpenCV cannot encode the image"
        raise ValueError(msg)
    return bytes(encoded.tobytes())


def _write(task: Task, stem: str, image: bytes, label: bytes) -> None:
    Path(task.labels, f"{temporary(stem)}.txt").write_bytes(label)
    Path(task.images, f"{temporary(stem)}.jpg").write_bytes(image)
