"""Image building with buildah: needs no daemon, and leaves its layers for the next build."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from azaion_devcluster import commands
from azaion_devcluster.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azaion_devcluster.paths import Cache

_HOST_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Buildah:
    """The image store of one cache."""

    def __init__(self, cache: Cache) -> None:
        self._logs = cache.logs
        self._program = [
            "buildah",
            f"--root={cache.buildah}/storage",
            f"--runroot={cache.buildah}/run",
            "--storage-driver=overlay",
        ]

    def has(self, image: str) -> bool:
        try:
            commands.run([*self._program, "inspect", "--type=image", image])
        except CommandError:
            return False
        return True

    def build(
        self,
        image: str,
        context: Path,
        *,
        dockerfile: Path | None = None,
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        """Builds `context` into `image`; unchanged steps are taken from the last build."""
        words = [f"--build-arg={name}={value}" for name, value in (arguments or {}).items()]
        if dockerfile:
            words.append(f"--file={dockerfile}")
        # chroot: the default isolation picks crun, which refuses hybrid control groups.
        command = [
            "bud",
            "--isolation=chroot",
            "--layers",
            *self._certificates(),
            *words,
            f"--tag={image}",
            context,
        ]
        self._run(command, image, failure=f"The image {image} could not be built")

    def push(self, image: str, address: str, name: str) -> None:
        """Pushes `image` as `name` to the registry at `address`; layers it has are not sent again."""
        command: list[object] = [
            "push",
            "--tls-verify=false",
            "--format=oci",
            # A third of the time gzip needs, for the same size.
            "--compression-format=zstd",
            image,
            f"docker://{address}/{name}",
        ]
        self._run(command, image, failure=f"The image {image} could not be published")

    def layers(self, image: str) -> list[str]:
        """Digest of each layer's content, lowest first."""
        facts = json.loads(commands.run([*self._program, "inspect", "--type=image", image]))
        return list(facts["OCIv1"]["rootfs"]["diff_ids"])

    def remove(self, image: str) -> None:
        """Removes an image; the layers it shares with others stay."""
        commands.run([*self._program, "rmi", image])

    def remove_all(self) -> None:
        """Removes every image and every layer kept for later builds."""
        commands.run([*self._program, "rm", "--all"])
        commands.run([*self._program, "rmi", "--all", "--force"])

    def _run(self, command: list[object], image: str, *, failure: str) -> None:
        name = image.rpartition(":")[0].rpartition("/")[2]
        log = self._logs / f"image-{name}-{command[0]}.log"
        commands.run_logged([*self._program, *command], log=log, failure=failure)

    @staticmethod
    def _certificates() -> list[str]:
        """The machine's certificate bundle, for builds behind a proxy that signs with its own authority."""
        bundle = Path(os.environ.get("SSL_CERT_FILE", _HOST_CERTIFICATES))
        return [f"--secret=id=ca,src={bundle}"] if bundle.exists() else []
