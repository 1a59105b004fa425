"""Group, version and the kinds the operator handles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GROUP = "training.azaion.com"
VERSION = "v1alpha1"

FIELD_MANAGER = "azaion-operator"
"""The one name under which the operator applies fields. Renaming it orphans every field written so far."""

Body = Mapping[str, Any]
"""An object as the API speaks it: plain JSON."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A resource of the API. Everything is spelled out, so nothing has to be discovered to address it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """What stands in `apiVersion` of an object of this kind."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def crd_name(self) -> str:
        """The name of the CustomResourceDefinition, `PLURAL.GROUP`."""
        return f"{self.plural}.{self.group}"

    @property
    def selector(self) -> tuple[str, str, str]:
        """Group, version, plural: what a handler decorator needs so that no other API group is scanned."""
        return self.group, self.version, self.plural


TRAINING_RUNS = Kind(group=GROUP, version=VERSION, plural="trainingruns", kind="TrainingRun", namespaced=True)
