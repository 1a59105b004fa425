"""The composition root: the only place that puts the parts together."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import kopf

from azaion_operator.api import FIELD_MANAGER, GROUP
from azaion_operator.cluster import connect
from azaion_operator.handlers import Context, lifecycle, resync, training_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azaion_operator.settings import Settings

logger = logging.getLogger(__name__)

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
CHATTY_LOGGERS = ("aiohttp.access", "kopf.activities.probe")
"""They say of every probe of the kubelet that it went well; of those that went badly we still hear."""

EXIT_SECONDS = 25.0
"""How long leaving may take; below the 30 s of grace that the pod has."""


class EndlessBackoff:
    """Pauses between calls that failed: growing, spread at random, never ending.

    With an end, an API server that takes a minute to restart would take the operator down with it.
    """

    def __init__(self, *, first: float = 1.0, longest: float = 30.0) -> None:
        self._first = first
        self._longest = longest

    def __iter__(self) -> Iterator[float]:
        """Yield seconds, for ever."""
        pause = self._first
        while True:
            yield pause * random.uniform(0.5, 1.0)  # noqa: S311  (spreading, not cryptography)
            pause = min(pause * 2, self._longest)


def build_registry() -> kopf.OperatorRegistry:
    """Return everything that kopf may call, and nothing that another import has registered."""
    registry = kopf.OperatorRegistry()
    for module in (lifecycle, training_runs):
        module.register(registry)
    return registry


def kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    """Return kopf's settings; ARCHITECTURE.md tells of the faults that each of them is there for."""
    theirs = kopf.OperatorSettings()
    theirs.watching.server_timeout = 300
    theirs.watching.client_timeout = 310
    theirs.watching.connect_timeout = 30
    theirs.watching.reconnect_backoff = 1.0
    theirs.watching.chunk_size = 500
    theirs.networking.request_timeout = settings.request_timeout_seconds
    theirs.networking.connect_timeout = settings.request_timeout_seconds
    theirs.networking.error_backoffs = EndlessBackoff()
    # Our Role ends at our namespace: there is nothing to scan with.
    theirs.scanning.disabled = True
    theirs.posting.loggers = False
    theirs.process.ultimate_exiting_timeout = EXIT_SECONDS
    theirs.peering.standalone = True
    # Names of our own, so that another kopf operator on the same objects is not mistaken for us.
    theirs.persistence.finalizer = f"{GROUP}/finalizer"
    theirs.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    theirs.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=GROUP, key="last-handled", v1=False
    )
    return theirs


async def serve(context: Context, *, stop_flag: asyncio.Event | None = None) -> None:
    """Serve until `stop_flag` is set or, in the main thread, SIGTERM or SIGINT arrives.

    Never cancel this: kopf leaves cleanly by its flag or a signal only.
    """
    settings = context.settings
    started = asyncio.Event()
    # Made before kopf starts: what is made later, kopf takes for its own and ends in its own way.
    resyncing = asyncio.create_task(_resync_once_started(context, started), name="resync")
    try:
        await kopf.operator(
            registry=build_registry(),
            settings=kopf_settings(settings),
            memo=context,
            namespaces=[settings.namespace],
            standalone=True,
            # Left to itself kopf asks for the user's name, and a uid that is not in /etc/passwd has none.
            identity=cast("Any", FIELD_MANAGER),
            liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
            ready_flag=started,
            stop_flag=stop_flag,
        )
    finally:
        resyncing.cancel()
        with suppress(asyncio.CancelledError):
            await resyncing


async def _resync_once_started(context: Context, started: asyncio.Event) -> None:
    await started.wait()
    await resync.run_forever(context)


async def _connect_and_serve(settings: Settings) -> None:
    async with connect(
        kubeconfig=settings.kubeconfig, request_timeout=settings.request_timeout_seconds
    ) as cluster:
        await serve(Context(settings=settings, cluster=cluster))
    logger.info("The operator has stopped.")


def run(settings: Settings) -> None:
    """Run the operator until it is told to stop. Raises OperatorError if it cannot start."""
    for chatty in CHATTY_LOGGERS:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    asyncio.run(_connect_and_serve(settings))


def namespace_of_pod() -> str | None:
    """Return the namespace of the service account, None outside of a pod."""
    try:
        return NAMESPACE_FILE.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
