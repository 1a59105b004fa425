"""Failed calls, translated into our errors. Nothing of the client library's errors gets past this module."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
from kubernetes.aio.client.exceptions import ApiException

from azaion_operator.errors import (
    ClusterError,
    FieldOwnedElsewhere,
    InvalidObject,
    NotFound,
    Refused,
    StaleObject,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PERMANENT: dict[int, type[ClusterError]] = {
    HTTPStatus.BAD_REQUEST: InvalidObject,
    HTTPStatus.UNAUTHORIZED: Refused,
    HTTPStatus.FORBIDDEN: Refused,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidObject,
}


@asynccontextmanager
async def translated(what: str) -> AsyncIterator[None]:
    """Run one call; `what` says for people what was being done, such as 'reading TrainingRun azaion/x'."""
    try:
        yield
    except ApiException as error:
        raise _from_answer(what, error) from error
    # TimeoutError is an OSError; a client error is not always one (a server that hangs up).
    except (aiohttp.ClientError, OSError) as error:
        message = (
            f"The Kubernetes API could not be reached while {what}: {str(error) or type(error).__name__}."
        )
        raise Unavailable(message) from error


def _from_answer(what: str, error: ApiException) -> ClusterError:
    status = error.status or 0
    said, causes = _status_document(error.body)
    message = (
        f"The Kubernetes API answered {status} while {what}: {said or error.reason or 'no reason given'}"
    )
    if status == HTTPStatus.CONFLICT:
        return FieldOwnedElsewhere(message) if "FieldManagerConflict" in causes else StaleObject(message)
    if status in _PERMANENT:
        return _PERMANENT[status](message)
    return Unavailable(message, retry_after=_retry_after(error))


def _status_document(body: str | None) -> tuple[str, set[str]]:
    """Return the message and the reasons of the causes in a `Status` document, if the body is one."""
    try:
        document = json.loads(body or "")
    except ValueError:
        return (body or "").strip(), set()
    if not isinstance(document, dict):
        return str(document), set()
    causes = (document.get("details") or {}).get("causes") or []
    return str(document.get("message") or ""), {str(cause.get("reason")) for cause in causes}


def _retry_after(error: ApiException) -> float | None:
    text = (error.headers or {}).get("Retry-After")
    return float(text) if text and text.isdigit() else None
