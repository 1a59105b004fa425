"""Notices when a training stands still, by what it has learned about its own pace.

Nothing here reads a clock: `now` comes from a monotonic one, so that a change of the date is no stall.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from azaion_jobs.contract import Limits
from azaion_jobs.contract.messages import (
    Checkpoint,
    CheckpointFailed,
    Epoch,
    Failed,
    Finished,
    Message,
    Scanning,
    Started,
    Step,
    Stopping,
    Validating,
)

_STEPS_REMEMBERED: Final = 1000
_PERCENTILE: Final = 0.99
_OWN_PAUSE: Final = 10.0
"""When nobody has looked for so long, the whole pod was frozen, the trainer with it."""


class Doing(StrEnum):
    """What the trainer is busy with, as far as its messages tell."""

    START = "the start"
    TRAIN = "the next step"
    VALIDATE = "the validation"
    FINISH = "the work after the last epoch"
    REHEARSE = "the rehearsal"


@dataclass(slots=True)
class Pace:
    """How fast a run is on this machine, learned from its trainers so far."""

    steps: deque[float] = field(default_factory=lambda: deque(maxlen=_STEPS_REMEMBERED))
    longest_validation: float | None = None

    def slow_step(self) -> float:
        """The 99th percentile of the step times; 0 before the first step."""
        if not self.steps:
            return 0.0
        ordered = sorted(self.steps)
        return ordered[min(len(ordered) - 1, math.ceil(_PERCENTILE * len(ordered)) - 1)]


class Watch:
    """Follows one trainer from its start. Step times learned from earlier trainers are handed on."""

    def __init__(
        self, limits: Limits, *, train_images: int, valid_images: int, earlier: "Watch | None" = None
    ) -> None:
        self._limits = limits
        self._train_images = train_images
        self._valid_images = valid_images
        self._pace = earlier.pace if earlier else Pace()
        self._doing = Doing.START
        self._rehearsing = False
        self._cuda = False
        self._beat = 0.0
        self._looked = 0.0
        self._position: tuple[object, ...] = ()
        self._validating_since: float | None = None

    @property
    def pace(self) -> Pace:
        """What has been learned, for the watch over the next trainer."""
        return self._pace

    @property
    def doing(self) -> Doing:
        """What the trainer is busy with."""
        return self._doing

    @property
    def last_beat(self) -> float:
        """When the trainer last got anywhere."""
        return self._beat

    def start(self, now: float, *, rehearsing: bool = False) -> None:
        """The trainer has been started."""
        self._beat = self._looked = now
        self._rehearsing = rehearsing
        self._doing = Doing.REHEARSE if rehearsing else Doing.START

    def hear(self, message: Message, now: float) -> None:
        """Take a message; only one that tells of progress counts as a sign of life."""
        position = _position(message)
        if position is None or position == self._position:
            return
        self._position = position
        self._beat = now
        self._learn(message, now)
        if not self._rehearsing:
            self._doing = self._next(message)

    def stalled(self, now: float) -> str:
        """What has stood still for how long; empty while all is well."""
        unseen = now - self._looked
        self._looked = now
        if unseen > _OWN_PAUSE:
            self._beat += unseen
            if self._validating_since is not None:
                self._validating_since += unseen
        silent, window = now - self._beat, self.window()
        if silent <= window:
            return ""
        return f"{self._doing} has not come on for {silent:.0f} s, where {window:.0f} s are allowed"

    def window(self) -> float:
        """How long the trainer may be silent now."""
        limits = self._limits
        floor = max(limits.stall_floor, limits.stall_factor * self._pace.slow_step())
        if self._doing is Doing.START:
            return max(floor, limits.start_window + limits.start_per_image * self._train_images)
        if self._doing is Doing.REHEARSE:
            start = limits.start_window + limits.start_per_image * self._train_images
            return max(floor, start, limits.export_window)
        if self._doing is Doing.FINISH:
            return max(floor, limits.export_window, self._validation_window())
        if self._doing is Doing.VALIDATE:
            return max(floor, self._validation_window())
        return floor

    def _validation_window(self) -> float:
        limits = self._limits
        if self._pace.longest_validation is not None:
            return limits.validation_factor * self._pace.longest_validation
        per_image = limits.validation_per_image if self._cuda else limits.validation_per_image_cpu
        return limits.validation_window + per_image * self._valid_images

    def _learn(self, message: Message, now: float) -> None:
        match message:
            case Started():
                self._cuda = message.cuda
            case Step():
                if math.isfinite(message.step_seconds):
                    self._pace.steps.append(max(0.0, message.step_seconds))
                last = message.batch >= message.batches
                self._validating_since = now if last else None
            case Validating() if self._validating_since is None:
                self._validating_since = now
            case Epoch():
                if self._validating_since is not None and not self._rehearsing:
                    took = now - self._validating_since
                    self._pace.longest_validation = max(took, self._pace.longest_validation or 0.0)
                self._validating_since = None
            case _:
                pass

    def _next(self, message: Message) -> Doing:
        match message:
            case Step():
                return Doing.VALIDATE if message.batch >= message.batches else Doing.TRAIN
            case Validating():
                # The validations after the last epoch are part of what follows it.
                return Doing.FINISH if self._doing is Doing.FINISH else Doing.VALIDATE
            case Epoch():
                return Doing.FINISH if message.epoch >= message.epochs else Doing.TRAIN
            case Finished() | Checkpoint(stage="final"):
                return Doing.FINISH
            case _:
                return self._doing


def _position(message: Message) -> tuple[object, ...] | None:  # noqa: PLR0911 - a table
    """Where a message says the training is; None where it tells of no progress."""
    match message:
        case Started():
            return ("started",)
        case Scanning():
            return ("scanning", message.done)
        case Step() | Validating():
            return (type(message), message.epoch, message.batch)
        case Epoch():
            return ("epoch", message.epoch)
        case Checkpoint():
            return ("checkpoint", message.file)
        case Finished():
            return ("finished",)
        case CheckpointFailed() | Stopping() | Failed():
            return None
