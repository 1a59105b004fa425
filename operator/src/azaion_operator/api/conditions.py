"""Conditions: the part of the status that others may rely on; `phase` is only their summary."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from azaion_operator.api.view import View

if TYPE_CHECKING:
    from collections.abc import Iterable


class ConditionType(StrEnum):
    """The conditions of a TrainingRun. `Complete` and `Failed` are final."""

    PREPARED = "Prepared"
    ADMITTED = "Admitted"
    TRAINING = "Training"
    PROGRESSING = "Progressing"
    CHECKPOINT_FRESH = "CheckpointFresh"
    RELEASED = "Released"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"


class ConditionStatus(StrEnum):
    """The three values the API convention allows."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Reason(StrEnum):
    """Why a condition stands as it does. Stable: people and alert rules match on these words."""

    NOT_STARTED = "NotStarted"
    SUSPEND_REQUESTED = "SuspendRequested"
    NOT_SUSPENDED = "NotSuspended"


class Condition(View):
    """One condition. `type`, `status` and `reason` are text: a newer operator may have written others."""

    type: str
    status: str
    reason: str
    message: str = ""
    observed_generation: int | None = None
    last_transition_time: datetime

    @property
    def is_true(self) -> bool:
        """Whether the condition is known to hold."""
        return self.status == ConditionStatus.TRUE


def find(conditions: Iterable[Condition], wanted: ConditionType) -> Condition | None:
    """Return the condition of that type, if it is there."""
    return next((condition for condition in conditions if condition.type == wanted), None)


def with_condition(conditions: Iterable[Condition], new: Condition) -> tuple[Condition, ...]:
    """Return the conditions with `new` in the place of the one of its type.

    The time of the transition moves only when the status does: a new reason is not a new transition.
    """
    others = []
    for condition in conditions:
        if condition.type != new.type:
            others.append(condition)
        elif condition.status == new.status:
            new = new.model_copy(update={"last_transition_time": condition.last_transition_time})
    return in_order((*others, new))


def in_order(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Sort by type: the list is a map to the API, and one order makes two of them comparable."""
    return tuple(sorted(conditions, key=lambda condition: condition.type))
