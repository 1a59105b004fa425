"""What a cluster was asked to be, kept with it so that a later start is the same."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from azaion_devcluster import files

if TYPE_CHECKING:
    from azaion_devcluster.paths import ClusterPaths


@dataclass(frozen=True)
class Options:
    """Options of one cluster."""

    gpus: int = 0
    # Loopback port of the API server.
    port: int = 0

    def write(self, paths: ClusterPaths) -> None:
        files.write(paths.options, json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, paths: ClusterPaths) -> Options:
        """The options last written; the defaults where none are, or where they cannot be read."""
        try:
            return cls(**json.loads(paths.options.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return cls()
