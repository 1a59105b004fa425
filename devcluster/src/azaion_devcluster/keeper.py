"""The process on the machine that a running cluster hangs on.

    up ──starts──> keeper ──starts──> unshare ──> init (the node)
                      └────starts──> janitor

The kernel kills the node when the keeper dies, however it dies. The janitor notices by the end of a pipe and
removes what outlives processes: the control groups. So stopping a cluster is ending its keeper, and a crash
of any of these processes, the starting one included, leaves nothing behind.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from azaion_devcluster import cgroups, files
from azaion_devcluster.paths import Cache, ClusterPaths

_CHILD_SECONDS = 10.0
_POLL_SECONDS = 0.01


def _start_node(cache: Cache, paths: ClusterPaths, listener_fd: int) -> subprocess.Popen[bytes]:
    cgroups.create(paths.cgroup)
    command = [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"),
        *(sys.executable, "-m", "azaion_devcluster.init", str(cache.root), paths.name, str(listener_fd)),
    ]
    with (paths.log / "init.log").open("ab") as out:
        unshare = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, pass_fds=(listener_fd,)
        )
    deadline = time.monotonic() + _CHILD_SECONDS
    while not (children := _children_of(unshare.pid)) and unshare.poll() is None:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    if children:
        files.write(paths.init_pid, str(children[0]))
    return unshare


def _children_of(parent: int) -> list[int]:
    children = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # The program's name stands in brackets and may hold blanks.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                children.append(int(folder.name))
    return children


def _start_janitor(cache: Cache, paths: ClusterPaths, pipe: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "azaion_devcluster.janitor", str(cache.root), paths.name, str(pipe)]
    # A session of its own: whatever kills the keeper's group must not kill the one who cleans up.
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(pipe,), start_new_session=True)


def _watch(cache: Cache, paths: ClusterPaths, handover: int, tied_to: int | None, listener_fd: int) -> None:
    """Returns when the cluster has to end."""
    # The janitor inherits the reading end only; its pipe ends when this process does.
    reading, _writing = os.pipe()
    janitor = _start_janitor(cache, paths, reading)
    unshare = _start_node(cache, paths, listener_fd)
    node_end = os.pidfd_open(unshare.pid)
    janitor_end = os.pidfd_open(janitor.pid)
    watched = [handover, node_end, janitor_end]
    tied_end = os.pidfd_open(tied_to) if tied_to else None
    if tied_end is not None:
        watched.append(tied_end)
    while True:
        readable, _, _ = select.select(watched, [], [])
        if node_end in readable or tied_end in readable:
            return
        if handover in readable:
            if not os.read(handover, 1):
                # The starting process died before it saw the node ready.
                return
            watched.remove(handover)
        if janitor_end in readable:
            janitor.wait()
            watched.remove(janitor_end)
            janitor = _start_janitor(cache, paths, reading)
            janitor_end = os.pidfd_open(janitor.pid)
            watched.append(janitor_end)


def main() -> None:
    """Called by `Cluster.up`; lives as long as the cluster."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cache", type=Path)
    parser.add_argument("name")
    parser.add_argument("--listener-fd", type=int, required=True)
    parser.add_argument("--handover-fd", type=int, required=True)
    parser.add_argument("--tied-to", type=int)
    arguments = parser.parse_args()
    cache = Cache(arguments.cache)
    paths = cache.cluster(arguments.name)
    lock = files.hold(paths.keeper_lock)
    if lock is None:
        sys.exit(f"The cluster {paths.name} has a keeper already.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _watch(cache, paths, arguments.handover_fd, arguments.tied_to, arguments.listener_fd)


if __name__ == "__main__":
    main()
