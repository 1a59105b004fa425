"""What the trainer tells its supervisor: JSON lines over a pipe.

The trainer finds the writing end of the pipe in the file descriptor whose number stands in AZAION_PIPE_FD. In
messages epochs count from 1, except in `Checkpoint` and `Started`, which speak as checkpoints.json does. Any
number may be NaN where it is a measurement of a training that has gone wrong.
"""

import json
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from azaion_jobs.contract.documents import ANY_NUMBER, Bounds, DocumentError, read, written

PIPE_VARIABLE: Final = "AZAION_PIPE_FD"

CheckpointStage = Literal["train", "validate", "epoch", "final"]
FinishedStatus = Literal["finished", "stoppedEarly"]
FailureKind = Literal["oom", "oom_validation", "nan", "data", "storage", "gpu", "spec", "internal"]

_MESSAGE_CHARACTERS: Final = 2_000
_TRACEBACK_CHARACTERS: Final = 16_000

_Count = Annotated[int, Bounds(0)]
_Measured = Annotated[float, ANY_NUMBER]


class MessageError(DocumentError):
    """A line from the pipe is no message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Message:
    time: _Measured
    """Seconds of the monotonic clock, which all processes of a machine share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started(_Message):
    """The model is on its device; the next message is of a step, or of a validation that is repeated."""

    batch_size: _Count
    batches: _Count
    epochs: _Count
    epoch: _Count
    """Epochs finished so far."""
    batch: _Count
    """Batches done of the epoch that is gone on with."""
    device: str
    cuda: bool
    parameters: _Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanning(_Message):
    """Labels are being read before the start."""

    done: _Count
    total: _Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Step(_Message):
    """A batch has been trained on; sent at most twice a second, and always for an epoch's last batch."""

    epoch: _Count
    batch: _Count
    batches: _Count
    loss: _Measured
    step_seconds: _Measured
    """From the end of the step before to the end of this one."""
    wait_seconds: _Measured
    """The part of it that was spent waiting for the loader."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Validating(_Message):
    """A validation batch is done; batch 0 opens the validation."""

    epoch: _Count
    batch: _Count
    batches: _Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch(_Message):
    """An epoch is over, its validation included."""

    epoch: _Count
    epochs: _Count
    loss: _Measured
    map50: _Measured = field(metadata={"key": "mAP50"})
    map50_95: _Measured = field(metadata={"key": "mAP50_95"})
    seconds: _Measured
    lr: _Measured


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint(_Message):
    """A checkpoint is durable and entered in checkpoints.json."""

    epoch: _Count
    batch: _Count
    stage: CheckpointStage
    file: str
    size: _Count
    seconds: _Measured
    sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointFailed(_Message):
    """A checkpoint could not be written; training goes on."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopping(_Message):
    """SIGTERM has been seen; a checkpoint follows, then exit 75."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Best:
    """What the best weights reach on the validation split."""

    map50: _Measured = field(metadata={"key": "mAP50"})
    map50_95: _Measured = field(metadata={"key": "mAP50_95"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished(_Message):
    """The training is over and entered as such in checkpoints.json."""

    status: FinishedStatus
    best: Best


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed(_Message):
    """Why the trainer is about to exit. Of a long traceback the last lines are kept."""

    kind: FailureKind
    message: str
    traceback: str = ""

    def __post_init__(self) -> None:
        """Keep it short enough to be written in one go."""
        object.__setattr__(self, "message", self.message[:_MESSAGE_CHARACTERS])
        object.__setattr__(self, "traceback", self.traceback[-_TRACEBACK_CHARACTERS:])


Message = (
    Started
    | Scanning
    | Step
    | Validating
    | Epoch
    | Checkpoint
    | CheckpointFailed
    | Stopping
    | Finished
    | Failed
)

_TYPES: Final[dict[str, type[Any]]] = {
    "started": Started,
    "scanning": Scanning,
    "step": Step,
    "validating": Validating,
    "epoch": Epoch,
    "checkpoint": Checkpoint,
    "checkpoint_failed": CheckpointFailed,
    "stopping": Stopping,
    "finished": Finished,
    "failed": Failed,
}
_NAMES: Final = {kind: name for name, kind in _TYPES.items()}


def _as_it_is(name: str) -> str:
    return name


def encode(message: Message) -> bytes:
    """The message as one line, with its line feed."""
    document = {"type": _NAMES[type(message)], **written(message, keys=_as_it_is)}
    return json.dumps(document).encode() + b"\n"


def decode(line: str | bytes) -> Message:
    """The message of one line. Raises MessageError for everything else."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        msg = "A line of the pipe is not JSON."
        raise MessageError(msg) from None
    name = document.pop("type", None) if isinstance(document, dict) else None
    if not isinstance(name, str) or name not in _TYPES:
        msg = f"A message must have one of the types {', '.join(_TYPES)}."
        raise MessageError(msg)
    try:
        return typing.cast("Message", read(_TYPES[name], document, where=name, keys=_as_it_is))
    except DocumentError as error:
        raise MessageError(str(error)) from None
