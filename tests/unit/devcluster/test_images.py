"""An image's tag is its content: it changes with what goes in, and with nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from azaion_devcluster.errors import DevclusterError
from azaion_devcluster.images import RECIPES, Images
from azaion_devcluster.paths import Cache

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for recipe in RECIPES:
        for place in (
            f"images/{recipe.name}/Dockerfile",
            *(f"{p}/file.py" if p.endswith("src") else p for p in recipe.inputs),
        ):
            path = tmp_path / "checkout" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(place)
    return tmp_path / "checkout"


@pytest.fixture
def images(checkout: Path, tmp_path: Path) -> Images:
    return Images(checkout, Cache(tmp_path / "cache"))


def _tags(images: Images) -> dict[str, str]:
    return {recipe.name: images.tag(recipe) for recipe in RECIPES}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("jobs/src/file.py", {"operator", "training", "annotation-queue", "monitor"}),
        ("operator/src/file.py", {"operator"}),
        ("images/devstack/Dockerfile", {"devstack"}),
        ("uv.lock", {"operator", "training", "annotation-queue", "monitor"}),
        (".env", set()),
        ("jobs/src/__pycache__/file.pyc", set()),
        ("README.md", set()),
    ],
)
def test_a_change_gives_new_tags_to_the_images_it_goes_into(
    images: Images, checkout: Path, changed: str, expected: set[str]
) -> None:
    before = _tags(images)
    (checkout / changed).parent.mkdir(exist_ok=True)
    (checkout / changed).write_text("changed")
    after = _tags(images)
    assert {name for name in before if before[name] != after[name]} == expected


def test_a_renamed_file_counts_as_a_change(images: Images, checkout: Path) -> None:
    before = _tags(images)
    (checkout / "operator/src/file.py").rename(checkout / "operator/src/other.py")
    assert _tags(images)["operator"] != before["operator"]


def test_an_unknown_image_is_named(images: Images) -> None:
    with pytest.raises(DevclusterError, match=r"no image 'trainer': the images are operator, training,"):
        images.ensure("trainer")
