"""The cluster in memory keeps the rules of the API server on which the operator depends."""

from __future__ import annotations

from typing import Any

import pytest

from azaion_operator.api import TRAINING_RUNS
from azaion_operator.cluster.memory import MemoryCluster
from azaion_operator.errors import NotFound, StaleObject, Unavailable


def a_body(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "run", "namespace": "azaion", "uid": "uid-1"}, "spec": spec}


def a_status(version: str | None = None, **status: Any) -> dict[str, Any]:
    metadata = {"name": "run", "namespace": "azaion"} | ({"resourceVersion": version} if version else {})
    return {"metadata": metadata, "status": status}


async def test_the_generation_rises_with_the_spec_alone() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)

    generations = [cluster.put(TRAINING_RUNS, a_body(epochs=n))["metadata"]["generation"] for n in (1, 1, 2)]
    written = await cluster.apply_status(TRAINING_RUNS, a_status(phase="Pending"))

    assert generations == [1, 1, 2]
    assert written["metadata"]["generation"] == 2


async def test_a_status_written_on_an_old_view_is_refused() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    old = cluster.put(TRAINING_RUNS, a_body(epochs=1))["metadata"]["resourceVersion"]
    cluster.put(TRAINING_RUNS, a_body(epochs=2))

    with pytest.raises(StaleObject):
        await cluster.apply_status(TRAINING_RUNS, a_status(old, phase="Pending"))

    assert (
        "status" not in (await cluster.get(TRAINING_RUNS, namespace="azaion", name="run"))
        or not (await cluster.get(TRAINING_RUNS, namespace="azaion", name="run"))["status"]
    )


async def test_an_equal_status_changes_nothing() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    cluster.put(TRAINING_RUNS, a_body())

    first = await cluster.apply_status(TRAINING_RUNS, a_status(phase="Pending"))
    second = await cluster.apply_status(TRAINING_RUNS, a_status(phase="Pending"))

    assert first == second


async def test_a_status_is_replaced_whole() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    cluster.put(TRAINING_RUNS, a_body())
    await cluster.apply_status(TRAINING_RUNS, a_status(phase="Pending", message="long"))

    written = await cluster.apply_status(TRAINING_RUNS, a_status(phase="Pending"))

    assert written["status"] == {"phase": "Pending"}


async def test_what_is_not_there_is_not_found() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    cluster.put(TRAINING_RUNS, a_body())
    cluster.remove(TRAINING_RUNS, namespace="azaion", name="run")

    with pytest.raises(NotFound, match="azaion/run"):
        await cluster.get(TRAINING_RUNS, namespace="azaion", name="run")
    with pytest.raises(NotFound, match="azaion/run"):
        await cluster.apply_status(TRAINING_RUNS, a_status(phase="Pending"))


async def test_lists_are_those_of_the_namespace_and_copies() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    cluster.put(TRAINING_RUNS, a_body(epochs=1))
    (listed,) = await cluster.list(TRAINING_RUNS, namespace="azaion")
    dict(listed)["spec"]["epochs"] = 99

    assert await cluster.list(TRAINING_RUNS, namespace="other") == []
    assert (await cluster.get(TRAINING_RUNS, namespace="azaion", name="run"))["spec"] == {"epochs": 1}


async def test_a_planned_failure_happens_once() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    cluster.fail_next(Unavailable("restarting"))

    with pytest.raises(Unavailable):
        await cluster.serves(TRAINING_RUNS)
    assert await cluster.serves(TRAINING_RUNS)
    assert cluster.calls == [("get", "discovery"), ("get", "discovery")]
