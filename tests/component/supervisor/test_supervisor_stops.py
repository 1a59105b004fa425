"""Stops that were asked for, stalls, and more than one supervisor."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from support.stub_trainer import Fault, Script
from support.supervised import Supervised

SLOW = Script(step_seconds=0.02, every=99)


def test_sigterm_loses_nothing(supervised: Supervised) -> None:
    supervised.script(SLOW)
    supervised.spec = supervised.with_epochs(100)
    process = supervised.start()
    supervised.await_steps(11)
    process.terminate()
    assert supervised.ended(process) == 75, supervised.log().read_text()
    verdict = supervised.termination()
    assert (verdict.outcome, verdict.reason, verdict.clean) == ("StoppedOnRequest", "StopRequested", True)
    assert supervised.verdict() == verdict
    epoch, batch, _ = supervised.steps()[-1]
    newest = supervised.store().entries()[-1]
    assert (newest.epoch, newest.batch, newest.stage) == (epoch, batch, "train")

    before = len(supervised.steps())
    process = supervised.start(supervised.attempt(2))
    supervised.await_steps(before + 1)
    process.terminate()
    supervised.ended(process)
    assert supervised.steps()[before][:2] == ((epoch, batch + 1) if batch < 8 else (epoch + 1, 1))


def test_a_trainer_that_does_not_leave_is_killed_within_the_grace(supervised: Supervised) -> None:
    supervised.script(replace(SLOW, faults=[Fault("deaf")]))
    supervised.spec = replace(
        supervised.with_limits(grace=2, grace_margin=1.5), training=supervised.with_epochs(99).training
    )
    process = supervised.start()
    supervised.await_steps(3)
    process.terminate()
    assert supervised.ended(process) == 75
    verdict = supervised.verdict()
    assert (verdict.reason, verdict.clean) == ("StopForced", False)
    with pytest.raises(ProcessLookupError):
        os.kill(supervised.starts()[0]["pid"], 0)


def test_a_stopped_process_is_killed_within_the_grace(supervised: Supervised) -> None:
    supervised.spec = supervised.with_limits(grace=2, grace_margin=1.5, stall_floor=60)
    supervised.script(replace(SLOW, faults=[Fault("SIGSTOP", "e0b3")]))
    process = supervised.start()
    supervised.await_steps(3)
    process.terminate()
    assert supervised.ended(process) == 75
    assert supervised.verdict().clean is False


def test_sigterm_during_the_start_is_clean(supervised: Supervised) -> None:
    supervised.script(replace(SLOW, faults=[Fault("SIGSTOP", "start")]))
    process = supervised.start()
    supervised.await_true(supervised.starts, "the start of the trainer")
    process.terminate()
    supervised.await_true(lambda: "Stop requested" in supervised.log().read_text(), "the request")
    os.kill(supervised.starts()[0]["pid"], signal.SIGCONT)
    assert supervised.ended(process) == 75
    assert supervised.verdict().clean is True


def test_a_run_that_ends_while_it_is_to_stop_is_done(supervised: Supervised) -> None:
    supervised.script(replace(SLOW, faults=[Fault("SIGSTOP", "finish")]))
    process = supervised.start()
    supervised.await_true(lambda: supervised.store().status == "finished", "the end of the training")
    process.terminate()
    supervised.await_true(lambda: "Stop requested" in supervised.log().read_text(), "the request")
    os.kill(supervised.starts()[0]["pid"], signal.SIGCONT)
    assert supervised.ended(process) == 0


@pytest.mark.parametrize("moment", ["e0b5", "validate", "finish"])
def test_a_stall_is_found_and_answered_by_a_restart(supervised: Supervised, moment: str) -> None:
    supervised.script(Script(faults=[Fault("SIGSTOP", moment)]))
    assert supervised.run() == 0, supervised.log().read_text()
    assert supervised.store().status == "finished"
    assert len(supervised.starts()) == 2
    assert supervised.state()["stallsEver"] == 1
    assert "The trainer stood still" in supervised.log().read_text()


def test_stalling_again_and_again_ends_as_stalled(supervised: Supervised) -> None:
    supervised.spec = supervised.with_limits(stall_floor=0.4, same_cause=2)
    supervised.script(Script(faults=[Fault("SIGSTOP", "e0b2", times=99)]))
    assert supervised.run() == 79
    assert len(supervised.starts()) == 3
    assert supervised.verdict().outcome == "Stalled"


def test_a_trainer_dies_with_its_supervisor_and_the_next_attempt_goes_on(supervised: Supervised) -> None:
    supervised.script(Script(step_seconds=0.02))
    supervised.spec = supervised.with_epochs(6)
    process = supervised.start()
    supervised.await_steps(11)
    process.kill()
    (trainer,) = (start["pid"] for start in supervised.starts())
    supervised.await_true(lambda: not _runs(trainer), "the end of the trainer")
    assert supervised.run(supervised.attempt(2)) == 0, supervised.log().read_text()
    assert supervised.starts()[1]["resume"] != "None"
    assert {step[:2] for step in supervised.steps()} == {(e, b) for e in range(6) for b in range(1, 9)}


def test_a_second_supervisor_of_an_older_attempt_is_fenced_off(supervised: Supervised) -> None:
    supervised.script(SLOW)
    supervised.spec = supervised.with_epochs(100)
    first = supervised.start(supervised.attempt(2))
    supervised.await_steps(1)
    before = supervised.folder.lease.read_bytes()
    assert supervised.run(supervised.attempt(1)) == 80
    assert supervised.folder.lease.read_bytes() == before
    assert first.poll() is None
    # The verdict in the directory is the holder's to write.
    assert not supervised.folder.verdict.exists()
    assert supervised.termination().outcome == "FencedOff"
    first.terminate()
    assert supervised.ended(first) == 75


def test_a_newer_attempt_waits_for_the_older_one_and_goes_on(supervised: Supervised) -> None:
    supervised.script(SLOW)
    supervised.spec = supervised.with_epochs(100)
    first = supervised.start()
    supervised.await_steps(3)
    second = supervised.start(supervised.attempt(2))
    supervised.await_true(lambda: "Waiting for attempt 1" in supervised.log(1).read_text(), "the wait")
    first.terminate()
    assert supervised.ended(first) == 75
    supervised.await_true(lambda: len(supervised.starts()) == 2, "the second trainer")
    second.terminate()
    assert supervised.ended(second) == 75
    # And the older one never comes back.
    assert supervised.run(supervised.attempt(1)) == 80


def test_an_older_attempt_that_never_lets_go_is_no_fault_of_the_run(supervised: Supervised) -> None:
    supervised.script(SLOW)
    supervised.spec = replace(
        supervised.with_limits(lease_wait=0.3), training=supervised.with_epochs(100).training
    )
    first = supervised.start()
    supervised.await_steps(1)
    assert supervised.run(supervised.attempt(2)) == 69
    # The same attempt twice: one of them is of no use.
    assert supervised.run() == 80
    assert first.poll() is None
    first.terminate()
    supervised.ended(first)


def test_sigterm_ends_the_wait_for_the_directory(supervised: Supervised) -> None:
    supervised.script(SLOW)
    supervised.spec = supervised.with_epochs(100)
    first = supervised.start()
    supervised.await_steps(1)
    second = supervised.start(supervised.attempt(2))
    supervised.await_true(lambda: "Waiting for attempt 1" in supervised.log(1).read_text(), "the wait")
    second.terminate()
    assert supervised.ended(second) == 75
    assert supervised.termination().clean is True
    first.terminate()
    supervised.ended(first)


def test_an_attempt_whose_lease_was_taken_over_writes_nothing_more(supervised: Supervised) -> None:
    # As on a volume whose locks do not work.
    supervised.script(SLOW)
    supervised.spec = supervised.with_epochs(100)
    process = supervised.start()
    supervised.await_steps(3)
    supervised.folder.lease.write_text('{"version": 1, "fence": 99, "attempt": 7, "uid": "5f3c"}')
    assert supervised.ended(process) == 80
    assert not supervised.folder.verdict.exists()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
