"""What the supervisor checks, serves, rehearses, and how it lives with a full disk."""

import contextlib
import json
import os
import subprocess
import urllib.error
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from azaion_jobs.contract import CheckpointSpec
from support.stub_trainer import Fault, Script
from support.supervised import Supervised

SLOW = Script(step_seconds=0.02)


def fill(file: Path) -> None:
    """Let the file take all that is left of its disk."""
    with file.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(b"x" * 4096)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("a small disk is a mount, which needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_pruned_and_the_run_ends(tmp_path: Path, small_disk: Path) -> None:
    supervised = Supervised(tmp_path / "place", root=small_disk)
    # The preflight would refuse the disk for its size; here it is to fill up later.
    supervised.patch_disk(10**12)
    supervised.script(Script(bytes=700_000, every=1))
    supervised.spec = replace(supervised.spec, checkpoints=CheckpointSpec(keep=9))
    try:
        assert supervised.run() == 0, supervised.log().read_text()
        assert "The disk is full: older checkpoints are removed" in supervised.errors()
        assert supervised.store().status == "finished"
        assert len(supervised.starts()) == 1
    finally:
        supervised.stop_all()


def test_a_disk_that_stays_full_is_a_storage_fault_and_loses_nothing(
    tmp_path: Path, small_disk: Path
) -> None:
    supervised = Supervised(tmp_path / "place", root=small_disk)
    supervised.patch_disk(10**12)
    supervised.script(replace(SLOW, bytes=700_000))
    supervised.spec = supervised.with_epochs(50)
    try:
        process = supervised.start()
        supervised.await_true(lambda: supervised.store().entries(), "a checkpoint")
        ballast = small_disk / "ballast"
        fill(ballast)
        assert supervised.ended(process) == 74
        assert supervised.termination().outcome == "StorageFault"
        ballast.unlink()
        assert supervised.store().newest_good() is not None
    finally:
        supervised.stop_all()


def test_too_little_room_is_told_before_anything_starts(supervised: Supervised) -> None:
    supervised.patch_disk(10**6)
    assert supervised.run() == 74
    assert supervised.starts() == []
    assert supervised.termination().message.startswith("The checkpoints of this run can take 1.0 GB")


def test_a_run_file_that_is_none_is_a_bad_spec(supervised: Supervised) -> None:
    process = supervised.start_with('{"version": 1, "run": {"name": "w", "uid": "u"}, "dataset": 3}')
    assert supervised.ended(process) == 64
    assert supervised.termination().message == "run.dataset must be text."
    assert not supervised.folder.root.exists()


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "cannot be used: it is not JSON."),
        (None, "is no complete dataset."),
    ],
)
def test_a_dataset_that_is_not_as_recorded_is_refused(
    supervised: Supervised, manifest: str | None, message: str
) -> None:
    file = supervised.root / "datasets" / supervised.spec.dataset / "manifest.json"
    if manifest is None:
        file.unlink()
    else:
        file.write_text(manifest)
    assert supervised.run() == 65
    assert message in supervised.termination().message
    assert supervised.starts() == []


def test_another_dataset_than_was_asked_for_is_refused(supervised: Supervised) -> None:
    assert supervised.run(replace(supervised.spec, dataset_hash="0" * 64)) == 65
    assert f"but {'0' * 64} was asked for." in supervised.termination().message
    assert supervised.starts() == []


def test_a_dataset_changed_since_its_manifest_is_refused(supervised: Supervised) -> None:
    labels = supervised.root / "datasets" / supervised.spec.dataset / "train" / "labels"
    next(labels.iterdir()).write_text("1 0.5 0.5 0.1 0.1\n")
    assert supervised.run() == 65
    assert supervised.starts() == []


def test_a_missing_image_is_refused(supervised: Supervised) -> None:
    next((supervised.root / "datasets" / supervised.spec.dataset / "valid" / "images").iterdir()).unlink()
    assert supervised.run() == 65
    assert supervised.starts() == []


@pytest.mark.parametrize(("content", "words"), [(None, "is not there: put it at"), (b"", "is empty")])
def test_a_base_model_must_be_there(supervised: Supervised, content: bytes | None, words: str) -> None:
    base = supervised.root / "models" / "yolo26n.pt"
    base.unlink()
    if content is not None:
        base.write_bytes(content)
    assert supervised.run() == 65
    assert words in supervised.termination().message
    assert supervised.starts() == []


def test_an_architecture_needs_no_file(supervised: Supervised) -> None:
    assert supervised.run(supervised.with_training(model="yolo26n.yaml")) == 0


def test_a_gpu_that_was_asked_for_must_be_there(supervised: Supervised) -> None:
    (supervised.place / "gpus.json").write_text("[]")
    assert supervised.run(supervised.with_training(gpus=1)) == 76
    assert supervised.termination().message.startswith("The run asks for 1 GPUs, but this pod sees 0")


def test_the_directory_of_another_run_is_not_touched(supervised: Supervised) -> None:
    supervised.folder.root.mkdir()
    supervised.folder.run.write_text(json.dumps({"run": {"name": "autumn", "uid": "other"}}))
    assert supervised.run() == 64
    assert "belongs to the run with UID other" in supervised.termination().message
    assert [path.name for path in supervised.folder.root.iterdir()] == ["run.json"]


def test_a_dated_folder_of_an_earlier_deployment_is_not_touched(supervised: Supervised) -> None:
    supervised.folder.root.mkdir()
    (supervised.folder.root / "best.pt").write_bytes(b"precious")
    assert supervised.run() == 64
    assert [path.name for path in supervised.folder.root.iterdir()] == ["best.pt"]


def test_a_damaged_supervisor_file_is_put_aside(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("exit 65", "e1b1")]))
    assert supervised.run() == 65
    supervised.folder.supervisor.write_text("{")
    assert supervised.run(supervised.attempt(2)) == 0, supervised.log().read_text()
    assert (supervised.folder.root / "supervisor.json.corrupt").read_text() == "{"


def test_a_fresh_run_rehearses_once(supervised: Supervised) -> None:
    supervised.spec = supervised.with_limits(rehearse=True)
    supervised.script(Script(faults=[Fault("SIGKILL", "e0b2")]))
    assert supervised.run() == 0, supervised.log().read_text()
    assert [start["rehearse"] for start in supervised.starts()] == [True, False, False]
    assert len(supervised.epoch_lines()) == 3


def test_what_fails_in_the_rehearsal_fails_at_once(supervised: Supervised) -> None:
    supervised.spec = supervised.with_limits(rehearse=True)
    supervised.script(Script(faults=[Fault("internal", "rehearse", times=99)]))
    assert supervised.run() == 70
    assert supervised.steps() == []


def test_progress_metrics_and_health_are_served(supervised: Supervised) -> None:
    supervised.script(replace(SLOW, faults=[Fault("SIGKILL", "e1b4")]))
    supervised.spec = supervised.with_epochs(100)
    process = supervised.start()
    supervised.await_true(lambda: supervised.progress().epoch >= 2, "the second epoch")
    now = supervised.progress()
    assert (now.run, now.epochs, now.batches, now.effective_batch_size) == ("winter", 100, 8, 11)
    assert now.restarts == 1
    assert now.stalled is False
    assert now.eta_seconds is not None
    assert 0 < now.eta_seconds < 60
    assert now.checkpoint is not None
    assert now.checkpoint.age_seconds < 60
    assert now.loss is not None
    assert now.data_wait_ratio == pytest.approx(0.25)
    text = supervised.get("/metrics")
    lines = dict(line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    assert float(lines["training_epoch"]) >= 2
    assert {"training_loss", "training_mAP50", "training_mAP50_95", "training_data_wait_ratio"} <= set(lines)
    assert lines["training_restarts_total"] == "1.0"
    assert "# TYPE training_epoch gauge" in text
    assert supervised.get("/healthz") == "ok\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        supervised.get("/other")
    process.terminate()
    assert supervised.ended(process) == 75


def test_a_stall_shows_in_the_progress(supervised: Supervised) -> None:
    supervised.script(Script(faults=[Fault("SIGSTOP", "e0b5")]))
    process = supervised.start()
    supervised.await_true(lambda: supervised.progress().last_progress_seconds > 0.5, "the silence")
    assert supervised.ended(process) == 0


def test_each_epoch_is_logged_with_its_metrics(supervised: Supervised) -> None:
    assert supervised.run() == 0
    (last,) = (line for line in supervised.records() if line["message"] == "Epoch 3/3 completed")
    assert last["context"] == {"epoch": 3, "epochs": 3, "loss": 1 / 3, "mAP50": 0.75, "mAP50_95": 0.375}


def test_the_next_attempt_tells_how_the_last_one_ended(supervised: Supervised) -> None:
    supervised.script(replace(SLOW, faults=[Fault("exit 65", "e1b1")]))
    supervised.spec = supervised.with_epochs(100)
    assert supervised.run() == 65
    process = supervised.start(supervised.attempt(2))
    supervised.await_true(lambda: supervised.progress().epoch >= 1, "the first epoch")
    previous = supervised.progress().previous
    assert previous is not None
    assert previous.outcome == "BadData"
    process.terminate()
    supervised.ended(process)
