"""The one way from a run to what should be done about it. Every trigger ends here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from azaion_operator.api import TRAINING_RUNS, TrainingRun
from azaion_operator.domain import Plan, desired
from azaion_operator.errors import NotFound, StaleObject

if TYPE_CHECKING:
    from azaion_operator.handlers.context import Context

logger = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often a decision is made anew because the run changed under it, before giving up for now."""


async def reconcile(context: Context, run: TrainingRun) -> None:
    """Make the cluster agree with what should be, starting from `run` as the caller saw it.

    Safe to call at any time, for any reason, twice, and with an old view of the run: nothing is written on
    the ground of an old view. Raises StaleObject if the run keeps changing faster than decisions are made.
    """
    async with context.locks.of(run.metadata.uid):
        for _ in range(ATTEMPTS - 1):
            try:
                return await _execute(context, run, desired(run, context.now()))
            except StaleObject:
                fresh = await _read_again(context, run)
                if fresh is None:
                    return None
                run = fresh
        return await _execute(context, run, desired(run, context.now()))


async def _execute(context: Context, run: TrainingRun, plan: Plan) -> None:
    for action in plan.actions:
        try:
            await context.cluster.apply_status(TRAINING_RUNS, run.status_body(action.status))
        except NotFound:
            # Deleted in the meantime: there is nothing left to be right or wrong.
            return
        logger.info(
            "TrainingRun %s/%s is %s (%s) at generation %s",
            run.metadata.namespace,
            run.metadata.name,
            action.status.phase,
            action.status.reason,
            action.status.observed_generation,
        )


async def _read_again(context: Context, run: TrainingRun) -> TrainingRun | None:
    """Return the run as it is now; None if it is gone, or if another of the same name has taken its place."""
    metadata = run.metadata
    try:
        body = await context.cluster.get(TRAINING_RUNS, namespace=metadata.namespace, name=metadata.name)
    except NotFound:
        return None
    fresh = TrainingRun.from_body(body)
    return fresh if fresh.metadata.uid == metadata.uid else None
