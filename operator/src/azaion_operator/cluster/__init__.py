"""The only place that talks to the Kubernetes API for us (kopf's own watching aside)."""

from azaion_operator.cluster.client import connect
from azaion_operator.cluster.protocol import Cluster

__all__ = ["Cluster", "connect"]
