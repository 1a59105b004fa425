"""What the running operator does about TrainingRuns."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from azaion_operator.api import GROUP
from azaion_operator.handlers import Heartbeat

# Fixtures: `api`, the API in memory with the verbs of people; `start_operator`, an operator for the time of a
# block; `until`, which waits for something to become true.


async def a_full_resync(api: Any, until: Callable[..., Any]) -> None:
    """Wait until the operator has looked at everything once more, twice over."""
    seen = listings(api)
    await until(lambda: listings(api) >= seen + 2, "the operator has resynced")


def listings(api: Any) -> int:
    return sum(method == "GET" and path.endswith("/trainingruns") for method, path in api.requests())


async def test_the_user_needs_no_name(
    api: Any, start_operator: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        message = "getpwuid(): uid not found: 12345"
        raise KeyError(message)

    monkeypatch.setattr(getpass, "getuser", nameless)
    api.install_kinds()
    async with start_operator():
        await api.create("first", epochs=3)
        await until(lambda: api.status("first"), "the run has a status")


async def test_a_new_run_becomes_pending(api: Any, start_operator: Any, until: Any) -> None:
    api.install_kinds()
    async with start_operator():
        await api.create("first", epochs=3)
        await until(lambda: api.status("first"), "the run has a status")

    status = api.status("first")
    assert (status["phase"], status["observedGeneration"]) == ("Pending", 1)
    assert {one["type"]: one["reason"] for one in status["conditions"]} == {
        "Prepared": "NotStarted",
        "Suspended": "NotSuspended",
    }


async def test_a_change_of_the_spec_is_observed(api: Any, start_operator: Any, until: Any) -> None:
    api.install_kinds()
    # No resync in reach: what is seen here came through the watch.
    async with start_operator(resync_seconds=3600):
        await until(lambda: listings(api) >= 2, "the operator watches")
        await api.create("first", epochs=3)
        await until(lambda: api.status("first"), "the run has a status")
        await api.change("first", generation=2, suspend=True)
        await until(lambda: api.status("first")["observedGeneration"] == 2, "the change was observed")

    assert api.status("first")["phase"] == "Suspended"


async def test_what_the_watch_does_not_tell_the_resync_finds(
    api: Any, start_operator: Any, until: Any
) -> None:
    api.install_kinds()
    async with start_operator():
        await api.create("first")
        await until(lambda: api.status("first"), "the run has a status")
        api.change_behind_the_watch("first", generation=5)
        await until(lambda: api.status("first")["observedGeneration"] == 5, "the resync saw the change")


async def test_repeating_everything_writes_nothing_more(api: Any, start_operator: Any, until: Any) -> None:
    api.install_kinds()
    await api.create("first", epochs=3)
    async with start_operator():
        await until(lambda: api.is_handled("first"), "the run was handled")
        await a_full_resync(api, until)
        written = len(api.status_writes("first"))
        async with start_operator():
            await a_full_resync(api, until)
            await a_full_resync(api, until)

    assert len(api.status_writes("first")) == written
    assert all(one == api.status_writes("first")[0] for one in api.status_writes("first"))


async def test_a_restart_goes_on_with_what_changed_meanwhile(
    api: Any, start_operator: Any, until: Any
) -> None:
    api.install_kinds()
    async with start_operator():
        await api.create("first")
        await until(lambda: api.is_handled("first"), "the run was handled")
    await api.change("first", generation=2, suspend=True)
    await api.create("second")
    assert api.status("first")["observedGeneration"] == 1

    async with start_operator(resync_seconds=3600):
        await until(lambda: api.status("first")["observedGeneration"] == 2, "the change was observed")
        await until(lambda: api.status("second"), "the new run has a status")

    assert api.status("first")["phase"] == "Suspended"


async def test_a_run_can_be_deleted_while_the_operator_is_away(
    api: Any, start_operator: Any, until: Any
) -> None:
    api.install_kinds()
    async with start_operator():
        await api.create("first")
        await until(lambda: api.is_handled("first"), "the run was handled")
    assert "finalizers" not in api.run("first")["metadata"]

    await api.delete("first")

    assert api.is_gone("first")


async def test_the_only_marks_on_an_object_are_under_our_prefix(
    api: Any, start_operator: Any, until: Any
) -> None:
    api.install_kinds()
    async with start_operator():
        await api.create("first", epochs=3)
        await until(lambda: api.is_handled("first"), "the run was handled")

    run = api.run("first")
    assert run["spec"] == {"epochs": 3}
    assert {name.split("/")[0] for name in run["metadata"]["annotations"]} == {GROUP}


async def test_kinds_that_come_later_are_waited_for(
    api: Any, start_operator: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> bool:
        return "helm upgrade --install azaion-crds" in caplog.text

    with caplog.at_level(logging.INFO):
        async with start_operator() as operator:
            await until(said, "the operator says what to install")
            with pytest.raises(aiohttp.ClientConnectionError):
                await health(operator.health_url)
            api.install_kinds()
            await until(lambda: listings(api), "the operator serves the kind")
            await api.create("first")
            await until(lambda: api.status("first"), "the run has a status")


async def test_health_follows_the_heartbeat(api: Any, start_operator: Any, until: Any) -> None:
    class Clock:
        seconds = 0.0

        def __call__(self) -> float:
            return self.seconds

    clock = Clock()
    api.install_kinds()
    async with start_operator(heartbeat=Heartbeat(clock), resync_seconds=3600) as operator:
        await until(lambda: listings(api) >= 2, "the operator serves")
        # A healthy answer is kept for some seconds, an unhealthy one is not: so the bad news come first.
        clock.seconds = 1e6
        assert await health(operator.health_url) == 500
        clock.seconds = 0.0
        assert await health(operator.health_url) == 200


@pytest.mark.parametrize("installed", [True, False], ids=["serving", "waiting for its kinds"])
async def test_sigterm_ends_the_process_with_success(
    api: Any, until: Any, free_port: int, installed: bool
) -> None:
    if installed:
        api.install_kinds()
    environment = {
        "PATH": os.environ["PATH"],
        # As in the image: the Kubernetes client wants one when it is imported.
        "HOME": "/tmp",
        "KUBECONFIG": str(api.kubeconfig),
        "AZAION_NAMESPACE": "azaion",
        "AZAION_OPERATOR_HEALTH_PORT": str(free_port),
        "AZAION_OPERATOR_KINDS_RETRY_SECONDS": "0.1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "azaion_operator", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        if installed:
            await until(lambda: listings(api) >= 2, "the operator serves")
        else:
            await until(lambda: len(api.requests()) >= 2, "the operator asks for its kinds")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(25):
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert code == 0


async def test_a_misspelt_setting_stops_the_start(api: Any) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/tmp",
        "AZAION_NAMESPACE": "azaion",
        "AZAION_OPERATOR_RESYNC": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "azaion_operator",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(25):
        output, _ = await process.communicate()

    assert process.returncode == 2
    assert b"AZAION_OPERATOR_RESYNC is not a setting" in output


async def health(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status
