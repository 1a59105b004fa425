"""Follows a training by its messages: what `/progress` says, and progress.jsonl with one line an epoch."""

import json
import logging
import math
import statistics
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from azaion_jobs.contract import RunSpec, Verdict
from azaion_jobs.contract.messages import (
    Checkpoint,
    CheckpointFailed,
    Epoch,
    Message,
    Started,
    Step,
    Validating,
)
from azaion_jobs.contract.progress import CheckpointProgress, Phase, PreviousEnd, Progress
from azaion_jobs.training.checkpoints import Entry
from azaion_jobs.training.durable import write_durably
from azaion_jobs.training.state import State
from azaion_jobs.tree import RunFolder

_EPOCHS_REMEMBERED: Final = 5
_STEPS_REMEMBERED: Final = 200

_log = logging.getLogger("azaion_jobs.supervisor")


class EpochLog:
    """progress.jsonl: a line for each epoch. An epoch that is repeated replaces its line.

    The file is written whole each time, so that no reader and no kill ever leaves half a line in it; after
    hundreds of epochs it still is small.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.progress
        self._lines = self._read()

    def add(self, epoch: int, facts: dict[str, Any]) -> None:
        """Enter an epoch. A full disk is told and survived."""
        self._lines[epoch] = facts
        text = "".join(json.dumps(self._lines[number]) + "\n" for number in sorted(self._lines))
        try:
            write_durably(self._path, text.encode())
        except OSError as error:
            _log.error("progress.jsonl could not be written: %s", error.strerror or error)

    def seconds(self) -> list[float]:
        """How long the epochs took, in their order."""
        took = (self._lines[number].get("seconds") for number in sorted(self._lines))
        return [float(one) for one in took if isinstance(one, int | float) and math.isfinite(one)]

    def facts(self, epoch: int) -> dict[str, Any]:
        """What is known of an epoch; empty if nothing is."""
        return self._lines.get(epoch, {})

    def last(self) -> int:
        """The last epoch that is known; 0 before the first one."""
        return max(self._lines, default=0)

    def best(self) -> dict[str, Any]:
        """What is known of the epoch with the highest mAP50-95; empty before the first one."""
        return max(self._lines.values(), key=lambda facts: facts.get("mAP50_95") or 0.0, default={})

    def _read(self) -> dict[int, dict[str, Any]]:
        lines: dict[int, dict[str, Any]] = {}
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return lines
        for line in text.splitlines():
            try:
                facts = json.loads(line)
                lines[int(facts["epoch"])] = facts
            except (ValueError, KeyError, TypeError, RecursionError):
                _log.warning("A line of progress.jsonl cannot be read and is dropped")
        return lines


@dataclass(frozen=True, slots=True)
class _Step:
    seconds: float
    waiting: float


class Tracker:
    """Turns messages into the progress of the run. Only the supervisor's main thread changes it."""

    def __init__(self, spec: RunSpec, folder: RunFolder, *, fence: int) -> None:
        self._fence = fence
        self._attempt = spec.attempt
        self._log = EpochLog(folder)
        self._took: deque[float] = deque(self._log.seconds(), maxlen=_EPOCHS_REMEMBERED)
        self._steps: deque[_Step] = deque(maxlen=_STEPS_REMEMBERED)
        self._checkpoint: tuple[CheckpointProgress, datetime] | None = None
        self._rehearsing = False
        self._now = Progress(
            run=spec.run.name,
            uid=spec.run.uid,
            attempt=spec.attempt,
            fence=fence,
            phase="waiting",
            epochs=spec.training.epochs,
            batch_size=spec.training.batch_size,
            effective_batch_size=spec.training.batch_size,
            workers=spec.training.workers,
            previous=_previous(folder),
        )

    @property
    def epoch(self) -> int:
        """The last finished epoch, from 1."""
        return self._now.epoch

    def metrics(self) -> dict[str, float]:
        """What the last and the best epoch have reached, for the verdict."""
        best = self._log.best()
        found = {
            "loss": self._now.loss,
            "mAP50": self._now.map50,
            "mAP50_95": self._now.map50_95,
            "bestMAP50": best.get("mAP50"),
            "bestMAP50_95": best.get("mAP50_95"),
        }
        return {name: value for name, value in found.items() if value is not None}

    def resumed(self, entry: Entry) -> None:
        """The training goes on from this checkpoint."""
        self._enter(
            CheckpointProgress(
                epoch=entry.epoch,
                batch=entry.batch,
                stage=entry.stage,
                file=entry.file,
                size=entry.size,
                sha256=entry.sha256,
                time=entry.time,
                age_seconds=0,
            )
        )
        self._set(batch=entry.batch)
        self._finished_epoch(entry.epoch)

    def finished(self) -> None:
        """The training was finished by an earlier attempt."""
        self._set(phase="finishing")
        self._finished_epoch(self._log.last())

    def learned(self, state: State) -> None:
        """What the supervisor has decided about batch, workers and rate."""
        self._set(
            effective_batch_size=state.batch_size,
            workers=state.workers,
            learning_rate_scale=state.learning_rate_scale,
            restarts=state.restarts_ever,
            stalls=state.stalls_ever,
        )

    def doing(self, phase: Phase, message: str = "") -> None:
        """What the supervisor is about."""
        self._rehearsing = phase == "rehearsing"
        self._set(phase=phase, message=message or self._now.message, stalled=False)

    def stalled(self) -> None:
        """The trainer stands still."""
        self._set(stalled=True)

    def hear(self, message: Message) -> None:
        """Take a message. In a rehearsal nothing of it counts."""
        if self._rehearsing:
            return
        match message:
            case Started():
                self._set(
                    batches=message.batches, batch=message.batch, effective_batch_size=message.batch_size
                )
                self._finished_epoch(message.epoch)
            case Step():
                self._step(message)
            case Validating():
                finishing = self._now.phase == "finishing"
                self._set(phase="finishing" if finishing else "validating")
            case Epoch():
                self._epoch(message)
            case Checkpoint():
                self._enter(
                    CheckpointProgress(
                        epoch=message.epoch,
                        batch=message.batch,
                        stage=message.stage,
                        file=message.file,
                        size=message.size,
                        sha256=message.sha256,
                        time=_iso(datetime.now(UTC)),
                        age_seconds=0,
                    )
                )
                self._set(checkpoint_problem="")
                if message.stage == "final":
                    self._set(phase="finishing")
            case CheckpointFailed():
                _log.error("A checkpoint could not be written: %s", message.reason)
                self._set(
                    checkpoint_failures=self._now.checkpoint_failures + 1, checkpoint_problem=message.reason
                )
            case _:
                pass

    def snapshot(self, *, silent_seconds: float = 0) -> Progress:
        """The progress at this moment."""
        now = replace(self._now, last_progress_seconds=round(max(0.0, silent_seconds), 3))
        if self._checkpoint is not None:
            entry, written = self._checkpoint
            age = (datetime.now(UTC) - written).total_seconds()
            now = replace(now, checkpoint=replace(entry, age_seconds=round(max(0.0, age), 3)))
        return now

    def _step(self, message: Step) -> None:
        if math.isfinite(message.step_seconds + message.wait_seconds):
            self._steps.append(_Step(message.step_seconds, message.wait_seconds))
        whole = sum(step.seconds for step in self._steps)
        waiting = sum(step.waiting for step in self._steps)
        self._set(
            phase="stopping" if self._now.phase == "stopping" else "training",
            batch=message.batch,
            batches=message.batches,
            step_seconds=whole / len(self._steps) if self._steps else None,
            data_wait_ratio=waiting / whole if whole else None,
        )
        self._place()

    def _epoch(self, message: Epoch) -> None:
        if math.isfinite(message.seconds):
            self._took.append(message.seconds)
        facts = {
            "epoch": message.epoch,
            "epochs": message.epochs,
            "loss": _known(message.loss),
            "mAP50": _known(message.map50),
            "mAP50_95": _known(message.map50_95),
        }
        _log.info("Epoch %d/%d completed", message.epoch, message.epochs, extra={"context": facts})
        self._log.add(
            message.epoch,
            facts
            | {
                "time": _iso(datetime.now(UTC)),
                "seconds": _known(message.seconds),
                "lr": _known(message.lr),
                "batchSize": self._now.effective_batch_size,
                "attempt": self._attempt,
                "fence": self._fence,
            },
        )
        self._set(batch=0, phase="finishing" if message.epoch >= message.epochs else "training")
        self._finished_epoch(message.epoch)

    def _finished_epoch(self, epoch: int) -> None:
        facts = self._log.facts(epoch)
        self._set(
            epoch=epoch,
            loss=facts.get("loss"),
            map50=facts.get("mAP50"),
            map50_95=facts.get("mAP50_95"),
            learning_rate=facts.get("lr"),
        )
        self._place()

    def _place(self) -> None:
        """How much is done, and how long the rest takes."""
        now = self._now
        part = min(1.0, now.batch / now.batches) if now.batches else 0.0
        done = min(float(now.epochs), now.epoch + part)
        left = now.epochs - done
        if self._took:
            an_epoch: float | None = statistics.median(self._took)
        elif now.step_seconds is not None and now.batches:
            an_epoch = now.step_seconds * now.batches
        else:
            an_epoch = None
        self._set(
            percent=round(100 * done / now.epochs, 3),
            eta_seconds=None if an_epoch is None else round(left * an_epoch, 3),
        )

    def _enter(self, checkpoint: CheckpointProgress) -> None:
        try:
            written = datetime.fromisoformat(checkpoint.time)
        except ValueError:
            written = datetime.now(UTC)
        if written.tzinfo is None:
            written = written.replace(tzinfo=UTC)
        self._checkpoint = (checkpoint, written)

    def _set(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Progress
        self._now = replace(self._now, **changes)


def _previous(folder: RunFolder) -> PreviousEnd | None:
    try:
        verdict = Verdict.from_json(folder.verdict.read_bytes())
    except (OSError, ValueError):
        return None
    return PreviousEnd(outcome=verdict.outcome, reason=verdict.reason, message=verdict.message)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
