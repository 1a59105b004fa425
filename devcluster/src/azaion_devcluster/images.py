"""Builds the project's images and publishes them for the clusters of this machine.

An image's tag is the hash of all that goes into it, so what has not changed is neither built, pushed nor
pulled again; inside a changed image the same holds for each layer.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import disk, files, ground, host, progress
from azaion_devcluster.buildah import Buildah
from azaion_devcluster.errors import DevclusterError
from azaion_devcluster.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from azaion_devcluster.paths import Cache

_WORKSPACE = (
    ".dockerignore",
    "pyproject.toml",
    "uv.lock",
    "operator/pyproject.toml",
    "jobs/pyproject.toml",
    "devcluster/pyproject.toml",
)


@dataclass(frozen=True)
class Recipe:
    """One image: its Dockerfile is images/NAME/Dockerfile, its context the repository."""

    name: str
    # Files and folders, from the repository's root, that its Dockerfile copies.
    inputs: tuple[str, ...]
    # Room that building and publishing takes.
    gigabytes: int


RECIPES = (
    Recipe("operator", (*_WORKSPACE, "operator/src", "jobs/src"), gigabytes=3),
    Recipe("training", (*_WORKSPACE, "jobs/src"), gigabytes=20),
    Recipe("annotation-queue", (*_WORKSPACE, "jobs/src"), gigabytes=3),
    Recipe("monitor", (*_WORKSPACE, "jobs/src"), gigabytes=3),
    Recipe("devstack", (".dockerignore",), gigabytes=4),
)


class Images:
    """The images of one checkout."""

    def __init__(self, repository: Path, cache: Cache) -> None:
        self._repository = repository
        self._cache = cache

    def ensure(self, *names: str) -> dict[str, str]:
        """Builds and publishes the named images (all of them without names); their references by name."""
        if unknown := sorted(set(names) - {recipe.name for recipe in RECIPES}):
            known = ", ".join(recipe.name for recipe in RECIPES)
            raise DevclusterError(f"There is no image '{unknown[0]}': the images are {known}.")
        host.demand_root("Building images")
        registry = Registry(self._cache, host.ensure_packages(self._cache, "images"))
        references = {}
        for recipe in RECIPES:
            if names and recipe.name not in names:
                continue
            repository, tag = f"azaion/{recipe.name}", self.tag(recipe)
            with files.locked(self._cache.root / "images.lock"):
                if not registry.has(repository, tag):
                    self._make(recipe, registry, repository, tag)
            references[recipe.name] = Registry.reference(repository, tag)
        return references

    def _make(self, recipe: Recipe, registry: Registry, repository: str, tag: str) -> None:
        disk.demand(self._cache.root, gigabytes=recipe.gigabytes, purpose=f"Building the image {recipe.name}")
        image, buildah = f"localhost/{repository}:{tag}", Buildah(self._cache)
        base = ground.ensure_base(self._cache)
        with progress.step(f"building the image {recipe.name}"):
            dockerfile = self._repository / "images" / recipe.name / "Dockerfile"
            buildah.build(image, self._repository, dockerfile=dockerfile, arguments={"BASE_IMAGE": base})
        with progress.step(f"publishing the image {recipe.name}"), registry.serving() as address:
            buildah.push(image, address, f"{repository}:{tag}")

    def tag(self, recipe: Recipe) -> str:
        """The hash of all that goes into the image."""
        digest = hashlib.sha256(ground.base_image().encode())
        places = (f"images/{recipe.name}", *recipe.inputs)
        for path in sorted(set(_files_below(self._repository, places))):
            executable = path.stat().st_mode & 0o111
            digest.update(f"{path.relative_to(self._repository)}\0{executable}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:12]


def _files_below(root: Path, places: Iterable[str]) -> Iterator[Path]:
    for place in places:
        path = root / place
        if path.is_file():
            yield path
        for folder, folders, names in os.walk(path):
            folders[:] = [name for name in folders if name != "__pycache__"]
            yield from (Path(folder, name) for name in names)
