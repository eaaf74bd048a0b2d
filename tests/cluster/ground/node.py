"""The first process inside: makes the node's mounts and network, starts its programs, and watches them.

`node FOLDER NETWORK`: reads `go` when the cable is there, then writes a line of JSON: `{"ready": seconds}`, and later,
or instead, `{"failed": why}`. When one of its programs ends, it ends; when it ends, everything inside does.
"""

from __future__ import annotations

import json
import os
import sys
from ipaddress import IPv4Network
from pathlib import Path

from rollout.runtime.clock import SystemClock
from tests.cluster.certificates import Authority
from tests.cluster.control_plane import (
    LOOPBACK,
    ControlPlane,
    Died,
    Program,
    answer,
    apiserver_argv,
    controller_manager_argv,
    etcd_argv,
    wait_until,
)
from tests.cluster.ground import cgroups, dns, network, settings
from tests.cluster.ground.api import Api
from tests.cluster.ground.commands import Failed, run
from tests.cluster.ground.images import import_archive, write_image
from tests.cluster.ground.needs import required
from tests.cluster.ground.place import API_PORT, NODE_NAME, Place

HIDDEN = ("/run", "/var/log", "/var/lib")
"""Where node programs write, whatever one tells them; inside, these are empty and their own."""

KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet sets at its start. They are the whole machine's, so it finds files of ours in their place."""

ETCD_PORT = 2379
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    place = Place(Path(sys.argv[1]), IPv4Network(sys.argv[2]))
    kept = {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, PATH=SEARCHED)
    cgroups.join(place.cgroup)
    if sys.stdin.readline().strip() != "go":
        sys.exit(1)
    try:
        began = SystemClock().monotonic()
        mount(place)
        network.set_up_node(place)
        programs = start(place)
        tell({"ready": round(SystemClock().monotonic() - began, 1)})
        tell({"failed": watch(programs)})
    except (Died, Failed, OSError) as problem:
        tell({"failed": str(problem)})
    sys.exit(1)


def tell(what: dict[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


def mount(place: Place) -> None:
    for path in HIDDEN:
        run("mount", "-t", "tmpfs", "tmpfs", path)
    shields = place.folder / "kernel"
    for setting, value in KERNEL_SETTINGS.items():
        shield = shields / setting
        shield.parent.mkdir(parents=True, exist_ok=True)
        shield.write_text(f"{value}\n")
        run("mount", "--bind", shield, Path("/proc/sys", setting))
    # Mounts below are seen by those who have bound it before, as a node's are.
    run("mount", "--bind", place.folder, place.folder)
    run("mount", "--make-shared", place.folder)


def start(place: Place) -> list[Program]:
    """All programs of the cluster, in their order, until its node is Ready."""
    folder, binaries = place.folder, required("get_kubernetes.sh")
    authority = Authority(folder / "certificates")
    plane = ControlPlane(folder, place.node_address, API_PORT, authority)
    plane.kubeconfig()
    started = [
        Program("etcd", etcd_argv(required("get_etcd.sh"), folder, ETCD_PORT, ETCD_PORT + 1), folder),
        Program(
            "containerd",
            ["containerd", "--config", _file(place, "containerd.toml", settings.containerd(place))],
            folder,
        ),
    ]
    api = apiserver_argv(
        binaries / "kube-apiserver",
        folder,
        authority,
        address=place.node_address,
        port=API_PORT,
        etcd=f"http://{LOOPBACK}:{ETCD_PORT}",
        services=str(place.services),
    )
    started.append(Program("kube-apiserver", [*api, "--enable-admission-plugins=NodeRestriction"], folder))
    wait_until(started, lambda: Path(settings.SOCKET).exists(), "containerd")
    own_image(place, settings.PAUSE_IMAGE, required("get_pause.sh"))
    own_image(place, dns.IMAGE, required("get_dns.sh"))
    wait_until(started, lambda: answer(plane, "/readyz") is not None, "the API server")
    started += clients(place, plane, binaries)
    kubectl = Api(plane.kubeconfig()).kubectl
    kubectl("apply", "--server-side", "-f", "-", stdin=dns.objects(place))
    wait_until(started, lambda: node_ready(plane), "the node")
    wait_until(started, lambda: dns_ready(plane), "the cluster's DNS")
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    wait_until(started, lambda: answer(plane, account) is not None, "the default service account")
    return started


def own_image(place: Place, reference: str, program: Path) -> None:
    """The image of one program, which is also all that it starts."""
    archive = place.folder / f"{program.name}.tar"
    write_image(archive, reference, {f"/{program.name}": program}, [f"/{program.name}"])
    import_archive(archive)
    archive.unlink()


def clients(place: Place, plane: ControlPlane, binaries: Path) -> list[Program]:
    """What speaks to the API server, each as a user of its own."""
    folder = place.folder
    manager = controller_manager_argv(
        binaries / "kube-controller-manager",
        plane.authority,
        plane.kubeconfig("system:kube-controller-manager", ()),
        f"--service-cluster-ip-range={place.services}",
    )
    scheduler_config = plane.kubeconfig("system:kube-scheduler", ())
    scheduler = [
        str(binaries / "kube-scheduler"),
        f"--kubeconfig={scheduler_config}",
        f"--authentication-kubeconfig={scheduler_config}",
        f"--authorization-kubeconfig={scheduler_config}",
        "--leader-elect=false",
        f"--bind-address={LOOPBACK}",
    ]
    serving = plane.authority.server("kubelet-serving", (NODE_NAME, place.node_address))
    _file(place, "cni/10-pods.conflist", settings.cni(place))
    _file(place, "resolv.conf", "")
    kubelet = [
        str(binaries / "kubelet"),
        f"--config={_file(place, 'kubelet.yaml', settings.kubelet(place, plane, serving))}",
        f"--kubeconfig={plane.kubeconfig(f'system:node:{NODE_NAME}', ('system:nodes',))}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={place.node_address}",
        f"--root-dir={folder / 'kubelet'}",
    ]
    proxy_config = settings.kube_proxy(place, str(plane.kubeconfig("system:kube-proxy", ())))
    proxy = [
        str(binaries / "kube-proxy"),
        f"--config={_file(place, 'kube-proxy.yaml', proxy_config)}",
        f"--hostname-override={NODE_NAME}",
    ]
    argvs = {
        "kube-controller-manager": manager,
        "kube-scheduler": scheduler,
        "kubelet": kubelet,
        "kube-proxy": proxy,
    }
    return [Program(name, argv, folder) for name, argv in argvs.items()]


def node_ready(plane: ControlPlane) -> bool:
    told = answer(plane, f"/api/v1/nodes/{NODE_NAME}")
    conditions = json.loads(told)["status"].get("conditions", ()) if told else ()
    taints = json.loads(told)["spec"].get("taints") if told else None
    return not taints and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def dns_ready(plane: ControlPlane) -> bool:
    told = answer(plane, dns.DEPLOYMENT_PATH)
    return bool(told and json.loads(told)["status"].get("availableReplicas"))


def watch(programs: list[Program]) -> str:
    """Collects what ends, as a first process must, until it is one of these; what it said last."""
    ours = {one.pid: one for one in programs}
    while True:
        pid, status = os.wait()
        if one := ours.get(pid):
            return f"ended with wait status {status}: {one.obituary()}"


def _file(place: Place, name: str, content: object) -> str:
    path = place.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1) + "\n")
    return str(path)


if __name__ == "__main__":
    main()
