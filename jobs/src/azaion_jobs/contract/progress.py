"""/progress: what a running train pod says about itself; the operator and people read it."""

import json
import math
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from azaion_jobs.contract.documents import Bounds, DocumentError, read, written

PROGRESS_VERSION: Final = 1

Phase = Literal[
    "waiting", "starting", "rehearsing", "training", "validating", "finishing", "restarting", "stopping"
]

_Count = Annotated[int, Bounds(0)]


class ProgressError(DocumentError):
    """A text that claims to be a progress document is none; the message names the field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointProgress:
    """The newest checkpoint. Inside an epoch `epoch` counts the finished ones before it."""

    epoch: _Count
    batch: _Count
    stage: str
    file: str
    size: _Count
    sha256: str
    time: str
    """When it was written, in UTC."""
    age_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviousEnd:
    """How the attempt before this one ended, from its verdict.json."""

    outcome: str
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One moment of a training. Epochs count from 1; `epoch` is the last finished one, 0 before the first."""

    run: str
    uid: str
    attempt: _Count
    fence: _Count
    phase: Phase
    epochs: _Count
    version: int = PROGRESS_VERSION
    epoch: _Count = 0
    batch: _Count = 0
    batches: _Count = 0
    percent: Annotated[float, Bounds(0, 100)] = 0
    eta_seconds: float | None = None
    loss: float | None = None
    map50: float | None = None
    map50_95: float | None = None
    learning_rate: float | None = None
    step_seconds: float | None = None
    data_wait_ratio: float | None = None
    """The part of the recent steps that was spent waiting for data."""
    batch_size: _Count = 0
    """As asked for."""
    effective_batch_size: _Count = 0
    """As trained with, after out-of-memory."""
    workers: _Count = 0
    learning_rate_scale: float = 1
    restarts: _Count = 0
    """Of the trainer in place, over all attempts of this run directory."""
    stalls: _Count = 0
    stalled: bool = False
    checkpoint: CheckpointProgress | None = None
    checkpoint_failures: _Count = 0
    checkpoint_problem: str = ""
    """Why the last try to write a checkpoint failed; empty when the last one succeeded."""
    last_progress_seconds: float = 0
    """So long ago the last step, validation batch or checkpoint was done."""
    message: str = ""
    """What the supervisor is doing, or has last done, in one sentence."""
    previous: PreviousEnd | None = None

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the document; fields of a newer writer are skipped."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            msg = "The progress is not JSON."
            raise ProgressError(msg) from None
        if isinstance(document, dict) and document.get("version", PROGRESS_VERSION) != PROGRESS_VERSION:
            msg = f"progress.version is {document['version']!r}; this software reads {PROGRESS_VERSION}."
            raise ProgressError(msg)
        try:
            return read(cls, document, where="progress", keys=_key, closed=False)
        except DocumentError as error:
            raise ProgressError(str(error)) from None

    def to_json(self) -> str:
        """The document; what is not finite becomes null."""
        return json.dumps(_finite(written(self, keys=_key)), ensure_ascii=False, allow_nan=False)


def _key(name: str) -> str:
    special = {"map50": "mAP50", "map50_95": "mAP50_95"}
    head, *tail = name.split("_")
    return special.get(name) or head + "".join(word.capitalize() for word in tail)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
