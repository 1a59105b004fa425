"""A cluster in memory, for tests: those rules of the API server on which the operator depends."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from azaion_operator.errors import ClusterError, NotFound, StaleObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azaion_operator.api import Body, Kind


class MemoryCluster:
    """Keeps objects, raises `generation` with the spec and `resourceVersion` with every change.

    `calls` lists every call as (verb, resource) the way RBAC names them; `fail_next` makes one fail.
    """

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = set(kinds)
        self.calls: list[tuple[str, str]] = []
        self._objects: dict[tuple[Kind, str, str], dict[str, Any]] = {}
        self._failures: list[ClusterError] = []
        self._version = 0

    def put(self, kind: Kind, body: Body) -> Body:
        """Do what `kubectl apply` does: create the object or replace its spec; its status stays."""
        new = deepcopy(dict(body))
        metadata = new["metadata"]
        key = (kind, metadata["namespace"], metadata["name"])
        old = self._objects.get(key)
        if old is None:
            metadata["generation"] = 1
        else:
            new["status"] = old.get("status", {})
            changed = old.get("spec") != new.get("spec")
            metadata["generation"] = old["metadata"]["generation"] + changed
        return self._store(key, new)

    def remove(self, kind: Kind, *, namespace: str, name: str) -> None:
        """Do what `kubectl delete` does to an object without finalizers."""
        del self._objects[kind, namespace, name]

    def fail_next(self, error: ClusterError) -> None:
        """Let the next call that is not yet bound to fail raise this error."""
        self._failures.append(error)

    async def serves(self, kind: Kind) -> bool:
        """See Cluster."""
        self._begin("get", "discovery")
        return kind in self.kinds

    async def get(self, kind: Kind, *, namespace: str, name: str) -> Body:
        """See Cluster."""
        self._begin("get", kind.plural)
        return deepcopy(self._find(kind, namespace, name))

    async def list(self, kind: Kind, *, namespace: str) -> Sequence[Body]:
        """See Cluster."""
        self._begin("list", kind.plural)
        return [
            deepcopy(stored)
            for (its_kind, its_namespace, _), stored in self._objects.items()
            if (its_kind, its_namespace) == (kind, namespace)
        ]

    async def apply_status(self, kind: Kind, body: Body) -> Body:
        """See Cluster."""
        self._begin("patch", f"{kind.plural}/status")
        metadata = body["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        stored = self._find(kind, namespace, name)
        read_at = metadata.get("resourceVersion")
        if read_at is not None and read_at != stored["metadata"]["resourceVersion"]:
            message = f"{kind.kind} {namespace}/{name} has changed since it was read."
            raise StaleObject(message)
        if stored.get("status") == body["status"]:
            return deepcopy(stored)
        return self._store((kind, namespace, name), {**stored, "status": deepcopy(body["status"])})

    def _begin(self, verb: str, resource: str) -> None:
        self.calls.append((verb, resource))
        if self._failures:
            raise self._failures.pop(0)

    def _find(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        try:
            return self._objects[kind, namespace, name]
        except KeyError:
            message = f"There is no {kind.kind} {namespace}/{name}."
            raise NotFound(message) from None

    def _store(self, key: tuple[Kind, str, str], body: dict[str, Any]) -> Body:
        self._version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self._version)}
        self._objects[key] = {**body, "metadata": metadata}
        return deepcopy(self._objects[key])
