"""What is formed here passes the scan of the library that trains on it: nothing dropped, nothing repaired."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from azaion_jobs.dataset.forming import Options, form
from azaion_jobs.dataset.labels import FlawError, classes_of
from azaion_jobs.tree import SPLITS
from support.annotated_tree import LABEL, a_tree, add, png, real_jpeg

Scan = Callable[[Path, Path], str]

LABELS = (
    *(LABEL, "", "\n", "  \n\n", "79 1 1 1 1\n", "0 0 0 1e-9 1e-9\n", "\ufeff3 .5 .5 .5 .5\r\n"),
    *("4.0 0.5 0.5 0.5 0.5", "0 0.99 0.5 0.2 0.1", "0 1.0 1.0 1.0 1.0\n1 .1 .1 .1 .1\n\n"),
    *("80 .5 .5 .5 .5", "-1 .5 .5 .5 .5", "0 1.02 .5 .5 .5", "0 -.5 .5 .5 .5", "0 .5 .5 .5", "0 a b c d"),
    *("0 .5 .5 nan .5", "0 .5 .5 .5 .5 .5 .5", "0.5 .5 .5 .5 .5", "0 inf .5 .5 .5", "0 .5 .5 .5 -.1"),
)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scan]:
    """Returns what the library has to say against a pair; empty if nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLO_CONFIG_DIR", str(tmp_path_factory.mktemp("settings")))
        patch.setenv("YOLO_OFFLINE", "true")
        patch.setenv("YOLO_AUTOINSTALL", "false")
        from ultralytics.data.utils import verify_image_label  # noqa: PLC0415

        def scanned(image: Path, label: Path) -> str:
            result: Any = verify_image_label((str(image), str(label), "", False, 80, 0, 0, False))
            missing, _, _, corrupt, message = result[5:]
            return f"missing={missing} corrupt={corrupt} {message}" if missing or corrupt or message else ""

        yield scanned


def test_the_library_has_nothing_against_a_dataset(tmp_path: Path, scan: Scan) -> None:
    tree = a_tree(tmp_path)
    pixels = real_jpeg()
    for number, label in enumerate(LABELS):
        add(tree.data, f"label{number}", image=pixels, label=label)
    for name, image in {
        "cut": pixels[:-2],
        "half": pixels[: len(pixels) // 2],
        "longer": pixels + b"\n",
        "png": png(),
        "tiny": real_jpeg(9, 9),
        "small": real_jpeg(10, 10),
        "empty": b"",
        "text": b"text",
    }.items():
        add(tree.data, name, image=image)
    for suffix in (".bmp", ".tiff", ".webp"):
        written, encoded = cv2.imencode(suffix, np.zeros((20, 30, 3), np.uint8))
        assert written
        add(tree.data, suffix[1:], image=encoded.tobytes())
    result = form(tree, Options(name="d"))
    assert set(result.manifest.repaired) == {"cut", "half", "longer"}
    dataset = tree.dataset("d")
    pairs = [
        (path, dataset.split(split).label(path.stem))
        for split in SPLITS
        for path in dataset.split(split).images.iterdir()
    ]
    assert len(pairs) == result.manifest.images == 10 + 8
    assert {str(image): scan(image, label) for image, label in pairs if scan(image, label)} == {}


@pytest.mark.parametrize("label", LABELS)
def test_no_label_is_good_here_and_bad_there(tmp_path: Path, scan: Scan, label: str) -> None:
    (tmp_path / "a.jpg").write_bytes(real_jpeg())
    (tmp_path / "a.txt").write_text(label, encoding="utf-8")
    try:
        classes_of(label.encode())
    except FlawError:
        return
    assert scan(tmp_path / "a.jpg", tmp_path / "a.txt") == ""


def test_the_library_reads_the_description(tmp_path: Path, scan: Scan) -> None:
    from ultralytics.data.utils import check_det_dataset  # noqa: PLC0415

    tree = a_tree(tmp_path, 10)
    dataset = tree.dataset(form(tree, Options(name="d")).name)
    read = check_det_dataset(str(dataset.description), autodownload=False)
    assert [Path(read[name]) for name in ("train", "val", "test")] == [
        dataset.split(split).images for split in SPLITS
    ]
    assert (read["nc"], len(read["names"])) == (80, 80)
    assert read["names"] == yaml.safe_load(dataset.description.read_text(encoding="utf-8"))["names"]


def test_a_dataset_on_another_file_system(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("There is no second file system here.")
    tree = a_tree(tmp_path, 5)
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        tree.datasets.rmdir()
        tree.datasets.symlink_to(elsewhere)
        result = form(tree, Options())
        assert (result.manifest.images, result.manifest.copied) == (5, 5)
        assert form(tree, Options()).reused
    assert caplog.text.count("Images are copied") == 2
