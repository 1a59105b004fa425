"""The repository as it lies on disk, for tests of what its files promise each other."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

MEMBERS = {
    "azaion-operator": ROOT / "operator",
    "azaion-jobs": ROOT / "jobs",
    "azaion-devcluster": ROOT / "devcluster",
}


def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def project(member: str) -> dict[str, Any]:
    document: dict[str, Any] = toml(MEMBERS[member] / "pyproject.toml")["project"]
    return document


def modules(*members: str) -> Iterator[tuple[str, ast.Module]]:
    """Every module of the members: its dotted name and its syntax tree."""
    for member in members:
        source = MEMBERS[member] / "src"
        for path in sorted(source.rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            yield ".".join(parts), ast.parse(path.read_text(), str(path))
