"""A plan: what has to be done so that the cluster agrees with a decision, as mere values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azaion_operator.api import TrainingRunStatus


@dataclass(frozen=True)
class SetStatus:
    """Write this status, whole: a field that is missing here is removed."""

    status: TrainingRunStatus


Action = SetStatus
"""One step of a plan; a union as soon as there is a second kind of step."""


@dataclass(frozen=True)
class Plan:
    """Steps in the order in which they are to be done. Done and planned again, nothing is left to do."""

    actions: tuple[Action, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.actions)
