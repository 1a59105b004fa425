"""Triggers of TrainingRuns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kopf

from azaion_operator.api import TRAINING_RUNS, TrainingRun
from azaion_operator.handlers.failures import maps_errors
from azaion_operator.handlers.reconciling import reconcile

if TYPE_CHECKING:
    from azaion_operator.handlers.context import Context


def register(registry: kopf.OperatorRegistry) -> None:
    """Watch TrainingRuns. One handler for all three edges, so that one edge costs one cycle.

    While a handler is retried, its id stands in an annotation of the object: an id that moves with the code
    would forget the retries of the version before.
    """

    @kopf.on.resume(*TRAINING_RUNS.selector, id="training-run", registry=registry)
    @kopf.on.create(*TRAINING_RUNS.selector, id="training-run", registry=registry)
    @kopf.on.update(*TRAINING_RUNS.selector, id="training-run", field="spec", registry=registry)
    @maps_errors
    async def training_run_changed(body: kopf.Body, memo: Context, **_: object) -> None:
        await reconcile(memo, TrainingRun.from_body(body))
