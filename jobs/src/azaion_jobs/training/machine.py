"""What the supervisor must know of the machine: memory of the pod, shared memory, disk, GPUs.

Every root is an argument, so that tests can show other machines. What cannot be read is None: unknown is
never a fault.
"""

import csv
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")

_GPU_QUERY_SECONDS: Final = 20
_MIB: Final = 1 << 20
# Version 1 writes 'no limit' as the largest multiple of a page below 2^63.
_NO_LIMIT: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class Space:
    """What a filesystem has left; `inodes` is None where it has no fixed number of them."""

    bytes: int
    inodes: int | None


def space(path: Path) -> Space | None:
    """What is left where `path` lies, or will lie."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        facts = os.statvfs(path)
    except OSError:
        return None
    return Space(facts.f_bavail * facts.f_frsize, facts.f_favail if facts.f_files else None)


def oom_kills(cgroups: Path = CGROUP_ROOT) -> int | None:
    """How many processes of this control group the kernel has killed for memory; versions 2 and 1."""
    for path in (cgroups / "memory.events", cgroups / "memory" / "memory.oom_control"):
        try:
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        except (OSError, ValueError):
            continue
    return None


def memory_limit(cgroups: Path = CGROUP_ROOT) -> int | None:
    """The memory that this control group may use; None without a limit."""
    for path in (cgroups / "memory.max", cgroups / "memory" / "memory.limit_in_bytes"):
        try:
            limit = int(path.read_text())
        except (OSError, ValueError):
            continue
        return limit if limit < _NO_LIMIT else None
    return None


class Gpus(Protocol):
    """The GPUs of this pod."""

    def memory_used(self) -> tuple[int, ...] | None:
        """Bytes in use on each; empty if there is none, None if nobody can say."""


class NvidiaSmi:
    """Asks the driver's own program: another process, because a broken driver can hang who asks."""

    def __init__(self, program: str = "nvidia-smi", devices: Path = Path("/dev")) -> None:
        self._program = program
        self._devices = devices

    def memory_used(self) -> tuple[int, ...] | None:
        """Bytes in use on each GPU."""
        command = [self._program, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        try:
            answer = subprocess.run(  # noqa: S603 - a fixed command
                command, capture_output=True, text=True, check=False, timeout=_GPU_QUERY_SECONDS
            )
        except FileNotFoundError:
            # The program is not in every image; then the device files say at least that there is a GPU.
            return None if any(self._devices.glob("nvidia[0-9]*")) else ()
        except (OSError, subprocess.TimeoutExpired):
            return None
        if answer.returncode != 0:
            return ()
        try:
            return tuple(int(row[0]) * _MIB for row in csv.reader(answer.stdout.splitlines()) if row)
        except ValueError:
            return None
