"""One container of a pod: starts it, probes it, restarts it, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from rollout.api.codec import view
from rollout.runtime.clock import Clock
from rollout.sandbox.node.launch import ContainerConfigError, Launch
from rollout.sandbox.node.logs import LogFile
from rollout.sandbox.node.podstatus import (
    Container,
    RestartPolicy,
    Running,
    Terminated,
    Waiting,
    should_restart,
)
from rollout.sandbox.node.prober import Target, perform
from rollout.sandbox.node.probes import (
    BackOff,
    Handler,
    Probe,
    ProbeKind,
    ProbeState,
    after,
    health,
    unhealthy_message,
)
from rollout.sandbox.node.process import Process, Processes, StartError

CONFIG_RETRY_SECONDS = 5.0
FIRST_PROBE_SECONDS = 0.25
"""A new process cannot answer at once; without this its first probe would fail and cost a whole period."""
MIN_AFTER_HOOK = 2.0
"""A container whose preStop hook used up the grace period still gets two seconds, as from the kubelet."""
START_ERROR_CODE = 128
HOOK_SECONDS = 3600.0


class ImageUnknown(Exception):
    """--strict-images and no entry for this image."""


class Host(Protocol):
    """What a container needs of its pod."""

    clock: Clock
    processes: Processes
    backoff: BackOff
    directory: Path
    label: str
    """`web_shop(uid)`: how the kubelet names a pod in messages."""

    async def prepare(self, spec: Mapping[str, Any]) -> Launch:
        """What to run. ContainerConfigError or ImageUnknown while that cannot be said."""
        ...

    def target(self, spec: Mapping[str, Any], launch: Launch) -> Target: ...

    @property
    def grace(self) -> float:
        """The pod's terminationGracePeriodSeconds."""
        ...

    def changed(self) -> None:
        """The container's state is another one now."""
        ...

    def emit(self, reason: str, message: str, *, warning: bool = False) -> None:
        """An Event about the pod."""
        ...


class Supervisor:
    """Runs one container. `now` is its state; `run` returns when it will not be started again."""

    def __init__(self, host: Host, spec: Mapping[str, Any], policy: RestartPolicy, now: Container) -> None:
        self.now = now
        self.spec = spec
        self._host, self._policy = host, policy
        self._crashes = 0
        self._process: Process | None = None
        self._launch: Launch | None = None
        self._stopping = asyncio.Event()
        self._killing: asyncio.Task[None] | None = None
        self._hooked = False
        """Whether this run's preStop hook has been started: it runs once."""
        self._probes = _probes(spec)

    @property
    def pid(self) -> int | None:
        """The main process of the present run; None while there is none."""
        return self._process.pid if self._process is not None else None

    async def run(self) -> None:
        """Starts the container, again as its restart policy says, until it is over or `stop` was called."""
        if not await self._resume():
            return
        while not self._stopping.is_set():
            launch = await self._prepared()
            if launch is None:
                return
            ended, ran = await self._once(launch)
            self._set(state=ended, ready=False, started=False, last=self.now.last)
            if self._stopping.is_set() or not should_restart(self._policy, ended.exit_code):
                return
            self._crashes = self._host.backoff.crashes(self._crashes, ran)
            await self._wait_to_restart(ended)

    async def stop(self, seconds: Callable[[], float]) -> None:
        """preStop hook, SIGTERM, and SIGKILL when `seconds()` (asked again and again) has come to 0."""
        self._stopping.set()
        process = self._process
        if process is None:
            return
        self._host.emit("Killing", f"Stopping container {self.now.name}")
        await self._terminate(process, seconds)

    async def _terminate(self, process: Process, seconds: Callable[[], float]) -> None:
        now = self._host.clock.monotonic
        waiting = asyncio.ensure_future(process.wait())
        try:
            hooked = await self._pre_stop(seconds)
            process.signal(signal.SIGTERM)
            least = now() + MIN_AFTER_HOOK if hooked else 0.0
            while not waiting.done():
                left = max(seconds(), least - now())
                if left <= 0:
                    process.signal(signal.SIGKILL)
                    break
                await asyncio.wait({waiting}, timeout=min(left, 0.5))
            await waiting
        finally:
            waiting.cancel()

    # --- one run ----------------------------------------------------------------------------------

    async def _resume(self) -> bool:
        """Whether to start at all, after an earlier agent's run of this container."""
        if not isinstance(self.now.state, Terminated):
            return True
        ended = self.now.state
        lost = ended.reason == "ContainerStatusUnknown"
        if not should_restart(self._policy, ended.exit_code):
            return False
        if not lost:
            self._crashes = 1
        self._set(state=Waiting(), last=ended, restarts=self.now.restarts + 1)
        return True

    async def _prepared(self) -> Launch | None:
        """What to run, as soon as it can be said; None when stopped while waiting."""
        pulls = 0
        while not self._stopping.is_set():
            image = self.now.image
            try:
                return await self._host.prepare(self.spec)
            except ContainerConfigError as error:
                self._set(state=Waiting("CreateContainerConfigError", str(error)))
                self._host.emit("Failed", f"Error: {error}", warning=True)
                await self._pause(CONFIG_RETRY_SECONDS)
            except ImageUnknown as error:
                pulls += 1
                said = f'Failed to pull image "{image}": {error}'
                self._set(state=Waiting("ErrImagePull", str(error)))
                self._host.emit("Failed", said, warning=True)
                await self._pause(1.0)
                self._set(state=Waiting("ImagePullBackOff", f'Back-off pulling image "{image}": {error}'))
                self._host.emit("BackOff", f'Back-off pulling image "{image}"')
                await self._pause(self._host.backoff.wait(pulls + 1))
        return None

    async def _once(self, launch: Launch) -> tuple[Terminated, float]:
        """One life of the container: how it ended, and how many seconds it ran."""
        clock, name = self._host.clock, self.now.name
        began = clock.now()
        id = f"sandbox://{clock.random.getrandbits(256):064x}"
        log = LogFile(self._host.directory / name / f"{self.now.restarts}.log", clock)
        try:
            self._host.emit("Created", f"Created container: {name}")
            self._process = await self._host.processes.start(
                launch.argv, env=launch.env, cwd=self._host.directory, output=log
            )
        except (StartError, OSError) as error:
            log.close()
            self._host.emit("Failed", f"Error: {error}", warning=True)
            return Terminated(START_ERROR_CODE, clock.now(), None, "StartError", str(error), id), 0.0
        self._launch, self._hooked = launch, False
        try:
            if self._stopping.is_set():  # told to stop while it was being started
                await self._process.kill()
            self._host.emit("Started", f"Started container {name}")
            started = health(self._probes, {})
            ready = started.ready and not (self.spec.get("lifecycle") or {}).get("postStart")
            self._set(state=Running(began), id=id, started=started.started, ready=ready)
            code = await self._live(launch, self._process)
        finally:
            # However we leave, cancelled or not, the process goes first.
            await asyncio.shield(self._process.kill())
            self._process = None
            log.close()
        ended = clock.now()
        message = log.tail() if code and self._message_from_log else ""
        return Terminated(code, ended, began, message=message, container_id=id), (
            ended - began
        ).total_seconds()

    async def _live(self, launch: Launch, process: Process) -> int:
        target = self._host.target(self.spec, launch)
        tending = asyncio.create_task(self._tend(target))
        try:
            return await process.wait()
        finally:
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending

    async def _tend(self, target: Target) -> None:
        """postStart, then the probes, for as long as the container runs."""
        await self._post_start(target)
        if not self._probes:
            return
        states: dict[ProbeKind, ProbeState] = {}
        started = asyncio.Event()
        if "startup" not in self._probes:
            started.set()
        async with asyncio.TaskGroup() as group:
            for kind, probe in self._probes.items():
                group.create_task(self._probe(kind, probe, target, states, started))

    async def _probe(
        self,
        kind: ProbeKind,
        probe: Probe,
        target: Target,
        states: dict[ProbeKind, ProbeState],
        started: asyncio.Event,
    ) -> None:
        if kind != "startup":
            await started.wait()
        await self._host.clock.sleep(max(probe.initial_delay_seconds, FIRST_PROBE_SECONDS))
        while True:
            result = await perform(probe.handler, target, self._host.processes, probe.timeout_seconds)
            states[kind] = after(probe, states.get(kind, ProbeState()), result.success)
            if not result.success:
                message = unhealthy_message(kind, result.output)
                self._host.emit("Unhealthy", message, warning=True)
            if self._judge(kind, probe, states, started):
                return
            await self._host.clock.sleep(max(probe.period_seconds, 1))

    def _judge(
        self, kind: ProbeKind, probe: Probe, states: dict[ProbeKind, ProbeState], started: asyncio.Event
    ) -> bool:
        """Applies what the probes say together. True when this probe has nothing more to do."""
        verdict = health(self._probes, states)
        if verdict.kill and not self._stopping.is_set():
            name = self.now.name
            self._host.emit("Killing", f"Container {name} failed {verdict.kill} probe, will be restarted")
            self._kill(probe.termination_grace_period_seconds)
            return True
        if (verdict.started, verdict.ready) != (self.now.started, self.now.ready):
            self._set(started=verdict.started, ready=verdict.ready)
        if verdict.started and not started.is_set():
            started.set()
        return kind == "startup" and verdict.started

    def _kill(self, grace: int | None) -> None:
        """Ends the running process as gracefully as a deletion would, so that it is restarted."""
        if self._process is not None and (self._killing is None or self._killing.done()):
            now = self._host.clock.monotonic
            deadline = now() + (self._host.grace if grace is None else grace)
            ending = self._terminate(self._process, lambda: deadline - now())
            self._killing = asyncio.create_task(ending, name=f"restart of {self.now.name}")

    # --- hooks ------------------------------------------------------------------------------------

    async def _post_start(self, target: Target) -> None:
        """The postStart hook; a failure ends the container. Ready only afterwards."""
        handler = self._hook("postStart")
        if handler is None:
            return
        result = await perform(handler, target, self._host.processes, seconds=HOOK_SECONDS)
        if not result.success:
            self._host.emit("FailedPostStartHook", f"PostStartHook failed: {result.output}", warning=True)
            self._host.emit("Killing", "FailedPostStartHook")
            self._kill(None)
            await asyncio.Event().wait()
        verdict = health(self._probes, {})
        self._set(started=verdict.started, ready=verdict.ready)

    async def _pre_stop(self, seconds: Callable[[], float]) -> bool:
        """The preStop hook, within the grace period; whether there was one. Its failure is only told."""
        handler = self._hook("preStop")
        if handler is None or self._launch is None or self._hooked or seconds() <= 0:
            return False
        self._hooked = True
        target = self._host.target(self.spec, self._launch)
        doing = asyncio.create_task(perform(handler, target, self._host.processes, seconds=HOOK_SECONDS))
        try:
            while not doing.done() and seconds() > 0 and self._process is not None:
                await asyncio.wait({doing}, timeout=min(seconds(), 0.5))
            if doing.done() and not doing.result().success:
                said = f"PreStopHook failed: {doing.result().output}"
                self._host.emit("FailedPreStopHook", said, warning=True)
        finally:
            doing.cancel()
        return True

    @property
    def _message_from_log(self) -> bool:
        """Whether a failure's message is the end of its log. No file is looked at: it would be the machine's own."""
        return self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"

    def _hook(self, name: str) -> Handler | None:
        body = (self.spec.get("lifecycle") or {}).get(name)
        return view(body, Handler, path=f"lifecycle.{name}") if body else None

    # --- between runs -----------------------------------------------------------------------------

    async def _wait_to_restart(self, ended: Terminated) -> None:
        wait = self._host.backoff.wait(self._crashes)
        if wait:
            name = self.now.name
            message = f"back-off {wait:g}s restarting failed container={name} pod={self._host.label}"
            self._set(state=Waiting("CrashLoopBackOff", message), last=ended)
            said = f"Back-off restarting failed container {name} in pod {self._host.label}"
            self._host.emit("BackOff", said, warning=True)
            await self._pause(wait)
            if self._stopping.is_set():
                return
        self._set(state=Waiting(), last=ended, restarts=self.now.restarts + 1)

    async def _pause(self, seconds: float) -> None:
        """Waits, or less if the container is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _set(self, **changes: Any) -> None:
        self.now = replace(self.now, **changes)
        self._host.changed()


def _probes(spec: Mapping[str, Any]) -> dict[ProbeKind, Probe]:
    kinds: tuple[ProbeKind, ...] = ("startup", "readiness", "liveness")
    return {
        kind: view(spec[f"{kind}Probe"], Probe, path=f"{kind}Probe")
        for kind in kinds
        if spec.get(f"{kind}Probe")
    }
