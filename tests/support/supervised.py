"""A run directory, a supervisor on it, and what they leave: for tests and benches with the stub trainer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azaion_jobs.contract import CheckpointSpec, Limits, RunIdentity, RunSpec, TrainingSpec, Verdict
from azaion_jobs.contract.progress import Progress
from azaion_jobs.dataset.forming import Options, form
from azaion_jobs.training.checkpoints import CheckpointStore
from azaion_jobs.tree import MODELS, ModelsFolder
from support.annotated_tree import a_tree
from support.stub_trainer import SCRIPT_VARIABLE, Script
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 60.0
UID = "5f3c"

SHORT = Limits(
    grace=6,
    grace_margin=2,
    lease_wait=20,
    memory_wait=2,
    kill_wait=10,
    stall_floor=1.5,
    start_window=20,
    start_per_image=0,
    validation_window=1.5,
    validation_per_image=0,
    validation_per_image_cpu=0,
    export_window=1.5,
    rehearse=False,
)


class Supervised:
    """One run below a folder; any number of supervisors, one after the other or at once."""

    def __init__(self, place: Path, *, root: Path | None = None) -> None:
        self.place = place
        self.root = root or place / "azaion"
        self.spec = RunSpec(
            run=RunIdentity(name="winter", uid=UID),
            root=str(self.root),
            dataset="azaion-2026-11-20",
            model_directory="azaion-2026-11-20",
            training=TrainingSpec(
                model="yolo26n.pt", epochs=3, batch_size=11, image_size=64, workers=2, gpus=0
            ),
            checkpoints=CheckpointSpec(keep=2),
            limits=SHORT,
        )
        self.folder = ModelsFolder(self.root / MODELS).run(self.spec.model_directory)
        self.processes: list[subprocess.Popen[bytes]] = []
        tree = a_tree(self.root, images=10)
        form(tree, Options(name=self.spec.dataset))
        models = ModelsFolder(self.root / MODELS)
        models.base("yolo26n.pt").write_bytes(b"base" * 100)
        (place / "shm").mkdir(parents=True)
        (place / "cgroup").mkdir()
        (place / "cgroup" / "memory.events").write_text("low 0\noom_kill 0\n")
        (place / "termination-log").touch()
        self.script(Script())

    def attempt(self, number: int) -> RunSpec:
        """The same run, tried again."""
        return replace(self.spec, attempt=number)

    def with_training(self, **changes: Any) -> RunSpec:
        return replace(self.spec, training=replace(self.spec.training, **changes))

    def with_epochs(self, epochs: int) -> RunSpec:
        return self.with_training(epochs=epochs)

    def with_limits(self, **changes: Any) -> RunSpec:
        return replace(self.spec, limits=replace(self.spec.limits, **changes))

    def script(self, script: Script) -> None:
        script.write(self.place / "stub.json")

    def start(self, spec: RunSpec | None = None) -> subprocess.Popen[bytes]:
        """A supervisor in the background; its log is `supervisor-N.log`, N from 0."""
        return self._start((spec or self.spec).to_json())

    def _start(self, text: str) -> subprocess.Popen[bytes]:
        number = len(self.processes)
        run_file = self.place / f"run-{number}.json"
        run_file.write_text(text)
        with self.log(number).open("wb") as log, (self.place / f"stderr-{number}.log").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "support.stub_supervisor", str(run_file)],
                env={
                    **os.environ,
                    "PYTHONPATH": str(Path(__file__).parents[1]),
                    SCRIPT_VARIABLE: str(self.place / "stub.json"),
                },
                stdout=log,
                stderr=errors,
            )
        self.processes.append(process)
        return process

    def patch_disk(self, free: int) -> None:
        """What the preflight is to see as free bytes, wherever the run directory lies."""
        (self.place / "disk.json").write_text(str(free))

    def start_with(self, text: str) -> subprocess.Popen[bytes]:
        """A supervisor with this text for run.json."""
        return self._start(text)

    def run(self, spec: RunSpec | None = None) -> int:
        """A supervisor until its end; returns its exit code."""
        return self.ended(self.start(spec))

    def ended(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            number = self.processes.index(process)
            raise AssertionError(f"still running: {self.log(number).read_text()}") from None

    def stop_all(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for start in self.starts():
            # A trainer that is stopped or deaf; its pid is reused only long after.
            if _is_stub(start["pid"]):
                os.kill(start["pid"], signal.SIGKILL)

    def log(self, number: int = -1) -> Path:
        return self.place / f"supervisor-{number if number >= 0 else len(self.processes) + number}.log"

    def errors(self) -> str:
        """What trainers and the last supervisor said outside the log."""
        return (self.place / f"stderr-{len(self.processes) - 1}.log").read_text()

    def records(self, number: int = -1) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log(number).read_text().splitlines()]

    def port(self, number: int = -1) -> int:
        def found() -> int:
            for line in self.log(number).read_text().splitlines():
                if '"port"' in line:
                    return int(json.loads(line)["context"]["port"])
            return 0

        return wait_until(found, deadline=DEADLINE, what="the port of the supervisor")

    def get(self, path: str) -> str:
        # Never by a proxy, whatever the machine's settings are.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port()}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def progress(self) -> Progress:
        return Progress.from_json(self.get("/progress"))

    def store(self) -> CheckpointStore:
        return CheckpointStore(self.folder.root, fence=10**6, attempt=1)

    def verdict(self) -> Verdict:
        return Verdict.from_json(self.folder.verdict.read_bytes())

    def termination(self) -> Verdict:
        return Verdict.from_json((self.place / "termination-log").read_bytes())

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.folder.supervisor.read_bytes()))

    def starts(self) -> list[dict[str, Any]]:
        return self._lines("starts.log")

    def steps(self) -> list[tuple[int, int, int]]:
        """Epoch from 0, batch from 1 and pid of every step that any trainer has taken."""
        return [tuple(step) for step in self._lines("steps.log")]

    def workers(self) -> list[int]:
        return self._lines("workers.log")

    def epoch_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.folder.progress.read_text().splitlines()]

    def await_steps(self, count: int) -> None:
        wait_until(lambda: len(self.steps()) >= count, deadline=DEADLINE, what=f"{count} steps")

    def await_true(self, true: Callable[[], object], what: str) -> None:
        wait_until(true, deadline=DEADLINE, what=what)

    def _lines(self, name: str) -> list[Any]:
        path = self.place / name
        if not path.exists():
            return []
        # The last line may be in the middle of being written.
        return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def _is_stub(pid: int) -> bool:
    try:
        return b"stub_trainer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
