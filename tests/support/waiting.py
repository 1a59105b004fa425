"""Waiting for something to become true, instead of sleeping and hoping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

Value = TypeVar("Value")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.5
_SHOWN = 500


def wait_until(predicate: Callable[[], Value], *, deadline: float, what: str) -> Value:
    """Call `predicate` until it returns something true, and return that.

    Fails after `deadline` seconds with what was waited for and the last value. The predicate is asked at
    least once, and once more when time is up.
    """
    pauses = _Pauses(deadline)
    while True:
        late = pauses.over()
        value = predicate()
        if value:
            return value
        if late:
            raise AssertionError(_failure(what, deadline, value))
        time.sleep(pauses.next())  # between two looks, within the deadline


@overload
async def wait_until_async(
    predicate: Callable[[], Awaitable[Value]], *, deadline: float, what: str
) -> Value: ...


@overload
async def wait_until_async(predicate: Callable[[], Value], *, deadline: float, what: str) -> Value: ...


async def wait_until_async(predicate: Callable[[], Any], *, deadline: float, what: str) -> Any:
    """The same where an event loop runs; the predicate may be a coroutine function."""
    pauses = _Pauses(deadline)
    while True:
        late = pauses.over()
        answer = predicate()
        value = await answer if isinstance(answer, Awaitable) else answer
        if value:
            return value
        if late:
            raise AssertionError(_failure(what, deadline, value))
        await asyncio.sleep(pauses.next())


class _Pauses:
    """Growing pauses, none of them beyond the deadline."""

    def __init__(self, deadline: float) -> None:
        self._end = time.monotonic() + deadline
        self._pause = _FIRST_PAUSE

    def over(self) -> bool:
        return time.monotonic() >= self._end

    def next(self) -> float:
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return max(0.0, min(self._pause, self._end - time.monotonic()))


def _failure(what: str, deadline: float, value: object) -> str:
    shown = repr(value)
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}…"
    return f"Waited {deadline:g} s in vain for {what}; the last value was {shown}."
