"""The two images everything stands on, made on this machine since no registry can be asked for them."""

from __future__ import annotations

import hashlib
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import commands, files, node, progress
from azaion_devcluster.buildah import Buildah

if TYPE_CHECKING:
    from azaion_devcluster.paths import Cache
    from azaion_devcluster.registry import Registry

_SUITE = "bookworm"
_PACKAGES = ("ca-certificates", "python3", "python3-venv")
# Nobody reads manuals in a container.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def ensure_pause(cache: Cache, registry: Registry) -> None:
    """The program every pod's sandbox runs; a cluster needs its image before the first pod."""
    repository, _, tag = node.PAUSE_IMAGE.removeprefix(f"{node.REGISTRY_NAME}/").partition(":")
    if registry.has(repository, tag):
        return
    image, buildah = f"localhost/{repository}:{tag}", Buildah(cache)
    with files.locked(cache.root / "images.lock"), tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "pause")
        source = resources.files("azaion_devcluster").joinpath("pause.c").read_text()
        commands.run(["gcc", "-static", "-Os", "-s", "-o", program, "-x", "c", "-"], stdin=source)
        Path(folder, "Dockerfile").write_text('FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n')
        buildah.build(image, Path(folder))
        with registry.serving() as address:
            buildah.push(image, address, f"{repository}:{tag}")


def base_image() -> str:
    """Name of the base image; it changes with what goes into it."""
    recipe = " ".join((_SUITE, *_PACKAGES, *_LEFT_OUT))
    return f"localhost/azaion/base:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def ensure_base(cache: Cache) -> str:
    """Debian with Python, in place of the public slim image."""
    image, buildah = base_image(), Buildah(cache)
    if buildah.has(image):
        return image
    with tempfile.TemporaryDirectory(dir=cache.root) as folder, progress.step("building the base image"):
        commands.run_logged(
            [
                "mmdebstrap",
                "--variant=minbase",
                f"--include={','.join(_PACKAGES)}",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
                _SUITE,
                Path(folder, "base.tar"),
            ],
            log=cache.logs / "base.log",
            failure="The base image could not be made from Debian's packages",
        )
        Path(folder, "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        buildah.build(image, Path(folder))
    return image
