"""kubectl as a person would call it, with results as Python values."""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TIMEOUT_SECONDS = 180


class KubectlError(AssertionError):
    """kubectl refused; the text is what it said."""


@dataclass(frozen=True)
class Kubectl:
    """Talks to one cluster and, unless a call says otherwise, one namespace."""

    kubeconfig: Path
    namespace: str = "default"

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *words]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *words: str) -> dict[str, Any]:
        """`kubectl get … -o json`."""
        document: dict[str, Any] = json.loads(self("get", *words, "--output=json"))
        return document

    def items(self, *words: str) -> list[dict[str, Any]]:
        """The items of a list."""
        listed: list[dict[str, Any]] = self.get(*words)["items"]
        return listed

    @contextlib.contextmanager
    def temporary_namespace(self, prefix: str) -> Iterator[Kubectl]:
        """kubectl in a namespace that is deleted afterwards."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self("create", "namespace", name)
        try:
            yield Kubectl(self.kubeconfig, name)
        finally:
            self("delete", "namespace", name, "--wait=false")

    def apply(self, *manifests: dict[str, Any]) -> str:
        return self(
            "apply",
            "--filename=-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}),
        )
