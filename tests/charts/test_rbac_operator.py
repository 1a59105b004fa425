"""The operator's Role allows what the operator does, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from azaion_operator import app
from azaion_operator.api import TRAINING_RUNS, TrainingRun
from azaion_operator.cluster.memory import MemoryCluster
from azaion_operator.handlers import Context
from azaion_operator.handlers.lifecycle import kinds_are_served
from azaion_operator.handlers.reconciling import reconcile
from azaion_operator.handlers.resync import resync
from azaion_operator.settings import Settings

CHART = Path(__file__).resolve().parents[2] / "charts" / "azaion-training"

Right = tuple[str, str, str]
"""API group, resource, verb."""

DISCOVERY = ("get", "discovery")
"""Open to everybody who is logged in; no Role says it."""


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    helm = os.environ.get("AZAION_HELM") or shutil.which("helm")
    if not helm:
        pytest.fail("helm is needed to render the charts: put it on PATH or its path into AZAION_HELM.")
    command = [helm, "template", "release", str(CHART), "--namespace", "azaion"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [document for document in yaml.safe_load_all(output) if document]


def granted(rendered: list[dict[str, Any]]) -> set[Right]:
    return {
        (group, resource, verb)
        for document in rendered
        if document["kind"] in {"Role", "ClusterRole"}
        for rule in document["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def needed_by_kopf() -> set[Right]:
    """Return what the registered handlers make kopf do: watch, and note on the object what was handled."""
    registry = app.build_registry()
    rights: set[Right] = set()
    for handlers, verbs in (
        (registry._indexing, ("list", "watch")),
        (registry._watching, ("list", "watch")),
        (registry._spawning, ("list", "watch", "patch")),
        (registry._changing, ("list", "watch", "patch")),
    ):
        for selector in handlers.get_all_selectors():
            assert selector.group is not None, f"{selector} would make kopf scan every API group"
            rights |= {(selector.group, str(selector.plural or selector.any_name), verb) for verb in verbs}
    return rights


async def needed_by_us() -> set[Right]:
    """Return what our own calls need, by making every one of them."""
    cluster = MemoryCluster(TRAINING_RUNS)
    context = Context(
        settings=Settings(namespace="azaion"), cluster=cluster, now=lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )
    body = {"metadata": {"name": "run", "namespace": "azaion", "uid": "uid-1"}}
    old = TrainingRun.from_body(cluster.put(TRAINING_RUNS, {**body, "spec": {}}))
    cluster.put(TRAINING_RUNS, {**body, "spec": {"suspend": True}})
    await kinds_are_served(context)
    await reconcile(context, old)
    await resync(context)
    return {(TRAINING_RUNS.group, resource, verb) for verb, resource in set(cluster.calls) - {DISCOVERY}}


async def test_the_role_is_exactly_what_is_needed(rendered: list[dict[str, Any]]) -> None:
    assert granted(rendered) == needed_by_kopf() | await needed_by_us()


async def test_every_call_the_cluster_offers_was_made() -> None:
    """Else a call could need a right that nobody noticed."""
    offered = {name for name in vars(MemoryCluster) if not name.startswith("_")} - {
        "put",
        "remove",
        "fail_next",
    }
    made = {"serves", "get", "list", "apply_status"}
    verbs = {verb for _, _, verb in await needed_by_us()}

    assert offered == made
    assert verbs == {"get", "list", "patch"}


def test_rights_end_at_the_namespace_and_have_no_wildcards(rendered: list[dict[str, Any]]) -> None:
    kinds = {document["kind"] for document in rendered}

    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}
    assert not any("*" in right for right in granted(rendered))


def test_the_role_is_bound_to_the_account_of_the_pod(rendered: list[dict[str, Any]]) -> None:
    by_kind = {document["kind"]: document for document in rendered}
    account = by_kind["ServiceAccount"]["metadata"]["name"]

    assert by_kind["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == account
    assert by_kind["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": account, "namespace": "azaion"}
    ]
    assert by_kind["RoleBinding"]["roleRef"]["name"] == by_kind["Role"]["metadata"]["name"]
