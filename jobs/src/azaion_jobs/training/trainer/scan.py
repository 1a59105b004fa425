"""The reading of labels before the start: told to the supervisor, and checked for having changed nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ultralytics.data import dataset as ultralytics_dataset
from ultralytics.data.utils import load_dataset_cache_file
from ultralytics.utils.tqdm import TQDM

from azaion_jobs.contract.messages import Scanning
from azaion_jobs.training.trainer.failures import DataError
from azaion_jobs.training.trainer.reporter import Reporter, now

_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@contextmanager
def told(reporter: Reporter) -> Iterator[None]:
    """While this lasts, progress of the scan goes to the supervisor: it can take longer than a stall may."""

    class Telling(TQDM):
        """Counts by itself: a bar that is not shown does not."""

        told = 0

        def update(self, n: int = 1) -> None:
            super().update(n)
            self.told += n
            total = int(self.total or 0)
            reporter.send(Scanning(time=now(), done=min(self.told, total), total=total))

    # The name under which the scan finds its progress bar.
    original = vars(ultralytics_dataset)["TQDM"]
    vars(ultralytics_dataset)["TQDM"] = Telling
    try:
        yield
    finally:
        vars(ultralytics_dataset)["TQDM"] = original


def check(dataset: Any, folder: Path, *, split: str) -> None:  # noqa: ANN401
    """Refuse a set of which an image was dropped or rewritten: training is on what the manifest says."""
    there = sum(1 for path in folder.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES)
    notes = _notes(dataset)
    if len(dataset) != there:
        msg = (
            f"{there - len(dataset)} of {there} images of the {split} split cannot be trained on"
            f"{': ' + notes[0] if notes else ''}. Form the dataset anew."
        )
        raise DataError(msg)
    if repaired := [note for note in notes if "restored and saved" in note]:
        msg = (
            f"{len(repaired)} images of the {split} split are damaged: {repaired[0]}. Form the dataset anew."
        )
        raise DataError(msg)
    if not any(len(label["cls"]) for label in dataset.labels):
        msg = f"The {split} split holds no object: there is nothing to learn or to measure."
        raise DataError(msg)


def _notes(dataset: Any) -> list[str]:  # noqa: ANN401
    """What the scan had to say, from the file it leaves where it can."""
    try:
        cache = load_dataset_cache_file(Path(dataset.label_files[0]).parent.with_suffix(".cache"))
    except (OSError, ValueError, AttributeError, IndexError):
        return []
    return [str(note) for note in cache.get("msgs", ())]
