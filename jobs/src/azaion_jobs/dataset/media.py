"""Which medium each image was taken from, as the annotation queue has written it down."""

import json
import logging
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

_log = logging.getLogger("azaion_jobs.dataset.media")


def read(file: Path, stems: Collection[str]) -> dict[str, str]:
    """The medium of each of these images, where one is known; the last line about an image counts.

    A line that cannot be read, such as one being written at this moment, is passed over.
    """
    media: dict[str, str] = {}
    unreadable = 0
    try:
        lines = file.open("rb")
    except FileNotFoundError:
        return media
    with lines:
        for line in lines:
            try:
                entry = json.loads(line)
                name, medium = entry["name"], entry["medium"]
            except (ValueError, LookupError, TypeError, RecursionError):
                unreadable += 1
                continue
            if not isinstance(name, str) or name not in stems:
                continue
            if isinstance(medium, str) and medium:
                media[name] = sys.intern(medium)
            else:
                media.pop(name, None)
    if unreadable:
        _log.warning(
            "Lines about media could not be read", extra={"context": {"file": str(file), "lines": unreadable}}
        )
    return media


def in_two_splits(media: Mapping[str, str], splits: Mapping[str, str]) -> tuple[int, int]:
    """How many media the images of `splits` come from, and how many of those stand in more than one split."""
    found: dict[str, str | None] = {}
    for stem, split in splits.items():
        medium = media.get(stem)
        if medium is not None and found.setdefault(medium, split) != split:
            found[medium] = None
    return len(found), sum(split is None for split in found.values())
