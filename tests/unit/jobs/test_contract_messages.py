import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azaion_jobs.contract import messages
from azaion_jobs.contract.messages import MessageError, decode, encode

MESSAGES: list[messages.Message] = [
    messages.Started(
        time=1.5, batch_size=4, batches=16, epochs=3, epoch=1, batch=2, device="cpu", cuda=False, parameters=9
    ),
    messages.Scanning(time=1, done=1, total=2),
    messages.Step(time=1, epoch=1, batch=2, batches=16, loss=0.5, step_seconds=0.1, wait_seconds=0.0),
    messages.Validating(time=1, epoch=1, batch=0, batches=2),
    messages.Epoch(time=1, epoch=1, epochs=3, loss=0.5, map50=0.1, map50_95=0.05, seconds=3, lr=0.01),
    messages.Checkpoint(time=1, epoch=1, batch=0, stage="epoch", file="x.pt", size=3, seconds=0.1),
    messages.CheckpointFailed(time=1, reason="disk full"),
    messages.Stopping(time=1),
    messages.Finished(time=1, status="finished", best=messages.Best(map50=0.5, map50_95=0.3)),
    messages.Failed(time=1, kind="oom", message="CUDA out of memory", traceback="Traceback…"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_reads_back_as_it_was_sent(message: messages.Message) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


def test_keys_are_those_that_were_agreed() -> None:
    document = json.loads(encode(MESSAGES[4]))
    assert document["type"] == "epoch"
    assert {"epoch", "epochs", "loss", "mAP50", "mAP50_95", "seconds", "lr", "time"} < set(document)
    assert set(json.loads(encode(MESSAGES[8]))["best"]) == {"mAP50", "mAP50_95"}


def test_a_loss_may_be_nan() -> None:
    sent = messages.Step(
        time=1, epoch=1, batch=2, batches=9, loss=math.nan, step_seconds=0.1, wait_seconds=0.0
    )
    received = decode(encode(sent))
    assert isinstance(received, messages.Step)
    assert math.isnan(received.loss)


@given(st.text(max_size=3000), st.integers(1, 60))
def test_a_failure_stays_short_and_keeps_its_last_lines(text: str, times: int) -> None:
    failure = messages.Failed(time=1, kind="internal", message=text, traceback=text * times)
    assert len(encode(failure)) < 220_000
    assert (text * times).endswith(failure.traceback)
    assert decode(encode(failure)) == failure


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "must have one of the types started"),
        ('{"type": "other"}', "must have one of the types started"),
        ('{"type": ["step"]}', "must have one of the types started"),
        ('{"type": "stopping"}', "stopping lacks time"),
        ('{"type": "stopping", "time": "now"}', "stopping.time must be a number"),
        ('{"type": "stopping", "time": 1, "x": 1}', "stopping has the unknown field 'x'"),
        ('{"type": "scanning", "time": 1, "done": -1, "total": 1}', "scanning.done must be at least 0"),
    ],
)
def test_what_is_no_message_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(MessageError, match=complaint):
        decode(line)
