"""The workflow keeps its promises: when each job runs, what it waits for, what it may do."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/ci.yml"
PUSH_TO_DEV = "github.event_name == 'push' && github.ref == 'refs/heads/dev'"
DISPATCH = "github.event_name == 'workflow_dispatch' && inputs.deploy_target"


class Yaml12Loader(yaml.SafeLoader):
    """Reads `on` as a word, as YAML 1.2 and the build server do."""


Yaml12Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Yaml12Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    text = WORKFLOW.read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Yaml12Loader)  # noqa: S506 - a subclass of the safe loader
    return loaded


@pytest.fixture(scope="module")
def jobs(workflow: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = workflow["jobs"]
    return found


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in job["steps"] if "run" in step)


def step(job: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in job["steps"] if one.get("name") == name)
    return found


def position(job: dict[str, Any], name: str) -> int:
    return [one.get("name") for one in job["steps"]].index(name)


def test_name_and_triggers(workflow: dict[str, Any]) -> None:
    assert workflow["name"] == "CI/CD"
    assert set(workflow["on"]) == {"push", "pull_request", "workflow_dispatch"}
    assert set(workflow["on"]["push"]["branches"]) == {"dev", "main"}
    assert workflow["on"]["pull_request"]["branches"] == ["dev"]
    assert workflow["on"]["workflow_dispatch"]["inputs"] == {
        "deploy_target": {"description": "Deploy to target server", "type": "boolean", "default": False}
    }


@pytest.mark.parametrize(
    ("name", "needs", "condition"),
    [
        ("lint", None, None),
        ("security", None, None),
        ("test", "lint", None),
        ("build-and-push", ["test", "security"], PUSH_TO_DEV),
        ("deploy", ["test", "security"], DISPATCH),
    ],
)
def test_order_and_conditions(jobs: dict[str, Any], name: str, needs: object, condition: str | None) -> None:
    assert jobs[name].get("needs") == needs
    assert jobs[name].get("if") == (None if condition is None else f"${{{{ {condition} }}}}")


def test_there_are_no_other_jobs(jobs: dict[str, Any]) -> None:
    assert set(jobs) == {"lint", "test", "security", "build-and-push", "deploy"}


def test_each_job_is_bounded_and_may_write_little(workflow: dict[str, Any], jobs: dict[str, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in jobs.items():
        assert 0 < job["timeout-minutes"] <= 120
        writes = {scope for scope, access in job.get("permissions", {}).items() if access != "read"}
        assert writes <= ({"security-events"} if name in {"security", "build-and-push"} else set())
        for one in job["steps"]:
            if "actions/checkout@" in one.get("uses", ""):
                assert one["with"]["persist-credentials"] is False


def test_actions_of_others_are_pinned(jobs: dict[str, Any]) -> None:
    used = {one["uses"] for job in jobs.values() for one in job["steps"] if "uses" in one}
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", action), action


def test_no_expression_of_an_event_reaches_a_shell(jobs: dict[str, Any]) -> None:
    """A branch or title can hold shell; only the fixed list of image names may stand in a script."""
    for job in jobs.values():
        assert set(re.findall(r"\$\{\{\s*(.*?)\s*\}\}", commands(job))) <= {"matrix.image"}


def test_lint_and_test_run_what_people_run(jobs: dict[str, Any]) -> None:
    assert "black --check ." in commands(jobs["lint"])
    assert "ruff check ." in commands(jobs["lint"])
    assert step(jobs["test"], "Test")["run"] == "./dev test"
    report = step(jobs["test"], "Keep the coverage report")
    assert report["uses"].startswith("actions/upload-artifact@")
    assert "coverage.xml" in report["with"]["path"]
    assert report["with"]["if-no-files-found"] == "error"


def test_security_audits_each_image_and_the_code(jobs: dict[str, Any]) -> None:
    script = commands(jobs["security"])
    selections = {
        "operator": "--package azaion-operator",
        "training": "--package azaion-jobs --extra train",
        "annotation-queue": "--package azaion-jobs --extra queue",
        "monitor": "--package azaion-jobs --extra monitor",
    }
    for image, selection in selections.items():
        assert re.search(rf"^\s*audit {image} {re.escape(selection)}$", script, re.MULTILINE)
    assert "uv export --frozen --no-dev --no-emit-workspace" in script
    assert "--config p/python" in script
    assert "--error" in script
    assert "upload-sarif@" in step(jobs["security"], "Upload the findings")["uses"]


def test_what_is_audited_is_what_is_installed(jobs: dict[str, Any]) -> None:
    for image, selection in re.findall(
        r"^\s*audit (\S+) (--package .*)$", commands(jobs["security"]), re.MULTILINE
    ):
        assert selection in (ROOT / "images" / image / "Dockerfile").read_text(encoding="utf-8")


def test_an_image_is_scanned_before_it_is_pushed(jobs: dict[str, Any]) -> None:
    job = jobs["build-and-push"]
    assert set(job["strategy"]["matrix"]["image"]) == {"training", "annotation-queue", "operator", "monitor"}
    order = ["Free disk space", "Build", "Scan", "Push the image", "Push the charts"]
    assert sorted(order, key=lambda name: position(job, name)) == order
    build, scan = step(job, "Build")["with"], step(job, "Scan")
    assert "push" not in build
    assert build["cache-to"] == "type=gha,mode=max,scope=${{ matrix.image }}"
    assert scan["with"]["severity"] == "HIGH,CRITICAL"
    assert scan["with"]["exit-code"] == 1
    assert scan["with"]["ignore-unfixed"] is False
    assert scan["env"]["TRIVY_IGNOREFILE"] == ".trivyignore.yaml"
    # What was scanned is what is pushed, under the name that a deploy looks for.
    folder = scan["with"]["input"].removeprefix("${{ runner.temp }}")
    assert folder in build["outputs"]
    push = step(job, "Push the image")
    assert "if" not in push
    assert f'"oci:$RUNNER_TEMP{folder}"' in push["run"]
    assert '"docker://$DOCKER_REGISTRY/azaion/${{ matrix.image }}:$DOCKER_IMAGE_TAG"' in push["run"]
    assert '--version "0.0.0-sha-$DOCKER_IMAGE_TAG"' in step(job, "Push the charts")["run"]


def test_deploy_takes_only_what_passed_and_leaves_a_trace(jobs: dict[str, Any]) -> None:
    job = jobs["deploy"]
    assert job["environment"] == "production"
    assert job["concurrency"] == {"group": "deploy-production", "cancel-in-progress": False}
    green = step(job, "Take only what a green push run on dev has pushed")
    assert "head_sha=$DOCKER_IMAGE_TAG&branch=dev&event=push&status=success" in green["run"]
    order = [
        "Check the settings",
        "Take only what a green push run on dev has pushed",
        "Prepare SSH",
        "Note what runs now",
        "Deploy",
        "Check health",
        "Roll back",
        "Report the failure",
        "Keep the log",
    ]
    assert sorted(order, key=lambda name: position(job, name)) == order
    assert "StrictHostKeyChecking yes" in step(job, "Prepare SSH")["run"]
    assert "ssh-keyscan" not in commands(job)
    assert "cd /opt/azaion-training && ./dev deploy --tag $DOCKER_IMAGE_TAG" in step(job, "Deploy")["run"]
    assert "GITHUB_STEP_SUMMARY" in step(job, "Check health")["run"]
    assert "failure()" in step(job, "Roll back")["if"]
    assert "send_mail.py" in step(job, "Report the failure")["run"]
    assert step(job, "Keep the log")["if"] == "${{ always() }}"
    assert "kubeconfig" not in WORKFLOW.read_text(encoding="utf-8").lower()


def test_one_version_of_uv_everywhere(workflow: dict[str, Any]) -> None:
    for dockerfile in (ROOT / "images").glob("*/Dockerfile"):
        for version in re.findall(
            r"^ARG UV_VERSION=(.*)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE
        ):
            assert version == workflow["env"]["UV_VERSION"]


def test_the_build_server_calls_dev_test_alone() -> None:
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    statements = [line for line in lines if line and not line.startswith("#")]
    assert statements == ["set -euo pipefail", 'cd "$(dirname "${BASH_SOURCE[0]}")/.."', "exec ./dev test"]
