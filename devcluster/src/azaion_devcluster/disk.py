"""Says how much room is needed before a long work starts, not after it broke."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from azaion_devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from pathlib import Path


def demand(folder: Path, *, gigabytes: int, purpose: str) -> None:
    """Refuses unless the filesystem that will hold `folder` has that much free."""
    standing = folder
    while not standing.exists():
        standing = standing.parent
    free = shutil.disk_usage(standing).free / 1e9
    if free < gigabytes:
        raise DevclusterError(
            f"{purpose} needs {gigabytes} GB free in {standing}, {free:.0f} GB are: make room, or set "
            f"AZAION_CACHE to a folder on a larger disk."
        )
