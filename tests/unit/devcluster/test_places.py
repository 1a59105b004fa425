"""Cache, locks, options, room on the disk: what a start checks before it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from azaion_devcluster import cli, commands, disk, existing, files, host
from azaion_devcluster.errors import CommandError, DevclusterError
from azaion_devcluster.options import Options
from azaion_devcluster.paths import Cache

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["", "Dev", "a b", "-a", "a-", "../up", "x" * 31])
def test_a_name_that_cannot_be_a_nodes_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DevclusterError, match="cannot be a cluster's name: use"):
        Cache(tmp_path).cluster(name)


def test_the_cache_is_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZAION_CACHE", str(tmp_path / "elsewhere"))
    assert Cache.default().root == tmp_path / "elsewhere"


def test_options_come_back_as_they_were(tmp_path: Path) -> None:
    paths = Cache(tmp_path).cluster("dev")
    Options(gpus=3, port=7443).write(paths)
    assert Options.read(paths) == Options(gpus=3, port=7443)


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"unknown": 1})])
def test_unreadable_options_are_the_defaults(tmp_path: Path, content: str) -> None:
    paths = Cache(tmp_path).cluster("dev")
    files.write(paths.options, content)
    assert Options.read(paths) == Options()


def test_too_little_room_is_said_with_the_figure(tmp_path: Path) -> None:
    with pytest.raises(
        DevclusterError, match=r"^Building needs 1000000 GB free in .*: make room, or set AZAION_CACHE"
    ):
        disk.demand(tmp_path / "not" / "there" / "yet", gigabytes=1_000_000, purpose="Building")


def test_without_root_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DevclusterError, match=r"needs root .* with sudo, or .* --existing CONTEXT"):
        host.demand_root("The embedded cluster")


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    held = f"held = files.hold(Path({str(lock)!r})); print(1, flush=True); input()"
    program = f"from pathlib import Path; from azaion_devcluster import files; {held}"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        assert files.holder(lock) == holder.pid
        assert files.hold(lock) is None
        holder.kill()
        holder.wait()
        assert files.holder(lock) is None


def test_asking_for_the_holder_does_not_make_one(tmp_path: Path) -> None:
    assert files.holder(tmp_path / "absent") is None
    assert not (tmp_path / "absent").exists()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "below" / "file"
    files.write(path, "old", mode=0o600)
    files.write(path, "new", mode=0o600)
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_what_is_not_there_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AZAION_CACHE", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["azaion-devcluster", "down", "--name", "absent"])
    cli.main()
    assert capsys.readouterr().err == "The cluster absent was not running; nothing of it is left.\n"
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_run_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AZAION_CACHE", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["azaion-devcluster", "environment"])
    with pytest.raises(SystemExit, match=r"^The cluster dev is not running: start it with './dev up'\.$"):
        cli.main()
    assert capsys.readouterr().out == ""


def test_an_empty_tree_needs_no_consent() -> None:
    existing.demand_consent("/azaion", 0, "k3s", given=False, ask=lambda _: pytest.fail("asked"))


def test_a_filled_tree_is_refused_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(DevclusterError, match=r"/azaion of context 'k3s' holds 7 entries .* --use-tree"):
        existing.demand_consent("/azaion", 7, "k3s", given=False, ask=lambda _: "k3s")


def test_only_the_contexts_own_name_is_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    existing.demand_consent("/azaion", 7, "k3s", given=False, ask=lambda _: "k3s\n")
    with pytest.raises(DevclusterError, match="left alone"):
        existing.demand_consent("/azaion", 7, "k3s", given=False, ask=lambda _: "yes")


def test_a_pattern_without_a_name_is_refused() -> None:
    with pytest.raises(DevclusterError, match=r"lacks \{name\}"):
        existing.image_reference("registry.example/azaion:1", "operator")
    assert existing.image_reference("r.example/{name}:1", "operator") == "r.example/operator:1"


def test_without_sudo_the_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apt-get").touch(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(host, "_INSTALLED", {"checks": {"no-such-program": "some-package"}})
    with pytest.raises(DevclusterError, match=r"run 'sudo apt-get install some-package' and then the same"):
        host.ensure_packages(Cache(tmp_path), "checks")


def test_without_apt_the_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(host, "_INSTALLED", {"checks": {"no-such-program": "some-package"}})
    with pytest.raises(DevclusterError, match=r"lacks some-package .* has no apt-get"):
        host.ensure_packages(Cache(tmp_path), "checks")


def test_what_is_there_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_INSTALLED", {"checks": {"sh": "dash", "/etc/passwd": "base-files"}})
    monkeypatch.setattr(host, "_apt", lambda *_: pytest.fail("apt-get was called"))
    assert host.ensure_packages(Cache(tmp_path), "checks").root == tmp_path / "packages"


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(CommandError, match=r"^The program no-such-program is not on PATH"):
        commands.run(["no-such-program"])


def test_a_failed_program_is_quoted() -> None:
    with pytest.raises(CommandError, match=r"'sh -c echo why; exit 3' failed with exit code 3: why$"):
        commands.run(["sh", "-c", "echo why; exit 3"])
