"""Runs programs, keeps their output in a log file and fails with its end."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from azaion_devcluster.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TAIL_LINES = 25


def run(command: Sequence[object], *, stdin: str | None = None) -> str:
    """Runs a quick command and returns its output; raises CommandError with what it said."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CommandError(f"The program {words[0]} is not on PATH: is its package installed?", "") from None
    if done.returncode:
        said = tail_of(done.stderr + done.stdout)
        raise CommandError(f"'{' '.join(words)}' failed with exit code {done.returncode}: {said}", said)
    return done.stdout


def run_logged(
    command: Sequence[object],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    failure: str,
) -> None:
    """Runs a long command with its output in `log`; on failure says `failure` and where the log is."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            check=False,
        )
    if done.returncode:
        end = tail_of(log.read_text(errors="replace"))
        raise CommandError(f"{failure} (exit code {done.returncode}; all of it in {log}).", end)


def tail_of(text: str) -> str:
    """The last lines, which is where programs say why they failed."""
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])
