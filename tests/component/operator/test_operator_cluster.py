"""The dynamic client against an API in memory: what it asks, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from azaion_operator.api import TRAINING_RUNS
from azaion_operator.cluster import Cluster, connect
from azaion_operator.errors import CredentialsError, NotFound, Refused, Unavailable

RUNS = "/apis/training.azaion.com/v1alpha1/namespaces/azaion/trainingruns"


@pytest.fixture
async def cluster(api: Any) -> AsyncIterator[Cluster]:
    async with connect(kubeconfig=str(api.kubeconfig), request_timeout=1.0) as connected:
        yield connected


async def test_a_kind_is_served_when_the_api_lists_it(api: Any, cluster: Cluster) -> None:
    assert not await cluster.serves(TRAINING_RUNS)
    api.install_kinds()
    assert await cluster.serves(TRAINING_RUNS)


async def test_a_group_whose_last_kind_has_just_gone_serves_nothing(api: Any, cluster: Cluster) -> None:
    api.install_kinds()
    api.kmock["get /apis/training.azaion.com/v1alpha1"] << 404

    assert not await cluster.serves(TRAINING_RUNS)


async def test_an_object_is_read_as_plain_json(api: Any, cluster: Cluster) -> None:
    api.install_kinds()
    await api.create("first", epochs=3)

    found = await cluster.get(TRAINING_RUNS, namespace="azaion", name="first")

    assert type(found) is dict
    assert found["spec"] == {"epochs": 3}
    with pytest.raises(NotFound, match="reading TrainingRun azaion/absent"):
        await cluster.get(TRAINING_RUNS, namespace="azaion", name="absent")


async def test_a_long_list_is_read_in_pages(api: Any, cluster: Cluster) -> None:
    api.install_kinds()
    pages = {None: (["a", "b"], "t1"), "t1": (["c"], "t2"), "t2": ([], None)}

    def page(request: Any) -> dict[str, Any]:
        names, token = pages[request.params.get("continue")]
        metadata = {"continue": token} if token else {}
        return {"metadata": metadata, "items": [{"metadata": {"name": name}} for name in names]}

    api.kmock[f"get {RUNS}"] << page

    listed = await cluster.list(TRAINING_RUNS, namespace="azaion")

    assert [body["metadata"]["name"] for body in listed] == ["a", "b", "c"]


async def test_a_status_is_applied_by_us_and_whole(api: Any, cluster: Cluster) -> None:
    api.install_kinds()
    await api.create("first")
    document = {
        "apiVersion": "training.azaion.com/v1alpha1",
        "kind": "TrainingRun",
        "metadata": {"name": "first", "namespace": "azaion"},
        "status": {"phase": "Pending"},
    }

    await cluster.apply_status(TRAINING_RUNS, document)

    request = list(api.kmock)[-1]
    assert request.url.path == f"{RUNS}/first/status"
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert dict(request.params) == {"fieldManager": "azaion-operator", "force": "true"}
    assert request.data == document


@pytest.mark.parametrize(("status", "error"), [(403, Refused), (500, Unavailable), (429, Unavailable)])
async def test_a_refusal_has_a_name(api: Any, cluster: Cluster, status: int, error: type[Exception]) -> None:
    api.kmock[f"get {RUNS}"] << status

    with pytest.raises(error, match=f"{status} while listing trainingruns in azaion"):
        await cluster.list(TRAINING_RUNS, namespace="azaion")


async def test_an_api_that_does_not_answer_is_given_up_in_time(api: Any, cluster: Cluster) -> None:
    api.kmock[f"get {RUNS}"] << ...

    with pytest.raises(Unavailable, match="could not be reached while listing"):
        await cluster.list(TRAINING_RUNS, namespace="azaion")


async def test_nothing_is_left_in_the_temporary_folder(api: Any, tmp_path: Path, monkeypatch: Any) -> None:
    api.install_kinds()
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    async with connect(kubeconfig=str(api.kubeconfig), request_timeout=1.0) as connected:
        await connected.list(TRAINING_RUNS, namespace="azaion")

    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "content", [None, "", "{", "{apiVersion: v1, kind: Config, current-context: missing}"]
)
async def test_a_kubeconfig_that_leads_nowhere_is_named(tmp_path: Path, content: str | None) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    if content is not None:
        kubeconfig.write_text(content, encoding="utf-8")

    with pytest.raises(CredentialsError, match=f"the kubeconfig {kubeconfig}"):
        async with connect(kubeconfig=str(kubeconfig), request_timeout=1.0):
            pass
