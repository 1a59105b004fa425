"""What a TrainingRun should look like, given what is known about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azaion_operator.api import Condition, ConditionStatus, ConditionType, Phase, Reason, TrainingRun
from azaion_operator.api.conditions import with_condition
from azaion_operator.domain.plan import Plan, SetStatus

if TYPE_CHECKING:
    from datetime import datetime


def desired(run: TrainingRun, now: datetime) -> Plan:
    """Decide what has to be done for `run` at the time `now`.

    Whoever calls this may do so at any time and as often as they like: the answer depends on the facts alone,
    and once its plan has been executed, the next one is empty.
    """
    if run.is_deleting:
        return Plan()
    status = run.status.model_copy(update=_changes(run, now))
    return Plan() if status == run.status else Plan((SetStatus(status),))


def _changes(run: TrainingRun, now: datetime) -> dict[str, object]:
    """Return the fields of the status that the facts decide; all others stay as they are."""
    generation = run.metadata.generation
    if run.status.is_terminal:
        return {"observed_generation": generation}
    prepared, suspended = _prepared(run, now), _suspended(run, now)
    phase, cause = (Phase.SUSPENDED, suspended) if suspended.is_true else (Phase.PENDING, prepared)
    return {
        "observed_generation": generation,
        "phase": phase.value,
        "reason": cause.reason,
        "message": cause.message,
        "conditions": with_condition(with_condition(run.status.conditions, prepared), suspended),
    }


def _prepared(run: TrainingRun, now: datetime) -> Condition:
    return Condition(
        type=ConditionType.PREPARED.value,
        status=ConditionStatus.FALSE.value,
        reason=Reason.NOT_STARTED.value,
        message="The dataset of this run has not been prepared yet.",
        observed_generation=run.metadata.generation,
        last_transition_time=_whole_second(now),
    )


def _suspended(run: TrainingRun, now: datetime) -> Condition:
    if run.spec.suspend:
        status, reason = ConditionStatus.TRUE, Reason.SUSPEND_REQUESTED
        message = "The run waits because spec.suspend is true; set it to false to go on."
    else:
        status, reason = ConditionStatus.FALSE, Reason.NOT_SUSPENDED
        message = "spec.suspend is false."
    return Condition(
        type=ConditionType.SUSPENDED.value,
        status=status.value,
        reason=reason.value,
        message=message,
        observed_generation=run.metadata.generation,
        last_transition_time=_whole_second(now),
    )


def _whole_second(now: datetime) -> datetime:
    """Cut the fraction off: the API keeps none, and the status read back must equal the one written."""
    return now.replace(microsecond=0)
