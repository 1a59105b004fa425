"""Reconciling, the resync, the start and the heartbeat, on a cluster in memory."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kopf
import pytest

from azaion_operator import app
from azaion_operator.api import TRAINING_RUNS, TrainingRun
from azaion_operator.cluster.memory import MemoryCluster
from azaion_operator.errors import Refused, StaleObject, Unavailable
from azaion_operator.handlers import Context, Heartbeat
from azaion_operator.handlers.lifecycle import check_heartbeat, credentials, kinds_are_served
from azaion_operator.handlers.reconciling import ATTEMPTS, reconcile
from azaion_operator.handlers.resync import resync, run_forever
from azaion_operator.settings import Settings
from support.waiting import wait_until_async

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def a_context(cluster: MemoryCluster, heartbeat: Heartbeat | None = None) -> Context:
    settings = Settings(namespace="azaion", resync_seconds=10, kinds_retry_seconds=0.1)
    return Context(
        settings=settings, cluster=cluster, now=lambda: NOW, heartbeat=heartbeat or Heartbeat(Clock())
    )


def put(cluster: MemoryCluster, name: str = "run", uid: str = "uid-1", **spec: Any) -> TrainingRun:
    body = {"metadata": {"name": name, "namespace": "azaion", "uid": uid}, "spec": spec}
    return TrainingRun.from_body(cluster.put(TRAINING_RUNS, body))


async def stored(cluster: MemoryCluster, name: str = "run") -> TrainingRun:
    return TrainingRun.from_body(await cluster.get(TRAINING_RUNS, namespace="azaion", name=name))


def writes(cluster: MemoryCluster) -> int:
    return cluster.calls.count(("patch", "trainingruns/status"))


async def test_reconciling_twice_writes_once() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    context = a_context(cluster)
    put(cluster, epochs=3)

    for _ in range(2):
        await reconcile(context, await stored(cluster))

    assert (await stored(cluster)).status.phase == "Pending"
    assert writes(cluster) == 1


async def test_an_old_view_is_replaced_by_a_fresh_one_before_anything_is_written() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    old = put(cluster, suspend=False)
    put(cluster, suspend=True)

    await reconcile(a_context(cluster), old)

    status = (await stored(cluster)).status
    assert (status.phase, status.observed_generation) == ("Suspended", 2)


async def test_a_run_that_never_holds_still_is_left_for_later() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    run = put(cluster)
    for _ in range(ATTEMPTS):
        cluster.fail_next(StaleObject("moving"))
        cluster.fail_next(StaleObject("moving"))

    with pytest.raises(StaleObject):
        await reconcile(a_context(cluster), run)


async def test_a_run_that_is_gone_is_no_error() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    run = put(cluster)
    cluster.remove(TRAINING_RUNS, namespace="azaion", name="run")

    await reconcile(a_context(cluster), run)


async def test_another_run_of_the_same_name_does_not_get_the_status_of_the_old_one() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    old = put(cluster, uid="uid-1", suspend=True)
    cluster.remove(TRAINING_RUNS, namespace="azaion", name="run")
    put(cluster, uid="uid-2")

    await reconcile(a_context(cluster), old)

    assert (await stored(cluster)).status.phase is None


async def test_one_run_is_worked_on_once_at_a_time() -> None:
    locks = a_context(MemoryCluster()).locks

    async with locks.of("uid-1"):
        assert locks.of("uid-1").locked()
        assert not locks.of("uid-2").locked()


async def test_two_triggers_at_once_write_once() -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    context = a_context(cluster)
    run = put(cluster)

    await asyncio.gather(reconcile(context, run), reconcile(context, run))

    assert (await stored(cluster)).metadata.resource_version == "2"


async def test_the_resync_reaches_every_run_though_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    for name in ("first", "second"):
        put(cluster, name=name, uid=f"uid-{name}")
    cluster.put(
        TRAINING_RUNS, {"metadata": {"name": "odd", "namespace": "azaion"}, "spec": {"epochs": "many"}}
    )
    put(cluster, name="third", uid="uid-third")

    await resync(a_context(cluster))

    for name in ("first", "second", "third"):
        assert (await stored(cluster, name)).status.phase == "Pending"
    assert "azaion/odd cannot be read" in caplog.text


async def test_a_defect_met_in_one_run_is_logged_whole(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    put(cluster)
    context = a_context(cluster)
    monkeypatch.setattr(cluster, "apply_status", None)

    await resync(context)

    assert "The resync failed for the TrainingRun run" in caplog.text
    assert "TypeError" in caplog.text


async def test_the_resync_goes_on_when_the_api_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    cluster = MemoryCluster(TRAINING_RUNS)
    cluster.fail_next(Unavailable("restarting"))
    clock = Clock()
    heartbeat = Heartbeat(clock)
    clock.seconds += 1000
    task = asyncio.create_task(run_forever(a_context(cluster, heartbeat)))
    await wait_until_async(lambda: heartbeat.age == 0, deadline=10, what="the heart beats")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert "restarting" in caplog.text


async def test_the_start_waits_for_the_kinds_and_says_what_to_install(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = MemoryCluster()
    cluster.fail_next(Refused("not yet"))
    clock = Clock()
    context = a_context(cluster, Heartbeat(clock))
    clock.seconds += 1000
    waiting = asyncio.create_task(kinds_are_served(context))
    await wait_until_async(lambda: len(cluster.calls) >= 3, deadline=10, what="the kinds are asked for")
    assert not waiting.done()

    cluster.kinds.add(TRAINING_RUNS)
    async with asyncio.timeout(10):
        await waiting

    (said,) = {record.getMessage() for record in caplog.records if record.levelno == logging.ERROR}
    assert "trainingruns.training.azaion.com" in said
    assert "helm upgrade --install azaion-crds" in said
    assert context.heartbeat.age == 0


def test_the_probe_fails_at_once_when_the_heart_has_stopped() -> None:
    clock = Clock()
    context = a_context(MemoryCluster(), Heartbeat(clock))
    limit = context.settings.heartbeat_limit_seconds

    clock.seconds += limit
    assert check_heartbeat(context) == {"ageSeconds": limit, "limitSeconds": limit}
    clock.seconds += 1
    with pytest.raises(kopf.PermanentError, match=f"{limit + 1:.0f} s ago"):
        check_heartbeat(context)
    context.heartbeat.beat()
    assert check_heartbeat(context)["ageSeconds"] == 0


def test_the_memo_is_one_for_all_objects() -> None:
    context = a_context(MemoryCluster())

    assert copy.copy(context) is context
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.settings = Settings(namespace="other")  # type: ignore[misc]


def test_credentials_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
        " clusters: [{name: k, cluster: {server: 'https://192.0.2.1:6443'}}], users: [{name: u, user: {}}]}",
        encoding="utf-8",
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    found = credentials(str(kubeconfig), kopf.OperatorSettings())

    assert found.server == "https://192.0.2.1:6443"
    assert found.expiration is not None
    assert found.expiration > datetime.now(UTC)


def test_without_credentials_the_login_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)

    with pytest.raises(kopf.LoginError, match="set KUBECONFIG"):
        credentials(None, kopf.OperatorSettings())


def test_in_a_pod_the_api_is_reached_without_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t")
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: mounted)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    assert credentials(None, kopf.OperatorSettings()).server == "https://[fd00::1]:443"


def test_nothing_we_register_puts_a_finalizer_on_an_object() -> None:
    registry = app.build_registry()

    for handlers in (registry._spawning, registry._changing):
        assert not any(handler.requires_finalizer for handler in handlers.get_all_handlers())
    assert registry._spawning.get_all_handlers() == []


def test_pauses_between_failed_calls_grow_and_never_end() -> None:
    backoff = app.EndlessBackoff()
    pauses = [pause for pause, _ in zip(backoff, range(500), strict=False)]

    assert all(0.5 <= pause <= 30 for pause in pauses)
    assert min(pauses[10:]) >= 15
    assert len([pause for pause, _ in zip(backoff, range(3), strict=False)]) == 3


def test_kopf_is_told_what_keeps_it_alive() -> None:
    theirs = app.kopf_settings(Settings(namespace="azaion", request_timeout_seconds=30))

    assert (theirs.watching.server_timeout, theirs.watching.client_timeout) == (300, 310)
    assert theirs.networking.request_timeout == 30
    assert not hasattr(theirs.networking.error_backoffs, "__len__")
    assert theirs.peering.standalone
    assert theirs.scanning.disabled
    assert not theirs.posting.loggers
    assert theirs.process.ultimate_exiting_timeout == 25
    assert theirs.persistence.finalizer == "training.azaion.com/finalizer"


def test_outside_of_a_pod_there_is_no_namespace_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "NAMESPACE_FILE", tmp_path / "absent")
    assert app.namespace_of_pod() is None

    (tmp_path / "present").write_text("azaion\n", encoding="utf-8")
    monkeypatch.setattr(app, "NAMESPACE_FILE", tmp_path / "present")
    assert app.namespace_of_pod() == "azaion"
