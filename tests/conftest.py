"""Tiers: what a test needs is said by the first folder below tests/, and nothing else.

Every test carries its tier as a marker. Tests that need what is not at hand are left out, and the
summary says so, because a test that vanished silently is worse than one that fails.
"""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
import pytest_socket

from azaion_devcluster.binaries import Binaries
from azaion_devcluster.paths import Cache

TESTS = Path(__file__).resolve().parent
CLUSTER_VARIABLE = "AZAION_TEST_CLUSTER"


@dataclass(frozen=True)
class Tier:
    purpose: str
    timeout_seconds: int
    # What of NEEDS it cannot run without.
    needs: str = ""


TIERS = {
    "unit": Tier("one module at a time, no network", 30),
    "contract": Tier("what files and packages promise to each other", 120),
    "component": Tier("one program of ours, run for real", 180),
    "charts": Tier("charts and manifests as rendered", 180, needs="Helm"),
    "cluster": Tier("on a real Kubernetes", 600, needs="a cluster"),
    "gpu": Tier("on a real GPU in a real Kubernetes", 1800, needs="a cluster"),
    "chaos": Tier("kills, full disks and lost networks on a real Kubernetes", 1800, needs="a cluster"),
    "soak": Tier("for hours on a real Kubernetes", 6 * 3600, needs="a cluster"),
    "bench": Tier("figures, gating nothing", 1800),
}

# What a tier may need beyond this checkout, and whether it is at hand.
NEEDS: dict[str, Callable[[], bool]] = {
    "": lambda: True,
    "Helm": lambda: shutil.which("helm") is not None,
    "a cluster": lambda: bool(os.environ.get(CLUSTER_VARIABLE)),
}

LEFT_OUT = pytest.StashKey[Counter[str]]()

# No deadline: how long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("azaion", deadline=None, print_blob=True)
hypothesis.settings.load_profile("azaion")


def pytest_configure(config: pytest.Config) -> None:
    for name, tier in TIERS.items():
        config.addinivalue_line("markers", f"{name}: {tier.purpose}")
    # Else pytest-asyncio, on Python before 3.14, has asyncio make a spare loop that nobody closes.
    asyncio.set_event_loop(None)
    # Helm and kubectl as `./dev` built them, for those who call pytest themselves.
    folders = [str(folder) for folder in Binaries(Cache.default()).folders()]
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    cluster = os.environ.get(CLUSTER_VARIABLE)
    if cluster and not Path(cluster).is_file():
        msg = f"{CLUSTER_VARIABLE} must be the path of a kubeconfig, but {cluster} is no file."
        raise pytest.UsageError(msg)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    at_hand = {need: is_there() for need, is_there in NEEDS.items()}
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        name = tier_of(item.path)
        tier = TIERS[name]
        item.add_marker(name)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(tier.timeout_seconds))
        (kept if at_hand[tier.needs] else left_out).append(item)
    config.stash[LEFT_OUT] = Counter(tier_of(item.path) for item in left_out)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def tier_of(path: Path) -> str:
    folder = path.resolve().relative_to(TESTS).parts[0]
    if folder not in TIERS:
        msg = f"{path} belongs to no tier; move it into one of tests/{{{','.join(TIERS)}}}."
        raise pytest.UsageError(msg)
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash.get(LEFT_OUT, None)
    if not left_out:
        return
    count = left_out.total()
    tests = "1 test" if count == 1 else f"{count} tests"
    tiers = ", ".join(
        f"{name} ({left_out[name]}, for want of {TIERS[name].needs})" for name in TIERS if left_out[name]
    )
    terminalreporter.write_line(
        f"Left out: {tests} of {tiers}; `./dev test` sets all up and runs them.", yellow=True
    )


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unit tests have no sockets but those of the event loop itself."""
    if request.node.get_closest_marker("unit") is None:
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
