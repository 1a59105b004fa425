"""What all handlers share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

    from azaion_operator.cluster import Cluster
    from azaion_operator.settings import Settings


class Heartbeat:
    """When the operator last got something done by its own doing, on a clock that never jumps."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """Say: still at work."""
        self._last = self._clock()

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._last


class Locks:
    """One lock per name, kept as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """Return the lock of that name, the same for everybody who asks."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Context:
    """The memo of the operator: one for all objects. Nothing in it survives a restart, nor may it have to."""

    settings: Settings
    cluster: Cluster
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    locks: Locks = field(default_factory=Locks)
    now: Callable[[], datetime] = _utc_now

    def __copy__(self) -> Self:
        """Return itself: kopf copies the memo for every object, and ours is shared by all of them."""
        return self
