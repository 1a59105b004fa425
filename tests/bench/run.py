"""Runs the benches of this folder: `./dev bench` all of them, `./dev bench NAME` one.

A bench is a file bench_NAME.py with a function `measure(report)`. What it measures never gates anything:
figures are for people, and for the closing of promises.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.benchmark import Report, table

if TYPE_CHECKING:
    from types import ModuleType

    from support.benchmark import Figure


def main() -> None:
    files = {path.stem.removeprefix("bench_"): path for path in Path(__file__).parent.glob("bench_*.py")}
    names = sys.argv[1:] or sorted(files)
    if unknown := [name for name in names if name not in files]:
        sys.exit(f"There is no bench '{unknown[0]}': the benches are {', '.join(sorted(files))}.")
    figures: list[Figure] = []
    for name in names:
        report = Report(name)
        _load(files[name]).measure(report)
        figures += report.figures
    print(table(figures), file=sys.stderr)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
