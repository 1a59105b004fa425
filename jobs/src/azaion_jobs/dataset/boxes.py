"""Boxes of a label as numbers, and the correction that augmented labels go through."""

from collections.abc import Iterable
from typing import Final, NamedTuple

EDGE: Final = 0.0005
"""How far from the border of an image a corrected box ends."""

SMALLEST: Final = 0.01
"""Of the side of an image; a corrected box that is narrower or lower is dropped."""


class Box(NamedTuple):
    """One object: centre and size as parts of the image's sides."""

    slot: int
    x: float
    y: float
    width: float
    height: float


def parse(label: bytes) -> list[Box]:
    """The boxes of a label that has been found good."""
    boxes = []
    for line in label.decode("utf-8-sig").split("\n"):
        if columns := line.split():
            slot, *numbers = map(float, columns)
            boxes.append(Box(int(slot), *numbers))
    return boxes


def correct(boxes: Iterable[Box]) -> list[Box]:
    """The boxes cut off at the edge of the image; what is left too small is dropped."""
    corrected = []
    for box in boxes:
        left, right = _clipped(box.x, box.width)
        top, bottom = _clipped(box.y, box.height)
        if right - left >= SMALLEST and bottom - top >= SMALLEST:
            corrected.append(
                Box(box.slot, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            )
    return corrected


def _clipped(centre: float, size: float) -> tuple[float, float]:
    return max(centre - size / 2, EDGE), min(centre + size / 2, 1 - EDGE)


def label(boxes: Iterable[Box]) -> bytes:
    """The text of a label file."""
    return "".join(
        f"{box.slot} {box.x:.6f} {box.y:.6f} {box.width:.6f} {box.height:.6f}\n" for box in boxes
    ).encode()
