import contextlib
import ctypes
import datetime as dt
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from azaion_jobs.dataset import durability, forming, manifest
from azaion_jobs.dataset.assignment import Percentages
from azaion_jobs.dataset.errors import (
    ClassesError,
    DatasetChangedError,
    DatasetNameError,
    FormingElsewhereError,
    TreeMissingError,
)
from azaion_jobs.dataset.forming import Formed, Options, form
from azaion_jobs.tree import SPLITS, Tree
from support.annotated_tree import LABEL, a_tree, add, files_below, jpeg, png, real_jpeg

DAY = dt.datetime(2026, 11, 20, 23, 30, tzinfo=dt.UTC)


def formed(tree: Tree, **options: Any) -> Formed:
    return form(tree, Options(**options), now=lambda: DAY, queue_wait_seconds=0.01)


def stems(tree: Tree, name: str, split: str) -> set[str]:
    folder = tree.dataset(name).split(split)
    images = {path.stem for path in folder.images.iterdir()}
    assert images == {path.stem for path in folder.labels.iterdir()}
    return images


def test_a_hundred_images_make_a_whole_dataset(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 100)
    result = formed(tree)
    dataset = tree.dataset("azaion-2026-11-20")
    assert (result.name, result.reused) == (dataset.root.name, False)
    parts = {split: stems(tree, result.name, split) for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == {"train": 70, "valid": 20, "test": 10}
    assert len(set().union(*parts.values())) == 100
    for split, part in parts.items():
        for stem in part:
            assert dataset.split(split).image(stem).samefile(tree.data.image(stem))
            assert dataset.split(split).label(stem).read_text() == LABEL
            assert not dataset.split(split).label(stem).samefile(tree.data.label(stem))
    assert {path.name for path in dataset.root.iterdir()} == {
        *SPLITS,
        "data.yaml",
        "files.txt",
        "manifest.json",
    }
    assert [path.name for path in tree.datasets.iterdir()] == [result.name]


def test_the_hash_is_what_the_format_says(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)
    result = formed(tree)
    digest = hashlib.sha256(LABEL.encode()).hexdigest()
    lines = sorted(
        f"{split}/{stem}\t{tree.data.image(stem).stat().st_size}\t{digest}\n"
        for split in SPLITS
        for stem in stems(tree, result.name, split)
    )
    assert result.hash == hashlib.sha256("".join(lines).encode()).hexdigest()
    document = json.loads(tree.dataset(result.name).manifest.read_text())
    assert document["hash"] == result.hash
    assert document["created"] == "2026-11-20T23:30:00Z"
    assert document["classesSha256"] == hashlib.sha256(tree.classes.read_bytes()).hexdigest()
    assert {"version", "source", "seed", "split", "counts", "corrupt"} <= document.keys()


def test_the_manifest_counts_objects_and_images_by_class_and_split(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)
    for path in tree.data.labels.iterdir():
        path.write_text("0 0.5 0.5 0.2 0.1\n0 0.5 0.5 0.3 0.1\n21 0.5 0.5 0.2 0.1\n")
    valid = sorted(stems(tree, formed(tree).name, "valid"))
    for stem in valid:
        tree.data.label(stem).write_text("0 0.5 0.5 0.2 0.1\n")
    made = formed(tree).manifest
    assert {split: (amount.images, amount.objects) for split, amount in made.counts.items()} == {
        "train": (7, 21),
        "valid": (2, 2),
        "test": (1, 3),
    }
    by_name = {one.name: one.splits for one in made.classes}
    assert set(by_name) == {"Vehicle", "Person(Wint)"}
    assert (by_name["Vehicle"]["train"].images, by_name["Vehicle"]["train"].objects) == (7, 14)
    assert (by_name["Person(Wint)"]["valid"].images, by_name["Person(Wint)"]["test"].objects) == (0, 1)
    assert made.unmeasured == ("Person(Wint)",)
    assert made == manifest.read(tree.dataset("azaion-2026-11-20-2").root)


def test_data_yaml_has_eighty_slots_and_nothing_that_ties_or_runs(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    document = yaml.safe_load(tree.dataset(formed(tree).name).description.read_text(encoding="utf-8"))
    assert document.keys() == {"train", "val", "test", "nc", "names"}
    assert (document["train"], document["val"], document["test"]) == (
        "train/images",
        "valid/images",
        "test/images",
    )
    names = document["names"]
    assert (document["nc"], list(names)) == (80, list(range(80)))
    assert [names[slot] for slot in (0, 19, 20, 39, 41, 59)] == [
        *("Vehicle", "Будинок", "Vehicle(Wint)", "Будинок(Wint)", "Person(Night)", "Будинок(Night)")
    ]
    assert sum(name == f"Class-{slot}" for slot, name in names.items()) == 80 - 9


def test_a_second_dataset_of_a_day_gets_a_number(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    names = []
    for number in range(3):
        add(tree.data, f"b{number}")
        names.append(formed(tree).name)
    assert names == ["azaion-2026-11-20", "azaion-2026-11-20-2", "azaion-2026-11-20-3"]


def test_an_empty_folder_of_the_name_is_not_taken_over(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    (tree.datasets / "azaion-2026-11-20").mkdir()
    assert formed(tree).name == "azaion-2026-11-20-2"


def test_equal_content_reuses_the_dataset(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)
    first = formed(tree)
    again = formed(tree, run_uid="another-run")
    assert (again.name, again.hash, again.reused) == (first.name, first.hash, True)
    assert [path.name for path in tree.datasets.iterdir()] == [first.name]


def test_a_named_dataset_has_its_name_whatever_its_content(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)
    first, named = formed(tree), formed(tree, name="mine")
    assert (named.name, named.hash, named.reused) == ("mine", first.hash, False)


def test_other_classes_make_another_dataset_of_the_same_images(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)
    first = formed(tree)
    tree.classes.write_text(json.dumps([{"Id": 0, "Name": "Car"}]))
    again = formed(tree)
    assert (again.hash, again.reused) == (first.hash, False)


def test_a_changed_dataset_is_not_reused_by_its_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = a_tree(tmp_path, 10)
    first = formed(tree)
    label = next(tree.dataset(first.name).split("train").labels.iterdir())
    label.write_text("")
    assert formed(tree).name == "azaion-2026-11-20-2"
    assert "has been changed and is not used" in caplog.text


def test_the_next_attempt_of_a_run_gets_the_same_dataset(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)
    first = formed(tree, run_uid="uid-1")
    add(tree.data, "arrived-later")
    again = formed(tree, run_uid="uid-1")
    assert (again.name, again.reused) == (first.name, True)
    assert formed(tree, run_uid="uid-2").manifest.images == 11


def test_the_dataset_of_a_run_must_not_have_changed(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)
    first = formed(tree, run_uid="uid-1")
    image = next(tree.dataset(first.name).split("train").images.iterdir())
    image.unlink()
    with pytest.raises(DatasetChangedError, match=f"train/{image.stem} is gone"):
        formed(tree, run_uid="uid-1")


def test_a_named_dataset_is_formed_once_and_then_verified(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)
    assert (formed(tree, name="mine").name, formed(tree, name="mine").reused) == ("mine", True)
    (tree.dataset("mine").root / "data.yaml").write_text("download: rm\n")
    with pytest.raises(DatasetChangedError, match=r"data\.yaml has changed"):
        formed(tree, name="mine")


@pytest.mark.parametrize("name", ["a/b", "../x", "/etc", "..", ".hidden", "a\nb", "x" * 300])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(DatasetNameError, match="must be one plain name without a slash"):
        Options(name=name)


@pytest.mark.parametrize("uid", ["", "../x", "a/b", ".x", "a b", "x" * 101])
def test_a_run_uid_is_one_plain_word(uid: str) -> None:
    with pytest.raises(DatasetNameError, match="The run UID"):
        Options(run_uid=uid)


def test_a_tree_without_marker_is_refused(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 1)
    tree.marker.unlink()
    with pytest.raises(TreeMissingError, match="is not mounted"):
        formed(tree)
    assert list(tree.datasets.iterdir()) == []


def test_without_classes_nothing_is_formed(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 1)
    tree.classes.unlink()
    with pytest.raises(ClassesError, match=r"classes\.json is missing"):
        formed(tree)
    assert list(tree.datasets.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "counts"), [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 1, 0)), (10, (7, 2, 1))]
)
def test_small_sets_do_not_crash(tmp_path: Path, images: int, counts: tuple[int, ...]) -> None:
    tree = a_tree(tmp_path, images)
    made = formed(tree).manifest
    assert tuple(made.counts[split].images for split in SPLITS) == counts


def test_a_tree_that_never_got_an_annotation(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    shutil.rmtree(tree.data.root)
    result = formed(tree)
    assert result.manifest.images == 0
    assert manifest.verify(tree.dataset(result.name).root) == []


BAD: dict[str, tuple[bytes, str | bytes | None, str, int | None]] = {
    "missing": (jpeg(), None, "the label is missing", None),
    "binary": (jpeg(), b"\xff\xfe\x00", "the label is not text", None),
    "columns": (jpeg(), LABEL + "0 0.5 0.5 0.2", "4 columns instead of 5", 2),
    "words": (jpeg(), "0 0.5 a 0.2 0.1", "'a' is not a number", 1),
    "nan": (jpeg(), "0 0.5 nan 0.2 0.1", "y is nan, but must be from 0 to 1", 1),
    "negative": (jpeg(), "0 -0.1 0.5 0.2 0.1", "x is -0.1, but must be from 0 to 1", 1),
    "above": (jpeg(), "0 0.5 0.5 1.2 0.1", "width is 1.2, but must be from 0 to 1", 1),
    "class": (jpeg(), "80 0.5 0.5 0.2 0.1", "the class 80 is not a whole number from 0 to 79", 1),
    "half": (jpeg(), "1.5 0.5 0.5 0.2 0.1", "the class 1.5 is not a whole number from 0 to 79", 1),
    "flat": (jpeg(), "0 0.5 0.5 0.2 0", "the box has no height", 1),
    "empty": (b"", LABEL, "the image is empty", None),
    "text": (b"no image at all", LABEL, "the header of the image cannot be read", None),
    "cut": (jpeg()[:20], LABEL, "the header of the image cannot be read", None),
    "cutdata": (jpeg(end=False), LABEL, "the image cannot be decoded", None),
    "tiny": (jpeg(9, 50), LABEL, "the image has 9 x 50 pixels, but needs at least 10 on each side", None),
}


def test_bad_pairs_move_to_data_corrupted_each_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = a_tree(tmp_path, 10)
    for name, (image, label, _, _) in BAD.items():
        add(tree.data, name, image=image, label=label)
    made = formed(tree).manifest
    assert {(one.name, one.reason, one.line) for one in made.corrupt} == {
        (name, reason, line) for name, (_, _, reason, line) in BAD.items()
    }
    assert {path.stem for path in tree.data.images.iterdir()} == {f"a{number:03d}" for number in range(10)}
    assert {path.stem for path in tree.data_corrupted.images.iterdir()} == set(BAD)
    assert {path.stem for path in tree.data_corrupted.labels.iterdir()} == set(BAD) - {"missing"}
    assert {split: amount.images for split, amount in made.counts.items()} == {
        "train": 7,
        "valid": 2,
        "test": 1,
    }
    assert caplog.text.count("Corrupt pair left out") == len(BAD)
    # What a set of the good ones alone would have been.
    assert formed(tree).reused


def test_splits_are_those_of_the_good_images_alone(tmp_path: Path) -> None:
    clean = a_tree(tmp_path / "clean", 40)
    dirty = a_tree(tmp_path / "dirty", 40)
    for number in range(60):
        add(dirty.data, f"bad{number}", label="nonsense")
    assert formed(clean).hash == formed(dirty).hash
    assert manifest.verify(dirty.dataset("azaion-2026-11-20").root) == []


def test_the_list_of_corrupt_pairs_in_the_log_has_an_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = a_tree(tmp_path)
    for number in range(60):
        add(tree.data, f"bad{number}", label=None)
    assert len(formed(tree).manifest.corrupt) == 60
    assert caplog.text.count("Corrupt pair left out") == 50
    assert "More corrupt pairs were left out" in caplog.text


def test_odd_things_under_the_name_of_images(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    tree.data.image("folder").mkdir()
    os.mkfifo(tree.data.image("pipe"))
    (tree.data.images / "line\nbreak.jpg").write_bytes(jpeg())
    (tree.data.images / ".hidden.jpg").write_bytes(b"")
    (tree.data.images / "other.txt").write_bytes(b"")
    tree.data.label("folder").write_text(LABEL)
    tree.data.image("labelled").write_bytes(jpeg())
    tree.data.label("labelled").mkdir()
    made = formed(tree).manifest
    assert {one.name: one.reason for one in made.corrupt} == {
        "folder": "the image is no regular file",
        "pipe": "the image is no regular file",
        "line\nbreak": "the name has characters that cannot be printed",
        "labelled": "the label is no regular file",
    }
    assert made.images == 3


def test_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    add(tree.data, "portable", image=png())
    add(tree.data, "linked", image=png())
    tree.data.image("linked").rename(tmp_path / "elsewhere.png")
    tree.data.image("linked").symlink_to(tmp_path / "elsewhere.png")
    add(tree.data, "torn", image=png()[:40])
    made = formed(tree).manifest
    assert (made.images, [one.name for one in made.corrupt]) == (5, ["torn"])


def test_a_jpeg_without_its_end_is_encoded_anew(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 5)
    cut = real_jpeg()[:-2]
    for stem in ("cut1", "cut2"):
        add(tree.data, stem, image=cut)
    result = formed(tree)
    assert result.manifest.repaired == ("cut1", "cut2")
    assert tree.data.image("cut1").read_bytes() == cut
    dataset = tree.dataset(result.name).root
    (repaired,) = dataset.rglob("cut1.jpg")
    assert repaired.read_bytes().endswith(b"\xff\xd9")
    assert manifest.verify(dataset) == []
    assert formed(tree).reused


def test_where_links_are_refused_images_are_copied_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tree = a_tree(tmp_path, 10)
    tree.data.image("folder").mkdir()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    result = formed(tree)
    assert (result.manifest.copied, result.manifest.images) == (10, 10)
    assert [one.reason for one in result.manifest.corrupt] == ["the image is no regular file"]
    assert caplog.text.count("Images are copied") == 1
    for split in SPLITS:
        for stem in stems(tree, result.name, split):
            copy = tree.dataset(result.name).split(split).image(stem)
            assert copy.read_bytes() == tree.data.image(stem).read_bytes()
            assert not copy.samefile(tree.data.image(stem))


def test_an_image_that_goes_before_it_is_copied_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = a_tree(tmp_path, 5)

    def refuse(image: str, *_: object, **__: object) -> None:
        if image == "a003.jpg":
            tree.data.image("a003").unlink()
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    made = formed(tree).manifest
    assert (made.images, made.corrupt) == (4, ())


def test_what_the_disk_refuses_to_keep_is_no_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = a_tree(tmp_path, 5)

    def refuse(descriptor: int) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(durability._libc, "syncfs", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        formed(tree)
    assert [path.name for path in tree.datasets.iterdir()] == [".forming-by-hand"]


def test_file_systems_that_know_no_flags_for_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = a_tree(tmp_path, 5)

    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr(durability._libc, "renameat2", refuse)
    (tree.datasets / "azaion-2026-11-20").mkdir()
    assert formed(tree).name == "azaion-2026-11-20-2"


def test_other_trouble_with_the_rename_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = a_tree(tmp_path, 5)

    def refuse(*_: object) -> int:
        ctypes.set_errno(errno.EROFS)
        return -1

    monkeypatch.setattr(durability._libc, "renameat2", refuse)
    with pytest.raises(OSError, match="Read-only"):
        formed(tree)


def test_other_trouble_with_a_link_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = a_tree(tmp_path, 3)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(OSError, match="No space left"):
        formed(tree)
    monkeypatch.undo()
    assert formed(tree).manifest.images == 3


def test_variants_of_an_image_stay_together(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 20)
    for number in range(20):
        for variant in range(1, 8):
            add(tree.data, f"a{number:03d}_{variant}")
        add(tree.data, f"a{number:03d}_8")
    made = formed(tree)
    where = {entry.stem: entry.split for entry in manifest.entries(tree.dataset(made.name).root)}
    assert len(where) == 180
    for number in range(20):
        assert len({where[f"a{number:03d}"], *(where[f"a{number:03d}_{one}"] for one in range(1, 8))}) == 1
    assert {where[f"a{number:03d}_8"] == where[f"a{number:03d}"] for number in range(20)} == {True, False}


def test_variants_are_for_training_alone(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    for number in range(10):
        for suffix in ("", *(f"_{one}" for one in range(1, 8))):
            add(tree.data_processed, f"p{number}{suffix}")
    made = formed(tree, augmented=True).manifest
    assert (made.source, made.variants_left_out) == ("data-processed", 21)
    assert {split: amount.images for split, amount in made.counts.items()} == {
        "train": 56,
        "valid": 2,
        "test": 1,
    }


def test_variants_of_a_corrupt_original_do_not_pass_for_originals(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    for number in range(10):
        for suffix in ("", "_1", "_2"):
            add(tree.data_processed, f"p{number}{suffix}", label=None if number < 4 and not suffix else LABEL)
    made = formed(tree, augmented=True).manifest
    assert {split: amount.images for split, amount in made.counts.items()} == {
        "train": 15,
        "valid": 1,
        "test": 0,
    }
    dataset = tree.dataset("azaion-2026-11-20").root
    assert manifest.verify(dataset) == []
    assert not {entry.stem[:2] for entry in manifest.entries(dataset)} & {f"p{number}" for number in range(4)}


def test_where_the_borders_shift_variants_come_and_go_with_them(tmp_path: Path) -> None:
    tree = a_tree(tmp_path)
    for number in range(50):
        for suffix in ("", "_1", "_2"):
            add(tree.data_processed, f"p{number}{suffix}")
    clean = formed(tree, augmented=True)
    for stem in stems(tree, clean.name, "valid") | set(sorted(stems(tree, clean.name, "train"))[:3]):
        tree.data_processed.label(stem).unlink()
    dirty = formed(tree, augmented=True)
    # What remains, formed from the start.
    for number in range(50):
        if not tree.data_processed.image(f"p{number}").exists():
            for suffix in ("_1", "_2"):
                tree.data_processed.image(f"p{number}{suffix}").unlink(missing_ok=True)
    again = formed(tree, augmented=True)
    assert (again.hash, again.reused) == (dirty.hash, True)
    assert manifest.verify(tree.dataset(dirty.name).root) == []
    assert dirty.manifest.counts["valid"].images < clean.manifest.counts["valid"].images


def test_frames_of_a_medium_stay_together_when_asked_for(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 100)
    lines = [{"name": f"a{number:03d}", "medium": "wrong", "time": 1} for number in range(100)]
    lines += [{"name": f"a{number:03d}", "medium": f"film{number // 10}", "time": 1} for number in range(90)]
    lines += [{"name": f"a{number:03d}", "medium": None} for number in range(90, 100)]
    lines.append({"name": "unknown", "medium": "film0"})
    text = "\n".join(map(json.dumps, lines)) + '\n{"name": "a0'
    tree.queue.media.write_text(text)
    made = formed(tree, group_by="medium")
    # 9 films and 10 images of no film are 19 groups.
    assert (made.manifest.media.known, made.manifest.media.in_two_splits) == (9, 0)
    where = {entry.stem: entry.split for entry in manifest.entries(tree.dataset(made.name).root)}
    for film in range(9):
        assert len({where[f"a{film * 10 + frame:03d}"] for frame in range(10)}) == 1
    by_image = formed(tree).manifest
    assert by_image.media.known == 9
    assert by_image.media.in_two_splits > 4
    assert by_image.media.share == by_image.media.in_two_splits / 9


def test_other_percentages_and_another_seed(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 100)
    made = formed(tree, split=Percentages(50, 25, 25))
    assert [len(stems(tree, made.name, split)) for split in SPLITS] == [50, 25, 25]
    seeds = [formed(tree, seed=seed) for seed in (1, 2)]
    assert stems(tree, seeds[0].name, "valid") != stems(tree, seeds[1].name, "valid")


def at_step(wanted: str, action: Callable[[], object]) -> Callable[[str], None]:
    pending = [action]

    def step(name: str) -> None:
        if name == wanted and pending:
            pending.pop()()

    return step


def form_with(tree: Tree, step: Callable[[str], None], **options: Any) -> Formed:
    return form(tree, Options(**options), now=lambda: DAY, queue_wait_seconds=0.01, step=step)


def test_annotations_that_arrive_meanwhile_do_not_disturb(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)

    def arrive() -> None:
        add(tree.data, "new")
        for stem in ("a004", "a005"):
            tree.data_deleted.images.mkdir(parents=True, exist_ok=True)
            tree.data.image(stem).rename(tree.data_deleted.image(stem))
            tree.data.label(stem).rename(tree.data_deleted.label(stem))
        for stem in ("a000", "a006"):
            staged = tmp_path / "staged"
            staged.write_text("1 0.5 0.5 0.5 0.5\n")
            staged.replace(tree.data.label(stem))

    result = form_with(tree, at_step("label written", arrive))
    dataset = tree.dataset(result.name).root
    found = {entry.stem: entry.label_sha256 for entry in manifest.entries(dataset)}
    old, new = (hashlib.sha256(text.encode()).hexdigest() for text in (LABEL, "1 0.5 0.5 0.5 0.5\n"))
    assert found.keys() == {f"a{number:03d}" for number in (0, 1, 2, 3, 6, 7, 8, 9)}
    assert (found["a000"], found["a006"]) == (old, new)
    assert manifest.verify(dataset) == []
    assert result.manifest.corrupt == ()


def test_a_pair_that_is_mended_in_time_stays(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    add(tree.data, "mended", label="nonsense")
    result = form_with(tree, at_step("synced", lambda: tree.data.label("mended").write_text(LABEL)))
    assert [one.name for one in result.manifest.corrupt] == ["mended"]
    assert tree.data.image("mended").exists()
    assert tree.data.label("mended").read_text() == LABEL
    assert not tree.data_corrupted.image("mended").exists()
    assert formed(tree).manifest.images == 4


@pytest.mark.parametrize("kept_by", ["lock", "group"])
def test_nothing_is_moved_while_the_queue_is_at_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kept_by: str
) -> None:
    tree = a_tree(tmp_path, 3)
    for stem in ("bad1", "bad2"):
        add(tree.data, stem, label="nonsense")
    with contextlib.ExitStack() as stack:
        if kept_by == "lock":
            lock = stack.enter_context(tree.queue.tree_lock.open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        else:
            tree.queue.group.write_text("{}")
        made = formed(tree).manifest
    assert ([one.name for one in made.corrupt], made.images) == (["bad1", "bad2"], 3)
    assert tree.data.image("bad1").exists()
    assert tree.data.label("bad2").exists()
    assert caplog.text.count("Corrupt pairs stay where they are") == 1
    tree.queue.group.unlink(missing_ok=True)
    formed(tree)
    assert not tree.data.image("bad1").exists()
    assert tree.data_corrupted.label("bad2").exists()


def test_the_lock_is_held_while_a_pair_moves_and_at_no_other_step(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    for stem in ("bad1", "bad2"):
        add(tree.data, stem, label="nonsense")
    held: dict[str, set[bool]] = {}

    def probe(name: str) -> None:
        with tree.queue.tree_lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = False
            except BlockingIOError:
                locked = True
        held.setdefault(name, set()).add(locked)

    form_with(tree, probe)
    assert {name for name, states in held.items() if states == {True}} == {
        "corrupt image moved",
        "corrupt label moved",
    }
    assert all(states in ({True}, {False}) for states in held.values())


def test_a_half_moved_pair_is_moved_on(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    add(tree.data_corrupted, "half", label=None)
    add(tree.data, "half", label="nonsense")
    tree.data.image("half").unlink()
    add(tree.data_corrupted, "unlabelled", label=None)
    formed(tree)
    assert tree.data_corrupted.label("half").read_text() == "nonsense"
    assert not tree.data.label("half").exists()
    assert not tree.data_corrupted.label("unlabelled").exists()


def test_an_older_bad_label_does_not_pass_for_the_new_one(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    add(tree.data_corrupted, "again", label="old nonsense")
    add(tree.data, "again", image=jpeg(padding=7), label=None)
    formed(tree)
    assert tree.data_corrupted.image("again").read_bytes() == jpeg(padding=7)
    assert not tree.data_corrupted.label("again").exists()


def test_two_processes_for_one_run_do_not_meet(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    refusals = []

    def second() -> None:
        with pytest.raises(FormingElsewhereError) as refused:
            formed(tree, run_uid="uid")
        refusals.append(str(refused.value))

    assert form_with(tree, at_step("files.txt written", second), run_uid="uid").manifest.images == 3
    assert "Another process is forming a dataset in" in refusals[0]


def test_what_others_left_long_ago_is_removed(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 3)
    old, recent, live = (tree.dataset_in_making(uid).root for uid in ("old", "recent", "live"))
    for folder in (old, recent, live):
        (folder / "train").mkdir(parents=True)
    for folder in (old, live):
        os.utime(folder, (0, 0))
    descriptor = os.open(live, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        formed(tree)
    finally:
        os.close(descriptor)
    assert (old.exists(), recent.exists(), live.exists()) == (False, True, True)


class Killed(BaseException):
    pass


def kill() -> None:
    raise Killed


def test_a_run_killed_before_the_rename_goes_on_with_what_it_had(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 6)
    add(tree.data, "bad", label="nonsense")
    with pytest.raises(Killed):
        form_with(tree, at_step("corrupt image moved", kill), run_uid="uid")
    add(tree.data, "later")
    result = formed(tree, run_uid="uid")
    assert ([one.name for one in result.manifest.corrupt], result.manifest.images) == (["bad"], 6)
    assert not list(tree.datasets.glob(".*"))


@pytest.mark.parametrize("other", [{"seed": 3}, {"split": Percentages(50, 40, 10)}, {"group_by": "medium"}])
def test_leftovers_of_another_request_are_not_used(tmp_path: Path, other: dict[str, Any]) -> None:
    tree = a_tree(tmp_path, 6)
    with pytest.raises(Killed):
        form_with(tree, at_step("synced", kill), run_uid="uid")
    add(tree.data, "later")
    assert formed(tree, run_uid="uid", **other).manifest.images == 7


def test_by_hand_leftovers_are_made_anew(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 6)
    with pytest.raises(Killed):
        form_with(tree, at_step("synced", kill))
    add(tree.data, "later")
    assert formed(tree).manifest.images == 7


def test_existing_is_asked_without_forming(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 6)
    assert forming.existing(tree, Options(name="x", run_uid="uid")) is None
    formed(tree, name="x")
    found = forming.existing(tree, Options(name="x"))
    assert found is not None
    assert found.reused


def test_progress_is_told_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("azaion_jobs.dataset.snapshot._TOLD_EVERY", 5)
    with caplog.at_level(logging.INFO):
        formed(a_tree(tmp_path, 10))
    assert caplog.text.count("Forming the dataset") == 2


def test_the_source_is_as_it_was(tmp_path: Path) -> None:
    tree = a_tree(tmp_path, 10)
    before = files_below(tree.data.root)
    formed(tree)
    assert files_below(tree.data.root) == before
