"""Rendering of the charts with the real Helm."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CHARTS = Path(__file__).resolve().parents[2] / "charts"

Helm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Return a function that runs helm; a machine without one fails the tier, since skipping hides it."""
    program = os.environ.get("AZAION_HELM") or shutil.which("helm")
    if not program:
        pytest.fail("helm is needed for the chart tests: put it on PATH or its path into AZAION_HELM.")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], check=False, capture_output=True, text=True)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that renders a chart (a name, or the path of a package) with some values."""

    def rendered(chart: str, *values: str) -> list[dict[str, Any]]:
        settings = [part for value in values for part in ("--set", value)]
        location = chart if chart.endswith(".tgz") else str(CHARTS / chart)
        result = helm("template", "release", location, "--namespace", "azaion", *settings)
        assert result.returncode == 0, result.stderr
        return [document for document in yaml.safe_load_all(result.stdout) if document]

    return rendered
