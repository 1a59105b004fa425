"""Starting, stopping and crashing clusters: whatever happens, nothing is left on the machine.

These clusters stand beside the one the other cluster tests use, which is a test of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from azaion_devcluster import Cluster, DevclusterError
from support.inotify import OpenWatch
from support.kubectl import Kubectl
from support.machine import Footprint, alive, descendants
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        "AZAION_TEST_CLUSTER_NAME" not in os.environ,
        reason="a cluster somebody already has is not ours to kill",
    ),
]
NAME = "life"
GONE_SECONDS = 30


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A stopped cluster without any state."""
    cluster = Cluster(NAME)
    cluster.down()
    cluster.forget()
    yield cluster
    cluster.down()
    cluster.forget(everything=True)


@pytest.fixture
def before(cluster: Cluster) -> Footprint:
    """The machine as it was before the cluster started."""
    return Footprint.of(cluster.node)


def test_a_stopped_cluster_leaves_nothing(cluster: Cluster, before: Footprint) -> None:
    cluster.up()
    processes = _processes(cluster)
    assert len(processes) > 10
    assert Footprint.of(cluster.node) != before

    cluster.down()

    assert alive(processes) == set()
    assert Footprint.of(cluster.node) == before


def test_killing_the_process_it_hangs_on_leaves_nothing(cluster: Cluster, before: Footprint) -> None:
    cluster.up()
    processes = _processes(cluster)

    _kill(cluster.keeper_pid)

    _assert_gone(cluster, processes, before)


def test_killing_the_one_who_cleans_up_first_leaves_nothing(cluster: Cluster, before: Footprint) -> None:
    cluster.up()
    first = cluster.janitor_pid
    _kill(first)
    wait_until(lambda: cluster.janitor_pid not in (None, first), deadline=10, what="another janitor")
    processes = _processes(cluster)

    _kill(cluster.keeper_pid)

    _assert_gone(cluster, processes, before)


def test_killing_the_starting_process_leaves_nothing(cluster: Cluster, before: Footprint) -> None:
    starter = subprocess.Popen([sys.executable, "-m", "azaion_devcluster", "up", "--name", NAME])
    wait_until(lambda: cluster.keeper_pid, deadline=30, what="the keeper")
    processes = _processes(cluster)

    _kill(starter.pid)
    starter.wait()

    _assert_gone(cluster, processes, before)


def test_killing_the_process_it_was_tied_to_leaves_nothing(cluster: Cluster, before: Footprint) -> None:
    up = f"Cluster({NAME!r}).up(tied_to=os.getpid())"
    program = f"import os; from azaion_devcluster import Cluster; {up}; input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as owner:
        wait_until(lambda: cluster.running, deadline=60, what="the cluster")
        processes = _processes(cluster)

        _kill(owner.pid)

    _assert_gone(cluster, processes, before)


def test_a_crash_of_everything_is_mended_by_the_next_start(cluster: Cluster, before: Footprint) -> None:
    cluster.up()
    processes = _processes(cluster)
    janitor, keeper = cluster.janitor_pid, cluster.keeper_pid
    # The keeper replaces a dead janitor, so it must not see it die.
    os.kill(keeper or 0, signal.SIGSTOP)
    _kill(janitor)
    _kill(keeper)
    wait_until(lambda: not alive(processes), deadline=GONE_SECONDS, what="no process")
    assert Footprint.of(cluster.node).cgroups != before.cgroups

    cluster.up()
    cluster.down()

    assert Footprint.of(cluster.node) == before


def test_state_survives_a_crash(cluster: Cluster) -> None:
    cluster.up()
    Kubectl(cluster.kubeconfig)("create", "configmap", "kept", "--from-literal=answer=42")
    processes = _processes(cluster)
    _kill(cluster.keeper_pid)
    wait_until(lambda: not alive(processes), deadline=GONE_SECONDS, what="no process")

    cluster.up()

    assert Kubectl(cluster.kubeconfig).get("configmap", "kept")["data"] == {"answer": "42"}


def test_declared_gpus_come_back_after_the_kubelet(cluster: Cluster) -> None:
    cluster.up(gpus=2)
    kubectl = Kubectl(cluster.kubeconfig)

    def allocatable() -> str:
        return str(kubectl.get("node", cluster.node)["status"]["allocatable"].get("nvidia.com/gpu"))

    wait_until(lambda: allocatable() == "2", deadline=30, what="two GPUs to be allocatable")
    old = cluster.component_pid("kubelet")
    subprocess.run(cluster.inside(["sh", "-c", f"kill -KILL {old}"]), check=True)
    wait_until(lambda: cluster.component_pid("kubelet") != old, deadline=20, what="another kubelet")

    wait_until(lambda: allocatable() == "2", deadline=60, what="two GPUs to be allocatable again")


def test_the_machines_own_tree_is_never_opened(cluster: Cluster) -> None:
    with _own_tree() as own, OpenWatch(own) as watch:
        cluster.up()
        write = ["sh", "-c", "echo seen > /azaion/canary; ls /azaion; cat /azaion/canary"]
        said = subprocess.run(cluster.inside(write), check=True, capture_output=True, text=True).stdout
        cluster.down()
        assert watch.events() == 0
        # The watch does see: otherwise the line above proves nothing.
        list(own.iterdir())
        assert watch.events() > 0
    assert said == "canary\nseen\n"
    assert (cluster.tree / "canary").read_text() == "seen\n"


def test_a_taken_port_is_named(cluster: Cluster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DevclusterError, match=f"Port {port} on 127.0.0.1 is taken: .*--port"):
            cluster.up(port=port)


def test_another_number_of_gpus_is_refused_while_it_runs(cluster: Cluster) -> None:
    cluster.up(gpus=1)
    with pytest.raises(DevclusterError, match=r"--gpus 1: stop it with './dev down'"):
        cluster.up(gpus=2)
    assert not cluster.up(gpus=1)


def _processes(cluster: Cluster) -> set[tuple[int, str]]:
    assert cluster.keeper_pid
    return descendants(cluster.keeper_pid)


def _kill(pid: int | None) -> None:
    assert pid
    os.kill(pid, signal.SIGKILL)


def _assert_gone(cluster: Cluster, processes: set[tuple[int, str]], before: Footprint) -> None:
    wait_until(lambda: not alive(processes), deadline=GONE_SECONDS, what="no process")
    wait_until(lambda: cluster.janitor_pid is None, deadline=GONE_SECONDS, what="the clean-up to end")
    assert Footprint.of(cluster.node) == before


@contextlib.contextmanager
def _own_tree() -> Iterator[Path]:
    """The machine's /azaion, made for the test where there is none."""
    own = Path("/azaion")
    made = not own.exists()
    if made:
        own.mkdir()
    try:
        yield own
    finally:
        if made:
            own.rmdir()
