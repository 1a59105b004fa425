import asyncio

import pytest

from support.waiting import wait_until, wait_until_async


def test_the_first_true_value_is_returned() -> None:
    values = iter([0, "", None, "there"])
    assert wait_until(lambda: next(values), deadline=10, what="a value") == "there"


def test_a_failure_says_what_was_awaited_and_what_was_seen() -> None:
    with pytest.raises(AssertionError, match=r"^Waited 0\.01 s in vain for rain; the last value was \[\]\.$"):
        wait_until(list, deadline=0.01, what="rain")


def test_the_predicate_is_asked_even_where_time_is_up_already() -> None:
    assert wait_until(lambda: "there", deadline=0, what="a value") == "there"


def test_an_error_of_the_predicate_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 // 0, deadline=10, what="infinity")


async def test_the_loop_runs_on_while_waiting() -> None:
    seen: list[int] = []
    asyncio.get_running_loop().call_later(0.01, seen.append, 7)
    assert await wait_until_async(lambda: seen, deadline=10, what="a callback") == [7]


async def test_a_coroutine_function_is_a_predicate_too() -> None:
    values = iter([0, 0, 3])

    async def answer() -> int:
        return next(values)

    assert await wait_until_async(answer, deadline=10, what="a number") == 3


async def test_an_asynchronous_wait_fails_with_the_same_sentence() -> None:
    with pytest.raises(AssertionError, match=r"in vain for rain; the last value was 0"):
        await wait_until_async(lambda: 0, deadline=0.01, what="rain")
