"""SIGTERM: leave with a checkpoint while training, at once where there is nothing to save."""

import signal
from types import FrameType
from typing import NoReturn

from azaion_jobs.contract import ExitCode
from azaion_jobs.contract.messages import Stopping
from azaion_jobs.training.trainer.reporter import Reporter, now


class StopRequest:
    """Whether somebody asked this process to stop, and whether it may finish its step first."""

    def __init__(self, reporter: Reporter) -> None:
        self.wanted = False
        self._reporter = reporter
        self._deferred = False

    def listen(self) -> None:
        """Take SIGTERM from now on."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def defer(self) -> None:
        """From now on a stop waits until `leave_if_wanted` is called: there is something to save."""
        self._deferred = True

    def end_deferral(self) -> None:
        """What follows can be repeated: leave now if a stop was asked for, and at once from now on."""
        self._deferred = False
        self.leave_if_wanted()

    def leave_if_wanted(self) -> None:
        """Leave if somebody asked for it; all that is to be saved has been."""
        if self.wanted:
            self._leave()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        first = not self.wanted
        self.wanted = True
        if first:
            self._reporter.send(Stopping(time=now()))
        if not self._deferred:
            self._leave()

    @staticmethod
    def _leave() -> NoReturn:
        raise SystemExit(int(ExitCode.STOPPED_ON_REQUEST))
