"""What follows training: the weights for use, made from copies, checked, then put in place of the originals.

Each step can be repeated: killed anywhere, the next start begins again from the state that is still there.
"""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch
from ultralytics.nn.tasks import load_checkpoint
from ultralytics.utils.torch_utils import strip_optimizer

from azaion_jobs.training.checkpoints import CheckpointStore, Seal
from azaion_jobs.training.durable import link_durably, sha256_of, sync_folder
from azaion_jobs.training.trainer.failures import DataError
from azaion_jobs.training.trainer.state import is_finite
from azaion_jobs.tree import RunFolder

MAP50: Final = "metrics/mAP50(B)"
MAP50_95: Final = "metrics/mAP50-95(B)"

_log = logging.getLogger("azaion_jobs.trainer")


def complete(
    folder: RunFolder, store: CheckpointStore, validate: Callable[[Path], Mapping[str, float]]
) -> dict[str, float]:
    """Leave final.pt, last.pt and best.pt as a finished run has them, and seal it; returns best.pt's metrics.

    `validate` measures the weights in a file.
    """
    if (state := store.newest_good()) is not None:
        link_durably(store.path(state), folder.final)
    _usable_or_last(folder)
    metrics: Mapping[str, float] = {}
    for path in (folder.last, folder.best):
        copy = _stripped_copy(path)
        if path == folder.best:
            metrics = validate(copy)
        copy.replace(path)
        sync_folder(path.parent)
    left = (path for path in (folder.best, folder.last, folder.final) if path.exists())
    store.seal({path.name: Seal(size=path.stat().st_size, sha256=sha256_of(path)) for path in left})
    return {name: float(metrics.get(name, 0.0)) for name in (MAP50, MAP50_95)}


def _usable_or_last(folder: RunFolder) -> None:
    """A best.pt that was spoilt on disk is set aside; the last weights are then the best there are."""
    try:
        _load(folder.best)
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes of the loader
        _log.warning("best.pt cannot be loaded, last.pt takes its place: %s", error)
        if folder.best.exists():
            folder.best.replace(folder.best.with_name("best.pt.corrupt"))
        link_durably(folder.last, folder.best)


def _load(path: Path) -> torch.nn.Module:
    model: torch.nn.Module = load_checkpoint(path)[0]  # type: ignore[no-untyped-call]
    return model


def _stripped_copy(path: Path) -> Path:
    """The weights without optimizer in a file beside, read back and found whole."""
    copy = path.with_name(f".stripped-{path.name}")
    if not strip_optimizer(path, s=str(copy)):
        msg = f"The weights {path} cannot be loaded."
        raise DataError(msg)
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    if not is_finite(_load(copy)):
        msg = f"The weights {path} are not all finite."
        raise DataError(msg)
    return copy
