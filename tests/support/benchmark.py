"""How every measurement of this project is told: JSON lines for programs, a table for people."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(frozen=True)
class Figure:
    """One measured value; `baseline` makes it a ratio, `target` a promise that held or not."""

    bench: str
    metric: str
    value: float
    unit: str
    baseline: float | None = None
    target: float | None = None
    # Whether more is better: then the target is a floor, else a ceiling.
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; a ratio is what is judged where there is a baseline."""
        if self.target is None:
            return None
        judged = self.value if self.ratio is None else self.ratio
        return judged >= self.target if self.more_is_better else judged <= self.target

    def as_json(self) -> str:
        facts = {
            "bench": self.bench,
            "metric": self.metric,
            "value": round(self.value, 6),
            "unit": self.unit,
            "baseline": self.baseline,
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "target": self.target,
            "ok": self.ok,
        }
        return json.dumps({name: fact for name, fact in facts.items() if fact is not None})


@dataclass
class Report:
    """Takes the figures of one bench as they are measured."""

    bench: str
    lines: TextIO = field(default_factory=lambda: sys.stdout)
    figures: list[Figure] = field(default_factory=list)

    def figure(
        self,
        metric: str,
        value: float,
        unit: str,
        *,
        baseline: float | None = None,
        target: float | None = None,
        more_is_better: bool = False,
    ) -> None:
        measured = Figure(self.bench, metric, value, unit, baseline, target, more_is_better)
        self.figures.append(measured)
        print(measured.as_json(), file=self.lines, flush=True)

    def spread(self, metric: str, values: list[float], unit: str, *, target: float | None = None) -> None:
        """Median and largest of several measurements; the target is the median's."""
        ordered = sorted(values)
        self.figure(f"{metric}_median_n{len(values)}", ordered[len(ordered) // 2], unit, target=target)
        self.figure(f"{metric}_max_n{len(values)}", ordered[-1], unit)


def table(figures: list[Figure]) -> str:
    """The figures in columns."""
    heads = ("bench", "metric", "value", "unit", "ratio", "target", "ok")
    rows = [
        (
            figure.bench,
            figure.metric,
            f"{figure.value:,.3f}",
            figure.unit,
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            "" if figure.target is None else f"{figure.target:g}",
            {None: "", True: "yes", False: "NO"}[figure.ok],
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    )
