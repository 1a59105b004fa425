"""The cluster behind the Kubernetes API, through the asynchronous dynamic client and plain dicts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.dynamic.client import DynamicClient
from kubernetes.aio.dynamic.resource import Resource

from azaion_operator.api import FIELD_MANAGER, Body, Kind
from azaion_operator.cluster.failures import translated
from azaion_operator.errors import CredentialsError, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from azaion_operator.cluster.protocol import Cluster

# The dynamic client and the loaders of credentials carry no types; nothing untyped leaves this module.

PAGE = 500
"""Objects per list request: big lists in one piece are what makes memory and the API server peak."""


@asynccontextmanager
async def connect(*, kubeconfig: str | None, request_timeout: float) -> AsyncIterator[Cluster]:
    """Give a cluster for the time of the context; nothing is sent before the first call.

    Raises CredentialsError if neither a kubeconfig nor a service account is there.
    """
    configuration = Configuration()
    # The proxy of somebody's shell is not the way to the API server.
    configuration.client_session_kwargs = {"trust_env": False}
    await _authenticate(configuration, kubeconfig)
    async with ApiClient(configuration) as api:
        # Not awaited on purpose: awaiting it would run discovery and leave its cache in the temporary folder.
        # We spell out our resources, so there is nothing to discover and nothing to go stale.
        client = DynamicClient(api)  # type: ignore[no-untyped-call]
        yield DynamicCluster(client, request_timeout=request_timeout)


async def _authenticate(configuration: Configuration, kubeconfig: str | None) -> None:
    try:
        if kubeconfig is None:
            try:
                config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            except config.ConfigException:
                await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig, client_configuration=configuration
            )
    # The loader lets out whatever it meets in a broken file: TypeError, KeyError, YAMLError, OSError.
    except Exception as error:
        where = f"the kubeconfig {kubeconfig}" if kubeconfig else "a service account or a kubeconfig"
        said = " ".join(str(error).split()).rstrip(".")
        message = f"There is no usable way to a Kubernetes API in {where}: {said}. Set KUBECONFIG to one."
        raise CredentialsError(message) from error


class DynamicCluster:
    """A real cluster."""

    def __init__(self, client: DynamicClient, *, request_timeout: float) -> None:
        self._client = client
        # The library has no default; every call passes this.
        self._call: dict[str, Any] = {
            "serializer": _plain,
            "_request_timeout": aiohttp.ClientTimeout(total=request_timeout, sock_connect=request_timeout),
        }

    async def serves(self, kind: Kind) -> bool:
        """Look where kopf looks: first into the list of groups, then into that of the group's version."""
        async with translated(f"looking for the kind {kind.kind}"):
            groups = await self._client.request("get", "/apis", **self._call)
        if not any(
            group["name"] == kind.group
            and any(version["version"] == kind.version for version in group["versions"])
            for group in groups["groups"]
        ):
            return False
        try:
            async with translated(f"looking for the kind {kind.kind}"):
                resources = await self._client.request("get", f"/apis/{kind.api_version}", **self._call)
        except NotFound:
            return False
        return any(resource["name"] == kind.plural for resource in resources["resources"])

    async def get(self, kind: Kind, *, namespace: str, name: str) -> Body:
        """See Cluster."""
        async with translated(f"reading {kind.kind} {namespace}/{name}"):
            found: Body = await self._resource(kind).get(name=name, namespace=namespace, **self._call)
            return found

    async def list(self, kind: Kind, *, namespace: str) -> Sequence[Body]:
        """See Cluster."""
        items: list[Body] = []
        token: str | None = None
        while True:
            async with translated(f"listing {kind.plural} in {namespace}"):
                page = await self._resource(kind).get(
                    namespace=namespace, limit=PAGE, _continue=token, **self._call
                )
            items.extend(page.get("items") or [])
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items

    async def apply_status(self, kind: Kind, body: Body) -> Body:
        """Server-side apply under our field manager; a conflict is ours to win: status has one writer."""
        metadata = body["metadata"]
        async with translated(
            f"writing the status of {kind.kind} {metadata['namespace']}/{metadata['name']}"
        ):
            status = self._resource(kind).subresources["status"]
            written: Body = await status.server_side_apply(
                body=body,
                name=metadata["name"],
                namespace=metadata["namespace"],
                field_manager=FIELD_MANAGER,
                force_conflicts=True,
                **self._call,
            )
            return written

    def _resource(self, kind: Kind) -> Resource:
        return Resource(  # type: ignore[no-untyped-call]
            prefix="apis" if kind.group else "api",
            group=kind.group,
            api_version=kind.version,
            kind=kind.kind,
            name=kind.plural,
            namespaced=kind.namespaced,
            client=self._client,
            subresources={
                "status": {"kind": kind.kind, "name": f"{kind.plural}/status", "namespaced": kind.namespaced}
            },
        )


def _plain(_client: object, document: dict[str, Any]) -> dict[str, Any]:
    """Keep the answer as it is: the library's boxes around it hide keys named like their methods."""
    return document
