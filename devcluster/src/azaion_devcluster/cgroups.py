"""The control groups that hold a cluster's pods, in version 1 and version 2 hierarchies alike."""

from __future__ import annotations

import os
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_REMOVE_SECONDS = 30.0
_POLL_SECONDS = 0.05


def create(name: str) -> None:
    """Makes the group in every hierarchy: the kubelet demands that its root exists."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        # Version 1: a new cpuset is empty and takes no process until it is filled.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (group / file).exists() and not (hierarchy / "cgroup.controllers").exists():
                (group / file).write_text((hierarchy / file).read_text())


def remove(name: str) -> list[Path]:
    """Removes the group everywhere once its processes are gone; returns what could not be removed in time."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while True:
        left = [hierarchy / name for hierarchy in _hierarchies() if not _remove_tree(hierarchy / name)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_POLL_SECONDS)


def _hierarchies() -> list[Path]:
    """The mount point of each hierarchy: the root itself for version 2, its folders for version 1."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    # Some controllers share a hierarchy under linked names.
    folders = [entry for entry in _ROOT.iterdir() if entry.is_dir() and not entry.is_symlink()]
    return [folder for folder in folders if (folder / "cgroup.procs").exists()]


def _remove_tree(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
