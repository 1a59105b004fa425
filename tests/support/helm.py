"""Helm as a person would call it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

CHARTS = Path(__file__).parents[2] / "charts"
_TIMEOUT_SECONDS = 300


class HelmError(AssertionError):
    """Helm refused; the text is what it said."""


@dataclass(frozen=True)
class Helm:
    """Releases in one namespace of one cluster."""

    kubeconfig: Path
    namespace: str

    def __call__(self, *words: str) -> str:
        command = ["helm", f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)
        if done.returncode:
            raise HelmError(f"helm {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def install(self, chart: str, **values: str) -> str:
        """Installs or upgrades one of the project's charts and waits until it is ready; `a__b` sets a.b."""
        settings = [f"--set-string={name.replace('__', '.')}={value}" for name, value in values.items()]
        return self("upgrade", "--install", chart, str(CHARTS / chart), "--wait", "--timeout=120s", *settings)
