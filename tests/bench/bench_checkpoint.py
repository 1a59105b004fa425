"""How long training stands still for a durable checkpoint, against a plain write with fsync of the same."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from ultralytics.models.yolo.model import YOLO

from azaion_jobs.training.checkpoints import CheckpointStore, Stage

if TYPE_CHECKING:
    from support.benchmark import Report

_ROUNDS = 7
_MOST_TIMES_A_PLAIN_WRITE = 1.5
_MINUTES = 10
_MOST_OF_TRAINING = 0.005


def measure(report: Report) -> None:
    for name in ("yolo26n.yaml", "yolo26m.yaml"):
        state = _state(name)
        serialized = io.BytesIO()
        torch.save(state, serialized)
        content = serialized.getvalue()
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            plain, durable = [], []
            store = CheckpointStore(Path(folder), fence=1, attempt=1)
            for number in range(_ROUNDS):
                # In turn, so that both meet the same moods of the disk.
                beside = Path(folder) / f"plain-{number}"
                plain.append(_seconds(partial(_write_plainly, beside, state)))
                beside.unlink()
                durable.append(_seconds(partial(_save, store, state, number)))
        size = len(content) / 1e6
        median = sorted(durable)[_ROUNDS // 2]
        report.figure(f"{name}_state", size, "MB")
        report.figure(
            f"{name}_save_median_n{_ROUNDS}",
            median,
            "s",
            baseline=sorted(plain)[_ROUNDS // 2],
            target=_MOST_TIMES_A_PLAIN_WRITE,
        )
        share = median / (_MINUTES * 60)
        report.figure(f"{name}_share_at_{_MINUTES}_minutes", share, "of time", target=_MOST_OF_TRAINING)


def _state(name: str) -> dict[str, object]:
    """As large as AdamW's: live and averaged weights and two moments for each."""
    model: Any = YOLO(name).model
    weights = model.state_dict()
    return {
        part: {key: value.clone() for key, value in weights.items()}
        for part in ("model", "ema", "first", "second")
    }


def _write_plainly(path: Path, state: dict[str, object]) -> None:
    with path.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def _save(store: CheckpointStore, state: dict[str, object], number: int) -> None:
    def write(stream: BinaryIO) -> None:
        torch.save(state, stream)

    store.save(write, epoch=number + 1, batch=0, stage=Stage.EPOCH)


def _seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started
