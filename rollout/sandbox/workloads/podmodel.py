"""Pods without processes: stands in for scheduler and node agent in stories, simulator and benchmarks.

Deterministic: what a pod does follows from its `Behaviour`, and times from the clock it is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from rollout.api.meta import Object, metadata, timestamp
from rollout.api.resources import PODS
from rollout.errors import ApiError, Conflict, NotFound
from rollout.runtime.clock import Clock
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube
from rollout.runtime.queue import Backoff

log = structlog.get_logger()

NODE = "sandbox"


class Effect(msgspec.Struct, frozen=True):
    """What an ephemeral container does: it runs for `runs` seconds (None: to the pod's end) and ends with
    `exit_code`; with `kills` the pod's own containers end (code 137) together with it."""

    runs: float | None = 1.0
    exit_code: int = 0
    kills: bool = False


def _harmless(_: Object) -> Effect:
    return Effect()


class Behaviour(msgspec.Struct, frozen=True):
    """What a pod does. Seconds; `None` means never.

    It is Running after `starts_in`, Ready `ready_in` later. `crashes_after` seconds of running it ends with
    `exit_code`; under restartPolicy Always (or OnFailure with another code than 0) it starts again after
    `restarts_in`. With `flaps_every` it loses and regains readiness in turn. It takes `stops_in` to go.
    `ephemeral` says of an ephemeral container (as it stands in the pod's spec) what it does.
    """

    starts_in: float = 0.0
    ready_in: float | None = 0.0
    crashes_after: float | None = None
    exit_code: int = 1
    restarts_in: float = 10.0
    flaps_every: float | None = None
    stops_in: float = 0.0
    ephemeral: Callable[[Object], Effect] = _harmless


GOOD = Behaviour()
KILLED = 137
"""Exit code of a container that SIGKILL ended."""
Behaviours = Callable[[Object], Behaviour]


class PodModel:
    """Binds every pod to one node and plays its life. `run` until cancelled."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        behaviour: Behaviours | Behaviour = GOOD,
        *,
        node: str = NODE,
        host_ip: str = "127.254.0.1",
    ) -> None:
        self.kube, self.clock, self.node, self.host_ip = kube, clock, node, host_ip
        self.behaviour: Behaviours = behaviour if callable(behaviour) else lambda _: behaviour
        self._informer = Informer(kube, PODS, clock=clock)
        self._lives: dict[str, _Life] = {}
        self._next_ip = 0
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        async with self._group as group:
            self._informer.on_change(self._changed)
            group.create_task(self._informer.run())

    def _changed(self, old: Object | None, new: Object | None) -> None:
        uid = str(metadata(new or old or {}).get("uid"))
        life = self._lives.get(uid)
        if new is None:
            if life is not None:
                del self._lives[uid]
                life.end()
            return
        if life is None:
            if (new.get("spec") or {}).get("nodeName", self.node) != self.node:
                return
            life = self._lives[uid] = _Life(self, new)
            life.task = self._group.create_task(life.run(), name=f"pod {metadata(new)['name']}")
        life.pod = new
        life.begin_ephemeral()
        if metadata(new).get("deletionTimestamp"):
            life.deleting.set()

    def address(self) -> str:
        self._next_ip += 1
        return f"127.254.{1 + self._next_ip // 250 % 250}.{1 + self._next_ip % 250}"


class _Life:
    """One pod, from binding to deletion."""

    def __init__(self, model: PodModel, pod: Object) -> None:
        self.pod = pod
        self.deleting = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._ephemeral: dict[str, dict[str, Any]] = {}
        """Statuses of the ephemeral containers by name."""
        self._effects: set[asyncio.Task[None]] = set()
        self._killed = asyncio.Event()
        self._model = model
        self._clock = model.clock
        self._behaviour = model.behaviour(pod)
        before = pod.get("status") or {}
        self._ip: str = before.get("podIP") or model.address()
        self._restarts = max(
            (c.get("restartCount", 0) for c in before.get("containerStatuses") or ()), default=0
        )
        self._moved: dict[str, tuple[bool, str]] = {
            item["type"]: (item["status"] == "True", item.get("lastTransitionTime", ""))
            for item in before.get("conditions") or ()
        }

    def end(self) -> None:
        for task in (self.task, *self._effects):
            if task is not None:
                task.cancel()

    # --- ephemeral containers ---------------------------------------------------------------------

    def begin_ephemeral(self) -> None:
        """Play the ephemeral containers that the pod has got since."""
        for container in (self.pod.get("spec") or {}).get("ephemeralContainers") or ():
            if container["name"] not in self._ephemeral and not self.deleting.is_set():
                began = {"running": {"startedAt": timestamp(self._clock.now())}}
                self._ephemeral[container["name"]] = _ephemeral_status(container, began)
                task = asyncio.create_task(self._affect(container, self._behaviour.ephemeral(container)))
                self._effects.add(task)
                task.add_done_callback(self._effects.discard)

    async def _affect(self, container: Object, effect: Effect) -> None:
        try:
            await self._tell_ephemeral()
            if effect.runs is None:
                return
            await self._clock.sleep(effect.runs)
            if effect.kills:
                self._killed.set()
            ended = {"terminated": {"exitCode": effect.exit_code, "reason": _reason(effect.exit_code)}}
            self._ephemeral[container["name"]] = _ephemeral_status(container, ended)
            await self._tell_ephemeral()
        except NotFound:
            return  # the pod is gone

    async def _tell_ephemeral(self) -> None:
        meta = metadata(self.pod)
        status = {"ephemeralContainerStatuses": list(self._ephemeral.values())}
        patch = {"metadata": {"uid": meta["uid"]}, "status": status}

        async def write() -> None:
            try:
                await self._model.kube.patch(
                    PODS, meta["namespace"], meta["name"], patch, subresource="status"
                )
            except Conflict:
                return  # another pod of this name

        await self._write(write)

    async def run(self) -> None:
        try:
            await self._write(self._bind)
            living = asyncio.ensure_future(self._live())
            leaving = asyncio.ensure_future(self.deleting.wait())
            try:
                await asyncio.wait({living, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if living.done():
                    living.result()
                await self.deleting.wait()
            finally:
                living.cancel()
                leaving.cancel()
            await self._clock.sleep(self._behaviour.stops_in)
            await self._write(self._delete)
        except NotFound:
            return  # deleted meanwhile

    async def _bind(self) -> None:
        if not (self.pod.get("spec") or {}).get("nodeName"):
            meta = metadata(self.pod)
            try:
                await self._model.kube.bind(meta["namespace"], meta["name"], self._model.node)
            except Conflict:
                return  # bound by somebody else

    async def _delete(self) -> None:
        meta = metadata(self.pod)
        try:
            await self._model.kube.delete(
                PODS, meta["namespace"], meta["name"], uid=meta["uid"], grace_seconds=0
            )
        except Conflict:
            return  # another pod of this name

    async def _live(self) -> None:
        plan = self._behaviour
        await self._clock.sleep(plan.starts_in)
        while True:
            # A crash comes in the middle of whatever the pod is doing.
            code = await self._until_crash()
            policy = (self.pod.get("spec") or {}).get("restartPolicy") or "Always"
            again = policy == "Always" or (policy == "OnFailure" and code != 0)
            ended = {"terminated": {"exitCode": code, "reason": _reason(code)}}
            if not again:
                await self._tell("Succeeded" if code == 0 else "Failed", ready=False, state=ended)
                return
            waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
            await self._tell("Running", ready=False, state=waiting, last=ended)
            await self._clock.sleep(plan.restarts_in)
            self._restarts += 1

    async def _until_crash(self) -> int:
        plan = self._behaviour
        self._killed.clear()
        serving = asyncio.ensure_future(self._serve())
        killed = asyncio.ensure_future(self._killed.wait())
        try:
            async with asyncio.timeout(plan.crashes_after):
                await asyncio.wait({serving, killed}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()  # the pod is gone, or a defect
        except TimeoutError:
            return plan.exit_code
        else:
            return KILLED
        finally:
            serving.cancel()
            killed.cancel()

    async def _serve(self) -> None:
        plan = self._behaviour
        running = {"running": {"startedAt": timestamp(self._clock.now())}}
        if plan.ready_in is None or plan.ready_in > 0:
            await self._tell("Running", ready=False, state=running)
        if plan.ready_in is None:
            await asyncio.Event().wait()
            return
        await self._clock.sleep(plan.ready_in)
        ready = True
        while True:
            await self._tell("Running", ready=ready, state=running)
            if plan.flaps_every is None:
                await asyncio.Event().wait()
            else:
                await self._clock.sleep(plan.flaps_every)
                ready = not ready

    async def _tell(
        self, phase: str, *, ready: bool, state: dict[str, Any], last: dict[str, Any] | None = None
    ) -> None:
        meta, spec = metadata(self.pod), self.pod.get("spec") or {}
        status = {
            "phase": phase,
            "conditions": [
                self._condition("PodScheduled", holds=True),
                self._condition("Initialized", holds=True),
                self._condition("ContainersReady", holds=ready),
                self._condition("Ready", holds=ready),
            ],
            "hostIP": self._model.host_ip,
            "podIP": self._ip,
            "podIPs": [{"ip": self._ip}],
            "startTime": (self.pod.get("status") or {}).get("startTime") or timestamp(self._clock.now()),
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container.get("image", ""),
                    "imageID": "",
                    "ready": ready,
                    "started": "running" in state,
                    "restartCount": self._restarts,
                    "state": state,
                    "lastState": last or {},
                }
                for container in spec.get("containers") or ()
            ],
        }

        async def write() -> None:
            await self._model.kube.patch(
                PODS, meta["namespace"], meta["name"], {"status": status}, subresource="status"
            )

        await self._write(write)

    def _condition(self, type: str, *, holds: bool) -> dict[str, Any]:
        before = self._moved.get(type)
        if before is None or before[0] != holds:
            self._moved[type] = before = (holds, timestamp(self._clock.now()))
        return {"type": type, "status": "True" if holds else "False", "lastTransitionTime": before[1]}

    async def _write(self, write: Callable[[], Any]) -> None:
        """Tries until it worked. NotFound when the pod is gone."""
        backoff: Backoff[str] = Backoff(self._clock, base=0.1, cap=10)
        while True:
            try:
                await write()
            except NotFound:
                raise
            except ApiError as error:
                log.info("pod model: a write failed", pod=metadata(self.pod)["name"], error=str(error))
                await self._clock.sleep(backoff.next(""))
            else:
                return


def _reason(code: int) -> str:
    return "Error" if code else "Completed"


def _ephemeral_status(container: Object, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
        "lastState": {},
    }
