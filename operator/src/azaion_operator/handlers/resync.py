"""The resync: every run is looked at again from time to time, so that no lost event is lost for ever.

It asks the API instead of trusting what the watches have brought: a watch that has silently gone deaf is one
of the things it is there for. It is also the operator's heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from azaion_operator.api import TRAINING_RUNS, Body, TrainingRun
from azaion_operator.errors import OperatorError
from azaion_operator.handlers.reconciling import reconcile

if TYPE_CHECKING:
    from azaion_operator.handlers.context import Context

logger = logging.getLogger(__name__)

JITTER = 0.1
"""Part of the interval by which passes are moved at random, so that they never fall into step with others."""


async def run_forever(context: Context) -> None:
    """Resync until cancelled. Failures are logged; they neither end the loop nor stop the heart."""
    while True:
        try:
            await resync(context)
        except OperatorError as error:
            logger.warning("The resync could not look at the TrainingRuns: %s", error)
        context.heartbeat.beat()
        # Not cryptography, only spreading.
        spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
        await asyncio.sleep(context.settings.resync_seconds * spread)


async def resync(context: Context) -> None:
    """Look at every run once. Raises ClusterError if they cannot be listed."""
    bodies = await context.cluster.list(TRAINING_RUNS, namespace=context.settings.namespace)
    for body in bodies:
        await _resync_one(context, body)
        context.heartbeat.beat()


async def _resync_one(context: Context, body: Body) -> None:
    """Reconcile one run; what is wrong with it must not keep the others from being looked at."""
    try:
        await reconcile(context, TrainingRun.from_body(body))
    except OperatorError as error:
        logger.warning("The resync left a TrainingRun as it is: %s", error)
    except Exception:
        # A defect of ours that one object brings to light: said aloud, and the next object is looked at.
        logger.exception("The resync failed for the TrainingRun %s", body["metadata"]["name"])
