"""What the machine itself must bring: Linux, root, a few programs. Brings the programs where it can."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import commands, files, progress
from azaion_devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azaion_devcluster.paths import Cache

# Program to look for -> Debian package that has it.
_INSTALLED = {
    "gcc": "gcc",
    "ip": "iproute2",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "nsenter": "util-linux",
    "mount": "mount",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "shellcheck": "shellcheck",
}
# Files to look for -> package: headers and keyrings that are no programs.
_INSTALLED_FILES = {
    "/usr/include/stdlib.h": "libc6-dev",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "/etc/ssl/certs/ca-certificates.crt": "ca-certificates",
}
# Unpacked into the cache, never installed: installing them would start services of their own and, for
# containerd, push out the one that comes with Docker.
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
    def ctr(self) -> Path:
        return self.root / "usr/bin/ctr"

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


def ensure_packages(cache: Cache) -> Packages:
    """Installs or unpacks what is missing; costs nothing when all is there."""
    if sys.platform != "linux":
        raise DevclusterError("The embedded cluster needs Linux: use --existing CONTEXT on this machine.")
    packages = Packages(cache.packages)
    to_install = _missing_installed()
    to_unpack = [package for path, package in _UNPACKED.items() if not (packages.root / path).exists()]
    if not to_install and not to_unpack:
        return packages
    if not shutil.which("apt-get"):
        lacking = ", ".join(sorted({*to_install, *to_unpack}))
        raise DevclusterError(
            f"This machine lacks {lacking} (Debian's names) and has no apt-get to get them with: install "
            f"them by hand."
        )
    with files.locked(cache.root / "packages.lock"), progress.step("getting system packages"):
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        _apt(cache, [*sudo, "apt-get", "update", "--quiet"], [*to_install, *to_unpack])
        if to_install:
            command = ["apt-get", "install", "--yes", "--no-install-recommends", "--quiet", *to_install]
            _apt(cache, [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", *command], to_install)
        if to_unpack:
            _unpack(cache, packages.root, to_unpack)
    return packages


def _missing_installed() -> list[str]:
    missing = [package for program, package in _INSTALLED.items() if not _which(program)]
    missing += [package for file, package in _INSTALLED_FILES.items() if not Path(file).exists()]
    return sorted(set(missing))


def _which(program: str) -> str | None:
    # System programs are not on every user's PATH.
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


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
