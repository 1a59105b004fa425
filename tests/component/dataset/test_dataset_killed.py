"""A kill at any moment leaves nothing or a whole dataset, and the next attempt comes to the same end."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from azaion_jobs.config import Config, Directories
from azaion_jobs.dataset import manifest
from azaion_jobs.dataset.forming import Options, form
from azaion_jobs.tree import SPLITS, Tree
from support.annotated_tree import a_tree, add, real_jpeg

# Forms a dataset and kills itself before the step with this number; without one it lists the steps.
DRIVER = """
import json, os, signal, sys
from azaion_jobs.config import Config, Directories
from azaion_jobs.dataset.forming import Options, form
root, uid, fatal = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps = []
def step(name):
    if len(steps) == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    steps.append(name)
form(Config(directories=Directories(root=root)).tree, Options(run_uid=uid), step=step)
json.dump(steps, sys.stdout)
"""
BAD = ("bad1", "bad2")


def start(root: Path, uid: str, fatal: int = -1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(root), uid, str(fatal)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )


def an_input(root: Path) -> Tree:
    tree = a_tree(root, 7)
    add(tree.data, "cut", image=real_jpeg()[:-2])
    for stem in BAD:
        add(tree.data, stem, label="nonsense")
    return tree


def whole_datasets(tree: Tree) -> list[str]:
    """The datasets that anybody can see; each must be whole."""
    names = sorted(path.name for path in tree.datasets.iterdir() if not path.name.startswith("."))
    for name in names:
        folder = tree.dataset(name)
        assert manifest.verify(folder.root) == []
        assert sum(len(list(folder.split(split).images.iterdir())) for split in SPLITS) == 8
    return names


def pairs_are_whole(tree: Tree) -> None:
    """Nothing has been lost: every bad pair is in one place, its label at most behind its image."""
    for stem in BAD:
        images = [tree.data.image(stem).exists(), tree.data_corrupted.image(stem).exists()]
        labels = [tree.data.label(stem).exists(), tree.data_corrupted.label(stem).exists()]
        assert sorted(images) == sorted(labels) == [False, True]


def comes_to_the_same_end(tree: Tree, uid: str, expected: str) -> None:
    result = form(tree, Options(run_uid=uid))
    assert result.hash == expected
    assert whole_datasets(tree) == [result.name]
    assert not list(tree.datasets.glob(".*"))
    pairs_are_whole(tree)
    for stem in BAD:
        assert tree.data_corrupted.label(stem).exists()
        assert tree.data_corrupted.image(stem).exists()


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    process = start(an_input(tmp_path_factory.mktemp("whole")).root, "uid")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    found: list[str] = json.loads(output)
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return form(an_input(tmp_path_factory.mktemp("expected")), Options()).hash


def test_every_change_on_the_disk_has_its_step(steps: list[str]) -> None:
    assert set(steps) == {
        *("image linked", "image encoded anew", "label written", "split corrected"),
        *("files.txt written", "data.yaml written", "manifest.json written", "synced"),
        *("corrupt image moved", "corrupt label moved", "moves synced", "renamed", "folder synced"),
    }


def test_a_kill_at_any_step(tmp_path: Path, steps: list[str], expected: str) -> None:
    for fatal, name in enumerate(steps):
        tree = an_input(tmp_path / str(fatal))
        process = start(tree.root, "uid", fatal)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, name
        seen = whole_datasets(tree)
        assert bool(seen) is (fatal >= steps.index("renamed")), name
        pairs_are_whole(tree)
        comes_to_the_same_end(tree, "uid", expected)


def test_two_kills_in_a_row(tmp_path: Path, steps: list[str], expected: str) -> None:
    draw = random.Random(0)  # noqa: S311 - no secret
    for round_number in range(5):
        tree = an_input(tmp_path / str(round_number))
        for _ in range(2):
            start(tree.root, "uid", draw.randrange(len(steps))).communicate(timeout=60)
            whole_datasets(tree)
        comes_to_the_same_end(tree, "uid", expected)


def test_kills_at_random_moments(tmp_path: Path, expected: str) -> None:
    draw = random.Random(1)  # noqa: S311 - no secret
    started = time.monotonic()
    start(an_input(tmp_path / "timed").root, "uid").communicate(timeout=60)
    usual = time.monotonic() - started
    for round_number in range(6):
        tree = an_input(tmp_path / str(round_number))
        process = start(tree.root, "uid")
        try:
            process.communicate(timeout=usual * draw.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate(timeout=60)
        whole_datasets(tree)
        pairs_are_whole(tree)
        comes_to_the_same_end(tree, "uid", expected)


def test_leftovers_of_one_run_do_not_hinder_another(tmp_path: Path, steps: list[str], expected: str) -> None:
    tree = an_input(tmp_path)
    start(tree.root, "first", steps.index("data.yaml written")).communicate(timeout=60)
    result = form(tree, Options(run_uid="second"))
    assert (result.hash, result.reused) == (expected, False)
    again = form(Config(directories=Directories(root=str(tmp_path))).tree, Options(run_uid="first"))
    assert (again.name, again.reused) == (result.name, True)
    assert not list(tree.datasets.glob(".*"))
