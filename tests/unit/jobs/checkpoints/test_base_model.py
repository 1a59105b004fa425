from pathlib import Path

import pytest

from azaion_jobs.training.base_model import BaseModelError, find, of_dated, place
from azaion_jobs.tree import ModelsFolder, RunFolder

DATED = "azaion-2026-03-28-2"


@pytest.fixture
def models(tmp_path: Path) -> ModelsFolder:
    return ModelsFolder(tmp_path)


def put(path: Path, content: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("yolo26m.pt", "yolo26m.pt"),
        ("azaion.pt", "azaion.pt"),
        (DATED, f"{DATED}/weights/best.pt"),
        (DATED, f"{DATED}/best.pt"),
        ("own.yaml", "own.yaml"),
    ],
)
def test_where_a_name_leads(models: ModelsFolder, name: str, file: str) -> None:
    path = put(models.root / file)
    assert find(models, name).file == path


def test_an_architecture_of_ultralytics_needs_no_file(models: ModelsFolder) -> None:
    assert find(models, "yolo26n.yaml").file is None


def test_the_newer_layout_counts_where_both_are(models: ModelsFolder) -> None:
    put(models.root / DATED / "best.pt")
    newer = put(models.root / DATED / "weights" / "best.pt")
    assert find(models, DATED).file == newer


@pytest.mark.parametrize("name", ["yolo26x.pt", "azaion.pt", DATED])
def test_a_missing_model_is_named_with_its_place(models: ModelsFolder, name: str) -> None:
    with pytest.raises(BaseModelError, match=str(models.root)):
        find(models, name)


def test_an_empty_model_is_refused(models: ModelsFolder) -> None:
    put(models.root / "yolo26m.pt", b"")
    with pytest.raises(BaseModelError, match="is empty"):
        find(models, "yolo26m.pt")


@pytest.mark.parametrize("folder", ["", "weights"])
def test_the_last_of_a_dated_model(models: ModelsFolder, folder: str) -> None:
    path = put(models.root / DATED / folder / "last.pt")
    assert of_dated(models, DATED, best=False) == path
    with pytest.raises(BaseModelError, match=r"has no best\.pt"):
        of_dated(models, DATED, best=True)


def test_every_start_finds_the_same_copy(models: ModelsFolder) -> None:
    put(models.current_weights, b"the first")
    run = RunFolder(models.root / DATED)
    run.root.mkdir()
    copy = place(find(models, "azaion.pt"), run)
    assert copy is not None
    put(models.current_weights, b"promoted meanwhile")
    assert place(find(models, "azaion.pt"), run) == copy
    assert copy.read_bytes() == b"the first"


def test_a_damaged_copy_is_made_anew_from_the_same_original(models: ModelsFolder) -> None:
    put(models.root / "yolo26m.pt")
    run = RunFolder(models.root / DATED)
    run.root.mkdir()
    copy = place(find(models, "yolo26m.pt"), run)
    assert copy is not None
    copy.write_bytes(b"damaged")
    place(find(models, "yolo26m.pt"), run)
    assert copy.read_bytes() == b"weights"


def test_a_damaged_copy_of_what_has_changed_is_refused(models: ModelsFolder) -> None:
    put(models.current_weights, b"the first")
    run = RunFolder(models.root / DATED)
    run.root.mkdir()
    copy = place(find(models, "azaion.pt"), run)
    assert copy is not None
    copy.write_bytes(b"damaged")
    put(models.current_weights, b"another")
    with pytest.raises(BaseModelError, match="Start a new run"):
        place(find(models, "azaion.pt"), run)
