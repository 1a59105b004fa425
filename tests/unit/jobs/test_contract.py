import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azaion_jobs.contract import ExitCode, Outcome, Verdict, VerdictError

ANY_TEXT = st.text(alphabet=st.characters(), max_size=200).flatmap(
    lambda text: st.integers(0, 60).map(lambda times: text * times)
)
METRIC_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_/().:-]{0,63}", fullmatch=True)
VERDICTS = st.builds(
    Verdict,
    outcome=st.sampled_from(Outcome),
    reason=st.from_regex(r"[A-Z][A-Za-z0-9]{0,127}", fullmatch=True),
    message=ANY_TEXT,
    epoch=st.none() | st.integers(0, 10**6),
    metrics=st.dictionaries(METRIC_NAMES, st.floats(allow_nan=False, allow_infinity=False), max_size=32),
    traceback=ANY_TEXT,
)


def a_verdict(**changes: object) -> Verdict:
    fields: dict[str, object] = {
        "outcome": Outcome.DIVERGED,
        "reason": "LossIsNaN",
        "message": "The loss stayed NaN.",
        "epoch": 7,
        "metrics": {"mAP50": 0.5},
        "traceback": "",
    }
    return Verdict(**(fields | changes))  # type: ignore[arg-type]


def test_exit_codes_keep_their_numbers() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "BAD_SPEC": 64,
        "BAD_DATA": 65,
        "SERVICE_UNAVAILABLE": 69,
        "INTERNAL_ERROR": 70,
        "STORAGE_FAULT": 74,
        "STOPPED_ON_REQUEST": 75,
        "GPU_FAULT": 76,
        "OUT_OF_MEMORY": 77,
        "DIVERGED": 78,
        "STALLED": 79,
        "FENCED_OFF": 80,
    }


def test_every_exit_code_has_one_outcome() -> None:
    assert sorted(outcome.exit_code for outcome in Outcome) == sorted(ExitCode)


@given(VERDICTS)
def test_a_verdict_reads_back_as_it_was_written(verdict: Verdict) -> None:
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert Verdict.from_json(verdict.to_json().encode()) == verdict


@given(VERDICTS)
def test_a_termination_message_fits_and_reads_back(verdict: Verdict) -> None:
    message = verdict.termination_message()
    assert len(message.encode()) <= 4096
    read = Verdict.from_json(message)
    assert (read.outcome, read.reason, read.epoch, read.metrics) == (
        verdict.outcome,
        verdict.reason,
        verdict.epoch,
        verdict.metrics,
    )
    assert verdict.message.startswith(read.message)
    assert verdict.traceback.endswith(read.traceback)
    # The message is touched only after the whole traceback is gone.
    assert read.message == verdict.message or not read.traceback


def test_the_last_lines_of_a_long_traceback_stay() -> None:
    verdict = a_verdict(traceback="first line\n" + "middle\n" * 2000 + "ValueError: last line")
    read = Verdict.from_json(verdict.termination_message())
    assert read.traceback.endswith("ValueError: last line")
    assert "first line" not in read.traceback
    assert read.message == verdict.message


@pytest.mark.parametrize("filler", ["x", "\n", "\x00", "ж", "🚀", "\u2028"])
def test_as_much_as_possible_is_kept(filler: str) -> None:
    message = a_verdict(traceback=filler * 5000).termination_message()
    longest_escape = 6
    assert 4096 - longest_escape <= len(message.encode()) <= 4096


def test_the_fullest_verdict_keeps_its_metrics() -> None:
    metrics = {f"{'m' * 60}{i:03d}": -1.2345678901234567e-300 for i in range(32)}
    verdict = a_verdict(reason="R" * 128, metrics=metrics, message="ж" * 5000, traceback="t" * 5000)
    read = Verdict.from_json(verdict.termination_message())
    assert read.metrics == metrics
    assert read.message


def test_a_lone_surrogate_does_not_stop_a_verdict() -> None:
    assert (
        Verdict.from_json(a_verdict(message="bad \udcff name").termination_message()).message == "bad ? name"
    )


def test_unknown_fields_of_a_newer_writer_are_skipped() -> None:
    document = json.loads(a_verdict().to_json()) | {"later": 1}
    assert Verdict.from_json(json.dumps(document)) == a_verdict()


def test_metrics_cannot_be_changed_afterwards() -> None:
    metrics = {"mAP50": 0.5}
    verdict = a_verdict(metrics=metrics)
    metrics["mAP50"] = 0.9
    assert verdict.metrics["mAP50"] == 0.5
    with pytest.raises(TypeError):
        verdict.metrics["mAP50"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "lacks version, outcome, reason, message"),
    ],
)
def test_what_is_no_verdict_is_refused(text: str | bytes, complaint: str) -> None:
    with pytest.raises(VerdictError, match=complaint):
        Verdict.from_json(text)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("version", 2, "version 2 of the verdict is unknown"),
        ("version", "1", "version must be a whole number"),
        ("version", True, "version must be a whole number"),
        ("outcome", "Fine", "outcome must be one of Done, BadSpec"),
        ("outcome", 0, "outcome must be one of Done, BadSpec"),
        ("reason", "two words", "reason must be one CamelCase word"),
        ("reason", "", "reason must be one CamelCase word"),
        ("reason", "R" * 129, "reason must be one CamelCase word"),
        ("message", None, "message must be text"),
        ("traceback", 1, "traceback must be text"),
        ("epoch", -1, "epoch must not be negative"),
        ("epoch", 1.0, "epoch must be a whole number"),
        ("metrics", [], "metrics must map"),
        ("metrics", {str(i): 1 for i in range(33)}, "metrics must map at most 32"),
        ("metrics", {"": 1}, "name in metrics"),
        ("metrics", {"loss": "0.1"}, "metrics.loss must be a number"),
        ("metrics", {"loss": True}, "metrics.loss must be a number"),
        ("metrics", {"loss": float("nan")}, "metrics.loss must be finite"),
        ("metrics", {"loss": 10**400}, "metrics.loss must be finite"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object, complaint: str) -> None:
    document = json.loads(a_verdict().to_json()) | {field: value}
    with pytest.raises(VerdictError, match=re.escape(complaint)):
        Verdict.from_json(json.dumps(document))
