"""How long the embedded cluster takes to start, to start again, and to be gone."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from azaion_devcluster import Cluster
from azaion_devcluster.processes import await_end, open_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.benchmark import Report

_ROUNDS = 5
_READY_TARGET_SECONDS = 15.0


def measure(report: Report) -> None:
    cluster = Cluster("bench")
    cold, warm, stopped, killed = [], [], [], []
    try:
        for _ in range(_ROUNDS):
            cluster.down()
            cluster.forget()
            cold.append(_seconds(cluster.up))
            stopped.append(_seconds(cluster.down))
            warm.append(_seconds(cluster.up))
            killed.append(_seconds(lambda: _kill(cluster)))
    finally:
        cluster.down()
        cluster.forget(everything=True)
    report.spread("fresh_start_to_node_ready", cold, "s", target=_READY_TARGET_SECONDS)
    report.spread("start_with_kept_state", warm, "s", target=_READY_TARGET_SECONDS)
    report.spread("stop", stopped, "s")
    report.spread("sigkill_to_nothing_left", killed, "s")


def _kill(cluster: Cluster) -> None:
    """The crash of the process a cluster hangs on, until its clean-up is over."""
    keeper = cluster.keeper_pid
    if keeper is None:
        raise RuntimeError("The cluster ended by itself.")
    processes = open_all((keeper, cluster.janitor_pid))
    os.kill(keeper, signal.SIGKILL)
    if not await_end(processes, seconds=60):
        raise RuntimeError("The clean-up did not end.")


def _seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started
