"""The first process inside a cluster's namespaces: sets the node up, runs its programs, reaps what dies.

It ends only by being killed; everything else in the process namespace goes with it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import commands, files, forward, node, sandbox
from azaion_devcluster.api import Api, ApiUnavailableError
from azaion_devcluster.binaries import Binaries
from azaion_devcluster.errors import DevclusterError
from azaion_devcluster.host import Packages
from azaion_devcluster.options import Options
from azaion_devcluster.paths import Cache

if TYPE_CHECKING:
    from azaion_devcluster.paths import ClusterPaths

_POLL_SECONDS = 0.1
_RESTART_SECONDS = 1.0
_UPKEEP_SECONDS = 2.0
# Before the node was ready, a program that ends this often will not come up at all.
_ENDINGS_TOLERATED = 4
_GPU = "nvidia.com/gpu"


class Node:
    """Keeps the node's programs running."""

    def __init__(self, paths: ClusterPaths, components: tuple[node.Component, ...], path: str) -> None:
        self._paths = paths
        self._components = components
        self._environment = {
            "PATH": path,
            "HOME": "/root",
            "TMPDIR": "/tmp",  # noqa: S108 (the node is private)
        }
        self._lock = threading.Lock()
        self._running: dict[int, node.Component] = {}
        self._endings: dict[str, int] = {}

    def start(self, *, needs_api: bool) -> None:
        for component in self._components:
            if component.needs_api is needs_api:
                self._start(component)

    def reap_for_ever(self) -> None:
        """Waits for children, ours and those whose parents died; starts ours again."""
        while True:
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(_POLL_SECONDS)
                continue
            with self._lock:
                component = self._running.pop(pid, None)
            if component:
                self._ended(component)

    def _start(self, component: node.Component) -> None:
        log = self._paths.log / f"{component.name}.log"
        with self._lock, log.open("ab") as out:
            process = subprocess.Popen(
                component.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._paths.datastore,
                start_new_session=True,
            )
            self._running[process.pid] = component
            # Only `reap_for_ever` waits; without this the object would complain about it.
            process.returncode = 0
        files.write(self._paths.runtime / "components" / component.name, str(process.pid))

    def _ended(self, component: node.Component) -> None:
        self._endings[component.name] = self._endings.get(component.name, 0) + 1
        if self._endings[component.name] > _ENDINGS_TOLERATED and not self._paths.ready.exists():
            log = self._paths.log / f"{component.name}.log"
            said = commands.tail_of(log.read_text(errors="replace"))
            files.write(
                self._paths.failed, f"{component.name} keeps ending; its log {log} ends with:\n{said}\n"
            )
        threading.Timer(_RESTART_SECONDS, self._start, (component,)).start()


def _bring_up(paths: ClusterPaths, options: Options, programs: Node) -> None:
    """Runs beside the reaper: everything that must wait for something else."""
    started = datetime.now(UTC).replace(microsecond=0)
    api = Api(paths.pki, node.API_PORT)
    while not api.ready():
        time.sleep(_POLL_SECONDS)
    programs.start(needs_api=True)
    for manifest in node.bootstrap_objects():
        _until_accepted(api, manifest)
    while not (_is_ready(api, paths.node, started) and api.service_account_exists()):
        time.sleep(_POLL_SECONDS)
    _keep_gpus_declared(api, paths.node, options.gpus)
    files.write(paths.ready, "")
    while True:
        time.sleep(_UPKEEP_SECONDS)
        _keep_gpus_declared(api, paths.node, options.gpus)


def _until_accepted(api: Api, manifest: dict[str, object]) -> None:
    while True:
        try:
            api.apply(manifest)
        except ApiUnavailableError as trouble:
            print(trouble, flush=True)
            time.sleep(_POLL_SECONDS)
        else:
            return


def _is_ready(api: Api, name: str, started: datetime) -> bool:
    """Whether the kubelet says so itself: a cluster that goes on remembers how its node was before."""
    try:
        conditions = api.node(name)["status"].get("conditions", [])
    except ApiUnavailableError:
        return False
    return any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and datetime.fromisoformat(condition["lastHeartbeatTime"]) >= started
        for condition in conditions
    )


def _keep_gpus_declared(api: Api, name: str, gpus: int) -> None:
    """A kubelet that starts again forgets resources no device plugin stands for."""
    if not gpus:
        return
    try:
        if api.node(name)["status"].get("capacity", {}).get(_GPU) != str(gpus):
            api.declare_capacity(name, _GPU, gpus)
    except ApiUnavailableError as trouble:
        print(trouble, flush=True)


def main() -> None:
    """Called by the keeper as the first process of new namespaces."""
    cache, name, listener_fd = Cache(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    paths = cache.cluster(name)
    options = Options.read(paths)
    packages, binaries = Packages(cache.packages), Binaries(cache)
    try:
        sandbox.enter(paths)
    except (DevclusterError, OSError) as trouble:
        files.write(paths.failed, f"{trouble}\n")
        raise
    folders = [*packages.program_folders, *binaries.folders(), packages.cni_plugins]
    system = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    path = ":".join([*map(str, folders), *system])
    programs = Node(paths, node.components(paths, binaries, packages), path)
    listener = socket.socket(fileno=listener_fd)
    listener.setblocking(False)  # noqa: FBT003 (the signature is the standard library's)
    for task in (lambda: asyncio.run(forward.serve(listener)), lambda: _bring_up(paths, options, programs)):
        threading.Thread(target=task, daemon=True).start()
    programs.start(needs_api=False)
    programs.reap_for_ever()


if __name__ == "__main__":
    main()
