import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azaion_jobs.contract import ExitCode, Limits
from azaion_jobs.contract.messages import Failed, FailureKind
from azaion_jobs.training.response import Cause, End, Leave, Restart, diagnose, respond
from azaion_jobs.training.state import Furthest, State

LIMITS = Limits()
STATE = State(batch_size=11, workers=24)


def failed(kind: FailureKind, message: str = "It failed.") -> Failed:
    return Failed(time=0, kind=kind, message=message)


CAUSES = [
    (End(returncode=0, complete=True), Cause.DONE),
    (End(returncode=0), Cause.UNFINISHED),
    (End(returncode=77, failed=failed("oom")), Cause.BATCH_MEMORY),
    (End(returncode=77, failed=failed("oom_validation")), Cause.VALIDATION_MEMORY),
    (End(returncode=77), Cause.BATCH_MEMORY),
    (End(returncode=78), Cause.NAN),
    (End(returncode=1, failed=failed("nan")), Cause.NAN),
    (End(returncode=1, failed=failed("data")), Cause.DATA),
    (End(returncode=65), Cause.DATA),
    (End(returncode=64), Cause.SPEC),
    (End(returncode=69), Cause.SERVICE),
    (End(returncode=74), Cause.STORAGE),
    (End(returncode=75), Cause.STOPPED_BY_OTHERS),
    (End(returncode=76), Cause.GPU),
    (End(returncode=80), Cause.FENCED_OFF),
    (End(returncode=70, failed=failed("internal")), Cause.CRASH),
    (End(returncode=1), Cause.CRASH),
    (End(returncode=-signal.SIGSEGV), Cause.CRASH),
    (End(returncode=-signal.SIGKILL), Cause.KILLED),
    (End(returncode=-signal.SIGBUS), Cause.SHARED_MEMORY),
    (
        End(returncode=70, failed=failed("internal", "DataLoader worker is killed by signal: Bus error.")),
        Cause.SHARED_MEMORY,
    ),
    (End(returncode=-signal.SIGKILL, oom_kills=1), Cause.HOST_MEMORY),
    (End(returncode=70, failed=failed("internal"), oom_kills=1), Cause.HOST_MEMORY),
    # A loader's worker was killed, and later the batch did not fit: what the trainer says is more precise.
    (End(returncode=77, failed=failed("oom"), oom_kills=1), Cause.BATCH_MEMORY),
    (End(returncode=-signal.SIGKILL, stalled="the next step"), Cause.STALL),
    (End(returncode=-signal.SIGKILL, cuda_lost=True, stalled="x"), Cause.GPU_LOST),
]


@pytest.mark.parametrize(("end", "cause"), CAUSES)
def test_every_end_has_its_cause(end: End, cause: Cause) -> None:
    assert diagnose(end) is cause


def test_the_ladder_of_batches() -> None:
    state, seen = STATE, []
    end = End(returncode=77, failed=failed("oom", "CUDA out of memory"))
    while isinstance(response := respond(end, state, LIMITS), Restart):
        state = response.state
        seen.append(state.batch_size)
    assert seen == [11, 8, 8, 6, 6, 4, 4, 3, 3, 2, 2]
    assert response.exit_code is ExitCode.OUT_OF_MEMORY
    assert response.message == "CUDA out of memory. Even batch 2 does not fit."
    # The ladder is bounded by itself and takes nothing from the budgets.
    assert (state.restarts, state.causes, state.restarts_ever) == (0, {}, 11)


def test_a_batch_of_one_that_does_not_fit_is_tried_twice() -> None:
    state = replace(STATE, batch_size=1)
    end = End(returncode=77)
    again = respond(end, state, LIMITS)
    assert isinstance(again, Restart)
    assert again.state.batch_size == 1
    assert isinstance(respond(end, again.state, LIMITS), Leave)


def test_a_smaller_batch_forgets_the_position_inside_the_epoch() -> None:
    state = replace(STATE, memory_retried=True, furthest=Furthest(epoch=4, batch=700))
    response = respond(End(returncode=77), state, LIMITS)
    assert isinstance(response, Restart)
    assert response.state.furthest == Furthest(epoch=4, batch=0)


def test_nan_lowers_the_rate_once() -> None:
    end = End(returncode=78, failed=failed("nan", "The loss is NaN."))
    response = respond(end, STATE, LIMITS)
    assert isinstance(response, Restart)
    assert (response.state.learning_rate_scale, response.state.nan_seen) == (0.5, True)
    last = respond(end, response.state, LIMITS)
    assert isinstance(last, Leave)
    assert last.exit_code is ExitCode.DIVERGED


@pytest.mark.parametrize(
    ("end", "exit_code"),
    [
        (End(returncode=-9, cuda_lost=True), ExitCode.GPU_FAULT),
        (End(returncode=76), ExitCode.GPU_FAULT),
        (End(returncode=65), ExitCode.BAD_DATA),
        (End(returncode=64), ExitCode.BAD_SPEC),
        (End(returncode=74), ExitCode.STORAGE_FAULT),
        (End(returncode=80), ExitCode.FENCED_OFF),
        (End(returncode=69), ExitCode.SERVICE_UNAVAILABLE),
        (End(returncode=0, complete=True), ExitCode.DONE),
    ],
)
def test_some_ends_are_never_tried_again(end: End, exit_code: ExitCode) -> None:
    response = respond(end, STATE, LIMITS)
    assert isinstance(response, Leave)
    assert response.exit_code is exit_code


@pytest.mark.parametrize(
    ("end", "exit_code"),
    [
        (End(returncode=-9, stalled="the next step"), ExitCode.STALLED),
        (End(returncode=-9, oom_kills=2), ExitCode.OUT_OF_MEMORY),
        (End(returncode=-7), ExitCode.OUT_OF_MEMORY),
        (End(returncode=-11), ExitCode.INTERNAL_ERROR),
        (End(returncode=-9), ExitCode.INTERNAL_ERROR),
    ],
)
def test_the_same_cause_is_tried_three_times(end: End, exit_code: ExitCode) -> None:
    state = STATE
    for _ in range(3):
        response = respond(end, state, LIMITS)
        assert isinstance(response, Restart)
        state = response.state
    response = respond(end, state, LIMITS)
    assert isinstance(response, Leave)
    assert response.exit_code is exit_code
    # One checkpoint further, and all is as at the start.
    assert isinstance(respond(end, state.with_checkpoint(1, 0), LIMITS), Restart)


def test_only_a_checkpoint_further_than_any_before_earns_budgets_back() -> None:
    state = STATE.with_checkpoint(2, 40).with_restart("x")
    assert state.with_checkpoint(2, 40).restarts == 1
    assert state.with_checkpoint(1, 900).restarts == 1
    assert state.with_checkpoint(2, 41).restarts == 0
    assert state.with_checkpoint(3, 0).causes == {}


def test_host_memory_halves_the_workers_and_keeps_the_batch() -> None:
    response = respond(End(returncode=-9, oom_kills=1), STATE, LIMITS)
    assert isinstance(response, Restart)
    assert (response.state.workers, response.state.batch_size) == (12, 11)


ENDS = st.builds(
    End,
    returncode=st.integers(-64, 255),
    failed=st.none()
    | st.builds(
        Failed,
        time=st.just(0.0),
        kind=st.sampled_from(["oom", "oom_validation", "nan", "data", "storage", "gpu", "spec", "internal"]),
        message=st.text(max_size=40),
    ),
    complete=st.booleans(),
    stalled=st.sampled_from(["", "the start"]),
    cuda_lost=st.booleans(),
    oom_kills=st.integers(0, 3),
)


@given(st.lists(ENDS, min_size=60, max_size=60))
def test_without_progress_every_story_comes_to_an_end(ends: list[End]) -> None:
    state = STATE
    for end in ends:
        response = respond(end, state, LIMITS)
        if isinstance(response, Leave):
            assert response.message
            return
        assert response.reason
        state = response.state
    pytest.fail("It restarted for ever.")
