"""Holds torch and ultralytics ready, and forks a trainer for each line it is given.

In: JSON lines {"arguments": […], "messages": FILE, "output": FILE, "act": "WHERE:EPOCH:BATCH:WHAT"}.
Out: a line with the exit status of each. WHERE is `train` or `validate`, epoch and batch count from 0, WHAT
is a method of Mishap. Nothing here may speak to a network: who tries is shot.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any

from azaion_jobs.training.trainer import environment

# In this order: ultralytics reads the switches when it is imported.
environment.prepare()

import torch  # noqa: E402

from azaion_jobs.training.trainer.__main__ import main  # noqa: E402
from azaion_jobs.training.trainer.resumable import ResumableTrainer  # noqa: E402
from azaion_jobs.training.trainer.session import Session  # noqa: E402, F401

NETWORK = frozenset({"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"})
TOUCHED_THE_NETWORK = 99


# What a training imports late, once for all.
for late in ("albumentations", "polars"):
    importlib.import_module(late)


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in NETWORK and not (event == "socket.connect" and isinstance(arguments[1], str | bytes)):
        sys.stderr.write(f"{event} {arguments[1:]!r}\n")
        sys.stderr.flush()
        os._exit(TOUCHED_THE_NETWORK)


class Mishap:
    """What can happen to a trainer."""

    def KILL(self, trainer: Any) -> None:  # noqa: N802 - as signals are called
        os.kill(os.getpid(), signal.SIGKILL)

    def TERM(self, trainer: Any) -> None:  # noqa: N802
        os.kill(os.getpid(), signal.SIGTERM)

    def oom(self, trainer: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def nan(self, trainer: Any) -> None:
        trainer.model.model[0].conv.weight.data[0] = float("nan")

    def no_better(self, trainer: Any) -> None:
        """As if the fitness had not risen for as long as patience lasts."""
        trainer.stopper.best_fitness, trainer.stopper.patience = 1.0, 0


def act(where: str, epoch: int, batch: int, what: str) -> None:
    """Let something happen to the trainer at one place: when a batch begins, or in a validation."""
    preprocess = ResumableTrainer.preprocess_batch
    in_validation = ResumableTrainer._during_validation

    def happen(trainer: Any, place: str, at: int) -> None:
        if (where, epoch, batch) == (place, trainer.epoch, at):
            getattr(Mishap(), what)(trainer)

    def batch_began(self: Any, taken: Any) -> Any:
        prepared = preprocess(self, taken)
        happen(self, "train", self._position_batch)
        return prepared

    def validated(self: Any, validator: Any, at: int) -> None:
        happen(self, "validate", at)
        in_validation(self, validator, at)

    ResumableTrainer.preprocess_batch = batch_began  # type: ignore[method-assign, assignment]
    ResumableTrainer._during_validation = validated  # type: ignore[method-assign, assignment]


def child(order: dict[str, Any]) -> int:
    os.setsid()
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    pipe = os.open(order["messages"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.environ["AZAION_PIPE_FD"] = str(pipe)
    if order.get("act"):
        where, epoch, batch, what = order["act"].split(":")
        act(where, int(epoch), int(batch), what)
    try:
        return main(order["arguments"])
    except SystemExit as leaving:
        return int(leaving.code or 0)


def serve() -> None:
    sys.addaudithook(guard)
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            code = 70
            try:
                code = child(json.loads(line))
            finally:
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
