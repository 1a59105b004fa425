"""Starts, reuses, enters and stops a cluster by name."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from azaion_devcluster import disk, files, ground, host, leftovers, node, progress
from azaion_devcluster.binaries import Binaries
from azaion_devcluster.errors import DevclusterError
from azaion_devcluster.options import Options
from azaion_devcluster.paths import Cache
from azaion_devcluster.processes import await_end, open_all
from azaion_devcluster.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_START_SECONDS = 90.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05
_RUN_GIGABYTES = 2


class Cluster:
    """One cluster of this machine. Cheap to make; nothing happens before a method is called."""

    def __init__(self, name: str = "dev", *, cache: Cache | None = None) -> None:
        self._cache = cache or Cache.default()
        self._paths = self._cache.cluster(name)
        self.name = name

    @property
    def kubeconfig(self) -> Path:
        return self._paths.kubeconfig

    @property
    def node(self) -> str:
        return self._paths.node

    @property
    def tree(self) -> Path:
        """The machine's folder that pods of this cluster see as /azaion."""
        return self._paths.tree

    @property
    def running(self) -> bool:
        return files.holder(self._paths.keeper_lock) is not None and self._paths.ready.exists()

    @property
    def keeper_pid(self) -> int | None:
        """The process the cluster hangs on."""
        return files.holder(self._paths.keeper_lock)

    @property
    def janitor_pid(self) -> int | None:
        """The process that cleans up after it."""
        return files.holder(self._paths.janitor_lock)

    @property
    def has_state(self) -> bool:
        """Whether a start would go on with what an earlier one left."""
        return self._paths.datastore.is_dir()

    def environment(self) -> dict[str, str]:
        """Variables that make kubectl and helm talk to this cluster."""
        folders = ":".join(str(folder) for folder in Binaries(self._cache).folders())
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": f"{folders}:{os.environ['PATH']}"}

    def up(self, *, gpus: int | None = None, port: int | None = None, tied_to: int | None = None) -> bool:
        """Brings the cluster to a Ready node; False if it was running already.

        A stopped cluster goes on with the state it had. `gpus` and `port` default to those of last
        time. With `tied_to` the cluster ends when that process does, however it ends.
        """
        host.demand_root("The embedded cluster")
        packages = host.ensure_packages(self._cache, "node", "images")
        Binaries(self._cache).ensure()
        ground.ensure_pause(self._cache, Registry(self._cache, packages))
        with files.locked(self._paths.start_lock):
            if self.running:
                self._refuse_other_options(gpus, port)
                return False
            self._end_what_is_left()
            disk.demand(self._paths.root, gigabytes=_RUN_GIGABYTES, purpose=f"The cluster {self.name}")
            standing = Options.read(self._paths)
            listener = self._listen(standing.port if port is None else port, chosen=port is not None)
            options = Options(
                gpus=standing.gpus if gpus is None else gpus,
                port=listener.getsockname()[1],
            )
            with listener:
                options.write(self._paths)
                self._prepare_folders()
                node.write_configuration(self._paths, self._cache, packages, port=options.port)
                self._start_keeper(listener, tied_to)
        return True

    def down(self) -> bool:
        """Ends the cluster and waits until nothing of it is left; False if there was nothing to end."""
        running = files.holder(self._paths.keeper_lock) is not None
        if not self._paths.root.is_dir():
            return False
        host.demand_root("The embedded cluster")
        self._end_what_is_left()
        return running

    def forget(self, *, everything: bool = False) -> None:
        """Removes a stopped cluster's Kubernetes state; with `everything` its images and its tree too."""
        if files.holder(self._paths.keeper_lock):
            raise DevclusterError(f"The cluster {self.name} is running: stop it first.")
        for folder in (self._paths.root,) if everything else self._paths.state_folders:
            shutil.rmtree(folder, ignore_errors=True)

    def inside(self, command: Sequence[str | Path]) -> list[str]:
        """The command line that runs `command` inside the cluster's namespaces."""
        pid = self._paths.node_pid()
        if not pid:
            raise DevclusterError(f"The cluster {self.name} is not running: start it with './dev up'.")
        # --root: the namespace's own root is not the node's where the cluster was started from a chroot.
        namespaces = ("--mount", "--net", "--pid", "--root", "--wd")
        return ["nsenter", f"--target={pid}", *namespaces, "--", *(str(word) for word in command)]

    def component_pid(self, name: str) -> int:
        """Process id, inside the cluster's namespace, of one of the node's programs."""
        return int((self._paths.runtime / "components" / name).read_text())

    def _refuse_other_options(self, gpus: int | None, port: int | None) -> None:
        standing = Options.read(self._paths)
        wanted = {"gpus": gpus, "port": port}
        for name, value in wanted.items():
            if value is not None and value != getattr(standing, name):
                raise DevclusterError(
                    f"The cluster {self.name} is running with --{name} {getattr(standing, name)}: "
                    f"stop it with './dev down' before starting it with --{name} {value}."
                )

    def _listen(self, port: int, *, chosen: bool) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as trouble:
            if chosen:
                listener.close()
                raise DevclusterError(
                    f"Port {port} on 127.0.0.1 is taken: choose another with --port, or leave --port out."
                ) from trouble
            # Last time's port is only a preference.
            listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        return listener

    def _prepare_folders(self) -> None:
        shutil.rmtree(self._paths.log, ignore_errors=True)
        folders = (*self._paths.state_folders, self._paths.log, self._paths.containerd, self._paths.tree)
        for folder in (*folders, self._paths.runtime):
            folder.mkdir(parents=True, exist_ok=True)

    def _start_keeper(self, listener: socket.socket, tied_to: int | None) -> None:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "azaion_devcluster.keeper", str(self._cache.root), self.name]
        command += [f"--listener-fd={listener.fileno()}", f"--handover-fd={reading}"]
        if tied_to:
            command.append(f"--tied-to={tied_to}")
        with (self._paths.log / "keeper.log").open("ab") as out:
            keeper = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(), reading),
                start_new_session=True,
            )
        os.close(reading)
        try:
            with progress.step(f"starting the cluster {self.name}"):
                self._await_ready(keeper)
            os.write(writing, b"+")
        finally:
            # Closed without the mark, the keeper ends the cluster.
            os.close(writing)
        # It is meant to outlive this process.
        keeper.returncode = 0

    def _await_ready(self, keeper: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._paths.ready.exists():
            if self._paths.failed.exists():
                raise DevclusterError(f"The cluster did not start: {self._paths.failed.read_text().strip()}")
            if keeper.poll() is not None:
                raise DevclusterError(f"The cluster did not start: see the logs in {self._paths.log}.")
            if time.monotonic() > deadline:
                raise DevclusterError(
                    f"The cluster's node was not ready within {_START_SECONDS:.0f} s: see the logs in "
                    f"{self._paths.log}."
                )
            time.sleep(_POLL_SECONDS)

    def _end_what_is_left(self) -> None:
        """Ends keeper and janitor where they live, and does the janitor's work where it was killed too."""
        keeper, janitor = self.keeper_pid, self.janitor_pid
        processes = open_all((keeper, janitor, self._paths.node_pid()))
        if keeper:
            with contextlib.suppress(ProcessLookupError):
                os.kill(keeper, signal.SIGTERM)
        if not await_end(processes, seconds=_STOP_SECONDS):
            raise DevclusterError(f"The cluster {self.name} did not end within {_STOP_SECONDS:.0f} s.")
        if left := leftovers.remove(self._paths):
            raise DevclusterError(f"Processes of an earlier cluster still run in {left[0]}: end them by id.")
