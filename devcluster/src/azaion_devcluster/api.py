"""The few API calls the node itself makes, with the admin's client certificate and the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FIELD_MANAGER = "azaion-devcluster"
_TIMEOUT_SECONDS = 10
# Folder of each kind in the API; only what bootstrap needs.
_PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Service": "services",
    "EndpointSlice": "endpointslices",
}


class ApiUnavailableError(Exception):
    """No answer, or one that says to try again."""


class Api:
    """Talks to an API server on a loopback port."""

    def __init__(self, certificates: Path, port: int) -> None:
        self._port = port
        self._tls = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
        self._tls.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")

    def ready(self) -> bool:
        try:
            self._call("GET", "/readyz")
        except ApiUnavailableError:
            return False
        return True

    def node(self, name: str) -> dict[str, Any]:
        return self._json("GET", f"/api/v1/nodes/{name}")

    def service_account_exists(self) -> bool:
        """Whether pods can be created in the default namespace."""
        try:
            self._call("GET", "/api/v1/namespaces/default/serviceaccounts/default")
        except ApiUnavailableError:
            return False
        return True

    def apply(self, manifest: Mapping[str, Any]) -> None:
        group = manifest["apiVersion"]
        prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
        namespace = manifest["metadata"].get("namespace")
        scope = f"/namespaces/{namespace}" if namespace else ""
        path = f"{prefix}{scope}/{_PLURALS[manifest['kind']]}/{manifest['metadata']['name']}"
        self._call(
            "PATCH",
            f"{path}?fieldManager={FIELD_MANAGER}&force=true",
            body=manifest,
            content_type="application/apply-patch+yaml",
        )

    def declare_capacity(self, node: str, resource: str, amount: int) -> None:
        """Makes the node offer `resource`, as a device plugin would have it do."""
        escaped = resource.replace("/", "~1")
        patch = [{"op": "add", "path": f"/status/capacity/{escaped}", "value": str(amount)}]
        path = f"/api/v1/nodes/{node}/status?fieldManager={FIELD_MANAGER}"
        self._call("PATCH", path, body=patch, content_type="application/json-patch+json")

    def _json(self, method: str, path: str) -> dict[str, Any]:
        document = json.loads(self._call(method, path))
        if not isinstance(document, dict):
            raise ApiUnavailableError(f"{path} did not answer with an object.")
        return document

    def _call(self, method: str, path: str, *, body: object = None, content_type: str = "") -> bytes:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS, context=self._tls
        )
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as trouble:
            raise ApiUnavailableError(f"{method} {path}: {trouble}") from trouble
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise ApiUnavailableError(
                f"{method} {path}: {response.status} {content.decode(errors='replace')}"
            )
        return content
