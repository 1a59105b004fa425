"""prepare and train in pods of the training image on the node's tree: stopped half-way, then finished."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from azaion_devcluster import Cluster
from azaion_jobs.contract import CheckpointSpec, Limits, RunIdentity, RunSpec, TrainingSpec
from azaion_jobs.tree import MODELS, ModelsFolder
from support import annotated_tree, pods
from support.kubectl import Kubectl
from support.tiny_dataset import LEARNING, draw_dataset
from support.waiting import wait_until

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        "AZAION_TEST_CLUSTER_NAME" not in os.environ,
        reason="of another cluster the tree cannot be filled from here",
    ),
]
DATASET = "azaion-2026-11-21"
EPOCHS = 3
USER = 10001


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """The node's /azaion with annotated drawings in it."""
    root = Cluster(os.environ["AZAION_TEST_CLUSTER_NAME"]).tree
    tree = annotated_tree.a_tree(root)
    drawn = draw_dataset(tmp_path / "drawn", train=90, valid=0)
    for image in (drawn / "train" / "images").iterdir():
        label = (drawn / "train" / "labels" / image.stem).with_suffix(".txt")
        annotated_tree.add(tree.data, image.stem, image=image.read_bytes(), label=label.read_bytes())
    (root / "config.yaml").write_text("directories: {root: /azaion}\n")
    for path in (root, *root.rglob("*")):
        os.chown(path, USER, USER)
    yield root
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_stopped_training_goes_on_in_another_pod(
    namespace: Kubectl, image: Callable[[str], str], tree: Path
) -> None:
    def start(name: str, *arguments: str) -> None:
        namespace.apply(_with_tree(pods.pod(name, image("training"), "-m", "azaion_jobs", *arguments)))

    start("prepare", "prepare", "--name", DATASET, "--config", "/azaion/config.yaml")
    pods.await_success(namespace, "prepare", deadline=300)
    models = ModelsFolder(tree / MODELS)
    run = models.run(DATASET)

    (tree / "run-1.json").write_text(_spec(attempt=1).to_json())
    start("train-1", "train", "--run", "/azaion/run-1.json")
    wait_until(
        lambda: run.progress.exists() and run.progress.read_text(), deadline=180, what="the first epoch"
    )
    namespace("exec", "train-1", "--", "python", "-c", "import os; os.kill(1, 15)")
    stopped = wait_until(
        lambda: _termination(namespace, "train-1"), deadline=120, what="the first pod to end"
    )

    (tree / "run-2.json").write_text(_spec(attempt=2).to_json())
    start("train-2", "train", "--run", "/azaion/run-2.json")
    finished = wait_until(
        lambda: _termination(namespace, "train-2"), deadline=240, what="the second pod to end"
    )

    assert (stopped["exitCode"], json.loads(stopped["message"])["outcome"]) == (75, "StoppedOnRequest")
    assert (finished["exitCode"], json.loads(finished["message"])["outcome"]) == (0, "Done")
    assert "goes on from state-f1-" in namespace("logs", "train-2")
    epochs = [json.loads(line)["epoch"] for line in run.progress.read_text().splitlines()]
    assert epochs == list(range(1, EPOCHS + 1))


def _spec(*, attempt: int) -> RunSpec:
    training = TrainingSpec(
        model="yolo26n.yaml",
        epochs=EPOCHS,
        batch_size=8,
        image_size=96,
        workers=0,
        gpus=0,
        hyperparameters={
            name: value for name, value in LEARNING.items() if isinstance(value, (int, float, str))
        },
    )
    return RunSpec(
        run=RunIdentity(name="by-hand", uid="1"),
        attempt=attempt,
        dataset=DATASET,
        model_directory=DATASET,
        training=training,
        checkpoints=CheckpointSpec(),
        limits=Limits(rehearse=False),
    )


def _with_tree(pod: dict[str, Any]) -> dict[str, Any]:
    pod["spec"]["volumes"].append({"name": "tree", "hostPath": {"path": "/azaion", "type": "Directory"}})
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "tree", "mountPath": "/azaion"})
    return pod


def _termination(kubectl: Kubectl, pod: str) -> dict[str, Any]:
    """How the pod's container ended; empty while it has not."""
    statuses = kubectl.get("pod", pod)["status"].get("containerStatuses", [])
    ended: dict[str, Any] = statuses[0]["state"].get("terminated", {}) if statuses else {}
    return ended
