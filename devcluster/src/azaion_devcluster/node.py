"""Addresses, configuration files and command lines of everything that makes up the node.

Pure text: `write_configuration` puts the files down, `components` says what to run. Settings that look odd
carry the reason; they were found by running.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from azaion_devcluster import files, pki

if TYPE_CHECKING:
    from pathlib import Path

    from azaion_devcluster.binaries import Binaries
    from azaion_devcluster.host import Packages
    from azaion_devcluster.paths import Cache, ClusterPaths

NODE_ADDRESS = "10.42.0.1"
POD_NETWORK = "10.42.0.0/16"
NODE_POD_NETWORK = "10.42.0.0/24"
SERVICE_NETWORK = "10.43.0.0/16"
API_SERVICE = "10.43.0.1"
DNS_SERVICE = "10.43.0.10"
API_PORT = 6443
REGISTRY_PORT = 5000
# A name of no real domain, mapped to the node's own registry by containerd's hosts files.
REGISTRY_NAME = "registry.azaion.internal"
PAUSE_IMAGE = f"{REGISTRY_NAME}/pause:1"
BRIDGE = "azaion0"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


@dataclass(frozen=True)
class Component:
    """A program that runs for the cluster's life and is started again when it ends."""

    name: str
    command: tuple[str, ...]
    # The control loops give up when the API server is not there yet, so they start once it answers.
    needs_api: bool = False


def write_configuration(paths: ClusterPaths, cache: Cache, packages: Packages, *, port: int) -> None:
    """Writes every configuration file, certificate and kubeconfig of the cluster."""
    authority = pki.Authority(paths.pki)
    authority.server(
        "apiserver",
        "kube-apiserver",
        names=[
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ],
        addresses=["127.0.0.1", NODE_ADDRESS, API_SERVICE],
    )
    authority.server("kubelet-server", paths.node, names=[paths.node], addresses=[NODE_ADDRESS, "127.0.0.1"])
    authority.client(pki.API_SERVER_TO_KUBELET)
    authority.service_account_keys()

    inside = f"https://127.0.0.1:{API_PORT}"
    for identity in (
        pki.CONTROLLER_MANAGER,
        pki.SCHEDULER,
        pki.PROXY,
        pki.DNS,
        pki.node_identity(paths.node),
    ):
        config = authority.kubeconfig(identity, server=inside, name=paths.node)
        files.write(_kubeconfig(paths, identity.file), config, mode=0o600)
    outside = authority.kubeconfig(pki.ADMIN, server=f"https://127.0.0.1:{port}", name=paths.node)
    files.write(paths.kubeconfig, outside, mode=0o600)

    files.write(paths.config / "containerd.toml", _containerd(paths, packages))
    files.write(paths.config / "hosts" / REGISTRY_NAME / "hosts.toml", _registry_hosts())
    files.write(
        paths.config / "registry.yaml", _yaml(registry_configuration(cache, f"127.0.0.1:{REGISTRY_PORT}"))
    )
    files.write(paths.config / "cni" / "10-azaion.conflist", _cni(paths))
    files.write(paths.config / "kubelet.yaml", _yaml(_kubelet(paths, authority)))
    files.write(paths.config / "proxy.yaml", _yaml(_proxy(paths)))
    files.write(paths.config / "Corefile", _corefile(paths))
    # Pods get cluster DNS only: the namespace has no way out.
    files.write(paths.config / "resolv.conf", "")


def registry_configuration(cache: Cache, address: str) -> dict[str, object]:
    """Registry over the shared storage; several may serve it at once since blobs never change."""
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(cache.registry)}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }


def components(paths: ClusterPaths, binaries: Binaries, packages: Packages) -> tuple[Component, ...]:
    """Everything that runs on the node, in starting order."""

    def program(name: str) -> str:
        return str(binaries.program(name))

    def kubeconfigs(identity: pki.Identity) -> tuple[str, ...]:
        path = _kubeconfig(paths, identity.file)
        return (
            f"--kubeconfig={path}",
            f"--authentication-kubeconfig={path}",
            f"--authorization-kubeconfig={path}",
        )

    certificates = paths.pki
    unhurried = (
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    )
    datastore = (
        f"sqlite://{paths.datastore}/state.db?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate"
    )
    return (
        Component(
            "containerd", (str(packages.containerd), "--config", str(paths.config / "containerd.toml"))
        ),
        Component("registry", (str(packages.registry), "serve", str(paths.config / "registry.yaml"))),
        Component(
            "kine",
            (
                program("kine"),
                "--listen-address=tcp://127.0.0.1:2379",
                f"--endpoint={datastore}",
                "--metrics-bind-address=0",
            ),
        ),
        Component(
            "kube-apiserver",
            (
                program("kube-apiserver"),
                "--etcd-servers=http://127.0.0.1:2379",
                f"--secure-port={API_PORT}",
                f"--advertise-address={NODE_ADDRESS}",
                "--endpoint-reconciler-type=lease",
                f"--service-cluster-ip-range={SERVICE_NETWORK}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                "--anonymous-auth=false",
                f"--client-ca-file={certificates}/ca.crt",
                f"--tls-cert-file={certificates}/apiserver.crt",
                f"--tls-private-key-file={certificates}/apiserver.key",
                f"--kubelet-certificate-authority={certificates}/ca.crt",
                f"--kubelet-client-certificate={certificates}/{pki.API_SERVER_TO_KUBELET.file}.crt",
                f"--kubelet-client-key={certificates}/{pki.API_SERVER_TO_KUBELET.file}.key",
                "--kubelet-preferred-address-types=InternalIP",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={certificates}/service-accounts.pub",
                f"--service-account-signing-key-file={certificates}/service-accounts.key",
            ),
        ),
        Component(
            "kube-controller-manager",
            (
                program("kube-controller-manager"),
                *kubeconfigs(pki.CONTROLLER_MANAGER),
                *unhurried,
                "--use-service-account-credentials",
                f"--service-account-private-key-file={certificates}/service-accounts.key",
                f"--root-ca-file={certificates}/ca.crt",
                f"--cluster-signing-cert-file={certificates}/ca.crt",
                f"--cluster-signing-key-file={certificates}/ca.key",
                "--allocate-node-cidrs",
                f"--cluster-cidr={POD_NETWORK}",
                f"--service-cluster-ip-range={SERVICE_NETWORK}",
                f"--cert-dir={paths.kubelet}/controller-manager",
            ),
            needs_api=True,
        ),
        Component(
            "kube-scheduler",
            (
                program("kube-scheduler"),
                *kubeconfigs(pki.SCHEDULER),
                *unhurried,
                f"--cert-dir={paths.kubelet}/scheduler",
            ),
            needs_api=True,
        ),
        Component(
            "kubelet",
            (
                program("kubelet"),
                f"--config={paths.config}/kubelet.yaml",
                f"--kubeconfig={_kubeconfig(paths, 'kubelet')}",
                f"--hostname-override={paths.node}",
                f"--node-ip={NODE_ADDRESS}",
                "--node-labels=azaion.com/devcluster=true",
            ),
            needs_api=True,
        ),
        Component(
            "kube-proxy", (program("kube-proxy"), f"--config={paths.config}/proxy.yaml"), needs_api=True
        ),
        Component("coredns", (program("coredns"), "-conf", str(paths.config / "Corefile")), needs_api=True),
    )


def bootstrap_objects() -> tuple[dict[str, object], ...]:
    """What a cluster needs before the first pod: DNS under its usual address, and two bindings."""
    dns_labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    ports = [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")]
    return (
        _object("rbac.authorization.k8s.io/v1", "ClusterRole", "azaion:dns")
        | {
            "rules": [
                _rule("", "endpoints", "services", "pods", "namespaces"),
                _rule("discovery.k8s.io", "endpointslices"),
            ]
        },
        _binding("azaion:dns", role="azaion:dns", user=pki.DNS.user),
        _binding(
            "azaion:apiserver-kubelet", role="system:kubelet-api-admin", user=pki.API_SERVER_TO_KUBELET.user
        ),
        _object("v1", "Service", "kube-dns", namespace="kube-system", labels=dns_labels)
        | {
            "spec": {
                "clusterIP": DNS_SERVICE,
                "ports": [
                    {"name": name, "port": port, "protocol": protocol} for name, port, protocol in ports
                ],
            }
        },
        # No selector: CoreDNS runs beside the kubelet, not in a pod, so that DNS needs no image.
        _object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "kube-dns",
            namespace="kube-system",
            labels={"kubernetes.io/service-name": "kube-dns"},
        )
        | {
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
            "ports": [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in ports],
        },
    )


def _containerd(paths: ClusterPaths, packages: Packages) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE every sandbox fails otherwise.
    # discard_unpacked_layers: the registry beside it keeps the compressed layers already.
    return f"""\
version = 2
root = "{paths.containerd}"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{paths.root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  enable_unprivileged_ports = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{packages.cni_plugins}"
    conf_dir = "{paths.config}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{paths.config}/hosts"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
    # The name real GPU nodes have, so that the same RuntimeClass works here.
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
        SystemdCgroup = false
"""


def _registry_hosts() -> str:
    address = f"http://127.0.0.1:{REGISTRY_PORT}"
    return f'server = "{address}"\n[host."{address}"]\n  capabilities = ["pull", "resolve"]\n'


def _cni(paths: ClusterPaths) -> str:
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": NODE_POD_NETWORK}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(paths.cni),
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "azaion", "plugins": [bridge, ports]}, indent=2)


def _kubelet(paths: ClusterPaths, authority: pki.Authority) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(authority.path("kubelet-server.crt")),
        "tlsPrivateKeyFile": str(authority.path("kubelet-server.key")),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{paths.cgroup}",
        # The kubelet refuses control groups of version 1 by default.
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "resolvConf": str(paths.config / "resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        # A busy developer's disk must not evict test pods.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        # Images are kept: they come from this disk anyway.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "5s",
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        "maxParallelImagePulls": 2,
    }


def _proxy(paths: ClusterPaths) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": "0.0.0.0",  # noqa: S104 (a private network namespace)
        "mode": "iptables",
        "clusterCIDR": POD_NETWORK,
        "clientConnection": {"kubeconfig": str(_kubeconfig(paths, pki.PROXY.file))},
        # Zero leaves the machine's connection tracking alone.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": paths.node,
    }


def _corefile(paths: ClusterPaths) -> str:
    return f"""\
.:53 {{
    bind {NODE_ADDRESS}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {_kubeconfig(paths, pki.DNS.file)}
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""


def _kubeconfig(paths: ClusterPaths, file: str) -> Path:
    return paths.pki / f"{file}.kubeconfig"


def _object(
    version: str, kind: str, name: str, *, namespace: str = "", labels: dict[str, str] | None = None
) -> dict[str, object]:
    metadata: dict[str, object] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _rule(group: str, *resources: str) -> dict[str, object]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": ["list", "watch"]}


def _binding(name: str, *, role: str, user: str) -> dict[str, object]:
    group = "rbac.authorization.k8s.io"
    return _object(f"{group}/v1", "ClusterRoleBinding", name) | {
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def _yaml(document: dict[str, object]) -> str:
    return yaml.safe_dump(document, sort_keys=False)
