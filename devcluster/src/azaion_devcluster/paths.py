"""Where things lie on disk. Everything stands below one cache folder outside the repository."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from azaion_devcluster.errors import DevclusterError

# Node names, cgroup names and file names are derived from it.
_CLUSTER_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")


@dataclass(frozen=True)
class Cache:
    """What is shared by all clusters of this machine and may be deleted at the price of time."""

    root: Path

    @classmethod
    def default(cls) -> Cache:
        """`AZAION_CACHE`, else `azaion` in the user's cache folder."""
        if explicit := os.environ.get("AZAION_CACHE"):
            return cls(Path(explicit).resolve())
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(base) / "azaion")

    @property
    def binaries(self) -> Path:
        return self.root / "bin"

    @property
    def go_build(self) -> Path:
        """What the Go compiler keeps between two tools; removed once all are built."""
        return self.root / "go-build"

    @property
    def packages(self) -> Path:
        """Debian packages unpacked without being installed."""
        return self.root / "packages"

    @property
    def registry(self) -> Path:
        return self.root / "registry"

    @property
    def buildah(self) -> Path:
        return self.root / "buildah"

    @property
    def logs(self) -> Path:
        return self.root / "log"

    def cluster(self, name: str) -> ClusterPaths:
        if not _CLUSTER_NAME.fullmatch(name):
            raise DevclusterError(
                f"'{name}' cannot be a cluster's name: use up to 30 lower-case letters, digits and dashes."
            )
        return ClusterPaths(name, self.root / "clusters" / name)

    def cluster_names(self) -> list[str]:
        folder = self.root / "clusters"
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


@dataclass(frozen=True)
class ClusterPaths:
    """One cluster's folder."""

    name: str
    root: Path

    @property
    def node(self) -> str:
        return f"azaion-{self.name}"

    @property
    def cgroup(self) -> str:
        """Name of the control group, below each hierarchy's root, that holds all pods."""
        return f"azaion-{self.name}"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def datastore(self) -> Path:
        return self.root / "datastore"

    @property
    def containerd(self) -> Path:
        """Pulled images and their snapshots: kept when the cluster's state is not."""
        return self.root / "containerd"

    @property
    def kubelet(self) -> Path:
        return self.root / "kubelet"

    @property
    def pod_logs(self) -> Path:
        return self.root / "pod-logs"

    @property
    def container_logs(self) -> Path:
        return self.root / "container-logs"

    @property
    def cni(self) -> Path:
        return self.root / "cni"

    @property
    def tree(self) -> Path:
        """Shown as /azaion inside the cluster."""
        return self.root / "tree"

    @property
    def kubeconfig(self) -> Path:
        """For tools outside the namespace: the API server on a loopback port."""
        return self.root / "kubeconfig"

    @property
    def options(self) -> Path:
        return self.root / "options.json"

    @property
    def start_lock(self) -> Path:
        return self.root / "start.lock"

    @property
    def keeper_lock(self) -> Path:
        return self.root / "keeper.lock"

    @property
    def janitor_lock(self) -> Path:
        return self.root / "janitor.lock"

    @property
    def runtime(self) -> Path:
        """Facts about the running cluster (pids, readiness); empty when it is stopped."""
        return self.root / "runtime"

    @property
    def ready(self) -> Path:
        return self.runtime / "ready"

    @property
    def failed(self) -> Path:
        return self.runtime / "failed"

    @property
    def init_pid(self) -> Path:
        return self.runtime / "init.pid"

    def node_pid(self) -> int | None:
        """The first process of the node's namespaces, as the machine counts; None when it is stopped."""
        try:
            return int(self.init_pid.read_text())
        except FileNotFoundError:
            return None

    @property
    def state_folders(self) -> tuple[Path, ...]:
        """What makes up the Kubernetes state; removing it all leaves a fresh cluster with warm images."""
        return (self.datastore, self.kubelet, self.pod_logs, self.container_logs, self.cni, self.pki)
