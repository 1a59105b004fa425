from collections.abc import Callable
from pathlib import Path

import pytest

from azaion_jobs.config import Config, Directories, Tree

TREE = Config().tree


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (TREE.marker, ".azaion-tree"),
        (TREE.data.images, "data/images"),
        (TREE.data.labels, "data/labels"),
        (TREE.data.image("a.b"), "data/images/a.b.jpg"),
        (TREE.data.label("a.b"), "data/labels/a.b.txt"),
        (TREE.data_seed.images, "data-seed/images"),
        (TREE.data_deleted.labels, "data_deleted/labels"),
        (TREE.data_processed.images, "data-processed/images"),
        (TREE.data_corrupted.labels, "data-corrupted/labels"),
        (TREE.datasets, "datasets"),
        (TREE.dataset("azaion-2026-11-20").root, "datasets/azaion-2026-11-20"),
        (TREE.dataset("azaion-2026-11-20").split("valid").images, "datasets/azaion-2026-11-20/valid/images"),
        (TREE.dataset("azaion-2026-11-20-2").description, "datasets/azaion-2026-11-20-2/data.yaml"),
        (TREE.dataset("azaion-2026-11-20").manifest, "datasets/azaion-2026-11-20/manifest.json"),
        (TREE.models.root, "models"),
        (TREE.models.base("yolo26m.pt"), "models/yolo26m.pt"),
        (TREE.models.current_weights, "models/azaion.pt"),
        (TREE.models.previous_weights, "models/azaion.pt.prev"),
        (TREE.models.current_onnx, "models/azaion.onnx"),
        (TREE.models.current, "models/current.json"),
        (TREE.models.publish, "models/publish"),
        (TREE.models.published("azaion.onnx"), "models/publish/azaion.onnx.json"),
        (TREE.models.big_part("azaion.onnx"), "models/azaion.onnx.big"),
        (TREE.queue.root, "queue"),
        (TREE.queue.lock, "queue/lock"),
        (TREE.queue.tree_lock, "queue/tree.lock"),
        (TREE.queue.stage, "queue/stage"),
        (TREE.queue.group, "queue/group.json"),
        (TREE.queue.media, "queue/media.jsonl"),
        (TREE.queue.parked, "queue/parked"),
        (TREE.queue.replayed, "queue/parked/replayed"),
        (TREE.queue.parked_message(41), "queue/parked/00000000000000000041.msg"),
        (TREE.queue.parked_description(41), "queue/parked/00000000000000000041.json"),
        (TREE.offset, "offset.yaml"),
        (TREE.classes, "classes.json"),
        (TREE.last_training, "checkpoint.txt"),
        (TREE.health, "status/health.json"),
        (TREE.logs, "logs"),
    ],
)
def test_every_path_has_its_place(path: Path, expected: str) -> None:
    assert path == Path("/azaion") / expected


def test_a_run_has_a_folder_of_its_own() -> None:
    run = TREE.models.run("azaion-2026-11-20")
    names = {
        run.run: "run.json",
        run.told: "told.json",
        run.lease: "lease.json",
        run.lease_lock: "lease.lock",
        run.supervisor: "supervisor.json",
        run.verdict: "verdict.json",
        run.checkpoints: "checkpoints.json",
        run.progress: "progress.jsonl",
        run.results: "results.csv",
        run.weights: "weights",
        run.last: "weights/last.pt",
        run.best: "weights/best.pt",
        run.final: "weights/final.pt",
        run.epoch(0): "weights/epoch0.pt",
        run.report: "report",
        run.staged: "staged",
    }
    assert {path: str(path.relative_to("/azaion/models/azaion-2026-11-20")) for path in names} == names


def test_directories_can_be_renamed_and_the_root_moved() -> None:
    tree = Config(directories=Directories(root="/srv/a/", data="d", data_seed="s", data_deleted="x")).tree
    assert (tree.data.root, tree.data_seed.root, tree.data_deleted.root) == (
        Path("/srv/a/d"),
        Path("/srv/a/s"),
        Path("/srv/a/x"),
    )
    assert tree.queue.root == Path("/srv/a/queue")


NAMING: list[Callable[[Tree, str], object]] = [
    lambda tree, name: tree.data.image(name),
    lambda tree, name: tree.data.label(name),
    lambda tree, name: tree.dataset(name),
    lambda tree, name: tree.models.run(name),
    lambda tree, name: tree.models.base(name),
    lambda tree, name: tree.models.published(name),
    lambda tree, name: tree.models.big_part(name),
    lambda tree, name: tree.dataset("d").split(name),
]


@pytest.mark.parametrize("named", NAMING)
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "../x", "a\x00b", "a\nb", "x" * 300])
def test_no_name_leads_out_of_its_folder(named: Callable[[Tree, str], object], name: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        named(TREE, name)


def test_epochs_in_file_names_count_from_zero() -> None:
    with pytest.raises(ValueError, match="count from 0"):
        TREE.models.run("r").epoch(-1)
