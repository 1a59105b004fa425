"""Real trainings on the processor: one warm process, a fork of it for each start of the trainer."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from azaion_jobs.contract.messages import Message, decode
from azaion_jobs.contract.run import CheckpointSpec, RunIdentity, RunSpec, StartFrom, TrainingSpec
from azaion_jobs.training.checkpoints import CheckpointStore
from azaion_jobs.training.decision import Decision, Facts, Resume, decide
from azaion_jobs.tree import RunFolder
from support.tiny_dataset import LEARNING, draw_dataset

DATED = "azaion-2026-01-01"
UID = "uid-of-the-run"


@dataclass
class Warm:
    """The process that forks trainers."""

    process: subprocess.Popen[str]

    def train(self, order: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    settings = tmp_path_factory.mktemp("ultralytics")
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("warm.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "YOLO_CONFIG_DIR": str(settings), "OMP_NUM_THREADS": "1"},
    ) as process:
        yield Warm(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0


@dataclass
class Run:
    """A run directory, and the supervisor's part of training in it: decide, start, see what becomes of it."""

    root: Path
    warm: Warm
    spec: RunSpec
    fence: int = 0
    codes: list[int] = field(default_factory=list)

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.root / "models" / self.spec.model_directory)

    def store(self) -> CheckpointStore:
        return CheckpointStore(self.folder.root, fence=self.fence, attempt=1)

    def decision(self) -> Decision:
        self.fence += 1
        facts = Facts.read(self.store(), self.folder.root, uid=UID, owner=UID, fence=self.fence)
        return decide(facts)

    def start(self, *options: str, act: str = "", workers: int | None = None) -> int:
        """One start of the trainer, from wherever the run directory says; returns its exit status."""
        decision = self.decision()
        resume = ("--resume", self.store().path(decision.entry)) if isinstance(decision, Resume) else ()
        self.write(workers=self.spec.training.workers if workers is None else workers)
        fixed = ("--run", self.folder.run, "--directory", self.folder.root, "--fence", self.fence)
        size = () if "--batch-size" in options else ("--batch-size", self.spec.training.batch_size)
        self.codes.append(
            self.warm.train(
                {
                    "arguments": [str(word) for word in (*fixed, *size, *resume, *options)],
                    "messages": str(self.folder.root / "messages"),
                    "output": str(self.folder.root / "output"),
                    "act": act,
                }
            )
        )
        return self.codes[-1]

    def write(self, *, workers: int) -> None:
        document = json.loads(self.spec.to_json())
        document["training"]["workers"] = workers
        self.folder.run.write_text(json.dumps(document))

    def messages(self) -> list[Message]:
        return [decode(line) for line in (self.folder.root / "messages").read_bytes().splitlines()]

    def output(self) -> str:
        return (self.folder.root / "output").read_text()

    def rows(self) -> list[dict[str, str]]:
        """results.csv without the one column that may differ."""
        with self.folder.results.open(newline="") as file:
            return [
                {name: cell for name, cell in row.items() if name != "time"} for row in csv.DictReader(file)
            ]


@dataclass
class Runs:
    """Makes run directories, all on datasets of the same drawings."""

    root: Path
    warm: Warm
    made: int = 0

    def run(
        self,
        *,
        images: int = 26,
        epochs: int = 3,
        exact: str = "order",
        minutes: float = 1e-6,
        model: str = "yolo26n.yaml",
        image_size: int = 64,
        batch_size: int = 4,
        start_from: StartFrom | None = None,
        **hyperparameters: Any,
    ) -> Run:
        dataset = self.root / "datasets" / f"azaion-2026-01-{images:02}"
        if not dataset.exists():
            draw_dataset(dataset, train=images, valid=6 if images < 64 else 16, size=96)
        self.made += 1
        spec = RunSpec(
            run=RunIdentity(name="a-run", uid=UID),
            dataset=dataset.name,
            model_directory=f"{DATED}-{self.made + 1}",
            root=str(self.root),
            start_from=start_from,
            training=TrainingSpec(
                model=model,
                epochs=epochs,
                batch_size=batch_size,
                image_size=image_size,
                workers=0,
                gpus=0,
                hyperparameters={**LEARNING, "nbs": batch_size, **hyperparameters},  # type: ignore[dict-item]
            ),
            checkpoints=CheckpointSpec(exact=exact, every_minutes=minutes, keep=2),  # type: ignore[arg-type]
        )
        run = Run(self.root, self.warm, spec)
        run.folder.root.mkdir(parents=True)
        return run


@pytest.fixture
def runs(tmp_path: Path, warm: Warm) -> Runs:
    return Runs(tmp_path, warm)
