"""The charts as Helm renders them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from azaion_operator.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
KINDS = sorted((ROOT / "crds").glob("*.yaml"))
LABELS = {"name", "instance", "version", "component", "part-of", "managed-by"}


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def kinds_in(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        document["metadata"]["name"]: document
        for document in documents
        if document["kind"] == "CustomResourceDefinition"
    }


def assert_kinds_are_those_of_the_repository(documents: list[dict[str, Any]]) -> None:
    rendered = copy.deepcopy(kinds_in(documents))
    for document in rendered.values():
        assert document["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert document["metadata"].pop("labels")["app.kubernetes.io/part-of"] == "azaion"
    source = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in KINDS]

    assert rendered == {document["metadata"]["name"]: document for document in source}
    assert len(rendered) == 3


def test_the_kinds_are_those_of_the_repository_and_kept(render: Any) -> None:
    assert_kinds_are_those_of_the_repository(render("azaion-crds"))


def test_a_packaged_chart_holds_the_same_kinds(helm: Any, render: Any, tmp_path: Path) -> None:
    """The folder `files` of the chart is a link: packaging must take what it leads to."""
    result = helm("package", str(ROOT / "charts" / "azaion-crds"), "--destination", str(tmp_path))
    assert result.returncode == 0, result.stderr
    (package,) = tmp_path.glob("*.tgz")

    assert_kinds_are_those_of_the_repository(render(str(package)))


def test_rights_on_the_kinds_go_into_the_roles_of_kubernetes(render: Any) -> None:
    roles = {
        document["metadata"]["name"]: document
        for document in render("azaion-crds")
        if document["kind"] == "ClusterRole"
    }
    view, edit = roles["azaion-view"], roles["azaion-edit"]
    aggregated = "rbac.authorization.k8s.io/aggregate-to-view"

    assert view["metadata"]["labels"][aggregated] == "true"
    assert aggregated not in edit["metadata"]["labels"]
    assert {verb for rule in view["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert not any("status" in resource for rule in edit["rules"] for resource in rule["resources"])
    assert [document["kind"] for document in render("azaion-crds", "aggregateRoles=false")] == [
        "CustomResourceDefinition"
    ] * 3


def test_the_operator_is_installed_as_one_replica_of_one_namespace(render: Any) -> None:
    documents = render("azaion-training")
    deployment = one(documents, "Deployment")["spec"]

    assert sorted(document["kind"] for document in documents) == [
        "Deployment",
        "Role",
        "RoleBinding",
        "ServiceAccount",
    ]
    assert {document["metadata"]["namespace"] for document in documents} == {"azaion"}
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert set(deployment["selector"]["matchLabels"]) == {
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
    }


@pytest.mark.parametrize("chart", ["azaion-crds", "azaion-training"])
def test_every_object_carries_the_common_labels(render: Any, chart: str) -> None:
    for document in render(chart):
        labels = document["metadata"]["labels"]
        assert {label.removeprefix("app.kubernetes.io/") for label in labels} >= LABELS, document["kind"]


def test_the_pod_can_do_no_harm(render: Any) -> None:
    pod = one(render("azaion-training"), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    assert {"requests", "limits"} == set(container["resources"])


def test_the_pod_has_time_to_leave_and_is_probed(render: Any) -> None:
    pod = one(render("azaion-training"), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["terminationGracePeriodSeconds"] == 30
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert {"name": "health", "containerPort": 8080} in container["ports"]
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 3600


def test_the_settings_reach_the_operator(render: Any) -> None:
    documents = render("azaion-training", "operator.logLevel=DEBUG", "operator.resyncSeconds=7")
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    environment = {entry["name"]: entry for entry in pod["containers"][0]["env"]}

    assert environment["AZAION_NAMESPACE"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert environment["AZAION_OPERATOR_LOG_LEVEL"]["value"] == "DEBUG"
    assert environment["AZAION_OPERATOR_RESYNC_SECONDS"]["value"] == "7"
    # Else a Service named azaion-operator would put AZAION_OPERATOR_PORT and the like among the settings.
    assert pod["enableServiceLinks"] is False


def test_the_variables_of_the_chart_are_settings_of_the_operator(render: Any) -> None:
    pod = one(render("azaion-training"), "Deployment")["spec"]["template"]["spec"]
    environment = {entry["name"]: entry.get("value", "azaion") for entry in pod["containers"][0]["env"]}

    assert Settings.from_environment(environment) == Settings(namespace="azaion")


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ([], "azaion/operator:0.1.0"),
        (["operator.image.tag=v2"], "azaion/operator:v2"),
        (["operator.image.repository=registry:5000/op"], "registry:5000/op:0.1.0"),
        ([f"operator.image.digest=sha256:{'a' * 64}"], f"azaion/operator:0.1.0@sha256:{'a' * 64}"),
    ],
)
def test_the_image_is_put_together(render: Any, values: list[str], image: str) -> None:
    pod = one(render("azaion-training", *values), "Deployment")["spec"]["template"]["spec"]

    assert pod["containers"][0]["image"] == image


def test_optional_parts_appear_when_asked_for(render: Any) -> None:
    bare = one(render("azaion-training"), "Deployment")["spec"]["template"]["spec"]
    full = one(
        render("azaion-training", "imagePullSecrets[0].name=pull", "operator.priorityClassName=high"),
        "Deployment",
    )["spec"]["template"]["spec"]

    assert not {"imagePullSecrets", "priorityClassName"} & set(bare)
    assert full["imagePullSecrets"] == [{"name": "pull"}]
    assert full["priorityClassName"] == "high"
