"""The real supervisor in a process of its own, with the stub for a trainer and a machine made of files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from azaion_jobs import logs
from azaion_jobs.training.machine import Space, space
from azaion_jobs.training.supervisor import Surroundings, supervise
from support.stub_trainer import SCRIPT_VARIABLE


class FileGpus:
    """GPUs whose memory stands in a file as a list of bytes; no file: nobody can say."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def memory_used(self) -> tuple[int, ...] | None:
        try:
            return tuple(json.loads(self._file.read_text()))
        except (OSError, ValueError):
            return None


def _free(file: Path) -> Space | None:
    return Space(int(file.read_text()), None) if file.exists() else None


def main() -> int:
    place = Path(os.environ[SCRIPT_VARIABLE]).parent
    logs.configure(service="training")
    return supervise(
        Path(sys.argv[1]),
        Surroundings(
            trainer=(sys.executable, "-m", "support.stub_trainer"),
            port=0,
            termination_message=place / "termination-log",
            shared_memory=place / "shm",
            owns_shared_memory=True,
            rehearses=True,
            cgroups=place / "cgroup",
            gpus=FileGpus(place / "gpus.json"),
            space=lambda path: _free(place / "disk.json") or space(path),
            tick=0.05,
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
