"""Detection classes: classes.json, the 80 slots made of it, and data.yaml."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from azaion_jobs.dataset.errors import ClassesError

SLOTS: Final = 80
BASE_CLASSES: Final = 20
"""Ids are below this, because every mode of a class has its slot this far from the one before."""

MODES: Final = (("", 0), ("(Wint)", 20), ("(Night)", 40))


@dataclass(frozen=True, slots=True)
class Classes:
    """What stands in classes.json."""

    names: tuple[str, ...]
    """The name of each of the 80 slots; the slot is the class in a label."""
    sha256: str
    """Of the file, byte by byte."""


def read(file: Path) -> Classes:
    """Read classes.json; raises ClassesError with one sentence for what is wrong first."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        msg = f"{file} is missing; put the list of detection classes there."
        raise ClassesError(msg) from None
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        msg = f"{file} is not JSON; correct it."
        raise ClassesError(msg) from None
    if not isinstance(document, list) or not document:
        msg = f"{file} must be a list with at least one class."
        raise ClassesError(msg)
    names = [f"Class-{slot}" for slot in range(SLOTS)]
    taken: set[int] = set()
    for place, entry in enumerate(document, 1):
        base, name = _entry(entry, f"{file}, class number {place} in the list")
        if base in taken:
            msg = f"{file} has the Id {base} twice; every class needs an Id of its own."
            raise ClassesError(msg)
        taken.add(base)
        for suffix, offset in MODES:
            names[base + offset] = name + suffix
    return Classes(tuple(names), hashlib.sha256(content).hexdigest())


def _entry(entry: object, place: str) -> tuple[int, str]:
    if not isinstance(entry, dict):
        msg = f"{place}: it must be an object with Id and Name."
        raise ClassesError(msg)
    base: Any = entry.get("Id")
    name: Any = entry.get("Name")
    if isinstance(base, bool) or not isinstance(base, int) or not 0 <= base < BASE_CLASSES:
        msg = f"{place}: Id must be a whole number from 0 to {BASE_CLASSES - 1}."
        raise ClassesError(msg)
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        msg = f"{place}: Name must be printable text that is not empty."
        raise ClassesError(msg)
    return base, name


def description(classes: Classes) -> str:
    """The text of data.yaml.

    It has no `path`, so that the folder can be moved, and no `download`, which would be executed.
    """
    splits = {"train": "train/images", "val": "valid/images", "test": "test/images"}
    document = {**splits, "nc": SLOTS, "names": dict(enumerate(classes.names))}
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    return text


def names_in(file: Path) -> dict[int, str]:
    """The names of the slots as a data.yaml gives them; empty where it cannot be read."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        return {int(slot): str(name) for slot, name in document["names"].items()}
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        return {}
