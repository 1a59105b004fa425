"""`--existing`: a cluster somebody has. The embedded one stands in for it, reached as any other would be."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from azaion_devcluster import Cluster

pytestmark = pytest.mark.skipif(
    "AZAION_TEST_CLUSTER_NAME" not in os.environ,
    reason="only of our own cluster do we know the tree from outside",
)


@pytest.fixture
def tree() -> Iterator[Path]:
    """The folder that pods of the test cluster see as /azaion, empty before and after."""
    tree = Cluster(os.environ["AZAION_TEST_CLUSTER_NAME"]).tree
    assert list(tree.iterdir()) == []
    yield tree
    for path in tree.iterdir():
        path.unlink()


@pytest.fixture
def existing(
    kubeconfig: Path, image: Callable[[str], str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    pattern = image("operator").replace("/operator:", "/{name}:")

    def run(*words: str, context: str = "") -> subprocess.CompletedProcess[str]:
        named = context or f"azaion-{os.environ['AZAION_TEST_CLUSTER_NAME']}"
        command = [
            sys.executable,
            "-m",
            "azaion_devcluster",
            "existing",
            "--context",
            named,
            "--images",
            pattern,
        ]
        return subprocess.run(
            [*command, *words],
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_an_empty_tree_is_used_without_asking(
    existing: Callable[..., subprocess.CompletedProcess[str]], tree: Path
) -> None:
    done = existing()
    assert done.returncode == 0, done.stderr
    exports = dict(line.removeprefix("export ").split("=", 1) for line in done.stdout.splitlines())
    assert set(exports) == {"AZAION_TEST_CLUSTER", "AZAION_TEST_IMAGES"}
    assert Path(exports["AZAION_TEST_CLUSTER"]).is_file()


def test_a_filled_tree_is_only_used_after_a_yes(
    existing: Callable[..., subprocess.CompletedProcess[str]], tree: Path
) -> None:
    (tree / "somebodys").write_text("work")

    refused = existing()
    allowed = existing("--use-tree")

    assert refused.returncode == 1
    assert "holds 1 entries and would be written to. Say --use-tree if that is meant." in refused.stderr
    assert refused.stdout == ""
    assert allowed.returncode == 0, allowed.stderr
    assert (tree / "somebodys").read_text() == "work"


def test_an_unknown_context_is_refused_with_those_there_are(
    existing: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = existing(context="production")
    assert done.returncode == 1
    known = f"azaion-{os.environ['AZAION_TEST_CLUSTER_NAME']}"
    assert done.stderr.strip() == (
        f"There is no context 'production': the contexts are {known}. Name one with --existing."
    )
