"""What a cluster could leave on the machine, as facts that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
)


@dataclass(frozen=True)
class Footprint:
    """Mounts, links, control groups and kernel settings of the machine's own namespaces."""

    mounts: frozenset[str]
    links: frozenset[str]
    cgroups: frozenset[str]
    settings: tuple[str, ...]

    @classmethod
    def of(cls, cluster: str) -> Footprint:
        """The machine now; of control groups only those that bear the cluster's name."""
        cgroups = Path("/sys/fs/cgroup").glob(f"**/*{cluster}*")
        return cls(
            mounts=frozenset(Path("/proc/self/mountinfo").read_text().splitlines()),
            links=frozenset(path.name for path in Path("/sys/class/net").iterdir()),
            cgroups=frozenset(str(path) for path in cgroups if path.is_dir()),
            settings=tuple(Path("/proc/sys", name).read_text() for name in _SETTINGS),
        )


def descendants(root: int) -> set[tuple[int, str]]:
    """A process and all below it, each with its start time so that a reused pid is not taken for it."""
    parents = {pid: _parent_and_start(pid) for pid in _pids()}
    found = {root}
    grown = True
    while grown:
        more = {pid for pid, fact in parents.items() if fact and fact[0] in found} - found
        found |= more
        grown = bool(more)
    return {(pid, fact[1]) for pid in found if (fact := parents.get(pid))}


def alive(processes: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of `processes` that still run; a zombie does not."""
    return {(pid, start) for pid, start in processes if (fact := _parent_and_start(pid)) and fact[1] == start}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent_and_start(pid: int) -> tuple[int, str] | None:
    try:
        # The program's name stands in brackets and may hold blanks.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(fields[1]), fields[19])
