"""Trees with annotated images in them, made in a moment."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

from azaion_jobs.config import Config, Directories

if TYPE_CHECKING:
    from pathlib import Path

    from azaion_jobs.tree import AnnotationFolder, Tree

CLASSES = [
    {"Id": 0, "Name": "Vehicle", "ShortName": "Veh", "Color": "#FF0000"},
    {"Id": 1, "Name": "Person", "ShortName": "Per", "Color": "#00FF00"},
    {"Id": 19, "Name": "Будинок", "ShortName": "Буд", "Color": "#0000FF"},
]
LABEL = "0 0.500000 0.500000 0.200000 0.100000\n"


def jpeg(width: int = 64, height: int = 48, *, padding: int = 100, end: bool = True) -> bytes:
    """As much of a JPEG as a reader of headers looks at; its pixels cannot be decoded."""
    start = b"\xff\xd8\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0\1\1\0\0\1\0\1\0\0"
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"
    scan = b"\xff\xda" + struct.pack(">H", 8) + b"\1\1\0\0\x3f\0"
    return start + frame + scan + bytes(padding) + (b"\xff\xd9" if end else b"")


def real_jpeg(width: int = 64, height: int = 48, *, seed: int = 0) -> bytes:
    """A JPEG with pixels."""
    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    written, encoded = cv2.imencode(".jpg", cv2.resize(coarse, (width, height)))
    assert written
    return bytes(encoded.tobytes())


def png(width: int = 64, height: int = 48) -> bytes:
    """A whole PNG of one colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def a_tree(root: Path, images: int = 0) -> Tree:
    """A tree with marker, classes and so many good images in `data`, called a000, a001 and so on."""
    tree = Config(directories=Directories(root=str(root))).tree
    for folder in (tree.data, tree.data_seed, tree.data_deleted):
        folder.images.mkdir(parents=True)
        folder.labels.mkdir()
    tree.queue.root.mkdir()
    tree.models.root.mkdir()
    tree.datasets.mkdir()
    tree.marker.write_text("{}")
    tree.classes.write_text(json.dumps(CLASSES))
    for number in range(images):
        add(tree.data, f"a{number:03d}", image=jpeg(padding=100 + number))
    return tree


def add(
    folder: AnnotationFolder, stem: str, *, image: bytes | None = None, label: str | bytes | None = LABEL
) -> None:
    """Put a pair there; `label=None` leaves the label out."""
    folder.images.mkdir(parents=True, exist_ok=True)
    folder.labels.mkdir(parents=True, exist_ok=True)
    folder.image(stem).write_bytes(jpeg() if image is None else image)
    if label is not None:
        folder.label(stem).write_bytes(label.encode() if isinstance(label, str) else label)


def files_below(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
