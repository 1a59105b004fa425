"""The images on a real kubelet: they start hardened, hold what they need, and nothing that is secret."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from azaion_devcluster import Images, ground
from azaion_devcluster.buildah import Buildah
from azaion_devcluster.images import RECIPES
from azaion_devcluster.paths import Cache
from support import pods

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.kubectl import Kubectl

pytestmark = pytest.mark.timeout(1800)
REPOSITORY = Path(__file__).parents[2]
NAMES = [recipe.name for recipe in RECIPES]


@pytest.mark.parametrize(
    ("name", "role"), [("training", "train"), ("annotation-queue", "queue"), ("monitor", "monitor")]
)
def test_an_image_holds_what_its_role_imports(
    namespace: Kubectl, image: Callable[[str], str], name: str, role: str
) -> None:
    namespace.apply(pods.pod("check", image(name), "-m", "azaion_jobs", "self-check", role))

    pods.await_success(namespace, "check", deadline=600)

    (line,) = namespace("logs", "check").splitlines()
    assert json.loads(line)["level"] == "INFO", line


@pytest.mark.parametrize("name", [name for name in NAMES if name != "devstack"])
def test_an_image_holds_no_tool_to_build_or_install_with(
    namespace: Kubectl, image: Callable[[str], str], name: str
) -> None:
    namespace.apply(pods.pod("look", image(name), "-c", _LOOK_FOR_TOOLS))

    pods.await_success(namespace, "look", deadline=600)

    assert namespace("logs", "look") == "[]\n"


_LOOK_FOR_TOOLS = """
import importlib.util, os, shutil
programs = [name for name in ('uv', 'pip', 'pip3', 'gcc', 'cc', 'make', 'git') if shutil.which(name)]
modules = [name for name in ('pip', 'uv', 'pytest') if importlib.util.find_spec(name)]
folders = [name for name in ('/opt/tools', '/src') if os.path.exists(name)]
print(programs + modules + folders)
"""


def test_what_has_not_changed_is_neither_built_nor_pushed(
    image: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = image("operator")

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("something was built or pushed again")

    monkeypatch.setattr(Buildah, "build", refuse)
    monkeypatch.setattr(Buildah, "push", refuse)
    assert Images(REPOSITORY, Cache.default()).ensure("operator") == {"operator": reference}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files git would take along."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = REPOSITORY / name, tmp_path / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_marker_in_env_files_is_in_no_layer(image: Callable[[str], str], checkout: Path, name: str) -> None:
    """With the marker every layer is, byte for byte, what it is without: so it is in none of them."""
    # Leaves the large layers for the two builds below to use.
    image(name)
    clean = _layers(checkout, name)
    _put_markers(checkout)

    assert _layers(checkout, name) == clean


def test_the_comparison_would_see_a_marker(image: Callable[[str], str], checkout: Path) -> None:
    """Without .dockerignore the marker comes into the image and changes a layer."""
    image("operator")
    (checkout / ".dockerignore").unlink()
    clean = _layers(checkout, "operator")
    _put_markers(checkout)

    assert _layers(checkout, "operator") != clean


def _put_markers(checkout: Path) -> None:
    """Where people put such files, and where an image copies from."""
    for folder in (".", "jobs", "jobs/src/azaion_jobs", "operator/src/azaion_operator", "images/devstack"):
        (checkout / folder / ".env").write_text(f"AZAION_API_PASSWORD=marker-{uuid.uuid4().hex}\n")


def _layers(checkout: Path, name: str) -> list[str]:
    cache = Cache.default()
    buildah, tag = Buildah(cache), f"localhost/azaion/{name}:compared"
    base = {"BASE_IMAGE": ground.ensure_base(cache)}
    buildah.build(tag, checkout, dockerfile=checkout / "images" / name / "Dockerfile", arguments=base)
    try:
        return buildah.layers(tag)
    finally:
        buildah.remove(tag)
