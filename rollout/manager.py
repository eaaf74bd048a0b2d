"""Wires the controllers into one process: caches, leadership, workers, events, metrics, health.

Caches run from the start, so that a standby is warm; only the leader's workers run. Everything ends together: on
SIGTERM running reconciles finish, events are sent, and the lease is released.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import structlog

from analysis.controller import AnalysisController
from analysis.policy import Policy
from analysis.providers.registry import guarded, lasting_providers, providers
from chaos.controller.lease import LEASE_PATH, UNKNOWN
from chaos.controller.metrics import ChaosMetrics
from chaos.controller.together import ChaosControllers
from chaos.faults.injector import IMAGE, IMAGE_VARIABLE, LEASE_VARIABLE
from chaos.faults.kinds import EPHEMERAL, kinds
from rollout.api.features import FEATURES
from rollout.api.meta import Key, key_of
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS, LEASES, ROLLOUTS, Resource
from rollout.controller.metrics import CountingRecorder, ObjectMetrics, Unrecorded
from rollout.controller.rollout import RolloutController
from rollout.errors import ConfigError, Forbidden, NotFound, SurefootError
from rollout.notify.controller import NotificationController
from rollout.runtime import logs, settings
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import Clock, SystemClock
from rollout.runtime.config import Connection, load
from rollout.runtime.events import Recorder
from rollout.runtime.guard import GuardedFetch
from rollout.runtime.http import HttpClient
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube
from rollout.runtime.leader import Elector, FencedKube, live_holder
from rollout.runtime.metrics import Metrics
from rollout.runtime.reload import Reloader
from rollout.runtime.runner import Runner
from rollout.runtime.serve import HealthServer
from rollout.runtime.settings import ControllerConfig
from rollout.runtime.watchdog import HangWatch, LoopWatchdog

log = structlog.get_logger()

LEASE_NAME = "surefoot-controller"
# The Lease by which the controller that users come from elects its leader (study/argo-rollouts.md 1.10).
FOREIGN_LEASE = "argo-rollouts-controller-lock"
EVENT_SENDERS, EVENT_CROWD = 3, 50
"""Events trail behind when there are many: the releases themselves come first."""
STALE_WATCH_SECONDS = 300.0
STOP_SECONDS = 25.0
LAST_EVENTS_SECONDS = 1.5
"""How long giving the lease back may wait for Events about what was done last."""
SHUTDOWN_SECONDS = 43.0
"""All of a shutdown; the chart's terminationGracePeriodSeconds is 45."""


def connection_of(config: ControllerConfig, environ: Mapping[str, str] = os.environ) -> Connection:
    """The API to work for. Outside a cluster it must be named: nobody's current context is taken by accident."""
    found = load(
        kubeconfig=config.kubeconfig, context=config.context, as_user=config.as_user, environ=environ
    )
    in_cluster = not found.context
    if not in_cluster and not config.context and not config.kubeconfig:
        raise ConfigError(
            f"this would control the rollouts of context {found.context!r} ({found.server}); "
            f"say so: rollout controller run --context {found.context}"
        )
    return found


def lease_url_of(config: ControllerConfig, environ: Mapping[str, str] = os.environ) -> str:
    """Where injectors ask whether their run goes on. ConfigError for what cannot be asked."""
    url = config.lease_url or environ.get(LEASE_VARIABLE, "")
    parts = urlsplit(url)
    if not url:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"--lease-url {url!r} is not the base of a URL; write http://ADDRESS:PORT")
    if not config.address:
        raise ConfigError("--lease-url needs --metrics-address: there the lease is served")
    return url


def policy_of(config: ControllerConfig) -> Policy:
    """What analyses may measure with."""
    said = config.analysis
    return Policy(
        providers=said.providers,
        namespaces=said.namespaces,
        features=config.features,
        labelled_secrets=said.labelled_secrets,
    )


def run(path: str = "", given: Mapping[str, Any] | None = None) -> None:
    """Run the controllers until SIGTERM or SIGINT, by the configuration file (""= none) with the `given` fields over it.

    Raises ConfigError, ApiError, LeadershipLost.
    """
    config = settings.load(path, given)
    logs.configure(level=config.log_level, format=config.log_format)
    asyncio.run(serve(config, connection_of(config), path, given))


async def serve(
    config: ControllerConfig, connection: Connection, path: str = "", given: Mapping[str, Any] | None = None
) -> None:
    """The controllers of one process, to their end."""
    clock = SystemClock()
    stop = asyncio.Event()
    hang = HangWatch(clock)
    watched = asyncio.create_task(hang.run(), name="hang watch")

    def told() -> None:
        stop.set()
        hang.end_within(SHUTDOWN_SECONDS, f"the shutdown took more than {SHUTDOWN_SECONDS:g} s")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    kube = HttpKube(connection, clock=clock)
    # Renewals of the lease must not wait behind the requests in flight of the controllers.
    lease_kube = HttpKube(connection, clock=clock)
    http = HttpClient(clock=clock)
    try:
        if not config.take_over:
            await refuse_beside_another(
                kube, clock, namespaces=config.namespaces, instance_id=config.instance_id
            )
        manager = Manager(config, clock, stop, kube=kube, lease_kube=lease_kube, http=http)
        if path:
            manager.follow(path, given or {})
        await manager.run()
    finally:
        await http.close()
        await lease_kube.close()
        await kube.close()
        watched.cancel()


async def refuse_beside_another(
    kube: Kube, clock: Clock, *, namespaces: Sequence[str] = (), instance_id: str = ""
) -> None:
    """Two controllers of one API undo each other's work: refuse (ConfigError) to be the second one.

    A Lease that somebody holds is watched for as long as it lasts: only who renews it is alive. Who works in some
    `namespaces` only looks there: another one that does so has its Lease in the namespace in which it works.
    """
    name = _named(FOREIGN_LEASE, instance_id)
    for key in await _leases(kube, name, namespaces):
        log.info("looking whether another controller is alive", lease=str(key))
        if holder := await live_holder(kube, namespace=key.namespace, name=key.name, clock=clock):
            raise ConfigError(
                f"another controller of {ROLLOUTS.group} is at work in this cluster: {holder} holds the Lease "
                f"{key}. Scale it down first, or say --take-over"
            )


async def _leases(kube: Kube, name: str, namespaces: Sequence[str]) -> list[Key]:
    """The Leases of that name which a controller with its rights can see."""
    try:
        if not namespaces:
            page = await kube.list(LEASES, fields=f"metadata.name={name}")
            return [key_of(one) for one in page.items]
    except (Forbidden, NotFound):
        return []  # a least-privileged controller may not look into other namespaces
    found = []
    for namespace in namespaces:
        try:
            found.append(key_of(await kube.get(LEASES, namespace, name)))
        except (Forbidden, NotFound):
            continue
    return found


def _named(lease: str, instance_id: str) -> str:
    """Controllers with different instance ids share a cluster: each has a Lease of its own."""
    return f"{lease}-{instance_id}" if instance_id else lease


class Manager:
    """The parts of one controller process. `lease_kube` is for the election alone."""

    def __init__(
        self,
        config: ControllerConfig,
        clock: Clock,
        stop: asyncio.Event,
        *,
        kube: HttpKube,
        lease_kube: HttpKube,
        http: HttpClient,
    ) -> None:
        self._config = config
        self._clock = clock
        self._stop = stop
        self._metrics = Metrics()
        self._reloader: Reloader | None = None
        self._elector = Elector(
            lease_kube,
            namespace=config.lease_namespace,
            name=_named(LEASE_NAME, config.instance_id),
            identity=f"{socket.gethostname()}_{os.getpid()}_{clock.uid()[:8]}",
            clock=clock,
            take_over=config.take_over,
            on_doubt=self._doubt,
        )
        writer: Kube = FencedKube(kube, self._elector) if config.leader_election else kube
        self._recorder = Recorder(
            kube, clock, component="rollouts-controller", senders=EVENT_SENDERS, crowd=EVENT_CROWD
        )
        self._counted = counted = CountingRecorder(
            self._recorder if "events" in config.features else Unrecorded()
        )
        self._step = RolloutController(
            writer,
            clock,
            namespaces=config.namespaces,
            features=config.features,
            instance_id=config.instance_id,
            workers=config.workers,
            recorder=counted,
            identity=self._elector.identity,
            on_reconcile=self._metrics.reconcile("rollout"),
        )
        self._analysis = AnalysisController(
            writer,
            clock,
            {**providers(http, os.environ), **lasting_providers(writer, clock, os.environ)},
            namespaces=config.namespaces,
            instance_id=config.instance_id,
            measurements=config.analysis.measurements,
            policy=policy_of(config),
            recorder=counted,
            informer=self._step.caches.informers[ANALYSIS_RUNS],
            on_reconcile=self._metrics.reconcile("analysis"),
        )
        self._chaos = self._chaos_of(writer, http, counted) if "chaos" in config.features else None
        self._notifier = self._notifier_of(writer, http, counted) if config.notifications_namespace else None
        self._watchdog = LoopWatchdog(
            clock, on_fatal=lambda lag: self._elector.give_up(f"the event loop was blocked for {lag:.1f} s")
        )
        self._objects = ObjectMetrics(
            self._step.caches, counted, decisions=self._step.decisions, limit=config.metrics.max_objects
        )
        self._metrics.registry.register(self._objects)
        if self._chaos is not None:
            runs = self._chaos.caches.informers[CHAOS_RUNS].store
            self._metrics.registry.register(ChaosMetrics(runs, counted.counts))
        if self._notifier is not None:
            self._metrics.registry.register(self._notifier.metrics)
        self._watch(kube, lease_kube)

    def _notifier_of(
        self, kube: Kube, http: HttpClient, recorder: CountingRecorder
    ) -> NotificationController:
        return NotificationController(
            kube,
            self._clock,
            namespace=self._config.notifications_namespace,
            informers=self._informers,
            fetch=guarded(http, os.environ).fetch,
            recorder=recorder,
            leading=lambda: self._elector.leading or not self._config.leader_election,
            instance_id=self._config.instance_id,
        )

    def _chaos_of(self, kube: Kube, http: HttpClient, recorder: CountingRecorder) -> ChaosControllers:
        config = self._config
        found = kinds(os.environ.get(IMAGE_VARIABLE) or IMAGE, lease_url_of(config))
        if "chaosNetwork" not in config.features:
            found = {name: kind for name, kind in found.items() if name not in EPHEMERAL}
        return ChaosControllers(
            kube,
            self._clock,
            fetch=GuardedFetch(http).fetch,
            kinds=found,
            shared=self._step.caches.informers,
            schedule_speed=config.schedule_speed,
            namespaces=config.namespaces,
            instance_id=config.instance_id,
            recorder=recorder,
            on_reconcile=self._metrics.reconcile,
        )

    def follow(self, path: str, given: Mapping[str, Any]) -> None:
        """Read the configuration file again whenever it changes."""
        self._reloader = Reloader(
            path, given, self._config, self._clock, apply=self._reconfigure, tell=self._tell
        )
        self._metrics.add_reloader(self._reloader)

    def _reconfigure(self, config: ControllerConfig) -> None:
        """Have what can change live take effect (`settings.LIVE`)."""
        self._config = config
        logs.set_level(config.log_level)
        self._step.runner.resize(config.workers)
        self._analysis.slots.resize(config.analysis.measurements)
        self._analysis.policy = policy_of(config)
        self._objects.limit = config.metrics.max_objects

    def _tell(self, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """An Event about this controller: about its Lease, for people to find."""
        meta = {"name": self._elector.name, "namespace": self._config.lease_namespace}
        self._counted.emit(
            {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": meta}, type, reason, message
        )

    async def run(self) -> None:
        """Until told to stop. Leadership lost, or any part failing, ends all of it with that error."""
        try:
            await self._run()
        except BaseExceptionGroup as group:
            raise _reason(group) from group

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._step.caches.run(), name="caches"),
                group.create_task(self._recorder.run(), name="events"),
                group.create_task(self._watchdog.run(), name="watchdog"),
                group.create_task(self._serve(), name="metrics and health"),
            ]
            if self._chaos is not None:
                background.append(group.create_task(self._chaos.caches.run(), name="chaos caches"))
            if self._notifier is not None:
                background.append(group.create_task(self._notifier.caches(), name="notification caches"))
            if self._reloader is not None:
                background.append(group.create_task(self._reloader.run(), name="configuration"))
            work = group.create_task(self._lead_until_stopped(), name="controllers")
            await work
            await self._recorder.drain()
            for task in background:
                task.cancel()

    async def _lead_until_stopped(self) -> None:
        leading = self._elector.run(self._work) if self._config.leader_election else self._work()
        work = asyncio.ensure_future(leading)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                log.info("stopping")
                if self._elector.leading or not self._config.leader_election:
                    # Running reconciles finish; then `run` of the runners returns and the lease is released.
                    self._step.stop()
                    self._analysis.stop()
                    if self._chaos is not None:
                        self._chaos.stop()
                    if self._notifier is not None:
                        self._notifier.stop()
                    await asyncio.wait({work}, timeout=STOP_SECONDS)
        finally:
            stopped.cancel()
            if not work.done():
                work.cancel()
            await asyncio.gather(work, stopped, return_exceptions=True)
        if not work.cancelled():
            work.result()

    async def _work(self) -> None:
        log.info(
            "controllers start",
            namespaces=self._config.namespaces or "all",
            without=[one for one in FEATURES if one not in ("core", *self._config.features)],
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._step.run(), name="rollout controller")
            group.create_task(self._analysis.run(), name="analysis controller")
            if self._chaos is not None:
                group.create_task(self._chaos.run(), name="chaos controllers")
            if self._notifier is not None:
                group.create_task(self._notifier.run(), name="notifications")
        # What was done is told before the lease is given back, which comes last.
        await self._recorder.drain(LAST_EVENTS_SECONDS)

    @property
    def _runners(self) -> tuple[Runner[Any], ...]:
        chaos = self._chaos.runners if self._chaos is not None else ()
        return self._step.runner, self._analysis.runner, *chaos

    @property
    def _informers(self) -> Mapping[Resource, Informer]:
        """One per resource: of those that both follow (chaos needs all ReplicaSets), the step controller's."""
        chaos = self._chaos.caches.informers if self._chaos is not None else {}
        return {**chaos, **self._step.caches.informers}

    def _doubt(self, in_doubt: bool) -> None:
        """While it is uncertain whether we lead, no new key is taken."""
        for runner in self._runners:
            if in_doubt:
                runner.queue.pause()
            else:
                runner.queue.resume()

    def _watch(self, *clients: HttpKube) -> None:
        for client in clients:
            self._metrics.add_client(client)
        self._metrics.add_elector(self._elector)
        self._metrics.add_recorder(self._recorder)
        self._metrics.add_watchdog(self._watchdog)
        for barrier in (self._step.fresh, *(self._chaos.barriers if self._chaos is not None else ())):
            self._metrics.add_barrier(barrier)
        for informer in self._informers.values():
            self._metrics.add_informer(informer)
        for runner in self._runners:
            self._metrics.add_runner(runner)

    async def _serve(self) -> None:
        if not self._config.address:
            return
        checks = {"caches": self._caches_problem}
        async with HealthServer(
            self._config.address,
            metrics=self._metrics,
            ready=checks,
            notes={"kinds": self._lacks},
            healthy={"watches": self._stall, "loop": self._watchdog.problem},
            asked={LEASE_PATH: self._lease},
        ) as server:
            log.info("serving metrics and health", port=server.port)
            await asyncio.Event().wait()

    def _lease(self, uid: str) -> int:
        leads = self._elector.leading or not self._config.leader_election
        return self._chaos.lease(uid) if leads and self._chaos is not None else UNKNOWN

    def _caches_problem(self) -> str:
        """What the controller cannot work without and does not have; what is forbidden is said with the role that lacks."""
        waiting = [one for one in self._step.caches.needed if not one.synced()]
        said = "; ".join(one.lack or f"waiting for {one.resource}" for one in waiting)
        return " ".join(said.split())

    def _lacks(self) -> list[str]:
        """The kinds that are done without, and why."""
        untold = self._notifier.lacks() if self._notifier is not None else []
        return [
            f"{one.resource}: {' '.join(one.lack.split())}" for one in self._informers.values() if one.lack
        ] + untold

    def _stall(self) -> str:
        """A watch that has been silent for minutes hides the world: better a fresh process."""
        late = 2 * STALE_WATCH_SECONDS
        chaos = self._chaos.silent(late) if self._chaos is not None else []
        silent = [*self._step.caches.silent(late), *chaos]
        return f"no word from the watches of {', '.join(silent)}" if silent else ""


def _reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a person has to know of several errors at once: the one that we have words for, unless a defect is there."""
    found = list(_leaves(group))
    known = [error for error in found if isinstance(error, SurefootError)]
    return known[0] if len(known) == len(found) else group


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
