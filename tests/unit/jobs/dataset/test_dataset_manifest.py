import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from azaion_jobs.dataset import manifest
from azaion_jobs.dataset.forming import Options, form
from azaion_jobs.dataset.manifest import Difference, Entry, Manifest, ManifestError
from azaion_jobs.tree import DatasetFolder, Tree
from support.annotated_tree import LABEL, a_tree, add, jpeg


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return a_tree(tmp_path, 20)


@pytest.fixture
def dataset(tree: Tree) -> DatasetFolder:
    return tree.dataset(form(tree, Options(name="d")).name)


def test_a_fresh_dataset_has_no_problems(dataset: DatasetFolder) -> None:
    assert manifest.verify(dataset.root) == []
    made = manifest.read(dataset.root)
    assert manifest.verify(dataset.root, made.hash) == []
    assert made.images == 20
    assert manifest.digest(entry.line for entry in manifest.scan(dataset.root)) == made.hash


def test_what_training_leaves_in_a_dataset_is_no_change(dataset: DatasetFolder) -> None:
    (dataset.root / "train" / "labels.cache").write_bytes(b"cache")
    (dataset.split("train").images / ".a000.npy").write_bytes(b"")
    assert manifest.verify(dataset.root) == []


def test_another_hash_was_asked_for(dataset: DatasetFolder) -> None:
    (problem,) = manifest.verify(dataset.root, "0" * 64)
    assert problem.startswith("The dataset d has the hash ")
    assert problem.endswith(f"but {'0' * 64} was asked for.")


def first(folder: Path) -> Path:
    return min(folder.iterdir())


def relabel(dataset: DatasetFolder) -> None:
    first(dataset.split("valid").labels).write_text("")


def unlabel(dataset: DatasetFolder) -> None:
    first(dataset.split("valid").labels).unlink()


def remove(dataset: DatasetFolder) -> None:
    for stem in sorted(path.stem for path in dataset.split("train").images.iterdir())[:7]:
        dataset.split("train").image(stem).unlink()


def lose_a_split(dataset: DatasetFolder) -> None:
    for path in dataset.split("valid").images.iterdir():
        path.unlink()
    dataset.split("valid").images.rmdir()


def add_one(dataset: DatasetFolder) -> None:
    add(dataset.split("test"), "stranger")


def replace_image(dataset: DatasetFolder) -> None:
    image = first(dataset.split("test").images)
    image.unlink()
    image.write_bytes(jpeg(padding=5000))


def describe(dataset: DatasetFolder) -> None:
    dataset.description.write_text("nc: 1")


def undescribe(dataset: DatasetFolder) -> None:
    dataset.description.unlink()


def unlist(dataset: DatasetFolder) -> None:
    dataset.files.unlink()


def relist(dataset: DatasetFolder) -> None:
    dataset.files.write_text("")


def damage_list(dataset: DatasetFolder) -> None:
    dataset.files.write_text("what/ever\n")


def miscount(dataset: DatasetFolder) -> None:
    document = json.loads(dataset.manifest.read_text())
    document["counts"]["valid"]["images"] = 5
    dataset.manifest.write_text(json.dumps(document))


def unmanifest(dataset: DatasetFolder) -> None:
    dataset.manifest.unlink()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (relabel, "has another label or none"),
        (unlabel, "has another label or none"),
        (remove, "and 2 more is gone"),
        (lose_a_split, "is gone"),
        (add_one, "test/stranger was added"),
        (replace_image, "has another image"),
        (describe, "data.yaml has changed since its manifest was written"),
        (undescribe, "data.yaml is missing"),
        (unlist, "files.txt is missing"),
        (relist, "files.txt does not belong to the manifest beside it"),
        (damage_list, "files.txt is damaged"),
        (miscount, "counts 5 images in valid, but lists 4"),
        (unmanifest, "is no complete dataset"),
    ],
)
def test_every_change_is_found_and_named(
    dataset: DatasetFolder, change: Callable[[DatasetFolder], None], sentence: str
) -> None:
    change(dataset)
    (problem,) = manifest.verify(dataset.root)
    assert sentence in problem
    assert problem.endswith(".")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "it is not JSON"),
        ("[]", "its version is None"),
        ('{"version": 2}', "its version is 2"),
        ('{"version": 1}', "it is incomplete or wrong (KeyError: 'created')"),
    ],
)
def test_an_unusable_manifest_says_why(dataset: DatasetFolder, text: str, sentence: str) -> None:
    dataset.manifest.write_text(text)
    with pytest.raises(ManifestError) as refused:
        manifest.read(dataset.root)
    assert str(refused.value).startswith(f"{dataset.manifest} cannot be used: {sentence}")


def test_a_manifest_survives_its_file(dataset: DatasetFolder) -> None:
    made = manifest.read(dataset.root)
    assert Manifest.from_json(made.to_json()) == made
    later = json.loads(made.to_json()) | {"something": "new"}
    assert Manifest.from_json(json.dumps(later)) == made


def test_entries_survive_their_lines() -> None:
    entry = Entry("train", "a b/c", 12, "0" * 64)
    assert Entry.from_line(entry.line) == entry


def test_two_datasets_are_compared_image_by_image(tree: Tree, dataset: DatasetFolder) -> None:
    before = {entry.stem: entry.split for entry in manifest.entries(dataset.root)}
    tree.data.image("a000").unlink()
    tree.data.label("a001").write_text(LABEL * 2)
    for number in range(5):
        add(tree.data, f"b{number}")
    other = tree.dataset(form(tree, Options(name="other")).name)
    after = {entry.stem: entry.split for entry in manifest.entries(other.root)}
    found = manifest.difference(dataset.root, other.root)
    assert found == Difference(
        added=tuple(f"b{number}" for number in range(5)),
        removed=("a000",),
        relabelled=("a001",),
        moved=tuple(
            (stem, before[stem], after[stem])
            for stem in sorted(before.keys() & after.keys())
            if before[stem] != after[stem]
        ),
    )
    assert manifest.difference(other.root, other.root) == Difference((), (), (), ())


def test_what_was_moved_is_named_with_both_splits(tree: Tree, dataset: DatasetFolder) -> None:
    other = tree.dataset(form(tree, Options(name="other", seed=5)).name)
    moved = manifest.difference(dataset.root, other.root).moved
    assert moved
    for stem, old, new in moved:
        assert dataset.split(old).image(stem).exists()
        assert other.split(new).image(stem).exists()


@pytest.mark.parametrize(
    ("images", "label", "reasons"),
    [
        (10, LABEL, []),
        (0, LABEL, ["The split train has no image", "The split valid has no image"]),
        (1, LABEL, ["The split valid has no image"]),
        (10, "", ["The split train has no object", "The split valid has no object"]),
    ],
)
def test_what_cannot_be_trained_says_why(tmp_path: Path, images: int, label: str, reasons: list[str]) -> None:
    tree = a_tree(tmp_path)
    for number in range(images):
        add(tree.data, f"a{number}", label=label)
    found = manifest.trainable(form(tree, Options()).manifest)
    assert len(found) == len(reasons)
    for reason, start in zip(found, reasons, strict=True):
        assert reason.startswith(start)


def test_the_module_needs_the_standard_library_alone() -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import azaion_jobs.dataset.manifest\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(loaded - sys.stdlib_module_names))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.split() == ["azaion_jobs"]
