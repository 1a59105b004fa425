"""What the machine itself must bring: Linux, root, a few programs. Brings the programs where it can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import commands, files, progress
from azaion_devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azaion_devcluster.paths import Cache

# What a kind of work needs: program or file to look for -> Debian package that has it.
_INSTALLED = {
    "build": {
        "gcc": "gcc",
        "/usr/include/stdlib.h": "libc6-dev",
        "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
    },
    "checks": {"shellcheck": "shellcheck"},
    "images": {
        "gcc": "gcc",
        "/usr/include/stdlib.h": "libc6-dev",
        "buildah": "buildah",
        "mmdebstrap": "mmdebstrap",
        "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    },
    "node": {
        "ip": "iproute2",
        "iptables": "iptables",
        "conntrack": "conntrack",
        "ipset": "ipset",
        "nsenter": "util-linux",
        "mount": "mount",
    },
}
NEEDS = tuple(_INSTALLED)

# For images and node. Unpacked into the cache, never installed: installing them would start services of their
# own and, for containerd, push out the one that comes with Docker.
_UNPACKED = {
    "usr/bin/containerd": "containerd",
    "usr/sbin/runc": "runc",
    "usr/bin/docker-registry": "docker-registry",
    "usr/lib/cni/bridge": "containernetworking-plugins",
}


@dataclass(frozen=True)
class Packages:
    """Paths of the programs that were unpacked rather than installed."""

    root: Path

    @property
    def containerd(self) -> Path:
        return self.root / "usr/bin/containerd"

    @property
    def registry(self) -> Path:
        return self.root / "usr/bin/docker-registry"

    @property
    def cni_plugins(self) -> Path:
        return self.root / "usr/lib/cni"

    @property
    def program_folders(self) -> tuple[Path, ...]:
        return (self.root / "usr/bin", self.root / "usr/sbin")


def demand_root(what: str) -> None:
    """Refuses without root, saying what it is needed for."""
    if os.geteuid() != 0:
        raise DevclusterError(
            f"{what} needs root for namespaces, mounts and control groups: run the same command with sudo, "
            f"or use a cluster you already have with --existing CONTEXT."
        )


def ensure_packages(cache: Cache, *needs: str) -> Packages:
    """Installs or unpacks what the named kinds of work lack; costs nothing when all is there."""
    if sys.platform != "linux":
        raise DevclusterError("The embedded cluster needs Linux: use --existing CONTEXT on this machine.")
    packages = Packages(cache.packages)
    to_install = _missing(needs)
    to_unpack = [
        package
        for path, package in _UNPACKED.items()
        if {"images", "node"} & set(needs) and not (packages.root / path).exists()
    ]
    if not to_install and not to_unpack:
        return packages
    sudo = _administrator(to_install, to_unpack)
    with files.locked(cache.root / "packages.lock"), progress.step("getting system packages"):
        _apt(cache, [*sudo, "apt-get", "update", "--quiet"], [*to_install, *to_unpack])
        if to_install:
            command = ["apt-get", "install", "--yes", "--no-install-recommends", "--quiet", *to_install]
            _apt(cache, [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", *command], to_install)
        if to_unpack:
            _unpack(cache, packages.root, to_unpack)
    return packages


def _missing(needs: Sequence[str]) -> list[str]:
    # System programs are not on every user's PATH.
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    looked_for = {place: package for need in needs for place, package in _INSTALLED[need].items()}
    return sorted(
        {package for place, package in looked_for.items() if not shutil.which(place, os.R_OK, path)}
    )


def _administrator(to_install: Sequence[str], to_unpack: Sequence[str]) -> list[str]:
    """What to put before apt-get; refuses where packages cannot be got, saying which."""
    lacking = " ".join(sorted({*to_install, *to_unpack}))
    if not shutil.which("apt-get"):
        raise DevclusterError(
            f"This machine lacks {lacking} (Debian's names) and has no apt-get to get them with: "
            f"install them by hand."
        )
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    if (
        shutil.which("sudo")
        and not subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode
    ):
        return sudo
    raise DevclusterError(
        f"This machine lacks system packages: run 'sudo apt-get install {lacking}' and then the same "
        f"command again."
    )


def _apt(cache: Cache, command: Sequence[str], packages: Sequence[str]) -> None:
    commands.run_logged(
        command,
        log=cache.logs / "apt.log",
        failure=f"The system packages {', '.join(packages)} could not be got with apt-get",
    )


def _unpack(cache: Cache, root: Path, packages: Sequence[str]) -> None:
    downloads = cache.root / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    commands.run_logged(
        ["apt-get", "download", "--quiet", *packages],
        log=cache.logs / "apt.log",
        cwd=downloads,
        failure=f"The system packages {', '.join(packages)} could not be downloaded with apt-get",
    )
    for archive in downloads.glob("*.deb"):
        commands.run(["dpkg-deb", "--extract", archive, root])
        archive.unlink()
