"""The images' store: one folder for all clusters, served by a registry inside each of them.

Pushing goes through a registry that lives on loopback for the length of the push, so images can be built and
published whether a cluster runs or not.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import yaml

from azaion_devcluster import files, node
from azaion_devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from azaion_devcluster.host import Packages
    from azaion_devcluster.paths import Cache

_START_SECONDS = 15.0
_POLL_SECONDS = 0.02


class Registry:
    """Images under `node.REGISTRY_NAME`."""

    def __init__(self, cache: Cache, packages: Packages) -> None:
        self._cache = cache
        self._packages = packages

    @staticmethod
    def reference(repository: str, tag: str) -> str:
        """What a pod spec calls the image."""
        return f"{node.REGISTRY_NAME}/{repository}:{tag}"

    def has(self, repository: str, tag: str) -> bool:
        tags = self._cache.registry / "docker/registry/v2/repositories" / repository / "_manifests/tags"
        return (tags / tag / "current" / "link").exists()

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """host:port of a registry that takes pushes, on loopback, while the block runs."""
        with files.locked(self._cache.root / "registry.lock"):
            port = self._port()
            configuration = self._cache.root / "registry.yaml"
            address = f"127.0.0.1:{port}"
            document = node.registry_configuration(self._cache, address)
            files.write(configuration, yaml.safe_dump(document))
            log = self._cache.logs / "registry.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as out:
                command = [str(self._packages.registry), "serve", str(configuration)]
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
                )
            try:
                self._await(port, process)
                yield address
            finally:
                process.terminate()
                process.wait()

    def _port(self) -> int:
        """The same port as last time if it is free: buildah remembers by address which layers are there."""
        remembered = self._cache.root / "registry.port"
        wishes = [int(remembered.read_text())] if remembered.exists() else []
        for wish in (*wishes, 0):
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", wish))
                port = int(probe.getsockname()[1])
                files.write(remembered, str(port))
                return port
        raise DevclusterError("No port is free on 127.0.0.1: end some programs that listen.")

    def _await(self, port: int, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            try:
                connection.request("GET", "/v2/")
                connection.getresponse()
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    log = self._cache.logs / "registry.log"
                    raise DevclusterError(f"The local image registry did not start: see {log}.") from None
                time.sleep(_POLL_SECONDS)
            else:
                return
            finally:
                connection.close()
