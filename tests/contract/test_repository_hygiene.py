"""Small promises about the repository as a whole, checked on the files that git tracks."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Written in halves, so that this file does not find itself.
DEVELOPER_PATHS = re.compile(
    r"(?<![\w.])/(?:" + "ho" + r"me/(?!runner\b)\w|Us" + r"ers/\w|ro" + r"ot/|wo" + "rk/)"
)
REGISTRY_HOSTS = re.compile(
    "|".join(
        ("pypi" + r"\.org", "pythonhosted" + r"\.org", r"deb\.debian" + r"\.org", r"proxy\.golang" + r"\.org")
    )
)
LONG_ENOUGH_TO_SLEEP = re.compile(r"\btime\.sleep\(")


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [
        path
        for name in listing.split("\0")
        if name and (path := ROOT / name).is_file() and not path.is_symlink()
    ]


def texts(*patterns: str) -> list[tuple[str, str]]:
    found = []
    for path in tracked(*patterns):
        try:
            found.append((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    assert found
    return found


def lines_with(pattern: re.Pattern[str], files: list[tuple[str, str]]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in files
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_path_of_somebodys_machine() -> None:
    assert lines_with(DEVELOPER_PATHS, [one for one in texts() if one[0] != "uv.lock"]) == []


def test_registries_are_named_by_the_lock_alone() -> None:
    assert lines_with(REGISTRY_HOSTS, [one for one in texts() if one[0] != "uv.lock"]) == []


def test_tests_poll_instead_of_sleeping() -> None:
    """A sleep with a reason says it on the same line."""
    sleeping = lines_with(LONG_ENOUGH_TO_SLEEP, texts("tests/*.py"))
    assert [line for line in sleeping if "#" not in line and "test_repository_hygiene" not in line] == []


def shell_scripts() -> list[str]:
    return [name for name, text in texts() if re.match(r"#!.*\b(ba)?sh\b", text)]


@pytest.mark.parametrize("name", shell_scripts())
def test_shell_scripts_stop_at_the_first_error(name: str) -> None:
    path = ROOT / name
    assert re.search(r"^set -eu", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert path.stat().st_mode & 0o111


def test_links_in_documents_lead_somewhere() -> None:
    broken = []
    for name, text in texts("*.md"):
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            path = target.partition("#")[0]
            if path and not re.match(r"[a-z]+:", path) and not ((ROOT / name).parent / path).exists():
                broken.append(f"{name}: {target}")
    assert broken == []


def test_nothing_secret_is_tracked() -> None:
    names = {path.name for path in tracked()}
    assert not {name for name in names if name == ".env" or name.endswith((".pem", ".key", ".kubeconfig"))}
