"""run.json: what one attempt of a run is to do, fully resolved. The operator writes it, the Jobs read it."""

import json
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Self

from azaion_jobs.contract import hyperparameters
from azaion_jobs.contract.documents import (
    FILE_NAME,
    FILE_NAME_OR_EMPTY,
    Bounds,
    DocumentError,
    Matching,
    Scalar,
    read,
    written,
)

RUN_VERSION: Final = 1
_SIZE_STEP: Final = 32

Stage = Literal["prepare", "train", "release"]
Exactness = Literal["off", "order", "strict"]

_Name = Annotated[str, FILE_NAME]
_NameOrEmpty = Annotated[str, FILE_NAME_OR_EMPTY]
_Positive = Annotated[int, Bounds(1)]
_Count = Annotated[int, Bounds(0)]
_Seconds = Annotated[float, Bounds(0)]
_Duration = Annotated[float, Bounds(0.01)]
_Word = Annotated[str, Matching(lambda text: bool(text.strip()), "text that is not empty")]
_Root = Annotated[
    str, Matching(lambda path: path.startswith("/") and path.strip("/") != "", "an absolute path")
]


class RunSpecError(DocumentError):
    """A text that claims to be a run.json is none; the message names the field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunIdentity:
    """Whose attempt this is; the UID tells runs of the same name apart."""

    name: _Word
    uid: _Word


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpec:
    """What is trained, and how."""

    model: _Name = "yolo26m.pt"
    epochs: _Positive = 120
    batch_size: _Positive = 11
    image_size: Annotated[int, Bounds(_SIZE_STEP)] = 1280
    save_period: _Positive = 1
    workers: _Count = 24
    seed: Annotated[int, Bounds(0, 2**32 - 1)] = 0
    gpus: _Count = 1
    hyperparameters: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSpec:
    """How many checkpoints are kept, how exactly they resume, how often they are written inside an epoch."""

    keep: _Positive = 3
    exact: Exactness = "order"
    every_minutes: _Seconds = 10
    """0: at the ends of epochs only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartFrom:
    """Another run's result that this one starts with: `last` goes on, `best` takes the weights alone."""

    run: str = ""
    model_directory: _NameOrEmpty = ""
    checkpoint: Literal["last", "best"] = "last"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Every duration of a train pod in seconds, and every budget. The defaults are those of production."""

    grace: _Duration = 120
    """From SIGTERM to the kubelet's SIGKILL."""
    grace_margin: _Seconds = 20
    """So long before the end of the grace the trainer is killed, whatever it is doing."""
    lease_wait: _Seconds = 150
    """How long to wait for a run directory that another supervisor holds."""
    memory_wait: _Seconds = 60
    """How long the GPU may take to give back the memory of a killed trainer."""
    kill_wait: _Duration = 30
    """How long killed processes may take to vanish."""
    stall_floor: _Duration = 300
    stall_factor: Annotated[float, Bounds(1)] = 5
    """No step within max(floor, factor x the 99th percentile of the run's own steps) is a stall."""
    start_window: _Duration = 300
    start_per_image: _Seconds = 0.02
    validation_window: _Duration = 300
    validation_per_image: _Seconds = 0.2
    validation_per_image_cpu: _Seconds = 5
    validation_factor: Annotated[float, Bounds(1)] = 5
    """Later validations may take that many times the longest one before."""
    export_window: _Duration = 900
    """For what comes after the last epoch, and for the export of the rehearsal."""
    rehearse: bool = True
    """Whether a fresh run first tries everything that would otherwise fail hours later."""
    restarts: _Count = 6
    """Restarts in place without a completed checkpoint in between."""
    same_cause: _Count = 3
    """Restarts in place for one and the same cause without a completed checkpoint in between."""
    smallest_batch: _Positive = 2
    learning_rate_scale: Annotated[float, Bounds(0.001, 1)] = 0.5
    """What the learning rate is multiplied by when a run is tried again after NaN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """The whole of run.json. An empty `dataset_hash` asks for no comparison (a run by hand)."""

    run: RunIdentity
    dataset: _Name
    model_directory: _Name
    version: int = RUN_VERSION
    attempt: _Positive = 1
    stage: Stage = "train"
    root: _Root = "/azaion"
    dataset_hash: Annotated[
        str,
        Matching(
            lambda text: not text
            or (len(text) == 64 and set(text) <= set("0123456789abcdef")),  # noqa: PLR2004
            "a SHA-256 of 64 hexadecimal digits, or empty",
        ),
    ] = ""
    training: TrainingSpec = field(default_factory=TrainingSpec)
    checkpoints: CheckpointSpec = field(default_factory=CheckpointSpec)
    start_from: StartFrom | None = None
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read run.json; RunSpecError, with a sentence that names the field, says why a text is none."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            msg = "run.json is not JSON."
            raise RunSpecError(msg) from None
        # First of all, so that a file of another version is not blamed for its fields.
        if isinstance(document, dict) and document.get("version", RUN_VERSION) != RUN_VERSION:
            msg = f"run.version is {document['version']!r}; this software reads version {RUN_VERSION}."
            raise RunSpecError(msg)
        try:
            spec = read(cls, document, where="run")
            hyperparameters.check(spec.training.hyperparameters, where="run.training.hyperparameters")
        except DocumentError as error:
            raise RunSpecError(str(error)) from None
        _check_together(spec)
        return spec

    def to_json(self) -> str:
        """The whole document, with every default written out."""
        return json.dumps(written(self), ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def _check_together(spec: RunSpec) -> None:
    size = spec.training.image_size
    if size % _SIZE_STEP:
        msg = f"run.training.imageSize must be a multiple of {_SIZE_STEP}; it is {size}."
        raise RunSpecError(msg)
    if spec.limits.grace_margin >= spec.limits.grace:
        msg = "run.limits.graceMargin must be smaller than run.limits.grace."
        raise RunSpecError(msg)
    if spec.start_from and not (spec.start_from.run or spec.start_from.model_directory):
        msg = "run.startFrom must name a run or a modelDirectory."
        raise RunSpecError(msg)
