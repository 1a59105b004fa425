"""Turns a bare mount and network namespace into a node.

The new root shows the machine's files, except for a few places that belong to the cluster alone. So nothing
that runs in the cluster can reach the machine's own /azaion, its kubelet or its runtime folder, whether they
exist or not, and no folder has to be made on the machine to mount over.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import commands, node
from azaion_devcluster.errors import CommandError, DevclusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azaion_devcluster.paths import ClusterPaths

# The kubelet wants these values and writes them to the whole machine where it reads others. In here it reads
# them from files of our own, so there is nothing to write and nothing to put back.
_SETTINGS_THE_KUBELET_WANTS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def enter(paths: ClusterPaths) -> None:
    """Called once by the first process of the new namespaces."""
    _new_root(
        Path(paths.root / "root"),
        {
            Path("/azaion"): paths.tree,
            Path("/var/lib/kubelet"): paths.kubelet,
            Path("/var/log/pods"): paths.pod_logs,
            Path("/var/log/containers"): paths.container_logs,
        },
    )
    _hide_machine_settings(paths.runtime / "settings")
    _network()


def _new_root(root: Path, replaced: Mapping[Path, Path]) -> None:
    for source in (root, *replaced.values()):
        source.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root)
    _graft(Path("/"), root, replaced)
    for folder in ("proc", "sys", "run"):
        (root / folder).mkdir()
    _mount("--rbind", "/proc", root / "proc")
    # Of this network namespace, so that only its own links show.
    _mount("-t", "sysfs", "sysfs", root / "sys")
    _mount("--rbind", "/sys/fs/cgroup", root / "sys/fs/cgroup")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "run")
    (root / "run/netns").mkdir()
    (root / "old-root").mkdir()
    try:
        commands.run(["pivot_root", root, root / "old-root"])
    except CommandError as trouble:
        raise DevclusterError(
            "The embedded cluster cannot start in a plain chroot: bind-mount the chroot's folder on itself "
            f"first, so that its root is a mount point ({trouble.output})."
        ) from trouble
    os.chdir("/")
    _mount_lazily_off("/old-root")
    Path("/old-root").rmdir()
    # Pods with mount propagation need a shared root; it is shared with nobody outside.
    _mount("--make-rshared", "/")


def _graft(folder: Path, onto: Path, replaced: Mapping[Path, Path]) -> None:
    """Shows the entries of `folder` below `onto`, descending only where something below is replaced."""
    present = {entry.name: entry for entry in os.scandir(folder)}
    wanted = {place for place in replaced if folder in place.parents}
    descended = {place.relative_to(folder).parts[0] for place in wanted}
    for name in sorted({*present, *descended} - ({"proc", "sys", "run"} if folder == Path("/") else set())):
        here, there = folder / name, onto / name
        if here in replaced:
            there.mkdir()
            _mount("--rbind", replaced[here], there)
        elif name in descended:
            there.mkdir(mode=0o755)
            _graft(here, there, replaced) if here.is_dir() else _make_way(here, there, replaced)
        elif present[name].is_symlink():
            there.symlink_to(here.readlink())
        elif present[name].is_dir():
            there.mkdir()
            _mount("--rbind", here, there)
        elif present[name].is_file():
            there.touch()
            _mount("--bind", here, there)


def _make_way(folder: Path, onto: Path, replaced: Mapping[Path, Path]) -> None:
    """The machine lacks a folder above a replaced place: make one in the new root only."""
    for place, source in replaced.items():
        if folder in place.parents:
            there = onto / place.relative_to(folder)
            there.mkdir(parents=True)
            _mount("--rbind", source, there)


def _hide_machine_settings(folder: Path) -> None:
    for name, value in _SETTINGS_THE_KUBELET_WANTS.items():
        setting = Path("/proc/sys") / name
        if setting.exists():
            stand_in = folder / name
            stand_in.parent.mkdir(parents=True, exist_ok=True)
            stand_in.write_text(f"{value}\n")
            _mount("--bind", stand_in, setting)


def _network() -> None:
    for words in (
        ("link", "set", "lo", "up"),
        ("link", "add", node.BRIDGE, "type", "bridge"),
        ("address", "add", f"{node.NODE_ADDRESS}/24", "dev", node.BRIDGE),
        ("link", "set", node.BRIDGE, "up"),
        ("route", "add", "default", "via", node.NODE_ADDRESS),
    ):
        commands.run(["ip", *words])
    # Both belong to this network namespace.
    for setting in ("ip_forward", "conf/all/route_localnet"):
        Path("/proc/sys/net/ipv4", setting).write_text("1")


def _mount(*words: str | Path) -> None:
    commands.run(["mount", *words])


def _mount_lazily_off(place: str) -> None:
    commands.run(["umount", "--lazy", place])
