"""A real control plane on this machine: etcd, kube-apiserver and kube-controller-manager, no node.

RBAC is on, what was asked is in an audit log, every port is a free one, and everything lies in one folder. Nothing of
it outlives its parent process. `python -m tests.cluster.control_plane` starts one and says how to reach it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import yaml

from rollout.runtime.clock import SystemClock
from tests.cluster.certificates import Authority, Pair
from tests.cluster.ground.needs import built

ROOT = Path(__file__).parents[2]
LOOPBACK = "127.0.0.1"
SERVICE_RANGE = "10.96.0.0/16"
PATIENCE = 120.0
"""How long a program may take to become ready, in seconds: a busy machine is slow."""
ATTEMPTS = 3
CLOCK = SystemClock()
ENDS_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}


class Missing(RuntimeError):
    """A program that this machine does not have. The message says how to get it."""


class Died(RuntimeError):
    """A program ended or never became ready. The message has the last lines of its log."""


def programs() -> tuple[Path, Path]:
    """The folder of Kubernetes' programs, and etcd. Missing when they have not been built."""
    kubernetes, etcd = built("get_kubernetes.sh"), built("get_etcd.sh")
    if kubernetes is None or etcd is None:
        script = "get_kubernetes.sh" if kubernetes is None else "get_etcd.sh"
        raise Missing(f"the control plane has not been built: tools/{script}")
    return kubernetes, etcd


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


class Program:
    """A process with its log, which ends with its parent."""

    def __init__(self, name: str, argv: Sequence[str], folder: Path) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*ENDS_WITH_PARENT, *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self, patience: float = 10.0) -> None:
        """SIGTERM, and SIGKILL for what does not heed it."""
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def obituary(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return f"{self.name} (exit code {self._process.returncode}), {self.log}:\n" + "\n".join(lines)


class ControlPlane:
    """`kubeconfig()` for whoever shall use it; `audit` is the log of all requests, a JSON object in each line."""

    def __init__(self, folder: Path, address: str, port: int, authority: Authority) -> None:
        self.folder, self.authority = folder, authority
        self.url = f"https://{address}:{port}"
        self.audit = folder / "audit.log"
        self.programs: dict[str, Program] = {}

    def kubeconfig(self, user: str = "admin", groups: Sequence[str] = ("system:masters",)) -> Path:
        """A kubeconfig with a client certificate of that user and those groups (default: who may everything)."""
        return self._kubeconfig(user, self.authority.client(user, groups))

    def _kubeconfig(self, user: str, pair: Pair) -> Path:
        cluster = {"server": self.url, "certificate-authority": str(self.authority.pair.certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate": str(pair.certificate), "client-key": str(pair.key)},
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }
        path = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path


def etcd_argv(binary: Path, folder: Path, client: int, peer: int) -> list[str]:
    """etcd for one test: without fsync, for nothing of it shall outlive the machine."""
    urls = f"http://{LOOPBACK}:{client}"
    peers = f"http://{LOOPBACK}:{peer}"
    return [
        str(binary),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={urls}",
        f"--advertise-client-urls={urls}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def apiserver_argv(
    binary: Path,
    folder: Path,
    authority: Authority,
    *,
    address: str,
    port: int,
    etcd: str,
    services: str = SERVICE_RANGE,
) -> list[str]:
    """kube-apiserver with RBAC, the default admission (PodSecurity among it) and an audit log.

    `services` is the range of the cluster's addresses; the API itself gets the first of it.
    """
    policy = folder / "audit-policy.yaml"
    policy.write_text(yaml.safe_dump(AUDIT_POLICY))
    first = str(ip_network(services)[1])
    hosts = (
        address,
        LOOPBACK,
        "localhost",
        first,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
    )
    server = authority.server("kube-apiserver", hosts)
    kubelet = authority.client("kube-apiserver-kubelet-client", ("system:masters",))
    accounts = authority.signer("service-accounts")
    return [
        str(binary),
        f"--advertise-address={address}",
        f"--bind-address={address}",
        f"--secure-port={port}",
        f"--etcd-servers={etcd}",
        f"--client-ca-file={authority.pair.certificate}",
        f"--tls-cert-file={server.certificate}",
        f"--tls-private-key-file={server.key}",
        f"--kubelet-client-certificate={kubelet.certificate}",
        f"--kubelet-client-key={kubelet.key}",
        f"--kubelet-certificate-authority={authority.pair.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={accounts.certificate}",
        f"--service-account-signing-key-file={accounts.key}",
        f"--service-cluster-ip-range={services}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none" if address == LOOPBACK else "--endpoint-reconciler-type=lease",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={folder / 'audit.log'}",
        f"--cert-dir={folder / 'generated'}",
    ]


def controller_manager_argv(binary: Path, authority: Authority, kubeconfig: Path, *more: str) -> list[str]:
    """kube-controller-manager: alone, so without election."""
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--root-ca-file={authority.pair.certificate}",
        f"--service-account-private-key-file={authority.pair.key.parent / 'service-accounts.key'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        f"--bind-address={LOOPBACK}",
        "--secure-port=0",
        *more,
    ]


@contextmanager
def control_plane(
    folder: Path, *, manager: bool = True, manager_flags: Sequence[str] = ()
) -> Iterator[ControlPlane]:
    """Start one on loopback, and stop it. `manager_flags` are added to kube-controller-manager's.

    Raises Missing when a program is not there, Died when one does not come up.
    """
    binaries, etcd = programs()
    folder.mkdir(parents=True, exist_ok=True)
    plane = None
    started: list[Program] = []
    try:
        for attempt in range(ATTEMPTS):
            try:
                plane = _begun(binaries, etcd, folder, started)
                break
            except Died:
                # A free port may be taken by somebody else before we are there.
                _stopped(started)
                shutil.rmtree(folder / "etcd", ignore_errors=True)
                if attempt + 1 == ATTEMPTS:
                    raise
        assert plane is not None
        if manager:
            config = plane.kubeconfig("system:kube-controller-manager")
            argv = controller_manager_argv(
                binaries / "kube-controller-manager", plane.authority, config, *manager_flags
            )
            started.append(Program("kube-controller-manager", argv, folder))
            # Without its default service account a namespace takes no pods.
            path = "/api/v1/namespaces/default/serviceaccounts/default"
            wait_until(started, lambda: _answers(plane, path), "the default service account")
        plane.programs = {one.name: one for one in started}
        yield plane
    finally:
        _stopped(started)


def _begun(binaries: Path, etcd: Path, folder: Path, started: list[Program]) -> ControlPlane:
    authority = Authority(folder / "certificates")
    client, peer, port = free_port(), free_port(), free_port()
    plane = ControlPlane(folder, LOOPBACK, port, authority)
    started.append(Program("etcd", etcd_argv(etcd, folder, client, peer), folder))
    argv = apiserver_argv(
        binaries / "kube-apiserver",
        folder,
        authority,
        address=LOOPBACK,
        port=port,
        etcd=f"http://{LOOPBACK}:{client}",
    )
    started.append(Program("kube-apiserver", argv, folder))
    plane.kubeconfig()
    wait_until(started, lambda: _answers(plane, "/readyz"), "the API server")
    return plane


def wait_until(started: Sequence[Program], ready: Callable[[], bool], what: str) -> None:
    """Raises Died when one of them ends, or when it takes longer than PATIENCE."""
    until = CLOCK.monotonic() + PATIENCE
    while not ready():
        dead = [one for one in started if not one.alive]
        if dead:
            raise Died(dead[0].obituary())
        if CLOCK.monotonic() > until:
            raise Died(f"{what} was not ready after {PATIENCE:.0f} s; {started[-1].obituary()}")
        time.sleep(0.1)


def _answers(plane: ControlPlane, path: str) -> bool:
    return answer(plane, path) is not None


def answer(plane: ControlPlane, path: str) -> bytes | None:
    """What the API server answers to the administrator's question; None unless it answers with 200.

    The administrator's kubeconfig must have been made.
    """
    certificates = plane.authority.pair.certificate.parent
    context = ssl.create_default_context(cafile=str(plane.authority.pair.certificate))
    context.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")
    try:
        with urllib.request.urlopen(plane.url + path, context=context, timeout=5) as answered:
            return bytes(answered.read()) if answered.status == 200 else None
    except (OSError, urllib.error.HTTPError):
        return None


def _stopped(started: list[Program]) -> None:
    """In the opposite order: etcd last."""
    while started:
        started.pop().stop()


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="surefoot-control-plane-") as folder,
        control_plane(Path(folder)) as plane,
    ):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        told = {"kubeconfig": str(plane.kubeconfig()), "url": plane.url, "audit": str(plane.audit)}
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()
        try:
            os.waitpid(plane.programs["kube-apiserver"].pid, 0)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
