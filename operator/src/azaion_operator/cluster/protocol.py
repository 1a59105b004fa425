"""What the operator asks of a cluster. Implemented by the dynamic client and, for tests, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azaion_operator.api import Body, Kind


class Cluster(Protocol):
    """A cluster. Every call ends within the request timeout and raises nothing but ClusterError."""

    async def serves(self, kind: Kind) -> bool:
        """Whether the API lists this kind in its discovery documents, which is where watchers look for it."""

    async def get(self, kind: Kind, *, namespace: str, name: str) -> Body:
        """Return the object as it is now; raises NotFound."""

    async def list(self, kind: Kind, *, namespace: str) -> Sequence[Body]:
        """Return all objects of the kind in the namespace."""

    async def apply_status(self, kind: Kind, body: Body) -> Body:
        """Make `status` of the object what `body` says, whole: what we applied before and omit now goes.

        Where `body` carries a resourceVersion that is no longer the newest, nothing is written and
        StaleObject is raised. Raises NotFound if the object is gone.
        """
