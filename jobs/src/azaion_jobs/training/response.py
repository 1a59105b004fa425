"""What to do when the trainer has ended: a pure decision.

`diagnose` finds the cause, `respond` answers it. Faults of the process itself are answered by a restart in
place, within budgets that a completed checkpoint earns back; those of the machine, the data or the spec by an
exit code that the operator understands.
"""

import signal
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from azaion_jobs.contract import ExitCode, Limits
from azaion_jobs.contract.messages import Failed
from azaion_jobs.training.state import Furthest, State


class Cause(StrEnum):
    """Why a trainer has ended."""

    DONE = "Done"
    BATCH_MEMORY = "GpuOutOfMemory"
    VALIDATION_MEMORY = "GpuOutOfMemoryInValidation"
    HOST_MEMORY = "HostOutOfMemory"
    SHARED_MEMORY = "SharedMemoryExhausted"
    NAN = "LossIsNaN"
    STALL = "TrainingStalled"
    GPU_LOST = "GpuLost"
    GPU = "GpuFault"
    DATA = "BadData"
    SPEC = "BadSpec"
    STORAGE = "StorageFault"
    FENCED_OFF = "FencedOff"
    SERVICE = "ServiceUnavailable"
    KILLED = "TrainerKilled"
    STOPPED_BY_OTHERS = "TrainerStopped"
    UNFINISHED = "TrainerLeftEarly"
    CRASH = "TrainerCrashed"


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """All that is known about the end of one trainer."""

    returncode: int
    """As of subprocess: negative for a signal."""
    failed: Failed | None = None
    complete: bool = False
    """Whether what the trainer was started for is on disk."""
    stalled: str = ""
    """What stood still; empty if nothing did."""
    cuda_lost: bool = False
    oom_kills: int = 0
    """How many processes of this pod the kernel has killed for memory while the trainer lived."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the trainer again, with what `state` says."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Leave:
    """End the pod."""

    exit_code: ExitCode
    reason: str
    message: str


Response = Restart | Leave

_BY_FAILURE: Final = {
    "oom": Cause.BATCH_MEMORY,
    "oom_validation": Cause.VALIDATION_MEMORY,
    "nan": Cause.NAN,
    "data": Cause.DATA,
    "storage": Cause.STORAGE,
    "gpu": Cause.GPU,
    "spec": Cause.SPEC,
}
_BY_EXIT_CODE: Final = {
    ExitCode.BAD_SPEC: Cause.SPEC,
    ExitCode.BAD_DATA: Cause.DATA,
    ExitCode.SERVICE_UNAVAILABLE: Cause.SERVICE,
    ExitCode.STORAGE_FAULT: Cause.STORAGE,
    ExitCode.STOPPED_ON_REQUEST: Cause.STOPPED_BY_OTHERS,
    ExitCode.GPU_FAULT: Cause.GPU,
    ExitCode.OUT_OF_MEMORY: Cause.BATCH_MEMORY,
    ExitCode.DIVERGED: Cause.NAN,
    ExitCode.FENCED_OFF: Cause.FENCED_OFF,
}
_AT_ONCE: Final = {
    Cause.GPU_LOST: ExitCode.GPU_FAULT,
    Cause.GPU: ExitCode.GPU_FAULT,
    Cause.DATA: ExitCode.BAD_DATA,
    Cause.SPEC: ExitCode.BAD_SPEC,
    Cause.STORAGE: ExitCode.STORAGE_FAULT,
    Cause.FENCED_OFF: ExitCode.FENCED_OFF,
    Cause.SERVICE: ExitCode.SERVICE_UNAVAILABLE,
}
"""Causes that a new process cannot cure."""

_WHEN_SPENT: Final = {
    Cause.HOST_MEMORY: ExitCode.OUT_OF_MEMORY,
    Cause.SHARED_MEMORY: ExitCode.OUT_OF_MEMORY,
    Cause.STALL: ExitCode.STALLED,
}
"""The exit code once the budget is spent; 70 for all others."""


def diagnose(end: End) -> Cause:  # noqa: PLR0911 - a table
    """The cause, first match: what the supervisor saw itself counts more than what the trainer says."""
    if end.cuda_lost:
        return Cause.GPU_LOST
    if end.stalled:
        return Cause.STALL
    if end.returncode == 0:
        return Cause.DONE if end.complete else Cause.UNFINISHED
    if end.returncode == -signal.SIGBUS:
        return Cause.SHARED_MEMORY
    # A killed loader worker makes the trainer fail with an error of its own, so the signal is not asked for.
    if end.oom_kills and (end.failed is None or end.failed.kind == "internal"):
        return Cause.HOST_MEMORY
    if end.failed is not None and end.failed.kind in _BY_FAILURE:
        return _BY_FAILURE[end.failed.kind]
    if end.failed is not None and "bus error" in end.failed.message.lower():
        return Cause.SHARED_MEMORY
    if end.returncode < 0:
        return Cause.KILLED if end.returncode in (-signal.SIGKILL, -signal.SIGTERM) else Cause.CRASH
    return _BY_EXIT_CODE.get(end.returncode, Cause.CRASH)  # type: ignore[call-overload,no-any-return]


def respond(end: End, state: State, limits: Limits) -> Response:
    """The answer to an end that nobody asked for."""
    cause = diagnose(end)
    said = _said(end, cause)
    if cause is Cause.DONE:
        return Leave(ExitCode.DONE, cause, "The training is finished.")
    if cause in _AT_ONCE:
        return Leave(_AT_ONCE[cause], cause, said)
    if cause is Cause.BATCH_MEMORY:
        return _smaller_batch(state, limits, said)
    if cause is Cause.VALIDATION_MEMORY:
        return _smaller_validation_batch(state, said)
    if cause is Cause.NAN:
        return _lower_rate(state, limits, said)
    return _again(cause, state, limits, said)


def _smaller_batch(state: State, limits: Limits, said: str) -> Response:
    # Bounded by the ladder itself, so no budget pays: 11, 11, 8, 8, 6, 6, 4, 4, 3, 3, 2, 2, end.
    again = state.with_free_restart()
    if not state.memory_retried:
        return Restart(
            replace(again, memory_retried=True),
            f"{said} It is tried once more with batch {state.batch_size} in a new process.",
        )
    if state.batch_size <= limits.smallest_batch:
        return Leave(
            ExitCode.OUT_OF_MEMORY, Cause.BATCH_MEMORY, f"{said} Even batch {state.batch_size} does not fit."
        )
    smaller = max(limits.smallest_batch, state.batch_size * 3 // 4)
    # Batches of another size are other batches: positions inside an epoch cannot be compared any more.
    return Restart(
        replace(
            again,
            batch_size=smaller,
            memory_retried=False,
            furthest=Furthest(epoch=state.furthest.epoch, batch=0),
        ),
        f"{said} It goes on with batch {smaller} instead of {state.batch_size}.",
    )


def _smaller_validation_batch(state: State, said: str) -> Response:
    # ultralytics validates with twice the training batch.
    current = state.validation_batch or 2 * state.batch_size
    if current == 1:
        return Leave(
            ExitCode.OUT_OF_MEMORY,
            Cause.VALIDATION_MEMORY,
            f"{said} Validation does not fit even one image at a time.",
        )
    return Restart(
        replace(state.with_free_restart(), validation_batch=current // 2),
        f"{said} Validation goes on with batch {current // 2} instead of {current}.",
    )


def _lower_rate(state: State, limits: Limits, said: str) -> Response:
    if state.nan_seen:
        return Leave(
            ExitCode.DIVERGED,
            Cause.NAN,
            f"{said} It came back although training had gone on from the last good checkpoint with a lower "
            "learning rate; lower lr0, or look at the newest images.",
        )
    scale = state.learning_rate_scale * limits.learning_rate_scale
    return Restart(
        replace(state.with_free_restart(), nan_seen=True, learning_rate_scale=scale),
        f"{said} It goes on from the last good checkpoint with {scale:g} of the learning rate.",
    )


def _again(cause: Cause, state: State, limits: Limits, said: str) -> Response:
    if state.restarts >= limits.restarts or state.causes.get(cause, 0) >= limits.same_cause:
        return Leave(
            _WHEN_SPENT.get(cause, ExitCode.INTERNAL_ERROR),
            cause,
            f"{said} The trainer was restarted {state.restarts} times since the last new checkpoint, "
            f"{state.causes.get(cause, 0)} of them for this cause.",
        )
    again = state.with_restart(cause)
    if cause is Cause.STALL:
        again = replace(again, stalls_ever=state.stalls_ever + 1)
    if cause in (Cause.HOST_MEMORY, Cause.SHARED_MEMORY) and state.workers:
        again = replace(again, workers=state.workers // 2)
        return Restart(again, f"{said} It goes on with {again.workers} workers instead of {state.workers}.")
    return Restart(again, f"{said} It goes on from the last good checkpoint.")


def _said(end: End, cause: Cause) -> str:  # noqa: PLR0911 - a table
    """What happened, in a sentence."""
    if cause is Cause.GPU_LOST:
        return "The trainer no longer finds the GPU that it was given; this pod cannot get it back."
    if cause is Cause.STALL:
        return f"The trainer stood still: {end.stalled}."
    if cause is Cause.UNFINISHED:
        return "The trainer left with exit code 0, but its work is not complete."
    if cause is Cause.HOST_MEMORY:
        return f"The kernel killed {end.oom_kills} processes of this pod because its memory is used up."
    if cause is Cause.SHARED_MEMORY:
        return "The trainer ran out of shared memory in /dev/shm."
    if end.failed is not None and end.failed.message:
        return _sentence(end.failed.message)
    if end.returncode < 0:
        return f"The trainer was ended by {_signal_name(-end.returncode)}."
    return f"The trainer left with exit code {end.returncode}."


def _sentence(text: str) -> str:
    first = text.strip().splitlines()[0] if text.strip() else "The trainer failed without a word"
    return first if first.endswith((".", "!", "?")) else f"{first}."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
