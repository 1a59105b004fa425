"""What tests on a real Kubernetes share: the cluster `./dev test` started, its images, a namespace each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from azaion_devcluster import Images
from azaion_devcluster.existing import image_reference
from azaion_devcluster.paths import Cache
from support.kubectl import Kubectl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    """Of the one cluster the tests may touch; they never look at the user's own configuration."""
    return Path(os.environ["AZAION_TEST_CLUSTER"])


@pytest.fixture(scope="session")
def image() -> Callable[[str], str]:
    """Reference of one of the project's images, built and published where that is ours to do."""
    pattern = os.environ.get("AZAION_TEST_IMAGES")
    if pattern:
        return lambda name: image_reference(pattern, name)
    images = Images(REPOSITORY, Cache.default())
    return lambda name: images.ensure(name)[name]


@pytest.fixture
def namespace(kubeconfig: Path) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own, deleted afterwards."""
    with Kubectl(kubeconfig).temporary_namespace("test") as kubectl:
        yield kubectl
