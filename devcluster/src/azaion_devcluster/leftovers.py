"""What outlives the processes of a cluster, and its removal."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from azaion_devcluster import cgroups

if TYPE_CHECKING:
    from pathlib import Path

    from azaion_devcluster.paths import ClusterPaths


def remove(paths: ClusterPaths) -> list[Path]:
    """Removes control groups and facts about a cluster that runs no more; returns what would not go."""
    left = cgroups.remove(paths.cgroup)
    shutil.rmtree(paths.runtime, ignore_errors=True)
    return left
