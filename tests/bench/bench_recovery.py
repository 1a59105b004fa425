"""How long a training stands still after its trainer was killed: from SIGKILL to the next step.

With the stub trainer, which needs no torch: this is what the supervisor itself costs.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.stub_trainer import Script
from support.supervised import Supervised
from support.waiting import wait_until

if TYPE_CHECKING:
    from support.benchmark import Report

_ROUNDS = 10
_DEADLINE = 60.0
_TARGET_SECONDS = 15.0


def measure(report: Report) -> None:
    with tempfile.TemporaryDirectory() as place:
        supervised = Supervised(Path(place))
        supervised.script(Script(step_seconds=0.02))
        process = supervised.start(supervised.with_epochs(10_000))
        try:
            report.spread(
                "sigkill_to_next_step_stub",
                [_recovery(supervised) for _ in range(_ROUNDS)],
                "s",
                target=_TARGET_SECONDS,
            )
            process.terminate()
            supervised.ended(process)
        finally:
            supervised.stop_all()


def _recovery(supervised: Supervised) -> float:
    # Far enough for a checkpoint, which earns the restart back.
    supervised.await_steps(len(supervised.steps()) + 20)
    trainer = supervised.starts()[-1]["pid"]
    os.kill(trainer, signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: supervised.steps()[-1][2] != trainer, deadline=_DEADLINE, what="the next step")
    return time.monotonic() - killed
