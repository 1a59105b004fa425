"""The real operator (kopf, the dynamic client, our handlers) against a Kubernetes API in memory.

Input is what people do: objects that appear and change. Output is what the API then holds and which requests
it got. Deliberately not real: resource versions and generations, which the API in memory does not keep.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from azaion_operator import app
from azaion_operator.api import GROUP, TRAINING_RUNS, VERSION
from azaion_operator.cluster import connect
from azaion_operator.handlers import Context, Heartbeat
from azaion_operator.settings import Settings
from support.waiting import wait_until_async

NAMESPACE = "azaion"
RUNS = f"{GROUP}/{VERSION}/{TRAINING_RUNS.plural}"
DEADLINE_SECONDS = 20.0


async def _until(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of `condition`; fail, saying `what` was waited for, when the time is up."""
    return await wait_until_async(condition, deadline=DEADLINE_SECONDS, what=what)


@pytest.fixture(name="until")
def fixture_until() -> Callable[..., Any]:
    """See _until."""
    return _until


@dataclass
class Api:
    """The API in memory, spoken of in the words of these tests."""

    kmock: Any
    kubeconfig: Path
    uids: int = field(default=0)

    def install_kinds(self) -> None:
        """What `helm install azaion-crds` does."""
        self.kmock.resources[RUNS] = {
            "kind": TRAINING_RUNS.kind,
            "namespaced": True,
            "verbs": {"get", "list", "watch", "patch", "create", "update", "delete"},
            "subresources": {"status"},
        }

    async def create(self, name: str, **spec: object) -> None:
        """What `kubectl create` does."""
        self.uids += 1
        metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-{self.uids}", "generation": 1}
        await self._send("POST", body={"metadata": metadata, "spec": spec})

    async def change(self, name: str, *, generation: int, **spec: object) -> None:
        """What `kubectl edit` does; the API in memory does not count generations, so the test says which."""
        await self._send("PATCH", name=name, body={"metadata": {"generation": generation}, "spec": spec})

    async def delete(self, name: str) -> None:
        """What `kubectl delete` does."""
        await self._send("DELETE", name=name)

    def change_behind_the_watch(self, name: str, *, generation: int) -> None:
        """Change the object as `change` does, but let no watch tell of it."""
        self.kmock.objects[RUNS, NAMESPACE, name].patch({"metadata": {"generation": generation}})

    def is_handled(self, name: str) -> bool:
        """Whether kopf has noted on the object that its last change was handled."""
        return f"{GROUP}/last-handled" in self.run(name)["metadata"].get("annotations", {})

    def is_gone(self, name: str) -> bool:
        """Whether the object has been deleted."""
        return bool(self.kmock.objects[RUNS, NAMESPACE, name].deleted)

    def run(self, name: str) -> dict[str, Any]:
        """Return the object as it is now."""
        body: dict[str, Any] = json.loads(json.dumps(self.kmock.objects[RUNS, NAMESPACE, name].raw))
        return body

    def status(self, name: str) -> dict[str, Any]:
        """Return its status, empty before the first one is written."""
        status: dict[str, Any] = self.run(name).get("status", {})
        return status

    def status_writes(self, name: str) -> list[dict[str, Any]]:
        """Return the status of each write to the status of this run, in order."""
        path = f"/apis/{RUNS.rsplit('/', 1)[0]}/namespaces/{NAMESPACE}/trainingruns/{name}/status"
        return [
            request.data["status"]
            for request in self.kmock
            if _method(request) == "PATCH" and request.url.path == path
        ]

    def requests(self) -> list[tuple[str, str]]:
        """Return method and path of all requests so far."""
        return [(_method(request), request.url.path) for request in self.kmock]

    async def _send(self, method: str, *, body: object = None, name: str | None = None) -> None:
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/trainingruns" + (f"/{name}" if name else "")
        async with (
            aiohttp.ClientSession(base_url=str(self.kmock.url)) as session,
            session.request(method, path, json=body) as answer,
        ):
            answer.raise_for_status()


@pytest.fixture
async def api(kmock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Api:
    """An API in memory with the kinds of a cluster, ours not yet among them, and a kubeconfig for it."""
    for name, kind, namespaced in (
        ("v1/namespaces", "Namespace", False),
        ("v1/events", "Event", True),
        ("apiextensions.k8s.io/v1/customresourcedefinitions", "CustomResourceDefinition", False),
    ):
        kmock.resources[name] = {"kind": kind, "namespaced": namespaced, "verbs": {"get", "list", "watch"}}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "memory",
                "contexts": [{"name": "memory", "context": {"cluster": "memory", "user": "operator"}}],
                "clusters": [{"name": "memory", "cluster": {"server": str(kmock.url).rstrip("/")}}],
                "users": [{"name": "operator", "user": {}}],
            }
        ),
        encoding="utf-8",
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    return Api(kmock, kubeconfig)


def _method(request: Any) -> str:
    return str(request.method).rpartition(".")[2].upper()


@pytest.fixture(name="free_port")
def fixture_free_port() -> int:
    """See _free_port."""
    return _free_port()


def _free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class OperatorThread(threading.Thread):
    """An operator in a loop of its own: when it leaves, kopf takes every task of its loop for its own."""

    def __init__(self, settings: Settings, heartbeat: Heartbeat) -> None:
        super().__init__(name="operator", daemon=True)
        self.settings = settings
        self._heartbeat = heartbeat
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self.failure: BaseException | None = None

    @property
    def health_url(self) -> str:
        """Where the kubelet would ask."""
        return f"http://127.0.0.1:{self.settings.health_port}/healthz"

    def run(self) -> None:
        """Serve until told to stop."""
        try:
            asyncio.run(self._serve())
        except BaseException as failure:  # noqa: BLE001  (handed over to the test)
            self.failure = failure

    def stop(self) -> None:
        """Ask the operator to leave."""
        if self._loop is not None and self._leave is not None and self.is_alive():
            self._loop.call_soon_threadsafe(self._leave.set)

    async def _serve(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        settings = self.settings
        async with connect(kubeconfig=settings.kubeconfig, request_timeout=5.0) as cluster:
            context = Context(settings=settings, cluster=cluster, heartbeat=self._heartbeat)
            await app.serve(context, stop_flag=self._leave)


@pytest.fixture
def start_operator(api: Api) -> Callable[..., Any]:
    """Return a function that runs one operator for the time of `async with`."""

    @asynccontextmanager
    async def started(
        *, heartbeat: Heartbeat | None = None, resync_seconds: float = 0.2
    ) -> AsyncIterator[OperatorThread]:
        settings = Settings(
            namespace=NAMESPACE,
            kubeconfig=str(api.kubeconfig),
            resync_seconds=resync_seconds,
            kinds_retry_seconds=0.1,
            health_port=_free_port(),
        )
        operator = OperatorThread(settings, heartbeat or Heartbeat())
        operator.start()
        try:
            yield operator
        finally:
            operator.stop()
            await _until(lambda: not operator.is_alive(), "the operator has stopped")
        assert operator.failure is None

    return started
