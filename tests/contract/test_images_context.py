"""What .dockerignore lets into a build context, decided as Docker does: the last matching pattern wins."""

import fnmatch
import re
import shlex
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]


def excluded(path: str, patterns: list[str]) -> bool:
    """A pattern excludes a path when it matches the path itself or any folder above it."""
    candidates = [path, *(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")]
    result = False
    for pattern in patterns:
        keeps = pattern.startswith("!")
        if any(matches(candidate, pattern.removeprefix("!")) for candidate in candidates):
            result = not keeps
    return result


def matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        rest = pattern.removeprefix("**/")
        parts = path.split("/")
        return any(matches("/".join(parts[start:]), rest) for start in range(len(parts)))
    if path.count("/") != pattern.count("/"):
        return False
    return all(fnmatch.fnmatchcase(*pair) for pair in zip(path.split("/"), pattern.split("/"), strict=True))


@pytest.fixture(scope="module")
def patterns() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def test_everything_is_out_unless_named(patterns: list[str]) -> None:
    assert patterns[0] == "*"
    assert excluded("a-new-folder/file", patterns)


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".env.production",
        "operator/.env",
        "operator/src/azaion_operator/.env",
        "jobs/src/.env.local",
        "jobs/src/azaion_jobs/server.pem",
        "images/devstack/.env",
        "images/devstack/tls.key",
        ".git/config",
        ".venv/bin/python",
        "tests/contract/test_images_context.py",
        "jobs/src/azaion_jobs/__pycache__/x.cpython-311.pyc",
        "jobs/src/azaion_jobs/model.pt",
        "models/azaion.onnx",
        "charts/azaion-training/values.yaml",
    ],
)
def test_secrets_caches_and_tests_stay_out(path: str, patterns: list[str]) -> None:
    assert excluded(path, patterns)


@pytest.mark.parametrize(
    "dockerfile", sorted((ROOT / "images").glob("*/Dockerfile")), ids=lambda path: path.parent.name
)
def test_what_a_dockerfile_copies_is_let_in_and_exists(dockerfile: Path, patterns: list[str]) -> None:
    copied = []
    for line in re.sub(r"\\\n", " ", dockerfile.read_text(encoding="utf-8")).splitlines():
        if line.startswith("COPY ") and "--from=" not in line:
            copied += [word for word in shlex.split(line)[1:-1] if not word.startswith("--")]
    assert copied
    for path in copied:
        assert (ROOT / path).exists()
        assert not excluded(path, patterns)


def test_nothing_is_let_in_that_no_dockerfile_copies(patterns: list[str]) -> None:
    everything = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "images").glob("*/Dockerfile")
    )
    for pattern in patterns:
        if pattern.startswith("!"):
            assert pattern.removeprefix("!") in everything
