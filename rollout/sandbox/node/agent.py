"""The node agent: one node whose pods are processes on this machine. Scheduler and kubelet in one."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from rollout.api.meta import Object, metadata, micro_timestamp, timestamp
from rollout.api.resources import LEASES, NODES, PODS
from rollout.errors import AlreadyExists, ApiError, Conflict, NotFound, SurefootError
from rollout.runtime.clock import Clock
from rollout.runtime.events import Recorder
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube
from rollout.runtime.queue import Backoff
from rollout.sandbox.node.addresses import Addresses
from rollout.sandbox.node.images import Images
from rollout.sandbox.node.launch import Node
from rollout.sandbox.node.pod import Machine, PodWorker
from rollout.sandbox.node.probes import BackOff
from rollout.sandbox.node.process import Processes

log = structlog.get_logger()

NAME = "sandbox"
LEASE_NAMESPACE = "kube-node-lease"
HEARTBEAT_SECONDS = 10.0
LEASE_SECONDS = 40
MAX_PODS = 500
SCHEDULER = "default-scheduler"
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "TZ", "SSL_CERT_FILE")
"""What pods get of our own environment."""


async def run_node(
    kube: Kube,
    clock: Clock,
    *,
    state_dir: Path,
    images_path: Path | None = None,
    strict_images: bool = False,
    environment: Mapping[str, str] | None = None,
    name: str = NAME,
    backoff: BackOff = BackOff(),  # noqa: B008 - frozen
    shared_address: bool | None = None,
) -> None:
    """Runs a node until cancelled; its pods' processes end with it, in whatever way it ends.

    `environment` is given to every container (HTTP_PROXY and the like); `images_path` is an images.yaml
    that may change while we run. `shared_address` forces pods onto 127.0.0.1 (True) or onto addresses of
    their own (False); None finds out. SandboxError when images.yaml cannot be read or no address is free.
    """
    images = Images(images_path)
    addresses = _addresses(clock, state_dir, shared_address)
    passed_on = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
    recorder = Recorder(kube, clock, component="kubelet")
    try:
        async with Processes() as processes:
            node = Node(name, addresses.host_ip, capacity())
            machine = Machine(
                kube=kube,
                clock=clock,
                node=node,
                state=state_dir,
                images=images,
                strict_images=strict_images,
                environment={**passed_on, **(environment or {})},
                addresses=addresses,
                processes=processes,
                recorder=recorder,
                backoff=backoff,
            )
            await NodeAgent(machine).run()
    finally:
        addresses.close()


def _addresses(clock: Clock, state: Path, shared: bool | None) -> Addresses:
    """This agent's addresses: its predecessor's, if they are free, so that restarted pods keep theirs."""
    remembered = state / "node-address"
    wanted = remembered.read_text() if remembered.exists() else ""
    addresses = Addresses(clock.random, shared=shared, wanted=wanted)
    state.mkdir(parents=True, exist_ok=True)
    remembered.write_text(addresses.host_ip)
    return addresses


class NodeAgent:
    """Registers the node, binds pods, and keeps one worker per pod."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._kube, self._clock = machine.kube, machine.clock
        self._scheduler = Recorder(machine.kube, machine.clock, component=SCHEDULER)
        self._pods = Informer(machine.kube, PODS, clock=machine.clock)
        self._workers: dict[str, PodWorker] = {}
        self._ended: set[str] = set()
        """Pods we are done with and whose deletion the watch has not shown yet."""
        self._binding: set[str] = set()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        await self._register()
        async with self._group as group:
            group.create_task(self._machine.recorder.run(), name="kubelet events")
            group.create_task(self._scheduler.run(), name="scheduler events")
            group.create_task(self._heartbeat(), name="node heartbeat")
            group.create_task(self._pods.run(), name="pods of the node")
            await self._pods.wait_synced()
            self._tidy()
            self._pods.on_change(self._changed)

    # --- pods -------------------------------------------------------------------------------------

    def _changed(self, old: Object | None, new: Object | None) -> None:
        pod = new or old
        assert pod is not None
        uid = str(metadata(pod)["uid"])
        worker = self._workers.get(uid)
        if new is None:
            self._ended.discard(uid)
            if worker is not None:
                worker.vanished()
        elif uid in self._ended:
            return
        elif worker is not None:
            worker.update(new)
        elif (new.get("spec") or {}).get("nodeName") == self._machine.node.name:
            worker = self._workers[uid] = PodWorker(self._machine, new)
            self._group.create_task(self._play(uid, worker), name=f"pod {metadata(new)['name']}")
        elif _wants_us(new) and uid not in self._binding:
            self._binding.add(uid)
            self._group.create_task(self._bind(uid, new), name=f"bind {metadata(new)['name']}")

    async def _play(self, uid: str, worker: PodWorker) -> None:
        """Runs a worker to its end. A defect in one pod's life is told, and stops no other pod."""
        try:
            await worker.run()
        except SurefootError as error:
            worker.emit("Failed", f"Error: {error}", warning=True)
        except Exception:
            log.exception("a pod's worker failed; delete the pod to try again", pod=worker.label)
        finally:
            del self._workers[uid]
            if any(metadata(pod).get("uid") == uid for pod in self._pods.store):
                self._ended.add(uid)

    async def _bind(self, uid: str, pod: Object) -> None:
        meta, node = metadata(pod), self._machine.node.name
        backoff: Backoff[str] = Backoff(self._clock, base=0.1, cap=10)
        try:
            while True:
                try:
                    await self._kube.bind(meta["namespace"], meta["name"], node)
                except (NotFound, Conflict):
                    return
                except ApiError as error:
                    log.warning("a pod could not be bound", pod=meta["name"], error=str(error))
                    await self._clock.sleep(backoff.next(""))
                else:
                    said = f"Successfully assigned {meta['namespace']}/{meta['name']} to {node}"
                    self._scheduler.emit(dict(pod), "Normal", "Scheduled", said)
                    return
        finally:
            self._binding.discard(uid)

    def _tidy(self) -> None:
        """Removes what pods left behind that went away while no agent ran."""
        known = {str(metadata(pod).get("uid")) for pod in self._pods.store}
        root = self._machine.state / "pods"
        for directory in root.iterdir() if root.exists() else ():
            if directory.name.rpartition("_")[2] not in known:
                shutil.rmtree(directory, ignore_errors=True)

    # --- the node ---------------------------------------------------------------------------------

    async def _register(self) -> None:
        """Creates the node, or takes over the one of an earlier agent."""
        node = self._machine.node
        backoff: Backoff[str] = Backoff(self._clock, base=0.2, cap=5)
        while True:
            try:
                try:
                    await self._kube.create(NODES, None, node_object(node))
                except AlreadyExists:
                    labels = node_object(node)["metadata"]["labels"]
                    await self._kube.patch(NODES, None, node.name, {"metadata": {"labels": labels}})
                status = node_status(node, timestamp(self._clock.now()))
                await self._kube.patch(NODES, None, node.name, {"status": status}, subresource="status")
            except ApiError as error:
                log.warning("the node could not be registered", error=str(error))
                await self._clock.sleep(backoff.next(""))
            else:
                return

    async def _heartbeat(self) -> None:
        while True:
            try:
                await self._renew()
            except ApiError as error:
                log.warning("the node's lease was not renewed", error=str(error))
            await self._clock.sleep(HEARTBEAT_SECONDS)

    async def _renew(self) -> None:
        name = self._machine.node.name
        now = micro_timestamp(self._clock.now())
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        try:
            await self._kube.patch(LEASES, LEASE_NAMESPACE, name, {"spec": spec})
        except NotFound:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": LEASE_NAMESPACE},
                "spec": spec,
            }
            await self._kube.create(LEASES, LEASE_NAMESPACE, lease)


def _wants_us(pod: Object) -> bool:
    """Whether the pod waits for the default scheduler, which we are."""
    spec = pod.get("spec") or {}
    return (
        not spec.get("nodeName")
        and not metadata(pod).get("deletionTimestamp")
        and not spec.get("schedulingGates")
        and (spec.get("schedulerName") or SCHEDULER) == SCHEDULER
    )


def capacity() -> dict[str, str]:
    """What this machine has. Requests are not enforced."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{pages * size // 1024}Ki", "pods": str(MAX_PODS)}


def node_object(node: Node) -> dict[str, Any]:
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {
                "kubernetes.io/hostname": node.name,
                "kubernetes.io/os": platform.system().lower(),
                "kubernetes.io/arch": arch,
            },
        },
        "spec": {},
    }


def node_status(node: Node, now: str) -> dict[str, Any]:
    conditions = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    return {
        "capacity": dict(node.capacity),
        "allocatable": dict(node.capacity),
        "conditions": [
            {
                "type": type,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
            for type, status, reason, message in conditions
        ],
        "addresses": [
            {"type": "InternalIP", "address": node.ip},
            {"type": "Hostname", "address": node.name},
        ],
        "nodeInfo": {
            "kubeletVersion": "v1.32.0+surefoot-sandbox",
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "processes://1",
            "operatingSystem": platform.system().lower(),
            "architecture": platform.machine(),
            "kernelVersion": platform.release(),
            "osImage": platform.platform(),
            "machineID": "",
            "systemUUID": "",
            "bootID": "",
        },
    }
