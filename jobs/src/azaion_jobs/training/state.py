"""supervisor.json: what a supervisor has learned about a run, and later attempts must not learn again."""

import json
import logging
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Self

from azaion_jobs.contract import RunSpec
from azaion_jobs.contract.documents import Bounds, DocumentError, read, written
from azaion_jobs.training.durable import write_durably
from azaion_jobs.tree import RunFolder

STATE_VERSION: Final = 1

_log = logging.getLogger("azaion_jobs.supervisor")

_Count = Annotated[int, Bounds(0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Furthest:
    """The furthest completed checkpoint; only one beyond it earns budgets back."""

    epoch: _Count = 0
    batch: _Count = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Batch, flags and budgets of one run directory."""

    batch_size: Annotated[int, Bounds(1)]
    workers: _Count
    version: int = STATE_VERSION
    memory_retried: bool = False
    """Whether this batch size has run out of GPU memory once."""
    validation_batch: int | None = None
    learning_rate_scale: Annotated[float, Bounds(0, 1)] = 1
    nan_seen: bool = False
    rehearsed: bool = False
    parameters: _Count = 0
    restarts: _Count = 0
    """In place, since the furthest checkpoint."""
    causes: dict[str, int] = field(default_factory=dict)
    """The same, by cause."""
    restarts_ever: _Count = 0
    stalls_ever: _Count = 0
    furthest: Furthest = field(default_factory=Furthest)

    @classmethod
    def new(cls, spec: RunSpec) -> Self:
        """Of a run that has learned nothing yet."""
        return cls(batch_size=spec.training.batch_size, workers=spec.training.workers)

    @classmethod
    def load(cls, folder: RunFolder, spec: RunSpec) -> Self:
        """What is written there; a file that cannot be read is put aside and costs what was learned."""
        try:
            text = folder.supervisor.read_bytes()
        except FileNotFoundError:
            return cls.new(spec)
        try:
            state = read(cls, json.loads(text), where=folder.supervisor.name)
            if state.version != STATE_VERSION:
                msg = f"supervisor.json.version must be {STATE_VERSION}."
                raise DocumentError(msg)
        except (ValueError, RecursionError) as error:
            aside = folder.supervisor.with_suffix(".json.corrupt")
            _log.warning("supervisor.json is put aside as %s: %s", aside.name, error)
            folder.supervisor.replace(aside)
            return cls.new(spec)
        return replace(
            state,
            batch_size=min(state.batch_size, spec.training.batch_size),
            workers=min(state.workers, spec.training.workers),
        )

    def save(self, folder: RunFolder) -> None:
        """Write it durably. A full disk is told and survived: the training itself matters more."""
        try:
            write_durably(folder.supervisor, (json.dumps(written(self), indent=1) + "\n").encode())
        except OSError as error:
            _log.error("supervisor.json could not be written: %s", error.strerror or error)

    def with_checkpoint(self, epoch: int, batch: int) -> Self:
        """After a completed checkpoint; one that is further than any before earns the budgets back."""
        if (epoch, batch) <= (self.furthest.epoch, self.furthest.batch):
            return self
        return replace(self, furthest=Furthest(epoch=epoch, batch=batch), restarts=0, causes={})

    def with_restart(self, cause: str) -> Self:
        """After one more restart in place for this cause."""
        return replace(
            self.with_free_restart(),
            restarts=self.restarts + 1,
            causes={**self.causes, cause: self.causes.get(cause, 0) + 1},
        )

    def with_free_restart(self) -> Self:
        """After a restart that no budget pays for, because it cannot happen without end."""
        return replace(self, restarts_ever=self.restarts_ever + 1)
