"""The folder `operator/` has the name of a standard-library module; here stands what keeps that harmless."""

import operator
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.repository import MEMBERS, ROOT, project, toml

# Folders that are no packages: what is to be imported lies below their src/.
PLAIN_FOLDERS = ("operator", "jobs", "devcluster", "tests")


@pytest.mark.parametrize("folder", PLAIN_FOLDERS)
def test_plain_folders_are_no_packages(folder: str) -> None:
    intruders = [
        path
        for path in (ROOT / folder).rglob("__init__.py")
        if not path.is_relative_to(ROOT / folder / "src") and ".venv" not in path.parts
    ]
    assert intruders == []


@pytest.mark.parametrize("member", MEMBERS)
def test_each_member_has_one_typed_package(member: str) -> None:
    source = MEMBERS[member] / "src"
    package = source / member.replace("-", "_")
    assert [path for path in source.iterdir() if path.is_dir()] == [package]
    assert (package / "__init__.py").is_file()
    assert (package / "py.typed").is_file()


def test_tests_get_the_operator_of_the_standard_library() -> None:
    assert Path(operator.__file__).parent == Path(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import operator; print(operator.__file__)"],
        ["-P", "-c", "import operator; print(operator.__file__)"],
    ],
)
def test_programs_started_in_the_root_get_it_too(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert Path(result.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize("environ", [{}, {"PYTHONPATH": "."}])
def test_modules_run_from_the_root(environ: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "json.tool", "--compact"],
        cwd=ROOT,
        env=environ,
        input='{"a": 1}',
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.strip() == '{"a":1}'


@pytest.mark.parametrize("member", MEMBERS)
def test_members_have_the_version_of_the_workspace(member: str) -> None:
    assert project(member)["version"] == toml(ROOT / "pyproject.toml")["project"]["version"]


@pytest.mark.parametrize("member", MEMBERS)
def test_members_run_on_the_same_python(member: str) -> None:
    assert project(member)["requires-python"] == toml(ROOT / "pyproject.toml")["project"]["requires-python"]


def test_the_workspace_has_exactly_these_members() -> None:
    members = toml(ROOT / "pyproject.toml")["tool"]["uv"]["workspace"]["members"]
    assert sorted(members) == sorted(path.name for path in MEMBERS.values())
