"""The configuration files of the node's programs."""

from __future__ import annotations

from typing import Any

from tests.cluster.certificates import Pair
from tests.cluster.control_plane import ControlPlane
from tests.cluster.ground.needs import CNI
from tests.cluster.ground.place import Place

PAUSE_IMAGE = "surefoot.test/pause:1"
CLUSTER_DOMAIN = "cluster.local"
SOCKET = "/run/containerd/containerd.sock"
"""In the /run that only the cluster sees, so that its path is short whatever the folder's is."""


def containerd(place: Place) -> str:
    """TOML. What a namespace on a shared machine cannot have is off: AppArmor, scores below our own.

    On a starved machine a shim does not answer within containerd's few seconds, and its container counts as lost.
    """
    return f"""version = 2
root = "{place.folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{place.folder}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{CNI}"
  conf_dir = "{place.folder}/cni"
[timeouts]
  "io.containerd.timeout.task.state" = "60s"
  "io.containerd.timeout.shim.load" = "60s"
  "io.containerd.timeout.shim.cleanup" = "60s"
  "io.containerd.timeout.shim.shutdown" = "30s"
"""


def cni(place: Place) -> dict[str, Any]:
    """One bridge for all pods. They reach the machine as themselves; nothing is translated on the way."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(place.folder / "addresses"),
            "ranges": [[{"subnet": str(place.pods)}]],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, portmap]}


def kubelet(place: Place, plane: ControlPlane, serving: Pair) -> dict[str, Any]:
    """The kubelet as on any node, but: cgroups below the cluster's, and no eviction for what others use of the machine."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": place.node_address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plane.authority.pair.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.cgroup}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "enforceNodeAllocatable": ["none"],
        "localStorageCapacityIsolation": False,
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        # Nothing can be pulled again.
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
        "clusterDomain": CLUSTER_DOMAIN,
        "clusterDNS": [place.dns_address],
        "resolvConf": str(place.folder / "resolv.conf"),
        "podLogsDir": str(place.folder / "pods"),
        "volumePluginDir": str(place.folder / "kubelet" / "volume-plugins"),
    }


def kube_proxy(place: Place, kubeconfig: str) -> dict[str, Any]:
    """iptables; the limits of connection tracking are the machine's, not ours to set."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": str(place.pods),
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
