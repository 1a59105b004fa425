"""Augmentation with the real transforms; in this process, but for the tests that are about processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from azaion_jobs.dataset import assignment, augmentation, boxes, manifest, variants
from azaion_jobs.dataset.augmentation import Augmented, augment
from azaion_jobs.dataset.errors import TreeMissingError, WorkerLostError
from azaion_jobs.dataset.forming import Options, form
from azaion_jobs.dataset.labels import classes_of
from azaion_jobs.tree import Tree
from support.annotated_tree import a_tree, add, files_below, real_jpeg
from support.waiting import wait_until

LABEL = "3 0.5 0.5 0.4 0.3\n7 0.99 0.5 0.2 0.1\n"
CORRECTED = b"3 0.500000 0.500000 0.400000 0.300000\n7 0.944750 0.500000 0.109500 0.100000\n"


class HerePool:
    """Does the work in this process."""

    def __init__(self, processes: int) -> None:
        self.processes = processes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(
        self, work: Callable[[variants.Task], variants.Done], tasks: Iterable[variants.Task]
    ) -> Iterator[variants.Done]:
        return map(work, tasks)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "_Pool", HerePool)


def an_input(root: Path, images: int = 3) -> Tree:
    tree = a_tree(root)
    for number in range(images):
        add(tree.data, f"i{number}", image=real_jpeg(seed=number), label=LABEL)
    return tree


def run(tree: Tree, **options: Any) -> Augmented:
    return augment(tree, **{"seed": 0, "queue_wait_seconds": 0.01} | options)


def names(stem: str) -> set[str]:
    return {stem, *(f"{stem}_{number}" for number in range(1, 8))}


def outputs(tree: Tree) -> set[str]:
    images = {path.stem for path in tree.data_processed.images.iterdir()}
    assert images == {path.stem for path in tree.data_processed.labels.iterdir()}
    return images


@pytest.mark.usefixtures("here")
def test_eight_outputs_for_each_image(tmp_path: Path) -> None:
    tree = an_input(tmp_path)
    assert run(tree) == Augmented(made=3, kept=0, removed=0, skipped=0, corrupt=())
    assert outputs(tree) == names("i0") | names("i1") | names("i2")
    processed = tree.data_processed
    assert processed.image("i0").read_bytes() == tree.data.image("i0").read_bytes()
    assert processed.label("i0").read_bytes() == CORRECTED
    different = {processed.image(stem).read_bytes() for stem in names("i0")}
    assert len(different) > 5
    for stem in outputs(tree):
        assert set(classes_of(processed.label(stem).read_bytes())) <= {3, 7}
        for box in boxes.parse(processed.label(stem).read_bytes()):
            assert box.x - box.width / 2 >= boxes.EDGE - 1e-6
            assert min(box.width, box.height) >= boxes.SMALLEST - 1e-6
    assert {stem for stem in outputs(tree) if not processed.label(stem).read_bytes()} == set()


@pytest.mark.usefixtures("here")
def test_the_same_seed_gives_the_same_files_in_any_order(tmp_path: Path) -> None:
    first, second, other = (an_input(tmp_path / name) for name in ("first", "second", "other"))
    run(first)
    run(second, batch=1)
    run(other, seed=1)
    assert files_below(first.data_processed.root) == files_below(second.data_processed.root)
    assert files_below(first.data_processed.root) != files_below(other.data_processed.root)


@pytest.mark.usefixtures("here")
def test_done_images_are_skipped_until_their_label_changes(tmp_path: Path) -> None:
    tree = an_input(tmp_path)
    run(tree)
    before = {path: path.stat().st_mtime_ns for path in tree.data_processed.images.iterdir()}
    assert run(tree) == Augmented(made=0, kept=3, removed=0, skipped=0, corrupt=())
    tree.data.label("i1").write_text("5 0.5 0.5 0.4 0.4\n")
    assert run(tree) == Augmented(made=1, kept=2, removed=0, skipped=0, corrupt=())
    after = {path: path.stat().st_mtime_ns for path in tree.data_processed.images.iterdir()}
    assert {path.stem for path in after if after[path] != before[path]} == names("i1")
    assert set(classes_of(tree.data_processed.label("i1_4").read_bytes())) <= {5}


@pytest.mark.usefixtures("here")
def test_an_empty_label_gives_eight_empty_labels(tmp_path: Path) -> None:
    tree = an_input(tmp_path, 0)
    add(tree.data, "empty", image=real_jpeg(), label="")
    run(tree)
    assert outputs(tree) == names("empty")
    assert {path.read_bytes() for path in tree.data_processed.labels.iterdir()} == {b""}


@pytest.mark.usefixtures("here")
def test_outputs_of_images_that_are_gone_are_removed(tmp_path: Path) -> None:
    tree = an_input(tmp_path)
    run(tree)
    (tree.data_processed.images / f"{variants.TEMPORARY}i0_1.jpg").write_bytes(b"killed")
    (tree.data_processed.images / "notes.md").write_text("somebody's")
    tree.data.image("i1").unlink()
    tree.data.label("i1").unlink()
    assert run(tree) == Augmented(made=0, kept=2, removed=17, skipped=0, corrupt=())
    (tree.data_processed.images / "notes.md").unlink()
    assert outputs(tree) == names("i0") | names("i2")


@pytest.mark.usefixtures("here")
def test_an_original_that_looks_like_a_variant_is_not_overwritten(tmp_path: Path) -> None:
    tree = an_input(tmp_path, 1)
    add(tree.data, "i0_2", image=real_jpeg(seed=9), label=LABEL)
    run(tree)
    assert tree.data_processed.image("i0_2").read_bytes() == real_jpeg(seed=9)
    assert outputs(tree) == names("i0") | names("i0_2")
    assert run(tree).kept == 2


@pytest.mark.usefixtures("here")
def test_bad_pairs_are_moved_and_told(tmp_path: Path) -> None:
    tree = an_input(tmp_path, 1)
    add(tree.data, "bad", image=real_jpeg(), label="3 0.5")
    add(tree.data, "alone", image=real_jpeg(), label=None)
    done = run(tree)
    assert done.corrupt == (
        manifest.Corrupt("alone", "the label is missing"),
        manifest.Corrupt("bad", "2 columns instead of 5", 1),
    )
    assert (done.made, outputs(tree)) == (1, names("i0"))
    assert tree.data_corrupted.image("alone").exists()


@pytest.mark.usefixtures("here")
def test_bad_pairs_that_cannot_be_moved_are_skipped(tmp_path: Path) -> None:
    tree = an_input(tmp_path, 1)
    add(tree.data, "bad", image=real_jpeg(), label="3 0.5")
    add(tree.data, "alone", image=real_jpeg(), label=None)
    (tree.data.images / "line\nbreak.jpg").write_bytes(real_jpeg())
    tree.queue.group.write_text("{}")
    done = run(tree)
    assert (done.made, done.skipped, done.corrupt) == (1, 3, ())


@pytest.mark.usefixtures("here")
def test_an_image_with_a_good_head_and_no_pixels_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = an_input(tmp_path, 1)
    content = real_jpeg()
    add(tree.data, "torn", image=content[: content.index(b"\xff\xda")] + b"\xff\xd9", label=LABEL)
    assert run(tree) == Augmented(made=1, kept=0, removed=0, skipped=1, corrupt=())
    assert outputs(tree) == names("i0")
    assert "Not augmented" in caplog.text


@pytest.mark.usefixtures("here")
def test_a_failing_transform_costs_its_variant_and_never_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tree = an_input(tmp_path, 1)
    real = variants._variant
    failing = {variants.variant_seed(0, "i0", 3), variants.variant_seed(0, "i0", 5)}

    def sometimes(pixels: Any, found: Any, seed: int) -> Any:
        if seed in failing:
            raise ValueError("no")
        return real(pixels, found, seed)

    monkeypatch.setattr(variants, "_variant", sometimes)
    assert run(tree).made == 1
    assert outputs(tree) == names("i0") - {"i0_3", "i0_5"}
    assert "Variants left out, because a transform failed" in caplog.text


@pytest.mark.usefixtures("here")
def test_an_image_that_goes_meanwhile_is_skipped(tmp_path: Path) -> None:
    tree = an_input(tmp_path)

    def lose(name: str) -> None:
        if name == "old output removed":
            tree.data.image("i2").unlink(missing_ok=True)

    assert run(tree, step=lose) == Augmented(made=2, kept=0, removed=0, skipped=1, corrupt=())
    assert outputs(tree) == names("i0") | names("i1")


class Killed(BaseException):
    pass


@pytest.mark.usefixtures("here")
def test_stopped_at_any_step_the_next_attempt_comes_to_the_same_end(tmp_path: Path) -> None:
    steps: list[str] = []
    whole = an_input(tmp_path / "whole", 2)
    run(whole, step=steps.append)
    expected = files_below(whole.data_processed.root)
    # The first and the last of each kind, and some between.
    fatal = {steps.index(name) for name in steps} | set(range(0, len(steps), 7)) | {len(steps) - 1}
    for moment in sorted(fatal):
        tree = an_input(tmp_path / str(moment), 2)
        seen: list[str] = []

        def kill(name: str, seen: list[str] = seen, moment: int = moment) -> None:
            if len(seen) == moment:
                raise Killed
            seen.append(name)

        with pytest.raises(Killed):
            run(tree, step=kill)
        listed = {"i0", "i1"}
        for path in tree.data_processed.images.iterdir():
            if path.stem in listed:
                there = {other.stem for other in tree.data_processed.images.iterdir()}
                assert names(path.stem) <= there, "the mark stands before its variants"
        done = run(tree)
        assert done.made + done.kept == 2
        assert files_below(tree.data_processed.root) == expected


@pytest.mark.usefixtures("here")
def test_a_dataset_of_the_outputs(tmp_path: Path) -> None:
    tree = an_input(tmp_path, 10)
    run(tree)
    result = form(tree, Options(augmented=True))
    assert {split: amount.images for split, amount in result.manifest.counts.items()} == {
        "train": 56,
        "valid": 2,
        "test": 1,
    }
    listed = [entry.stem for entry in manifest.entries(tree.dataset(result.name).root)]
    assert len({assignment.original_of(stem, set(listed)) for stem in listed}) == 10
    tree.data.label("i1").write_text("5 0.5 0.5 0.4 0.4\n")
    run(tree)
    assert not form(tree, Options(augmented=True)).reused
    assert run(tree).kept == 10


def test_a_tree_without_marker_is_refused(tmp_path: Path) -> None:
    tree = an_input(tmp_path)
    tree.marker.unlink()
    with pytest.raises(TreeMissingError):
        run(tree)


def test_processes_make_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawned = an_input(tmp_path / "spawned")
    run(spawned, processes=2)
    monkeypatch.setattr(augmentation, "_Pool", HerePool)
    alone = an_input(tmp_path / "alone")
    run(alone)
    assert files_below(spawned.data_processed.root) == files_below(alone.data_processed.root)


def test_a_killed_worker_is_told(tmp_path: Path) -> None:
    tree = an_input(tmp_path)
    with (
        augmentation._Pool(1) as pool,
        pytest.raises(WorkerLostError, match="most likely for want of memory"),
    ):
        list(pool.map(_die, [variants.Task("x", "", b"", "", "", 0, ())]))
    assert run(tree, processes=1).made == 3


def _die(task: variants.Task) -> variants.Done:
    os.kill(os.getpid(), signal.SIGKILL)
    return variants.Done(task.stem, ())


def test_workers_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    tree = an_input(tmp_path)
    code = (
        "import json, multiprocessing, os, signal, sys\n"
        "from azaion_jobs.config import Config, Directories\n"
        "from azaion_jobs.dataset.augmentation import augment\n"
        "def step(name):\n"
        "    if name == 'batch written':\n"
        "        print(json.dumps([p.pid for p in multiprocessing.active_children()]), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    tree = Config(directories=Directories(root=sys.argv[1])).tree\n"
        "    augment(tree, seed=0, processes=2, step=step)\n"
    )
    program = tmp_path / "program.py"
    program.write_text(code)
    result = subprocess.run(
        [sys.executable, str(program), str(tree.root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    workers = json.loads(result.stdout)
    assert workers
    wait_until(lambda: not any(_is_alive(pid) for pid in workers), deadline=30, what="the workers have ended")


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A zombie waits for whoever adopts it, and does nothing.
    return state != "Z"
