"""The parts of a dataset that are pure: labels, images by their head, classes, boxes, the division."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from azaion_jobs.dataset import boxes, classes, images, media
from azaion_jobs.dataset.assignment import Percentages, assign, original_of, split_of_each
from azaion_jobs.dataset.boxes import Box
from azaion_jobs.dataset.errors import ClassesError
from azaion_jobs.dataset.labels import MOST_BYTES, Flaw, FlawError, classes_of
from support.annotated_tree import jpeg, png

STEMS = st.sets(st.text("abc_12", min_size=1, max_size=6), max_size=60)
SPLIT = st.integers(1, 98).flatmap(
    lambda valid: st.integers(0, 99 - valid).map(lambda test: Percentages(100 - valid - test, valid, test))
)
SEEDS = st.integers(0, 2**32 - 1)


@hypothesis.given(STEMS, SEEDS, SPLIT)
def test_each_group_has_one_split_and_the_counts_add_up(
    stems: set[str], seed: int, split: Percentages
) -> None:
    assigned = assign(stems, seed, split)
    valid, test = split.counts(len(stems))
    found = list(assigned.values())
    assert assigned.keys() == stems
    assert (found.count("valid"), found.count("test")) == (valid, test)
    assert found.count("train") == len(stems) - valid - test
    assert valid == max(len(stems) * split.valid // 100, 1 if len(stems) > 1 else 0)
    share = len(stems) * split.test // 100
    assert test == share or (test, valid, len(stems) - valid - test) == (share - 1, 1, 1)
    assert not stems or "train" in found


@hypothesis.given(STEMS, STEMS, SEEDS, SPLIT)
def test_growth_changes_the_split_of_few_and_the_order_of_none(
    old: set[str], new: set[str], seed: int, split: Percentages
) -> None:
    before, after = assign(old, seed, split), assign(old | new, seed, split)
    added = len(new - old)
    changed = [stem for stem in old if before[stem] != after[stem]]
    assert len(changed) <= 4 * added
    order = ("valid", "test", "train")
    for one in old:
        for other in old:
            if order.index(before[one]) < order.index(before[other]):
                assert order.index(after[one]) <= order.index(after[other])


@hypothesis.given(STEMS, SEEDS)
def test_a_group_is_never_divided(stems: set[str], seed: int) -> None:
    splits = split_of_each(stems, seed, Percentages())
    assert splits.keys() == stems
    for stem in stems:
        original = original_of(stem, stems)
        assert original in stems
        assert splits[original] == splits[stem]


def test_an_old_dataset_of_a_thousand_keeps_nearly_all_when_it_grows() -> None:
    before = assign([f"image{number}" for number in range(1000)], 0, Percentages())
    after = assign([f"image{number}" for number in range(1400)], 0, Percentages())
    assert sum(before[stem] != after[stem] for stem in before) < 60


def test_the_order_is_that_of_sha256() -> None:
    # By sha256sum of 0/a to 0/j.
    names = "gfcjbeidah"
    splits = assign("abcdefghij", 0, Percentages())
    assert [splits[name] for name in names] == ["valid"] * 2 + ["test"] + ["train"] * 7


@pytest.mark.parametrize(
    ("stem", "original"),
    [
        ("a_1", "a"),
        ("a_7", "a"),
        ("a_8", "a_8"),
        ("a_0", "a_0"),
        ("a_1_2", "a"),
        ("b_1", "b_1"),
        ("_1", "_1"),
    ],
)
def test_variants_know_their_original(stem: str, original: str) -> None:
    assert original_of(stem, {"a", "a_1", "a_7", "a_8", "a_0", "a_1_2", "b_1", "_1"}) == original


@pytest.mark.parametrize("parts", [(0, 100, 0), (100, 0, 0), (70, 20, 11), (80, 30, -10)])
def test_impossible_percentages(parts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="is impossible"):
        Percentages(*parts)


@pytest.mark.parametrize(
    ("label", "found"),
    [
        (b"", []),
        (b"\n \n", []),
        (b"0 0.5 0.5 1.0 1.0\n79 0 0 0.1 0.1", [0, 79]),
        (b"\xef\xbb\xbf3 1 1 1 1\r\n4.0 1e-3 .5 0.5 0.5\n\n", [3, 4]),
        (b"  7   0.5\t0.5 0.5  0.5  \n", [7]),
        # Over the edge of the image is fine.
        (b"0 0.99 0.5 0.2 0.1", [0]),
    ],
)
def test_good_labels(label: bytes, found: list[int]) -> None:
    assert classes_of(label) == found


@pytest.mark.parametrize(
    ("label", "reason", "line"),
    [
        ("0 0.5 0.5 0.2", "4 columns instead of 5", 1),
        ("0 0.5 0.5 0.2 0.1 0.9", "6 columns instead of 5", 1),
        ("0 .5 .5 .2 .1\n\n0 .5 .5 .2 .1", "0 columns instead of 5", 2),
        ("x 0.5 0.5 0.2 0.1", "'x' is not a number", 1),
        ("0 0.5 0.5 0,2 0.1", "'0,2' is not a number", 1),
        ("0 0.5 0.5 0_2 0.1", "'0_2' is not a number", 1),
        ("0 .5 .5 .2 .1\n1_0 0.5 0.5 0.2 0.1", "'1_0' is not a number", 2),
        ("٣ 0.5 0.5 0.2 0.1", "'٣' is not a number", 1),
        ("-1 0.5 0.5 0.2 0.1", "the class -1 is not a whole number from 0 to 79", 1),
        ("80 0.5 0.5 0.2 0.1", "the class 80 is not a whole number from 0 to 79", 1),
        ("0.5 0.5 0.5 0.2 0.1", "the class 0.5 is not a whole number from 0 to 79", 1),
        ("nan 0.5 0.5 0.2 0.1", "the class nan is not a whole number from 0 to 79", 1),
        ("inf 0.5 0.5 0.2 0.1", "the class inf is not a whole number from 0 to 79", 1),
        ("0 nan 0.5 0.2 0.1", "x is nan, but must be from 0 to 1", 1),
        ("0 0.5 inf 0.2 0.1", "y is inf, but must be from 0 to 1", 1),
        ("0 0.5 0.5 1.0000001 0.1", "width is 1, but must be from 0 to 1", 1),
        ("0 0.5 0.5 0.2 -0.1", "height is -0.1, but must be from 0 to 1", 1),
        ("0 0.5 0.5 0 0.1", "the box has no width", 1),
        ("0 0.5 0.5 0.1 0.0", "the box has no height", 1),
        ("0" * MOST_BYTES + "0", "the label is larger than 4 MiB", None),
    ],
)
def test_bad_labels(label: str, reason: str, line: int | None) -> None:
    with pytest.raises(FlawError) as refused:
        classes_of(label.encode())
    assert refused.value.flaw == Flaw(reason, line)


@hypothesis.given(st.binary(max_size=60))
def test_any_bytes_are_a_label_or_a_flaw(content: bytes) -> None:
    try:
        found = classes_of(content)
    except FlawError:
        return
    assert all(0 <= one < 80 for one in found)


@pytest.fixture
def checked(tmp_path: Path) -> Callable[[bytes], bool]:
    def check(content: bytes) -> bool:
        (tmp_path / "image").write_bytes(content)
        descriptor = os.open(tmp_path / "image", os.O_RDONLY)
        try:
            return images.check_open(descriptor)
        finally:
            os.close(descriptor)

    return check


def with_segments(*segments: bytes) -> bytes:
    whole = jpeg()
    return whole[:2] + b"".join(segments) + whole[2:]


def segment(length: int, marker: int = 0xE1) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", length) + bytes(length - 2)


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (jpeg(), True),
        (jpeg(end=False), False),
        (jpeg() + b"\n", False),
        (jpeg(padding=10_000), True),
        (with_segments(segment(65_000), segment(65_000)), True),
        (with_segments(segment(4090)), True),
        (with_segments(b"\xff\xff\xff", b"\xff\x01"), True),
        (png(), True),
    ],
)
def test_good_images(checked: Callable[[bytes], bool], content: bytes, whole: bool) -> None:
    assert checked(content) is whole


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        jpeg()[:24],
        with_segments(segment(65_000))[:4096],
        with_segments(b"\xff\xe1\x00\x00"),
        with_segments(b"\x00\x00\x00\x00"),
        with_segments(b"\xff" * 20_000),
        b"<html></html>",
        b"GIF89a" + bytes(100),
        png()[:30],
        b"BM" + bytes(3),
        b"RIFF" + bytes(60),
        b"II*\0" + bytes(60),
        b"MM\0*",
    ],
)
def test_unreadable_images(checked: Callable[[bytes], bool], content: bytes) -> None:
    with pytest.raises(FlawError, match="the header of the image cannot be read"):
        checked(content)


@pytest.mark.parametrize("content", [jpeg(9, 100), jpeg(100, 9), png(9, 9)])
def test_images_too_small_to_train_on(checked: Callable[[bytes], bool], content: bytes) -> None:
    with pytest.raises(FlawError, match="needs at least 10 on each side"):
        checked(content)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "must be a list with at least one class"),
        ("[]", "must be a list with at least one class"),
        ("[1]", "class number 1 in the list: it must be an object"),
        ('[{"Name": "a"}]', "Id must be a whole number from 0 to 19"),
        ('[{"Id": true, "Name": "a"}]', "Id must be a whole number from 0 to 19"),
        ('[{"Id": 20, "Name": "a"}]', "Id must be a whole number from 0 to 19"),
        ('[{"Id": 1}]', "Name must be printable text"),
        ('[{"Id": 1, "Name": " "}]', "Name must be printable text"),
        ('[{"Id": 1, "Name": "a"}, {"Id": 1, "Name": "b"}]', "has the Id 1 twice"),
    ],
)
def test_invalid_classes(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "classes.json"
    file.write_text(text)
    with pytest.raises(ClassesError, match=problem) as refused:
        classes.read(file)
    assert str(file) in str(refused.value)


def test_twenty_classes_fill_sixty_slots(tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    file.write_text(json.dumps([{"Id": one, "Name": f"c{one}", "More": 1} for one in range(20)]))
    names = classes.read(file).names
    assert names[:20] == tuple(f"c{one}" for one in range(20))
    assert names[20:40] == tuple(f"c{one}(Wint)" for one in range(20))
    assert names[60:] == tuple(f"Class-{slot}" for slot in range(60, 80))


@pytest.mark.parametrize("text", ["", "names: 3", "{", "names: {a: b}"])
def test_names_of_an_unreadable_description_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    assert classes.names_in(tmp_path / "data.yaml") == {}


@pytest.mark.parametrize(
    ("line", "corrected"),
    [
        ("0 0.99 0.5 0.2 0.1", "0 0.944750 0.500000 0.109500 0.100000\n"),
        ("5 0.5 0.5 1 1", "5 0.500000 0.500000 0.999000 0.999000\n"),
        ("0 0.5 0.5 0.2 0.1", "0 0.500000 0.500000 0.200000 0.100000\n"),
        ("0 0.5 0.5 0.2 0.009", ""),
        ("0 1 0.5 0.02 0.5", ""),
        ("", ""),
    ],
)
def test_boxes_are_cut_at_the_edge(line: str, corrected: str) -> None:
    assert boxes.label(boxes.correct(boxes.parse(line.encode()))) == corrected.encode()


@hypothesis.given(
    st.lists(
        st.builds(Box, st.integers(0, 79), *[st.floats(0, 1)] * 2, *[st.floats(0, 1, exclude_min=True)] * 2)
    )
)
def test_corrected_labels_are_good_and_stay_inside(found: list[Box]) -> None:
    label = boxes.label(boxes.correct(found))
    assert len(classes_of(label)) <= len(found)
    for box in boxes.parse(label):
        assert box.x - box.width / 2 >= boxes.EDGE - 1e-6
        assert box.y + box.height / 2 <= 1 - boxes.EDGE + 1e-6


def test_unreadable_lines_about_media_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "media.jsonl"
    file.write_text('{"name": "a", "medium": "m"}\n[]\n\n3\n{"name": 1, "medium": "m"}\n{"name": "b"}\n')
    assert media.read(file, {"a", "b"}) == {"a": "m"}
    assert "Lines about media could not be read" in caplog.text
    assert media.read(tmp_path / "none.jsonl", {"a"}) == {}


def test_a_medium_in_two_splits_counts_once() -> None:
    known = {"a": "m", "b": "m", "c": "m", "d": "n"}
    splits = {"a": "train", "b": "valid", "c": "test", "d": "train", "e": "valid"}
    assert media.in_two_splits(known, splits) == (2, 1)
