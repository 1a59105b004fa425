"""From a built image to a TrainingRun with a status, on a real cluster, the way a person would do it."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support import pods
from support.helm import CHARTS, Helm
from support.kubectl import Kubectl, KubectlError
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)
EXAMPLE = CHARTS.parent / "crds" / "examples" / "trainingrun.yaml"


@pytest.fixture(scope="module")
def installed(kubeconfig: Path, image: Callable[[str], str]) -> Iterator[Kubectl]:
    """kubectl in a namespace where both charts are installed with the image of this checkout."""
    repository, _, tag = image("operator").rpartition(":")
    with Kubectl(kubeconfig).temporary_namespace("foundation") as kubectl:
        helm = Helm(kubeconfig, kubectl.namespace)
        helm.install("azaion-crds")
        helm.install("azaion-training", operator__image__repository=repository, operator__image__tag=tag)
        yield kubectl
        for release in ("azaion-training", "azaion-crds"):
            helm("uninstall", release, "--wait")
        # The kinds stay by design; the next test module must find a cluster without them.
        kubectl("delete", "customresourcedefinitions", *_kinds(kubectl))


def test_the_operator_is_ready_and_was_never_restarted(installed: Kubectl) -> None:
    (pod,) = installed.items("pods", "--selector=app.kubernetes.io/name=azaion-operator")
    (container,) = pod["status"]["containerStatuses"]
    assert container["ready"]
    assert container["restartCount"] == 0


def test_the_operator_writes_json_lines_and_nothing_else(installed: Kubectl) -> None:
    lines = installed("logs", "deployment/azaion-operator").splitlines()
    assert lines
    for line in lines:
        assert list(json.loads(line)) == ["timestamp", "level", "service", "message", "context"], line
        assert json.loads(line)["service"] == "operator"


def test_a_run_is_accepted_seen_and_shown(installed: Kubectl) -> None:
    installed("apply", f"--filename={EXAMPLE}")
    name = yaml.safe_load(EXAMPLE.read_text())["metadata"]["name"]

    installed("wait", f"trun/{name}", "--for=jsonpath={.status.phase}=Pending", "--timeout=30s")

    status = installed.get("trun", name)["status"]
    assert status["observedGeneration"] == 1
    assert installed("get", "azaion").split()[:5] == ["NAME", "PHASE", "EPOCH", "PROGRESS", "ETA"]
    installed("delete", "trun", name, "--timeout=20s")


def test_a_changed_run_is_seen_again(installed: Kubectl) -> None:
    installed.apply(_run("changing", epochs=5))
    installed("patch", "trun", "changing", "--type=merge", '--patch={"spec": {"epochs": 6}}')

    wait_until(
        lambda: installed.get("trun", "changing").get("status", {}).get("observedGeneration") == 2,
        deadline=30,
        what="the second generation to be seen",
    )


def test_a_run_made_while_the_operator_was_away_is_picked_up(installed: Kubectl) -> None:
    installed("scale", "deployment/azaion-operator", "--replicas=0")
    installed(
        "wait", "pod", "--selector=app.kubernetes.io/name=azaion-operator", "--for=delete", "--timeout=60s"
    )
    installed.apply(_run("waiting", epochs=5))
    installed("scale", "deployment/azaion-operator", "--replicas=1")

    installed("wait", "trun/waiting", "--for=jsonpath={.status.phase}=Pending", "--timeout=60s")
    installed("rollout", "status", "deployment/azaion-operator", "--timeout=60s")


def test_a_run_can_be_deleted_while_the_operator_is_away(installed: Kubectl) -> None:
    installed.apply(_run("doomed", epochs=5))
    installed("wait", "trun/doomed", "--for=jsonpath={.status.phase}=Pending", "--timeout=30s")
    installed("scale", "deployment/azaion-operator", "--replicas=0")
    installed(
        "wait", "pod", "--selector=app.kubernetes.io/name=azaion-operator", "--for=delete", "--timeout=60s"
    )

    installed("delete", "trun", "doomed", "--timeout=20s")

    installed("scale", "deployment/azaion-operator", "--replicas=1")
    installed("rollout", "status", "deployment/azaion-operator", "--timeout=60s")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"epochs": 0}, "spec.epochs"),
        ({"imageSize": 1281}, "imageSize"),
        ({"epoch": 3}, "spec.epoch"),
        ({"priority": 2000}, "spec.priority"),
        ({"model": "no blanks.pt"}, "spec.model"),
    ],
)
def test_a_bad_field_is_refused_by_name(installed: Kubectl, spec: dict[str, Any], said: str) -> None:
    manifest = {**_run("bad"), "spec": spec}
    with pytest.raises(KubectlError, match=said):
        installed("create", "--dry-run=server", "--filename=-", stdin=json.dumps(manifest))


def test_a_name_too_long_for_its_jobs_is_refused(installed: Kubectl) -> None:
    with pytest.raises(KubectlError, match="at most 40 characters"):
        installed("create", "--dry-run=server", "--filename=-", stdin=json.dumps(_run("x" * 41)))


def test_every_field_is_explained(installed: Kubectl) -> None:
    for kind in ("trainingrun", "modelrelease", "trainingnode"):
        said = installed("explain", kind, "--recursive=false")
        assert "<empty>" not in said, said
    assert "<empty>" not in installed("explain", "trainingrun.spec.epochs")


def test_pods_reach_the_api_and_each_other_by_name(namespace: Kubectl, image: Callable[[str], str]) -> None:
    namespace.apply(
        pods.pod(
            "server",
            image("operator"),
            "-m",
            "http.server",
            "8000",
            "--directory=/tmp",
            labels={"app": "server"},
        ),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]},
        },
        pods.pod("client", image("operator"), "-c", _CLIENT),
    )

    pods.await_success(namespace, "client", deadline=120)

    assert json.loads(namespace("logs", "client")) == {"api": 200, "server": 200, "full name": 200}


def test_jobs_that_ask_for_the_gpu_run_one_at_a_time(namespace: Kubectl, image: Callable[[str], str]) -> None:
    names = [f"gpu-{number}" for number in range(3)]
    namespace.apply(*(pods.job(name, image("operator"), "-c", _BUSY, gpus=1) for name in names))

    for name in names:
        namespace("wait", f"job/{name}", "--for=condition=Complete", "--timeout=120s")

    worked = sorted(_working_time(pod) for pod in namespace.items("pods"))
    assert len(worked) == 3
    for (_, ended), (began, _) in itertools.pairwise(worked):
        assert began >= ended, worked


# Prints what the API and a Service answer, asked by name with the pod's own credentials.
_CLIENT = """
import json, pathlib, ssl, time, urllib.request
account = pathlib.Path('/var/run/secrets/kubernetes.io/serviceaccount')
token = {'Authorization': 'Bearer ' + (account / 'token').read_text()}
tls = ssl.create_default_context(cafile=str(account / 'ca.crt'))
space = (account / 'namespace').read_text()
def status(url, **options):
    for attempt in range(100):
        try:
            return urllib.request.urlopen(url, timeout=5, **options).status
        except OSError as trouble:
            said = trouble
            time.sleep(0.2)  # in the pod, until the Service has its endpoint
    raise said
api = urllib.request.Request('https://kubernetes.default.svc/version', headers=token)
print(json.dumps({
    'api': status(api, context=tls),
    'server': status('http://server/'),
    'full name': status(f'http://server.{space}.svc.cluster.local/'),
}))
"""
# Long enough for another to start beside it if it could.
_BUSY = "import time; time.sleep(2)"  # the work of a Job


def _run(name: str, **spec: object) -> dict[str, Any]:
    group = "training.azaion.com/v1alpha1"
    return {"apiVersion": group, "kind": "TrainingRun", "metadata": {"name": name}, "spec": spec}


def _kinds(cluster: Kubectl) -> list[str]:
    listed = cluster("get", "customresourcedefinitions", "--output=name").split()
    return [name.partition("/")[2] for name in listed if name.endswith(".training.azaion.com")]


def _working_time(pod: dict[str, Any]) -> tuple[datetime, datetime]:
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    return datetime.fromisoformat(ended["startedAt"]), datetime.fromisoformat(ended["finishedAt"])
