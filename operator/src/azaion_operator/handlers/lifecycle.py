"""The life of the process: login, start, health."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import kopf

from azaion_operator.api import TRAINING_RUNS
from azaion_operator.errors import ClusterError

if TYPE_CHECKING:
    from azaion_operator.handlers.context import Context

logger = logging.getLogger(__name__)

LOGIN_LIFETIME = timedelta(minutes=10)
"""How long credentials are used before they are read again; the token of a pod lives longer than that."""

CRD_HINT = "helm upgrade --install azaion-crds charts/azaion-crds"


def register(registry: kopf.OperatorRegistry) -> None:
    """Register login, start-up and health."""

    @kopf.on.login(id="login", registry=registry)
    async def login(memo: Context, settings: kopf.OperatorSettings, **_: object) -> kopf.ConnectionInfo:
        return await asyncio.to_thread(credentials, memo.settings.kubeconfig, settings)

    @kopf.on.startup(id="kinds", registry=registry)
    async def wait_for_kinds(memo: Context, **_: object) -> None:
        await kinds_are_served(memo)

    @kopf.on.probe(id="heartbeat", registry=registry)
    async def heartbeat(memo: Context, **_: object) -> dict[str, float]:
        return check_heartbeat(memo)


def credentials(kubeconfig: str | None, settings: kopf.OperatorSettings) -> kopf.ConnectionInfo:
    """Return credentials that expire, from where `Settings.kubeconfig` says; kopf then asks here again.

    Raises kopf.LoginError if there are none.
    """
    found = kopf.login_with_service_account(settings=settings) if kubeconfig is None else None
    if found is not None:
        found = dataclasses.replace(found, server=_server_of_pod(found.server))
    else:
        found = kopf.login_with_kubeconfig(settings=settings)
    if found is None:
        message = "There is neither a service account nor a kubeconfig to log in with; set KUBECONFIG to one."
        raise kopf.LoginError(message)
    return dataclasses.replace(found, expiration=datetime.now(UTC) + LOGIN_LIFETIME)


def _server_of_pod(default: str) -> str:
    """Return the address the kubelet gave us: it works when the cluster's DNS does not."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return default
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


async def kinds_are_served(context: Context) -> None:
    """Return as soon as the API serves our kinds.

    kopf looks for kinds once, right after this, and would serve nothing for ever if they came later. Until
    then /healthz does not answer: the pod is not ready, and the startup probe gives it time.
    """
    settings = context.settings
    while True:
        try:
            if await context.cluster.serves(TRAINING_RUNS):
                break
            logger.error(
                "The CustomResourceDefinition %s (%s) is not installed; install it with: %s",
                TRAINING_RUNS.crd_name,
                TRAINING_RUNS.version,
                CRD_HINT,
            )
        except ClusterError as error:
            logger.warning("Waiting for the Kubernetes API: %s", error)
        await asyncio.sleep(settings.kinds_retry_seconds)
    context.heartbeat.beat()
    logger.info("Serving TrainingRuns in the namespace %s", settings.namespace)


def check_heartbeat(context: Context) -> dict[str, float]:
    """Return the age of the heartbeat; raises kopf.PermanentError if it is too old.

    Any other error would make kopf try again after a minute, with the kubelet waiting for an answer.
    """
    age, limit = context.heartbeat.age, context.settings.heartbeat_limit_seconds
    if age > limit:
        message = f"The last resync was {age:.0f} s ago, more than the {limit:.0f} s allowed."
        raise kopf.PermanentError(message)
    return {"ageSeconds": round(age, 1), "limitSeconds": limit}
