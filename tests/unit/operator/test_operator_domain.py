"""What `desired` decides about a TrainingRun."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from azaion_operator.api import TRAINING_RUNS, Phase, TrainingRun
from azaion_operator.domain import Plan, SetStatus, desired

NOW = datetime(2026, 11, 21, 8, 30, 15, 987654, tzinfo=UTC)


def a_run(*, generation: int = 1, status: dict[str, Any] | None = None, **spec: Any) -> TrainingRun:
    metadata = {"name": "run", "namespace": "azaion", "uid": "uid-1", "generation": generation}
    return TrainingRun.from_body({"metadata": metadata, "spec": spec, "status": status or {}})


def executed(run: TrainingRun, plan: Plan, **changes: Any) -> TrainingRun:
    """Return the run as the API would give it back after the plan."""
    body = run.model_dump(mode="json", by_alias=True, exclude_none=True)
    for action in plan.actions:
        body["status"] = run.status_body(action.status)["status"]
    body["metadata"].update(changes.pop("metadata", {}))
    body["spec"].update(changes)
    return TrainingRun.from_body(body)


def the_status(plan: Plan) -> dict[str, Any]:
    (action,) = plan.actions
    assert isinstance(action, SetStatus)
    return action.status.to_body()


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def test_a_new_run_becomes_pending_and_says_why() -> None:
    status = the_status(desired(a_run(generation=3), NOW))

    assert status["phase"] == "Pending"
    assert status["observedGeneration"] == 3
    assert status["reason"] == "NotStarted"
    assert "not been prepared" in status["message"]
    assert conditions(status) == {"Prepared": ("False", "NotStarted"), "Suspended": ("False", "NotSuspended")}


def test_a_run_created_with_suspend_is_suspended_at_once() -> None:
    status = the_status(desired(a_run(suspend=True), NOW))

    assert status["phase"] == "Suspended"
    assert conditions(status)["Suspended"] == ("True", "SuspendRequested")


def test_times_have_whole_seconds_in_utc() -> None:
    status = the_status(desired(a_run(), NOW))

    assert {one["lastTransitionTime"] for one in status["conditions"]} == {"2026-11-21T08:30:15Z"}


def test_a_change_of_the_spec_moves_the_observed_generation() -> None:
    run = a_run(generation=1)
    run = executed(run, desired(run, NOW), metadata={"generation": 2}, epochs=7)

    assert the_status(desired(run, NOW))["observedGeneration"] == 2


def test_the_transition_time_moves_only_with_the_status_of_its_condition() -> None:
    later = NOW + timedelta(hours=1)
    run = a_run()
    run = executed(run, desired(run, NOW), metadata={"generation": 2}, suspend=True)

    times = {one["type"]: one["lastTransitionTime"] for one in the_status(desired(run, later))["conditions"]}

    assert times == {"Prepared": "2026-11-21T08:30:15Z", "Suspended": "2026-11-21T09:30:15Z"}


def test_a_run_that_is_being_deleted_is_left_alone() -> None:
    run = executed(a_run(), Plan(), metadata={"deletionTimestamp": "2026-11-21T08:00:00Z"})

    assert not desired(run, NOW)


def test_a_run_that_has_ended_keeps_its_phase_whatever_the_spec_says() -> None:
    ended: dict[str, Any] = {
        "phase": "Succeeded",
        "conditions": [
            {
                "type": "Complete",
                "status": "True",
                "reason": "Done",
                "lastTransitionTime": "2026-11-20T00:00:00Z",
            }
        ],
    }

    status = the_status(desired(a_run(generation=9, status=ended, suspend=True), NOW))

    assert status == {
        **ended,
        "observedGeneration": 9,
        "conditions": [{**ended["conditions"][0], "message": ""}],
    }


def test_fields_that_a_newer_operator_wrote_are_carried_along() -> None:
    newer: dict[str, Any] = {
        "phase": "Levitating",
        "luck": {"amount": 3},
        "conditions": [
            {
                "type": "Lucky",
                "status": "Unknown",
                "reason": "Who",
                "message": "",
                "lastTransitionTime": "2026-11-20T00:00:00Z",
            }
        ],
    }

    status = the_status(desired(a_run(status=newer), NOW))

    assert status["luck"] == {"amount": 3}
    assert newer["conditions"][0] in status["conditions"]


_TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
_CONDITION = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Prepared", "Suspended", "Complete", "Failed", "Training", "Foreign"]),
        "status": st.sampled_from(["True", "False", "Unknown"]),
        "reason": st.sampled_from(["NotStarted", "SuspendRequested", "Other"]),
        "lastTransitionTime": _TIMES.map(datetime.isoformat),
    },
    optional={"message": st.sampled_from(["", "Other."]), "observedGeneration": st.integers(0, 9)},
)
_STATUS = st.fixed_dictionaries(
    {},
    optional={
        "observedGeneration": st.integers(0, 9),
        "phase": st.sampled_from([*map(str, Phase), "Foreign"]),
        "conditions": st.lists(_CONDITION, max_size=6, unique_by=lambda one: one["type"]),
        "epoch": st.integers(1, 9),
        "foreign": st.integers(),
    },
)


@given(status=_STATUS, generation=st.integers(0, 9), suspend=st.booleans(), first=_TIMES, second=_TIMES)
def test_an_executed_plan_leaves_nothing_to_plan(
    status: dict[str, Any], generation: int, suspend: bool, first: datetime, second: datetime
) -> None:
    run = a_run(generation=generation, status=status, suspend=suspend)

    after = executed(run, desired(run, first))

    assert after.status.observed_generation == generation
    assert not desired(after, second)


@given(status=_STATUS, suspend=st.booleans(), now=_TIMES)
def test_the_phase_never_contradicts_the_conditions(
    status: dict[str, Any], suspend: bool, now: datetime
) -> None:
    run = a_run(status=status, suspend=suspend)
    after = executed(run, desired(run, now)).status
    held = {one.type for one in after.conditions if one.is_true}

    if not after.is_terminal:
        assert after.phase == ("Suspended" if "Suspended" in held else "Pending")
        assert ("Suspended" in held) == suspend


def test_the_document_for_the_api_carries_the_version_that_was_read() -> None:
    run = executed(a_run(), Plan(), metadata={"resourceVersion": "41"})
    (action,) = desired(run, NOW).actions

    document = run.status_body(action.status)

    assert document["metadata"] == {"name": "run", "namespace": "azaion", "resourceVersion": "41"}
    assert (document["apiVersion"], document["kind"]) == (TRAINING_RUNS.api_version, "TrainingRun")
