"""TrainingRun, as the operator reads and writes it. What fields it has, crds/trainingruns.yaml decides."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError

from azaion_operator.api.conditions import Condition, ConditionType, find, in_order
from azaion_operator.api.kinds import TRAINING_RUNS, Body
from azaion_operator.api.view import View
from azaion_operator.errors import UnreadableObject


class Phase(StrEnum):
    """The summary of the conditions that `kubectl get` prints."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    TRAINING = "Training"
    STALLED = "Stalled"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    RECOVERING = "Recovering"
    RELEASING = "Releasing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class TrainingRunSpec(View):
    """What is asked for. `None` means: not said here, so config.yaml decides."""

    model: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    image_size: int | None = None
    save_period: int | None = None
    workers: int | None = None
    seed: int = 0
    gpus: int = 1
    priority: int = 0
    preempt: bool = False
    suspend: bool = False


class Display(View):
    """Text made for the columns of `kubectl get`: one column can show only one field."""

    epoch: str | None = None
    progress: str | None = None
    eta: str | None = None


class TrainingRunStatus(View):
    """What is. Epochs count from 1, progress runs from 0 to 100."""

    observed_generation: int | None = None
    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    conditions: Annotated[tuple[Condition, ...], AfterValidator(in_order)] = ()
    display: Display | None = None
    epoch: int | None = None
    epochs: int | None = None
    progress: int | None = None
    eta_seconds: int | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended for good. A terminal run never starts anything again."""
        ends = (find(self.conditions, end) for end in (ConditionType.COMPLETE, ConditionType.FAILED))
        return any(end is not None and end.is_true for end in ends)

    def to_body(self) -> dict[str, Any]:
        """Return the status as JSON for the API: no nulls, times in UTC with `Z`."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(View):
    """The part of the metadata that decisions depend on."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    resource_version: str | None = None
    deletion_timestamp: datetime | None = None


class TrainingRun(View):
    """One run: what is asked for, and what is known about it."""

    metadata: Metadata
    spec: TrainingRunSpec = Field(default_factory=TrainingRunSpec)
    status: TrainingRunStatus = Field(default_factory=TrainingRunStatus)

    @classmethod
    def from_body(cls, body: Body) -> Self:
        """Read a run from what the API sent.

        Raises UnreadableObject naming the field: the schema of the CRD and this view disagree.
        """
        metadata = body.get("metadata") or {}
        try:
            return cls.model_validate(
                {
                    "metadata": dict(metadata),
                    "spec": dict(body.get("spec") or {}),
                    "status": dict(body.get("status") or {}),
                }
            )
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            name = f"{metadata.get('namespace')}/{metadata.get('name')}"
            message = (
                f"TrainingRun {name} cannot be read: field {field}: {first['msg']}. "
                "Install the azaion-crds chart of the same version as the operator."
            )
            raise UnreadableObject(message) from error

    @property
    def is_deleting(self) -> bool:
        """Whether somebody has asked for the run to be deleted."""
        return self.metadata.deletion_timestamp is not None

    def status_body(self, status: TrainingRunStatus) -> dict[str, Any]:
        """Return the document that writes `status` to this run, refused if the run has changed since."""
        metadata: dict[str, Any] = {"name": self.metadata.name, "namespace": self.metadata.namespace}
        if self.metadata.resource_version is not None:
            metadata["resourceVersion"] = self.metadata.resource_version
        return {
            "apiVersion": TRAINING_RUNS.api_version,
            "kind": TRAINING_RUNS.kind,
            "metadata": metadata,
            "status": status.to_body(),
        }
