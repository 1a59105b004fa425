"""What the node is told to run: the settings that keep it private and honest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from azaion_devcluster import node
from azaion_devcluster.binaries import Binaries
from azaion_devcluster.host import Packages
from azaion_devcluster.paths import Cache, ClusterPaths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


@pytest.fixture
def paths(cache: Cache) -> ClusterPaths:
    paths = cache.cluster("dev")
    node.write_configuration(paths, cache, Packages(cache.packages), port=7443)
    return paths


@pytest.fixture
def commands(cache: Cache, paths: ClusterPaths) -> dict[str, tuple[str, ...]]:
    listed = node.components(paths, Binaries(cache), Packages(cache.packages))
    return {component.name: component.command for component in listed}


def test_nobody_is_let_in_without_a_certificate(
    commands: dict[str, tuple[str, ...]], paths: ClusterPaths
) -> None:
    assert "--anonymous-auth=false" in commands["kube-apiserver"]
    assert not [word for word in commands["kube-apiserver"] if "token-auth-file" in word]
    kubelet = yaml.safe_load((paths.config / "kubelet.yaml").read_text())
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["authorization"] == {"mode": "Webhook"}


def test_no_client_skips_the_servers_certificate(paths: ClusterPaths) -> None:
    kubeconfigs = [paths.kubeconfig, *paths.pki.glob("*.kubeconfig")]
    assert len(kubeconfigs) == 6
    for path in kubeconfigs:
        cluster = yaml.safe_load(path.read_text())["clusters"][0]["cluster"]
        assert "insecure-skip-tls-verify" not in cluster
        assert cluster["certificate-authority-data"]


def test_the_kubeconfig_outside_names_the_loopback_port(paths: ClusterPaths) -> None:
    document = yaml.safe_load(paths.kubeconfig.read_text())
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7443"
    assert document["current-context"] == "azaion-dev"


def test_only_what_needs_the_api_waits_for_it(cache: Cache, paths: ClusterPaths) -> None:
    listed = node.components(paths, Binaries(cache), Packages(cache.packages))
    first = {component.name for component in listed if not component.needs_api}
    assert first == {"containerd", "registry", "kine", "kube-apiserver"}


def test_clusters_have_control_groups_of_their_own(cache: Cache) -> None:
    roots = set()
    for name in ("one", "two"):
        paths = cache.cluster(name)
        node.write_configuration(paths, cache, Packages(cache.packages), port=1)
        roots.add(yaml.safe_load((paths.config / "kubelet.yaml").read_text())["cgroupRoot"])
    assert roots == {"/azaion-one", "/azaion-two"}


def test_the_pods_bridge_carries_the_nodes_address(paths: ClusterPaths) -> None:
    plugins = json.loads((paths.config / "cni" / "10-azaion.conflist").read_text())["plugins"]
    assert [plugin["type"] for plugin in plugins] == ["bridge", "portmap"]
    assert plugins[0]["bridge"] == node.BRIDGE


def test_dns_answers_under_the_address_pods_are_given(paths: ClusterPaths) -> None:
    kubelet = yaml.safe_load((paths.config / "kubelet.yaml").read_text())
    services = [manifest for manifest in node.bootstrap_objects() if manifest["kind"] == "Service"]
    assert [service["spec"]["clusterIP"] for service in services] == kubelet["clusterDNS"]  # type: ignore[index]
