"""What each image may carry, followed through the lock."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from azaion_jobs.commands.self_check import BASE, ROLES
from support.repository import MEMBERS, ROOT, project, toml

# A package can stand in the lock several times, in versions for several Pythons or platforms.
LOCK: dict[str, list[dict[str, Any]]] = {}
for locked in toml(ROOT / "uv.lock")["package"]:
    LOCK.setdefault(locked["name"], []).append(locked)

TRAINING = {
    "torch",
    "torchvision",
    "ultralytics",
    "albumentations",
    "onnx",
    "onnxruntime",
    "opencv-python-headless",
}
OPERATING = {"kopf", "kubernetes"}


def closure(package: str, *extras: str) -> set[str]:
    """All that may be installed with the package, on whatever Python and platform."""
    queue = deque((package, extra) for extra in ("", *extras))
    seen = set(queue)
    while queue:
        name, extra = queue.popleft()
        for dependency in direct(name, extra):
            for found in [(dependency["name"], extra) for extra in ("", *dependency.get("extra", []))]:
                if found not in seen:
                    seen.add(found)
                    queue.append(found)
    return {name for name, _ in seen}


def direct(name: str, extra: str) -> Iterator[dict[str, Any]]:
    for version in LOCK[name]:
        if extra:
            yield from version.get("optional-dependencies", {}).get(extra, [])
        else:
            yield from version.get("dependencies", [])


def named(requirements: Iterable[str]) -> dict[str, str]:
    """Requirement by name, without extras and version; the rest as it is written."""
    parts = (
        re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?(.*)", requirement) for requirement in requirements
    )
    return {part[1].lower(): part[2] for part in parts if part}


def test_the_closure_is_followed_to_the_end() -> None:
    # So that the tests below cannot pass for want of dependencies.
    assert closure("azaion-jobs", "train") >= TRAINING | {"numpy", "pydantic-core", "botocore"}
    assert closure("azaion-operator") >= OPERATING | {"aiohttp", "azaion-jobs", "pydantic-core"}


@pytest.mark.parametrize(
    ("package", "extras", "forbidden"),
    [
        ("azaion-operator", [], TRAINING | {"rstream", "boto3", "numpy", "azaion-devcluster"}),
        ("azaion-jobs", [], TRAINING | OPERATING | {"rstream", "boto3", "numpy", "requests"}),
        ("azaion-jobs", ["queue"], TRAINING | OPERATING | {"boto3", "numpy"}),
        ("azaion-jobs", ["monitor"], TRAINING | {"kopf", "rstream"}),
        ("azaion-jobs", ["train"], OPERATING | {"rstream", "azaion-operator"}),
        ("azaion-devcluster", [], TRAINING | OPERATING | {"azaion-operator", "azaion-jobs"}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else None,
)
def test_no_image_carries_what_it_has_no_use_for(
    package: str, extras: list[str], forbidden: set[str]
) -> None:
    assert closure(package, *extras) & forbidden == set()


@pytest.mark.parametrize(
    ("member", "extra", "requirement", "version"),
    [
        ("azaion-operator", "", "kopf", ">=1.45.2,<2"),
        ("azaion-operator", "", "kubernetes", ">=37,<38"),
        ("azaion-jobs", "monitor", "kubernetes", ">=37,<38"),
        ("azaion-jobs", "", "pydantic", ">=2.12,<3"),
        ("azaion-jobs", "train", "ultralytics", "==8.4.190"),
        ("azaion-jobs", "train", "albumentations", "==2.0.8"),
        ("azaion-jobs", "train", "torch", "==2.15.0"),
        ("azaion-jobs", "train", "torchvision", "==0.29.2"),
    ],
)
def test_versions_that_behaviour_hangs_on_are_pinned(
    member: str, extra: str, requirement: str, version: str
) -> None:
    described = project(member)
    wanted = described["optional-dependencies"][extra] if extra else described["dependencies"]
    assert named(wanted)[requirement] == version


@pytest.mark.parametrize("role", ROLES)
def test_the_self_check_imports_what_the_image_installs(role: str) -> None:
    described = project("azaion-jobs")
    extra = ROLES[role].extra
    assert set(BASE) == set(named(described["dependencies"]))
    assert set(ROLES[role].modules) == set(named(described["optional-dependencies"][extra]) if extra else [])


def test_every_extra_has_an_image() -> None:
    assert {role.extra for role in ROLES.values() if role.extra} == set(
        project("azaion-jobs")["optional-dependencies"]
    )


@pytest.mark.parametrize("member", MEMBERS)
def test_the_lock_knows_the_members_as_they_are(member: str) -> None:
    (entry,) = LOCK[member]
    assert entry["version"] == project(member)["version"]
