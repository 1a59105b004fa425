"""Pictures of a dataset, for people who want to see whether its labels are right."""

import colorsys
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from azaion_jobs.dataset import boxes, classes, manifest
from azaion_jobs.dataset.boxes import Box
from azaion_jobs.dataset.manifest import Entry
from azaion_jobs.tree import DatasetFolder

# The golden ratio spreads the colours of neighbouring classes as far apart as can be.
_HUE_STEP = 0.618034
_TEXT_PART = 48
_SMALLEST_TEXT = 10


def draw(folder: Path, out: Path, *, count: int, seed: int) -> Iterator[Path]:
    """Draw a sample of the images with boxes and class names into `out`, and yield each picture's path.

    The same seed gives the same sample. Raises ManifestError where `folder` holds no dataset.
    """
    names = classes.names_in(DatasetFolder(folder).description)
    out.mkdir(parents=True, exist_ok=True)
    for entry in sample(manifest.entries(folder), count=count, seed=seed):
        parts = DatasetFolder(folder).split(entry.split)
        picture = out / f"{entry.split}-{entry.stem}.jpg"
        _draw(parts.image(entry.stem), boxes.parse(parts.label(entry.stem).read_bytes()), names, picture)
        yield picture


def sample(entries: list[Entry], *, count: int, seed: int) -> list[Entry]:
    """As many entries as asked for, the same for the same seed, by name."""

    def rank(entry: Entry) -> bytes:
        return hashlib.sha256(f"{seed}/{entry.name}".encode()).digest()

    return sorted(sorted(entries, key=rank)[: max(count, 0)])


def colour(slot: int) -> tuple[int, int, int]:
    """The colour of a class, as red, green and blue."""
    red, green, blue = colorsys.hsv_to_rgb(slot * _HUE_STEP % 1, 0.9, 1)
    return round(red * 255), round(green * 255), round(blue * 255)


def _draw(image: Path, found: list[Box], names: Mapping[int, str], picture: Path) -> None:
    # Pillow, because it writes names in every script.
    from PIL import Image, ImageDraw, ImageFont, ImageOps  # noqa: PLC0415

    with Image.open(image) as opened:
        canvas: Any = ImageOps.exif_transpose(opened).convert("RGB")
    width, height = canvas.size
    size = max(min(width, height) // _TEXT_PART, _SMALLEST_TEXT)
    line = max(size // 8, 2)
    font = ImageFont.load_default(size)
    pen = ImageDraw.Draw(canvas)
    for box in found:
        left, top = (box.x - box.width / 2) * width, (box.y - box.height / 2) * height
        right, bottom = left + box.width * width, top + box.height * height
        pen.rectangle((left, top, right, bottom), outline=colour(box.slot), width=line)
        name = names.get(box.slot, f"Class-{box.slot}")
        # Above the box, or inside it where there is no room above.
        place = (left, top - size - line if top > size + line else top + line)
        pen.rectangle(pen.textbbox(place, name, font=font), fill=colour(box.slot))
        pen.text(place, name, font=font, fill=(0, 0, 0))
    # Thin lines keep their colours only without subsampling.
    canvas.save(picture, "JPEG", quality=90, subsampling=0)
