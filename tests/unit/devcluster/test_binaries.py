"""Built programs: where they lie, and what makes a build anew."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from azaion_devcluster import binaries, commands, disk, golang
from azaion_devcluster.binaries import TOOLS, Binaries
from azaion_devcluster.errors import CommandError
from azaion_devcluster.paths import Cache

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setattr(disk, "demand", lambda *_, **__: None)
    return Cache(tmp_path)


def _pretend_go(folder: Path, script: str) -> Path:
    program = folder / "go"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_every_program_lies_in_a_folder_of_its_version(cache: Cache) -> None:
    assert Binaries(cache).program("kubelet").parent.name.startswith(f"kubernetes-{binaries.KUBERNETES}-")
    assert Binaries(cache).program("kine").parent.name.startswith("kine-0.16.4-")
    with pytest.raises(KeyError):
        Binaries(cache).program("docker")


def test_another_version_lies_elsewhere(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Binaries(cache).program("helm")
    newer = tuple(
        dataclasses.replace(tool, version="9.9.9") if tool.name == "helm" else tool for tool in TOOLS
    )
    monkeypatch.setattr(binaries, "TOOLS", newer)
    assert Binaries(cache).program("helm").parent != before.parent


def test_what_is_built_is_not_built_again(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = _pretend_go(tmp_path, 'echo built >> "$0.log"; touch "$GOBIN/helm"')
    monkeypatch.setattr(golang, "go_program", lambda _: go)
    for _ in range(2):
        Binaries(cache).ensure("helm")
    assert Binaries(cache).program("helm").exists()
    assert (tmp_path / "go.log").read_text() == "built\n"


def test_a_build_killed_half_way_is_thrown_away(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = Binaries(cache).program("helm").parent
    half = final.parent / f".{final.name}" / "bin" / "half"
    half.parent.mkdir(parents=True)
    half.write_text("half a program")
    monkeypatch.setattr(golang, "go_program", lambda _: _pretend_go(tmp_path, 'touch "$GOBIN/helm"'))

    Binaries(cache).ensure("helm")

    assert [entry.name for entry in final.iterdir()] == ["helm"]
    assert not half.exists()


def test_a_failed_build_says_so_and_leaves_no_folder(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golang, "go_program", lambda _: _pretend_go(tmp_path, "echo no room; exit 3"))
    with pytest.raises(
        CommandError, match=r"helm 4\.3\.1 could not be built \(exit code 3; .*build-helm\.log"
    ) as caught:
        Binaries(cache).ensure("helm")
    assert caught.value.output == "no room"
    assert not Binaries(cache).program("helm").parent.exists()


@pytest.mark.parametrize(
    ("said", "own"), [("go1.26.8", True), ("go1.27rc1", True), ("go1.19.8", False), ("", False)]
)
def test_the_machines_own_go_is_used_when_new_enough(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, own: bool
) -> None:
    machine = _pretend_go(tmp_path, f"echo {said}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    installed: list[object] = []
    monkeypatch.setattr(commands, "run_logged", lambda command, **_: installed.append(command))
    found = golang.go_program(cache)
    assert (found == machine) is own
    assert bool(installed) is not own
