"""A real one-node Kubernetes on one machine, for the demo and the tests.

Public surface: `Cluster` (start, reuse, enter and stop a cluster by name), `Images` (build and publish the
project's images for it) and `DevclusterError` (one sentence for people).
"""

from azaion_devcluster.cluster import Cluster
from azaion_devcluster.errors import DevclusterError
from azaion_devcluster.images import Images

__all__ = ["Cluster", "DevclusterError", "Images"]
