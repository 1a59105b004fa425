"""The errors: the tree in the docstring, what the API answers, and what kopf is told."""

from __future__ import annotations

import inspect
import json
import re

import aiohttp
import kopf
import pytest
from kubernetes.aio.client.exceptions import ApiException

from azaion_operator import errors
from azaion_operator.cluster.failures import translated
from azaion_operator.handlers.failures import RETRY_SECONDS, maps_errors


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    drawn: dict[str, str] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^((?:│   |    )*)(?:[├└]── )?([A-Z][A-Za-z]+)(?:\s{2,}\S.*|)$", line)
        if match and (line.startswith(("├", "└", "│", "    ")) or line == "OperatorError"):
            depth = 0 if line == "OperatorError" else len(match[1]) // 4 + 1
            branch[depth:] = [match[2]]
            drawn[match[2]] = branch[depth - 1] if depth else "Exception"

    real = {
        name: cls.__bases__[0].__name__
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, Exception)
    }

    assert drawn == real


def an_answer(
    status: int, *, cause: str | None = None, headers: dict[str, str] | None = None
) -> ApiException:
    details = {"causes": [{"reason": cause}]} if cause else None
    body = json.dumps({"kind": "Status", "message": "it said so", "details": details})
    answer = ApiException(status=status, reason="Reason", body=body)
    answer.headers = headers
    return answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (an_answer(400), errors.InvalidObject),
        (an_answer(401), errors.Refused),
        (an_answer(403), errors.Refused),
        (an_answer(404), errors.NotFound),
        (an_answer(409), errors.StaleObject),
        (an_answer(409, cause="FieldManagerConflict"), errors.FieldOwnedElsewhere),
        (an_answer(422), errors.InvalidObject),
        (an_answer(410), errors.Unavailable),
        (an_answer(429), errors.Unavailable),
        (an_answer(500), errors.Unavailable),
        (an_answer(503), errors.Unavailable),
        (ApiException(status=502, reason="Bad Gateway", body="<html>"), errors.Unavailable),
        (ApiException(status=500, reason="Reason", body="[]"), errors.Unavailable),
        (aiohttp.ServerDisconnectedError(), errors.Unavailable),
        (TimeoutError(), errors.Unavailable),
        (ConnectionRefusedError("refused"), errors.Unavailable),
    ],
)
async def test_what_went_wrong_is_named_with_what_was_being_done(
    answer: Exception, expected: type[errors.ClusterError]
) -> None:
    with pytest.raises(errors.ClusterError, match="while reading TrainingRun azaion/x") as caught:
        async with translated("reading TrainingRun azaion/x"):
            raise answer

    assert type(caught.value) is expected


async def test_the_words_of_the_api_are_passed_on() -> None:
    with pytest.raises(errors.InvalidObject, match="422 while writing it: it said so"):
        async with translated("writing it"):
            raise an_answer(422)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), (None, None)])
async def test_retry_after_is_kept(header: str | None, seconds: float | None) -> None:
    headers = {"Retry-After": header} if header else {}
    with pytest.raises(errors.Unavailable) as caught:
        async with translated("listing"):
            raise an_answer(429, headers=headers)

    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (errors.Unavailable("busy"), RETRY_SECONDS),
        (errors.Unavailable("busy", retry_after=90), 90),
        (errors.Unavailable("busy", retry_after=1), RETRY_SECONDS),
        (errors.StaleObject("moving"), RETRY_SECONDS),
        (errors.Refused("no right"), RETRY_SECONDS),
    ],
)
async def test_what_may_pass_is_tried_again(error: errors.OperatorError, delay: float) -> None:
    with pytest.raises(kopf.TemporaryError, match=str(error)) as caught:
        await _raising(error)

    assert caught.value.delay == delay


@pytest.mark.parametrize("error", [errors.InvalidObject("bad"), errors.UnreadableObject("odd")])
async def test_what_will_not_pass_is_given_up(error: errors.OperatorError) -> None:
    with pytest.raises(kopf.PermanentError, match=str(error)):
        await _raising(error)


async def test_what_is_not_ours_is_left_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        await _raising(ZeroDivisionError())


async def _raising(error: Exception) -> None:
    @maps_errors
    async def handler() -> None:
        raise error

    await handler()
