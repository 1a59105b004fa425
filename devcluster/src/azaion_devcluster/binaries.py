"""Builds the cluster's programs from their own sources, once, into a versioned cache.

A folder appears under its final name only when everything in it is built, so a half-built cache is recognised
by its name and thrown away. The compiler keeps its own cache until all is built: a second try after a kill is
quick.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import commands, disk, files, golang, host, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azaion_devcluster.paths import Cache

KUBERNETES = "1.36.3"
_BUILD_GIGABYTES = 18
_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


@dataclass(frozen=True)
class Tool:
    """Programs that come from one Go module at one version."""

    name: str
    version: str
    packages: tuple[str, ...]
    minutes: int
    cgo: bool = False
    # Folder with go.mod and go.sum; empty where the module can be installed by its name.
    pins: str = ""
    link_flags: tuple[str, ...] = field(default=("-s", "-w"))


_KUBERNETES_LINK_FLAGS = (
    "-s",
    "-w",
    *(f"-X {package}.gitVersion=v{KUBERNETES}" for package in _VERSION_PACKAGES),
    *(f"-X {package}.gitMajor=1" for package in _VERSION_PACKAGES),
    *(f"-X {package}.gitMinor=36" for package in _VERSION_PACKAGES),
    *(f"-X {package}.gitTreeState=clean" for package in _VERSION_PACKAGES),
)

TOOLS = (
    Tool(
        name="kubernetes",
        version=KUBERNETES,
        packages=tuple(
            f"k8s.io/kubernetes/cmd/{program}"
            for program in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
            )
        ),
        minutes=8,
        pins="kubernetes",
        link_flags=_KUBERNETES_LINK_FLAGS,
    ),
    Tool("kine", "0.16.4", ("github.com/k3s-io/kine",), minutes=3, cgo=True),
    Tool("coredns", "1.15.0", ("github.com/coredns/coredns",), minutes=3),
    Tool("helm", "4.3.1", ("helm.sh/helm/v4/cmd/helm",), minutes=3),
    Tool("actionlint", "1.7.12", ("github.com/rhysd/actionlint/cmd/actionlint",), minutes=1),
)


class Binaries:
    """The programs of `TOOLS`, built where missing."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def ensure(self, *names: str) -> None:
        """Builds what is missing of the named tools (all of them without names)."""
        missing = [tool for tool in _chosen(names) if not self._folder(tool).is_dir()]
        if not missing:
            return
        disk.demand(self._cache.root, gigabytes=_BUILD_GIGABYTES, purpose="building the cluster's programs")
        if any(tool.cgo for tool in missing):
            host.ensure_packages(self._cache, "build")
        go = golang.go_program(self._cache)
        with files.locked(self._cache.binaries / "build.lock"):
            for tool in missing:
                if not self._folder(tool).is_dir():
                    self._build(tool, go)
            if all(self._folder(tool).is_dir() for tool in TOOLS):
                # Eleven gigabytes that only a killed build would need again.
                shutil.rmtree(self._cache.go_build, ignore_errors=True)

    def program(self, name: str) -> Path:
        """Path of one built program."""
        for tool in TOOLS:
            if any(package.rsplit("/", 1)[-1] == name for package in tool.packages):
                return self._folder(tool) / name
        raise KeyError(name)

    def folders(self) -> Iterator[Path]:
        """All folders with built programs, for PATH."""
        return (self._folder(tool) for tool in TOOLS)

    def _folder(self, tool: Tool) -> Path:
        recipe = repr(tool).encode()
        if tool.pins:
            recipe += _pins(tool).joinpath("go.sum").read_bytes()
        return self._cache.binaries / f"{tool.name}-{tool.version}-{hashlib.sha256(recipe).hexdigest()[:8]}"

    def _build(self, tool: Tool, go: Path) -> None:
        final = self._folder(tool)
        for leftover in final.parent.glob(f".{tool.name}-*"):
            shutil.rmtree(leftover)
        work = final.parent / f".{final.name}"
        out = work / "bin"
        out.mkdir(parents=True)
        environment = {
            **os.environ,
            "CGO_ENABLED": "1" if tool.cgo else "0",
            "GOBIN": str(out),
            "GOCACHE": str(self._cache.go_build),
            "GOFLAGS": "-buildvcs=false",
        }
        flags = ["-trimpath", "-ldflags", " ".join(tool.link_flags)]
        if tool.pins:
            for pin in ("go.mod", "go.sum"):
                (work / pin).write_bytes(_pins(tool).joinpath(pin).read_bytes())
            command = [go, "build", *flags, "-o", f"{out}{os.sep}", *tool.packages]
        else:
            command = [go, "install", *flags, *(f"{package}@v{tool.version}" for package in tool.packages)]
        log = self._cache.logs / f"build-{tool.name}.log"
        with progress.step(
            f"building {tool.name} {tool.version} (once, about {tool.minutes} min on 2 cores)"
        ):
            commands.run_logged(
                command,
                log=log,
                env=environment,
                cwd=work,
                failure=f"{tool.name} {tool.version} could not be built",
            )
        out.rename(final)
        shutil.rmtree(work)


def _pins(tool: Tool) -> resources.abc.Traversable:
    return resources.files("azaion_devcluster").joinpath("gomod", tool.pins)


def _chosen(names: tuple[str, ...]) -> list[Tool]:
    return [tool for tool in TOOLS if not names or tool.name in names]
