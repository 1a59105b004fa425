"""Our errors, translated into what kopf understands: try again, or give up on this change."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import kopf

from azaion_operator.errors import ClusterError, InvalidObject, OperatorError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
R = TypeVar("R")

RETRY_SECONDS = 10.0
"""Before a call that failed is made again. The resync does not wait for it."""


def maps_errors(handler: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Let a handler raise our errors. What is not ours stays as it is: kopf logs it whole and retries."""

    @functools.wraps(handler)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(*args, **kwargs)
        except InvalidObject as error:
            raise kopf.PermanentError(str(error)) from error
        except Unavailable as error:
            raise kopf.TemporaryError(
                str(error), delay=max(error.retry_after or 0.0, RETRY_SECONDS)
            ) from error
        except ClusterError as error:
            raise kopf.TemporaryError(str(error), delay=RETRY_SECONDS) from error
        except OperatorError as error:
            raise kopf.PermanentError(str(error)) from error

    return wrapper
