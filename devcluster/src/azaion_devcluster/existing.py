"""Uses a cluster somebody already has instead of starting one: k3s on a GPU server, for instance.

Nothing is assumed: the context is named by its user, and a tree that holds files is only used after a yes.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from azaion_devcluster import commands, files
from azaion_devcluster.errors import CommandError, DevclusterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PLACEHOLDER = "{name}"
_PROBE = "azaion-tree-probe"
_PROBE_TIMEOUT = "120s"
_LISTING = "import os, sys; print(len(os.listdir(sys.argv[1])))"


@dataclass(frozen=True)
class ExistingCluster:
    """A cluster reached through one context of the user's kubeconfig."""

    context: str
    kubectl: Path

    def write_kubeconfig(self, path: Path) -> None:
        """Writes a kubeconfig that knows this context alone, so that nothing can reach another by mistake."""
        listing = commands.run([self.kubectl, "config", "get-contexts", "--output=name"]).split()
        if self.context not in listing:
            known = f"the contexts are {', '.join(listing)}" if listing else "the kubeconfig names no context"
            raise DevclusterError(f"There is no context '{self.context}': {known}. Name one with --existing.")
        view = ["config", "view", "--minify", "--flatten", f"--context={self.context}"]
        files.write(path, commands.run([self.kubectl, *view]), mode=0o600)
        try:
            commands.run(
                [self.kubectl, f"--kubeconfig={path}", "get", "--raw=/readyz", "--request-timeout=10s"]
            )
        except CommandError as trouble:
            raise DevclusterError(
                f"The cluster of context '{self.context}' does not answer: {trouble.output}"
            ) from trouble

    def files_in_tree(self, kubeconfig: Path, *, tree: str, image: str) -> int:
        """How many entries the node's tree has, counted by a pod; a missing tree has none."""
        kubectl = [self.kubectl, f"--kubeconfig={kubeconfig}", "--namespace=default"]
        commands.run([*kubectl, "delete", "pod", _PROBE, "--ignore-not-found", "--wait"])
        commands.run([*kubectl, "apply", "--filename=-"], stdin=json.dumps(_probe_pod(tree, image)))
        try:
            done = "--for=jsonpath={.status.phase}=Succeeded"
            commands.run([*kubectl, "wait", f"pod/{_PROBE}", done, f"--timeout={_PROBE_TIMEOUT}"])
            return int(commands.run([*kubectl, "logs", _PROBE]))
        except CommandError as trouble:
            raise DevclusterError(
                f"The tree {tree} of context '{self.context}' could not be looked at with {image}: "
                f"{trouble.output}"
            ) from trouble
        finally:
            commands.run([*kubectl, "delete", "pod", _PROBE, "--ignore-not-found", "--wait=false"])


def demand_consent(tree: str, entries: int, context: str, *, given: bool, ask: Callable[[str], str]) -> None:
    """Asks before a tree that holds something is used; refuses where nobody can answer."""
    if not entries or given:
        return
    said = f"The tree {tree} of context '{context}' holds {entries} entries and would be written to."
    if not sys.stdin.isatty():
        raise DevclusterError(f"{said} Say --use-tree if that is meant.")
    if ask(f"{said} Type the context's name to go on: ").strip() != context:
        raise DevclusterError("The tree was left alone.")


def image_reference(pattern: str, name: str) -> str:
    """The image `name` where all images follow one pattern."""
    if _PLACEHOLDER not in pattern:
        raise DevclusterError(
            f"--images '{pattern}' lacks {_PLACEHOLDER}: give a pattern such as "
            f"registry.example/azaion/{_PLACEHOLDER}:TAG."
        )
    return pattern.replace(_PLACEHOLDER, name)


def _probe_pod(tree: str, image: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": _PROBE},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "command": ["python", "-c", _LISTING, "/tree"],
                    "volumeMounts": [{"name": "tree", "mountPath": "/tree", "readOnly": True}],
                }
            ],
            # Without a type: a missing folder is made, and is then an empty tree.
            "volumes": [{"name": "tree", "hostPath": {"path": tree}}],
        },
    }
