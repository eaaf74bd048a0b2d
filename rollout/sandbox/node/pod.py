"""One pod on the node: from its binding to its end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from rollout.api.codec import merge_diff
from rollout.api.meta import Object, metadata
from rollout.api.resources import CONFIG_MAPS, PODS, SECRETS, Resource
from rollout.errors import ApiError, Conflict, NotFound
from rollout.runtime.clock import Clock
from rollout.runtime.events import Recorder
from rollout.runtime.kube import Kube
from rollout.runtime.queue import Backoff
from rollout.runtime.store import version_of
from rollout.sandbox.node.addresses import Address, Addresses
from rollout.sandbox.node.container import ImageUnknown, Supervisor
from rollout.sandbox.node.images import Images
from rollout.sandbox.node.launch import (
    ContainerConfigError,
    Launch,
    Lookups,
    Node,
    container_ports,
    launch,
    references,
)
from rollout.sandbox.node.logs import pod_directory
from rollout.sandbox.node.podstatus import Terminated, containers_of, pod_status, restart_policy
from rollout.sandbox.node.prober import Target, named_ports
from rollout.sandbox.node.probes import BackOff
from rollout.sandbox.node.process import Processes
from rollout.sandbox.workloads.endpointslice import PORTS_ANNOTATION

log = structlog.get_logger()


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What all pods of a node share."""

    kube: Kube
    clock: Clock
    node: Node
    state: Path
    images: Images
    strict_images: bool
    environment: Mapping[str, str]
    addresses: Addresses
    processes: Processes
    recorder: Recorder
    backoff: BackOff


class PodWorker:
    """Plays one pod's life. `update` tells it what the API says now; `run` ends when the pod is gone."""

    def __init__(self, machine: Machine, pod: Object) -> None:
        self.clock, self.processes, self.backoff = machine.clock, machine.processes, machine.backoff
        meta = metadata(pod)
        self.directory = pod_directory(machine.state, meta["namespace"], meta["name"], meta["uid"])
        self.label = f"{meta['name']}_{meta['namespace']}({meta['uid']})"
        self._machine, self._pod = machine, pod
        self._address: Address | None = None
        self._inits: list[Supervisor] = []
        self._apps: list[Supervisor] = []
        self._extras: dict[str, tuple[Supervisor, asyncio.Task[None]]] = {}
        """Ephemeral containers by name, and their runs."""
        self._closed = False
        """Whether the ordinary containers have ended for good: no ephemeral one starts any more."""
        self._dirty = asyncio.Event()
        self._leaving = asyncio.Event()
        self._telling = asyncio.Lock()
        self._deadline: float | None = None
        self._over = False
        self._written: dict[str, Any] = dict(pod.get("status") or {})
        self.update(pod)

    def update(self, pod: Object) -> None:
        """A newer state of the pod from the API: it may be on its way out, or sooner than before."""
        self._take(pod)
        meta = metadata(pod)
        if meta.get("deletionTimestamp"):
            grace = float(meta.get("deletionGracePeriodSeconds") or 0)
            deadline = self.clock.monotonic() + grace
            if self._deadline is None or deadline < self._deadline:
                self._deadline = deadline
            self._leaving.set()
        self._start_extras()
        self._dirty.set()

    def vanished(self) -> None:
        """The pod is gone from the API: its processes end at once."""
        self._deadline = self.clock.monotonic()
        self._leaving.set()

    async def run(self) -> None:
        meta = metadata(self._pod)
        if (self._pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
            await self._leaving.wait()
            await self._end()
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        wanted = str((self._pod.get("status") or {}).get("podIP", ""))
        self._address = self._machine.addresses.allocate(container_ports(self._pod), wanted)
        writing = asyncio.create_task(self._write_forever(), name=f"status of {meta['name']}")
        try:
            await self._announce_ports()
            await self._live()
            await self._leaving.wait()
            self._over = True
            await self._tell()
            await self._end()
        finally:
            writing.cancel()
            self._machine.addresses.release(self._address)

    # --- the pod's life ---------------------------------------------------------------------------

    async def _live(self) -> None:
        """Runs the containers until they are over, or ended because the pod is being deleted."""
        now, spec, policy = self.clock.now(), self._pod.get("spec") or {}, restart_policy(self._pod)
        for field, into, rule in (
            # An init container that fails is tried again unless the pod never restarts anything.
            ("initContainers", self._inits, "Never" if policy == "Never" else "OnFailure"),
            ("containers", self._apps, policy),
        ):
            known = containers_of(self._pod, field, now)
            for item, state in zip(spec.get(field) or (), known, strict=True):
                into.append(Supervisor(self, item, rule, state))  # type: ignore[arg-type]
        if self._leaving.is_set():
            return
        self._start_extras()
        living = asyncio.create_task(self._run_containers(), name=f"containers of {self.label}")
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({living, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if self._leaving.is_set():
                every = (*self._inits, *self._apps, *(item for item, _ in self._extras.values()))
                await asyncio.gather(*(item.stop(self._seconds_left) for item in every))
            await living
            await self._stop_extras()
        finally:
            self._closed = True
            tasks = {leaving, living, *(run for _, run in self._extras.values())}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)  # unlike awaiting each, this does not swallow our own cancellation

    async def _run_containers(self) -> None:
        for item in self._inits:
            await item.run()
            ended = item.now.state
            if self._leaving.is_set() or not (isinstance(ended, Terminated) and ended.exit_code == 0):
                return
        async with asyncio.TaskGroup() as group:
            for item in self._apps:
                group.create_task(item.run())

    # --- ephemeral containers ---------------------------------------------------------------------

    def _start_extras(self) -> None:
        """Starts the ephemeral containers that the pod has got since, once it has its ordinary ones."""
        if not self._apps or self._leaving.is_set() or self._closed:
            return
        field = "ephemeralContainers"
        states = containers_of(self._pod, field, self.clock.now())
        for spec, state in zip((self._pod.get("spec") or {}).get(field) or (), states, strict=True):
            if state.name not in self._extras:
                item = Supervisor(self, spec, "Never", state)
                run = asyncio.create_task(self._run_extra(item), name=f"{state.name} in {self.label}")
                self._extras[state.name] = (item, run)

    async def _run_extra(self, item: Supervisor) -> None:
        """A defect in one is told, and stops nothing else of the pod."""
        try:
            await item.run()
        except Exception as error:
            log.exception(
                "an ephemeral container's supervisor failed", pod=self.label, container=item.now.name
            )
            self.emit("Failed", f"Error: {error}", warning=True)

    async def _stop_extras(self) -> None:
        """They end with the pod's ordinary containers."""
        deadline = self.clock.monotonic() + self.grace
        extras = tuple(self._extras.values())
        self._closed = True
        await asyncio.gather(*(item.stop(lambda: deadline - self.clock.monotonic()) for item, _ in extras))
        await asyncio.gather(*(run for _, run in extras))

    def _target_pid(self, spec: Mapping[str, Any]) -> int | None:
        """The main process of the container that an ephemeral one is aimed at."""
        wanted = spec.get("targetContainerName")
        if not wanted:
            return None
        pid = next((item.pid for item in (*self._inits, *self._apps) if item.now.name == wanted), None)
        if pid is None:
            raise ContainerConfigError(f"unable to find target container {wanted!r}: it is not running")
        return pid

    def _seconds_left(self) -> float:
        return 0.0 if self._deadline is None else self._deadline - self.clock.monotonic()

    async def _announce_ports(self) -> None:
        """Tells which local ports stand for the container ports, where they are not the same."""
        assert self._address is not None
        if self._address.ports:
            text = json.dumps({str(port): local for port, local in self._address.ports.items()})
            await self._try(lambda: self._patch({"metadata": {"annotations": {PORTS_ANNOTATION: text}}}))

    # --- what containers need (Host) --------------------------------------------------------------

    async def prepare(self, spec: Mapping[str, Any]) -> Launch:
        image = spec.get("image", "")
        program = self._machine.images.program(image)
        if problem := self._machine.images.problem:
            self.emit("InvalidImagesFile", problem, warning=True)
        if not program.known and self._machine.strict_images:
            raise ImageUnknown(
                f"no entry of images.yaml matches {image!r}; add one, or start the sandbox without --strict-images"
            )
        if not program.known and not spec.get("command"):
            said = f'No entry of images.yaml matches "{image}": running the demo app in its place'
            self.emit("UnknownImage", said, warning=True)
        else:
            self.emit("Pulled", f'Container image "{image}" already present on machine')
        assert self._address is not None
        pod = {**self._pod, "status": {**(self._pod.get("status") or {}), "podIP": self._address.ip}}
        return launch(
            pod,
            spec,
            program,
            base=self._machine.environment,
            ports=self._address.ports,
            node=self._machine.node,
            lookups=await self._lookups(),
            target_pid=self._target_pid(spec),
        )

    def target(self, spec: Mapping[str, Any], launch: Launch) -> Target:
        assert self._address is not None
        return Target(self._address.ip, self._address.ports, named_ports(spec), launch, self.directory)

    @property
    def grace(self) -> float:
        seconds = (self._pod.get("spec") or {}).get("terminationGracePeriodSeconds")
        return 30.0 if seconds is None else float(seconds)

    def changed(self) -> None:
        self._dirty.set()

    def emit(self, reason: str, message: str, *, warning: bool = False) -> None:
        self._machine.recorder.emit(dict(self._pod), "Warning" if warning else "Normal", reason, message)

    async def _lookups(self) -> Lookups:
        maps, secrets = references(self._pod)
        return Lookups(
            {
                name: data
                for name in sorted(maps)
                if (data := await self._data(CONFIG_MAPS, name)) is not None
            },
            {name: data for name in sorted(secrets) if (data := await self._data(SECRETS, name)) is not None},
        )

    async def _data(self, resource: Resource, name: str) -> dict[str, str] | None:
        try:
            found = await self._machine.kube.get(resource, metadata(self._pod)["namespace"], name)
        except NotFound:
            return None
        except ApiError as error:
            raise ContainerConfigError(f"{resource.kind.lower()} {name!r} cannot be read: {error}") from error
        data = found.get("data") or {}
        if resource is not SECRETS:
            return dict(data)
        return {
            key: base64.b64decode(value).decode("utf-8", "surrogateescape") for key, value in data.items()
        }

    # --- what the API is told ---------------------------------------------------------------------

    def _status(self) -> dict[str, Any]:
        assert self._address is not None
        pod = {**self._pod, "status": {**(self._pod.get("status") or {}), "podIP": self._address.ip}}
        inits = [item.now for item in self._inits]
        apps = [item.now for item in self._apps]
        extras = [item.now for item, _ in self._extras.values()]
        now, host_ip = self.clock.now(), self._machine.node.ip
        return pod_status(pod, inits, apps, now, host_ip, over=self._over, extras=extras)

    async def _write_forever(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._tell()

    async def _tell(self) -> None:
        """Tells the API the present state, if it is another one than was told last."""
        async with self._telling:
            if self._apps:
                await self._try(self._write)

    async def _write(self) -> None:
        status = self._status()
        change = merge_diff(self._pod.get("status") or {}, status)
        if change and status != self._written:
            await self._patch({"status": change}, "status")
        self._written = status

    async def _patch(self, change: Mapping[str, Any], subresource: str = "") -> None:
        meta = metadata(self._pod)
        patch = {**change, "metadata": {**change.get("metadata", {}), "uid": meta["uid"]}}
        self._take(
            await self._machine.kube.patch(
                PODS, meta["namespace"], meta["name"], patch, subresource=subresource
            )
        )

    def _take(self, pod: Object) -> None:
        """The newest of what the watch tells and what our own writes answer."""
        if version_of(dict(pod)) >= version_of(dict(self._pod)):
            self._pod = pod

    async def _end(self) -> None:
        """The last word about the pod: the API may forget it, and so do we."""
        meta = metadata(self._pod)

        async def write() -> None:
            with contextlib.suppress(Conflict):  # another pod of that name has taken its place
                await self._machine.kube.delete(
                    PODS, meta["namespace"], meta["name"], uid=meta["uid"], grace_seconds=0
                )

        await self._try(write)
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _try(self, write: Any) -> None:
        """Tries until it works or the pod is gone from the API."""
        backoff: Backoff[str] = Backoff(self.clock, base=0.05, cap=10)
        while True:
            try:
                await write()
            except (NotFound, Conflict):
                return
            except ApiError as error:
                log.warning("the API was not told about a pod", pod=self.label, error=str(error))
                await self.clock.sleep(backoff.next(""))
            else:
                return
