"""A trainer without torch: the real arguments, the real messages, the real checkpoints, made-up steps.

What it does wrong, and when, stands in the JSON file that AZAION_STUB names: see `Script`. Every step it
takes is appended to `steps.log` beside that file, so that tests can count what was lost and done again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from azaion_jobs.contract import ExitCode, RunSpec, messages
from azaion_jobs.training.checkpoints import (
    CheckpointStore,
    CheckpointWriteError,
    FencedOffError,
    Seal,
    Stage,
    Status,
)
from azaion_jobs.training.durable import sha256_of
from azaion_jobs.tree import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT_VARIABLE = "AZAION_STUB"


@dataclass(frozen=True)
class Fault:
    """What goes wrong at a moment, `times` times in all trainers together."""

    do: str
    at: str = ""
    """`e0b3`: after that batch; `start`, `validate`, `finish`, `rehearse`; or a step of writing."""
    times: int = 1
    save: int = 2
    """For steps of writing: at which checkpoint of a process."""


@dataclass(frozen=True)
class Script:
    """How the stub behaves."""

    batches: int = 8
    every: int = 3
    """Batches between two checkpoints inside an epoch."""
    step_seconds: float = 0.002
    bytes: int = 2000
    """Of a checkpoint."""
    memory: int = 10**9
    """The largest batch that fits."""
    validation_memory: int = 10**9
    cuda: bool = False
    stop_early_after: int = 0
    faults: list[Fault] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Script:
        facts = json.loads(path.read_text())
        return cls(**(facts | {"faults": [Fault(**fault) for fault in facts["faults"]]}))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


class StubTrainer:
    def __init__(self, arguments: argparse.Namespace, path: Path) -> None:
        self.arguments = arguments
        self.place = path.parent
        self.script = Script.read(path)
        self.spec = RunSpec.from_json(arguments.run.read_bytes())
        self.folder = RunFolder(arguments.directory)
        self.stopping = False
        self.saves = 0
        self.store = CheckpointStore(
            arguments.directory,
            fence=arguments.fence,
            attempt=self.spec.attempt,
            keep=self.spec.checkpoints.keep,
            step=self._write_step,
        )

    def run(self) -> ExitCode:
        if not any(fault.do == "deaf" for fault in self.script.faults):
            signal.signal(signal.SIGTERM, self._on_term)
        else:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._note(
            "starts.log",
            {
                "batch": self.arguments.batch_size,
                "workers": self.spec.training.workers,
                "scale": self.arguments.learning_rate_scale,
                "resume": str(self.arguments.resume),
                "validation_batch": self.arguments.validation_batch,
                "rehearse": self.arguments.rehearse,
                "pid": os.getpid(),
                "ppid": os.getppid(),
            },
        )
        self._fault("start")
        epoch, batch, stage = self._restore()
        self._started(epoch, batch)
        if self.arguments.rehearse:
            self._fault("rehearse")
            for number in range(3):
                self._step(0, number + 1)
            return ExitCode.DONE
        epochs = self.spec.training.epochs
        done = self.script.stop_early_after or epochs
        if self.store.status is Status.TRAINING:
            while epoch < min(epochs, done):
                self._epoch(epoch, batch, trained=stage is Stage.VALIDATE)
                epoch, batch, stage = epoch + 1, 0, Stage.EPOCH
        self._finish(epochs, min(epochs, done))
        return ExitCode.DONE

    def _epoch(self, epoch: int, batch: int, *, trained: bool) -> None:
        batches = self.script.batches
        if not trained:
            for number in range(batch, batches):
                self._memory(self.arguments.batch_size, self.script.memory, "oom")
                self._step(epoch, number + 1)
                self._fault(f"e{epoch}b{number + 1}")
                if self.stopping:
                    self._save(epoch, number + 1, Stage.TRAIN)
                    self._say(messages.Stopping(time=time.monotonic()))
                    raise SystemExit(ExitCode.STOPPED_ON_REQUEST)
                if (number + 1) % self.script.every == 0 and number + 1 < batches:
                    self._save(epoch, number + 1, Stage.TRAIN)
            self._save(epoch, batches, Stage.VALIDATE)
        self._memory(
            self.arguments.validation_batch or 2 * self.arguments.batch_size,
            self.script.validation_memory,
            "oom_validation",
        )
        self._fault("validate")
        self._say(messages.Validating(time=time.monotonic(), epoch=epoch + 1, batch=1, batches=1))
        self._say(
            messages.Epoch(
                time=time.monotonic(),
                epoch=epoch + 1,
                epochs=self.spec.training.epochs,
                loss=1 / (epoch + 1),
                map50=1 - 1 / (epoch + 2),
                map50_95=0.5 - 0.5 / (epoch + 2),
                seconds=batches * self.script.step_seconds,
                lr=0.01,
            )
        )
        self._save(epoch + 1, 0, Stage.EPOCH)

    def _finish(self, epochs: int, done: int) -> None:
        if self.store.status is Status.TRAINING:
            self._save(done, 0, Stage.FINAL)
            self.store.finish(Status.FINISHED if done == epochs else Status.STOPPED_EARLY)
        self._fault("finish")
        best = self.folder.best
        best.write_bytes(b"best")
        self.store.seal({best.name: Seal(best.stat().st_size, sha256_of(best))})
        self._say(
            messages.Finished(
                time=time.monotonic(), status="finished", best=messages.Best(map50=0.9, map50_95=0.5)
            )
        )

    def _restore(self) -> tuple[int, int, Stage]:
        if self.arguments.resume is None:
            return 0, 0, Stage.EPOCH
        state = json.loads(self.arguments.resume.read_text().rstrip("\0"))
        return state["epoch"], 0 if state["stage"] == "epoch" else state["batch"], Stage(state["stage"])

    def _save(self, epoch: int, batch: int, stage: Stage) -> None:
        state = json.dumps({"epoch": epoch, "batch": batch, "stage": stage}).encode()
        self.saves += 1

        def write(stream: BinaryIO) -> None:
            stream.write(state)
            stream.write(b"\0" * self.script.bytes)

        try:
            entry = self.store.save(write, epoch=epoch, batch=batch, stage=stage)
        except CheckpointWriteError as error:
            self._say(messages.CheckpointFailed(time=time.monotonic(), reason=str(error)))
            if stage in (Stage.FINAL, Stage.EPOCH):
                self._fail("storage", str(error), ExitCode.STORAGE_FAULT)
            return
        except FencedOffError:
            raise SystemExit(ExitCode.FENCED_OFF) from None
        self._say(
            messages.Checkpoint(
                time=time.monotonic(),
                epoch=epoch,
                batch=batch,
                stage=stage.value,
                file=entry.file,
                size=entry.size,
                seconds=0.001,
                sha256=entry.sha256,
            )
        )

    def _step(self, epoch: int, batch: int) -> None:
        time.sleep(self.script.step_seconds)  # what a step of training takes
        if not self.arguments.rehearse:
            self._note("steps.log", [epoch, batch, os.getpid()])
        self._say(
            messages.Step(
                time=time.monotonic(),
                epoch=epoch + 1,
                batch=batch,
                batches=self.script.batches,
                loss=0.5,
                step_seconds=self.script.step_seconds,
                wait_seconds=self.script.step_seconds * 0.25,
            )
        )

    def _started(self, epoch: int, batch: int) -> None:
        self._say(
            messages.Started(
                time=time.monotonic(),
                batch_size=self.arguments.batch_size,
                batches=self.script.batches,
                epochs=self.spec.training.epochs,
                epoch=epoch,
                batch=batch,
                device="stub",
                cuda=self.script.cuda and not self._due(Fault("no_cuda", "no_cuda")),
                parameters=1000,
            )
        )

    def _memory(self, wanted: int, there: int, kind: messages.FailureKind) -> None:
        if wanted > there:
            self._fail(kind, f"CUDA out of memory with batch {wanted}", ExitCode.OUT_OF_MEMORY)

    def _write_step(self, name: str) -> None:
        for fault in self.script.faults:
            if fault.at == name and self.saves >= fault.save and self._due(fault):
                self._do(fault)

    def _fault(self, moment: str) -> None:
        for fault in self.script.faults:
            if fault.at == moment and self._due(fault):
                self._do(fault)

    def _due(self, fault: Fault) -> bool:
        """Whether this fault is to happen once more; counted over all trainers."""
        if fault not in self.script.faults and fault.do != "no_cuda":
            return False
        count = self.place / f"fault-{fault.do}-{fault.at}".replace(" ", "-").replace(":", "")
        happened = len(count.read_bytes()) if count.exists() else 0
        times = next(
            (one.times for one in self.script.faults if one.do == fault.do and one.at == fault.at), 0
        )
        # The first trainer of a pod has its GPU.
        if fault.do == "no_cuda":
            starts = (self.place / "starts.log").read_text().count("\n")
            return bool(times) and starts > 1
        if happened >= times:
            return False
        with count.open("ab") as file:
            file.write(b".")
        return True

    def _do(self, fault: Fault) -> None:
        if fault.do in ("SIGKILL", "SIGSEGV", "SIGBUS", "SIGSTOP"):
            os.kill(os.getpid(), signal.Signals[fault.do])
        elif fault.do.startswith("exit "):
            os._exit(int(fault.do.removeprefix("exit ")))
        elif fault.do == "nan":
            self._fail("nan", "The loss is NaN", ExitCode.DIVERGED)
        elif fault.do == "internal":
            self._fail("internal", "Something broke: password=hunter2hunter2", ExitCode.INTERNAL_ERROR)
        elif fault.do == "host_oom":
            (self.place / "cgroup" / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.do == "hold_gpu":
            (self.place / "gpus.json").write_text(f"[{8 << 30}]")
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.do == "worker":
            # A loader's worker: outlives its parent unless somebody looks after it.
            worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
            self._note("workers.log", worker.pid)
        else:
            raise ValueError(fault.do)

    def _fail(self, kind: messages.FailureKind, message: str, code: ExitCode) -> NoReturn:
        self._say(
            messages.Failed(
                time=time.monotonic(),
                kind=kind,
                message=message,
                traceback=f"Traceback (most recent call last):\n  stub\nRuntimeError: {message}",
            )
        )
        raise SystemExit(code)

    def _say(self, message: messages.Message) -> None:
        os.write(int(os.environ[messages.PIPE_VARIABLE]), messages.encode(message))

    def _note(self, name: str, fact: object) -> None:
        with (self.place / name).open("a") as file:
            file.write(json.dumps(fact) + "\n")

    def _on_term(self, *_: object) -> None:
        self.stopping = True


def main() -> None:
    parser = argparse.ArgumentParser()
    as_path: Callable[[str], Path] = Path
    parser.add_argument("--run", type=as_path, required=True)
    parser.add_argument("--directory", type=as_path, required=True)
    parser.add_argument("--fence", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--resume", type=as_path)
    parser.add_argument("--learning-rate-scale", type=float, default=1.0)
    parser.add_argument("--validation-batch", type=int)
    parser.add_argument("--rehearse", action="store_true")
    sys.exit(StubTrainer(parser.parse_args(), Path(os.environ[SCRIPT_VARIABLE])).run())


if __name__ == "__main__":
    main()
