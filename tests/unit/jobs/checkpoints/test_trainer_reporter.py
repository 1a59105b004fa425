import os
from collections.abc import Iterator

import pytest

from azaion_jobs.contract.messages import CheckpointFailed, Message, Step, Stopping, decode
from azaion_jobs.training.trainer.reporter import Reporter


class Clock:
    time = 100.0

    def __call__(self) -> float:
        self.time += 0.01
        return self.time


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


def content_of(reading: int) -> bytes:
    content = b""
    while True:
        try:
            part = os.read(reading, 1 << 20)
        except BlockingIOError:
            return content
        if not part:
            return content
        content += part


def received(content: bytes) -> list[Message]:
    return [decode(line) for line in content.splitlines()]


def a_step(batch: int, batches: int = 1000) -> Step:
    return Step(time=1, epoch=1, batch=batch, batches=batches, loss=1.0, step_seconds=1, wait_seconds=0)


def test_steps_go_out_twice_a_second_and_the_last_always(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    clock = Clock()
    reporter = Reporter(writing, clock=clock)
    for batch in (1, 2, 3):
        reporter.send(a_step(batch))
    clock.time += 0.5
    reporter.send(a_step(4))
    reporter.send(a_step(1000))
    batches = [message.batch for message in received(content_of(reading)) if isinstance(message, Step)]
    assert batches == [1, 4, 1000]


def test_a_reader_that_is_slow_costs_steps_and_nothing_else(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    clock = Clock()
    reporter = Reporter(writing, clock=clock)
    for number in range(400):
        reporter.send(CheckpointFailed(time=number, reason="x" * 1000))
        clock.time += 1
        reporter.send(a_step(number))
    content = b""
    while reporter._waiting:
        content += content_of(reading)
        reporter._flush()
    reporter.send(Stopping(time=1))
    told = received(content + content_of(reading))
    times = [message.time for message in told if isinstance(message, CheckpointFailed)]
    assert times == list(range(400))
    assert isinstance(told[-1], Stopping)
    assert 0 < sum(isinstance(message, Step) for message in told) < 400


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    reporter = Reporter(writing)
    reporter.send(Stopping(time=1))
    reporter.send(Stopping(time=2))
    reporter.close()


@pytest.mark.parametrize("value", ["", "none", "987654"])
def test_without_a_supervisor_nothing_is_told(value: str) -> None:
    reporter = Reporter.from_environment({"AZAION_PIPE_FD": value})
    reporter.send(Stopping(time=1))
    reporter.close()
