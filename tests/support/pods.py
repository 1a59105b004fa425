"""Pods for tests, hardened like the product's own: not root, nothing writable but /tmp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.waiting import wait_until

if TYPE_CHECKING:
    from support.kubectl import Kubectl


def spec(image: str, *arguments: str, gpus: int = 0, command: str = "python") -> dict[str, Any]:
    """A pod spec that runs Python once, as the images' user, on a read-only root."""
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "main",
                "image": image,
                "command": [command],
                "args": list(arguments),
                "resources": {"limits": limits},
                "securityContext": {
                    "readOnlyRootFilesystem": True,
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }


def pod(name: str, image: str, *arguments: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    """A bare pod."""
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec(image, *arguments)}


def job(name: str, image: str, *arguments: str, gpus: int = 0) -> dict[str, Any]:
    """A Job of one attempt."""
    template = {"spec": spec(image, *arguments, gpus=gpus)}
    body = {"backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": body}


def await_success(kubectl: Kubectl, name: str, *, deadline: float) -> None:
    """Waits for a bare pod's end; shows its log if that was not a good one."""

    def ended() -> str:
        phase: str = kubectl.get("pod", name)["status"].get("phase", "")
        return phase if phase in {"Succeeded", "Failed"} else ""

    phase = wait_until(ended, deadline=deadline, what=f"pod {name} to end")
    assert phase == "Succeeded", kubectl("logs", name)
