"""What went wrong, in the words of the contract."""

import errno
from dataclasses import dataclass
from typing import Final

import torch

from azaion_jobs.contract import ExitCode
from azaion_jobs.contract.messages import FailureKind
from azaion_jobs.training.base_model import BaseModelError
from azaion_jobs.training.checkpoints import CheckpointError, CheckpointWriteError, FencedOffError


class DivergedError(Exception):
    """The loss, or a weight, is no longer a number."""


class DataError(Exception):
    """The dataset, or a file that training starts from, cannot be used."""


class GpuError(Exception):
    """There is no GPU where one was asked for."""


class SpecError(Exception):
    """What is asked for cannot be done."""


@dataclass(frozen=True, slots=True)
class Failure:
    """How a failure is told to the supervisor."""

    kind: FailureKind
    exit_code: ExitCode
    message: str


_STORAGE: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENODEV, errno.ENOTCONN}
)
_MEMORY_WORDS: Final = ("out of memory", "cublas_status_alloc_failed", "unable to find an engine")
_GPU_WORDS: Final = ("cuda", "cudnn", "cublas", "nvml", "nvidia", "ecc error")
_EXITS: Final[dict[FailureKind, ExitCode]] = {
    "oom": ExitCode.OUT_OF_MEMORY,
    "oom_validation": ExitCode.OUT_OF_MEMORY,
    "nan": ExitCode.DIVERGED,
    "data": ExitCode.BAD_DATA,
    "storage": ExitCode.STORAGE_FAULT,
    "gpu": ExitCode.GPU_FAULT,
    "spec": ExitCode.BAD_SPEC,
    "internal": ExitCode.INTERNAL_ERROR,
}


def classify(error: BaseException, *, validating: bool = False) -> Failure:
    """The kind, the exit code and a sentence for this error."""
    kind = _kind(error, validating=validating)
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, FencedOffError):
        return Failure(kind, ExitCode.FENCED_OFF, text)
    return Failure(kind, _EXITS[kind], text)


def _kind(error: BaseException, *, validating: bool) -> FailureKind:
    known: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], FailureKind], ...] = (
        (DivergedError, "nan"),
        ((DataError, BaseModelError), "data"),
        (SpecError, "spec"),
        (GpuError, "gpu"),
        (CheckpointWriteError, "storage"),
        (CheckpointError, "internal"),
    )
    for types, kind in known:
        if isinstance(error, types):
            return kind
    if isinstance(error, OSError) and error.errno in _STORAGE:
        return "storage"
    if isinstance(error, RuntimeError):
        return _of_runtime_error(error, validating=validating)
    return "internal"


def _of_runtime_error(error: RuntimeError, *, validating: bool) -> FailureKind:
    text = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError) or any(words in text for words in _MEMORY_WORDS):
        return "oom_validation" if validating else "oom"
    if any(word in text for word in _GPU_WORDS):
        return "gpu"
    if text.startswith("dataset '"):
        return "data"
    return "internal"
