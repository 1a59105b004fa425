"""Whether an image can be trained on, judged by its head and its tail alone.

The rules are those of the reader that training uses, so that what passes here is neither dropped nor repaired
there.
"""

import importlib
import os
import stat
from typing import Final

from azaion_jobs.dataset.labels import Flaw, FlawError

SMALLEST_SIDE: Final = 10
"""In pixels; training drops what is smaller."""

_OTHERS: Final = {
    b"\x89PNG\r\n\x1a\n": ("PngImagePlugin", "PngImageFile"),
    b"BM": ("BmpImagePlugin", "BmpImageFile"),
    b"RIFF": ("WebPImagePlugin", "WebPImageFile"),
    b"II*\0": ("TiffImagePlugin", "TiffImageFile"),
    b"MM\0*": ("TiffImagePlugin", "TiffImageFile"),
}
"""What may stand under the name of a JPEG, because readers go by the content: how it starts, who reads it."""

_HEAD = 4096
_SEGMENT = 9
_MARKER_BYTES = 2
_LENGTH_BYTES = 2
_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
# Start-of-frame markers: C0 to CF without the three that mean something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_END, _SCAN, _FILL = 0xD9, 0xDA, 0xFF
_MOST_SEGMENTS = 10_000
_UNREADABLE = "the header of the image cannot be read"


def check_open(descriptor: int) -> bool:
    """The same as `check` for an image of which nothing is known, not even that it is a file."""
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise FlawError(Flaw("the image is no regular file"))
    return check(descriptor, facts.st_size)


def check(descriptor: int, size: int) -> bool:
    """Whether the open image is whole; False for a JPEG without its end, which has to be encoded anew.

    Raises FlawError when its header cannot be read.
    """
    if size == 0:
        raise FlawError(Flaw("the image is empty"))
    head = os.pread(descriptor, _HEAD, 0)
    if not head.startswith(_JPEG_START):
        _check_other(descriptor, head)
        return True
    width, height = _jpeg_size(descriptor, head)
    _refuse_small(width, height)
    tail = head[-2:] if size == len(head) else os.pread(descriptor, 2, size - 2)
    return tail == _JPEG_END


def _jpeg_size(descriptor: int, head: bytes) -> tuple[int, int]:
    position = len(_JPEG_START)
    for _ in range(_MOST_SEGMENTS):
        segment = head[position : position + _SEGMENT]
        if len(segment) < _SEGMENT:
            segment = os.pread(descriptor, _SEGMENT, position)
        if len(segment) < _SEGMENT or segment[0] != _FILL:
            break
        marker = segment[1]
        if marker in _FRAMES:
            return int.from_bytes(segment[7:9]), int.from_bytes(segment[5:7])
        if marker == _FILL:
            position += 1
        elif marker in _WITHOUT_LENGTH:
            position += _MARKER_BYTES
        else:
            length = int.from_bytes(segment[2:4])
            if marker in (_END, _SCAN) or length < _LENGTH_BYTES:
                break
            position += _MARKER_BYTES + length
    raise FlawError(Flaw(_UNREADABLE))


def _refuse_small(width: int, height: int) -> None:
    if min(width, height) < SMALLEST_SIDE:
        reason = f"the image has {width} x {height} pixels, but needs at least {SMALLEST_SIDE} on each side"
        raise FlawError(Flaw(reason))


def _check_other(descriptor: int, head: bytes) -> None:
    # Only for what is no JPEG, which is rare; the library is the one that training reads with. Its general
    # `open` is passed by, because ultralytics replaces that with one that may install packages.
    reader = next((reader for start, reader in _OTHERS.items() if head.startswith(start)), None)
    if reader is None:
        raise FlawError(Flaw(_UNREADABLE))
    module, name = reader
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb", closefd=False) as stream:
        try:
            image = getattr(importlib.import_module(f"PIL.{module}"), name)(stream)
            width, height = image.size
            image.verify()
        # What a damaged file makes a parser raise has no common base.
        except Exception:  # noqa: BLE001
            raise FlawError(Flaw(_UNREADABLE)) from None
    _refuse_small(width, height)


def encode_anew(content: bytes) -> bytes:
    """The JPEG again, complete; what is missing of its pixels stays grey.

    Raises FlawError if there are none.
    """
    import cv2  # noqa: PLC0415 - only damaged images need it
    import numpy as np  # noqa: PLC0415

    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        100,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    try:
        # Without an end OpenCV reads nothing at all; with one, as much as there is.
        pixels = cv2.imdecode(np.frombuffer(content + _JPEG_END, np.uint8), cv2.IMREAD_COLOR)
        written, encoded = cv2.imencode(".jpg", pixels, options) if pixels is not None else (False, None)
    except cv2.error:
        written, encoded = False, None
    if not written or encoded is None:
        raise FlawError(Flaw("the image cannot be decoded"))
    return bytes(encoded.tobytes())
