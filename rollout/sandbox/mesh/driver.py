"""Keeps Envoy equal to the API's objects, and says in their status what is live."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    HTTP_ROUTES,
    PODS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.errors import ApiError, Conflict, NotFound, SurefootError
from rollout.runtime.clock import Clock
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube
from rollout.runtime.store import Store
from rollout.sandbox.mesh import http_route
from rollout.sandbox.mesh.isolation import Isolation
from rollout.sandbox.mesh.model import Problem, Snapshot
from rollout.sandbox.mesh.push import NotLive, Pusher, Refused
from rollout.sandbox.mesh.render import Rendered, render
from rollout.sandbox.mesh.status import reconciled
from rollout.sandbox.mesh.watching import concerns

log = structlog.get_logger()

OPTIONAL = (VIRTUAL_SERVICES, DESTINATION_RULES, HTTP_ROUTES)
RESOURCES = (SERVICES, ENDPOINT_SLICES, PODS, *OPTIONAL)
_FIELDS = {
    VIRTUAL_SERVICES: "virtual_services",
    DESTINATION_RULES: "destination_rules",
    HTTP_ROUTES: "http_routes",
}
RETRY_SECONDS = 0.5
REST = 2.0
MAX_REST_SECONDS = 0.5
"""After a push the driver rests this many times as long as it took, so that in a busy sandbox with hundreds of
Services it never takes more than a third of the process that it shares; with a few it rests milliseconds."""


def snapshot(stores: Mapping[Resource, Store]) -> Snapshot:
    """The objects of the caches as rendering reads them."""
    return Snapshot(
        services=tuple(stores[SERVICES]),
        endpoint_slices=tuple(stores[ENDPOINT_SLICES]),
        pods=tuple(stores[PODS]),
        virtual_services=tuple(stores[VIRTUAL_SERVICES]),
        destination_rules=tuple(stores[DESTINATION_RULES]),
        http_routes=tuple(stores[HTTP_ROUTES]),
    )


class Driver:
    """Renders what the caches hold whenever it changed and pushes it to Envoy. `run` ends when cancelled.

    Changes that come while a push is on its way are taken together with the next one.
    """

    def __init__(self, kube: Kube, clock: Clock, pusher: Pusher) -> None:
        self.informers = {
            resource: Informer(kube, resource, clock=clock, optional=resource in OPTIONAL)
            for resource in RESOURCES
        }
        self.live = asyncio.Event()
        """Set once the first configuration made from the API is live."""
        self.pushes = 0
        self._stores = {resource: informer.store for resource, informer in self.informers.items()}
        self._kube, self._clock, self._pusher = kube, clock, pusher
        self._isolation = Isolation()
        self._dirty = asyncio.Event()
        self._last: tuple[Snapshot, Rendered] | None = None
        self._told: asyncio.Event = asyncio.Event()

    async def run(self) -> None:
        for resource, informer in self.informers.items():
            informer.on_change(self._handler(resource))
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run())
            group.create_task(self._follow())
            group.create_task(self._tell())

    def wake(self) -> None:
        """Push anew, for example to an Envoy that was started again."""
        self._dirty.set()

    def _handler(self, resource: Resource) -> Any:
        def changed(old: Object | None, new: Object | None) -> None:
            if concerns(resource, old, new):
                self._dirty.set()

        return changed

    async def _follow(self) -> None:
        for informer in self.informers.values():
            await informer.wait_synced()
        self._dirty.set()
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            started = self._clock.monotonic()
            try:
                await self._bring(snapshot(self._stores))
            except SurefootError as error:
                log.warning("mesh configuration is not live yet", error=str(error))
                self._dirty.set()
                await self._clock.sleep(RETRY_SECONDS)
            except Exception:
                # A defect of ours: what is live stays live, and the next change is tried again.
                log.exception("the mesh could not render the present objects")
                await self._clock.sleep(RETRY_SECONDS)
            took = self._clock.monotonic() - started
            await self._clock.sleep(min(REST * took, MAX_REST_SECONDS))

    async def _bring(self, wanted: Snapshot) -> None:
        """Make `wanted` live, but for objects that Envoy refuses."""
        admitted = self._isolation.admit(wanted)
        try:
            await self._push(wanted, admitted)
        except Refused as error:
            suspects = self._isolation.suspects(admitted)
            if not suspects:
                raise NotLive(f"Envoy refuses what it had accepted before: {error}") from error
            log.warning("Envoy refuses a configuration; trying its changes one by one", error=str(error))
            good: list[Any] = []
            for name in suspects:
                try:
                    await self._push(wanted, self._isolation.trial(admitted, [*good, name]), accept=False)
                    good.append(name)
                except Refused as one:
                    log.warning("held back", object=str(name[1]), kind=name[0], error=str(one))
                    self._isolation.hold(admitted, name, str(one))
            await self._push(wanted, self._isolation.admit(wanted))

    async def _push(self, wanted: Snapshot, admitted: Snapshot, *, accept: bool = True) -> None:
        rendered = render(admitted)
        if await self._pusher.push(rendered):
            self.pushes += 1
        if accept:
            self._isolation.accept(admitted)
            self._last = (wanted, rendered)
            self.live.set()
            self._told.set()

    # --- status -------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Write what is live into the objects' status, apart from pushing, so that writes delay no traffic."""
        while True:
            await self._told.wait()
            self._told.clear()
            if self._last is None:
                continue
            wanted, rendered = self._last
            for resource in OPTIONAL:
                for obj in getattr(wanted, _FIELDS[resource]):
                    await self._write_status(resource, obj, rendered)

    async def _write_status(self, resource: Resource, rendered_from: Object, rendered: Rendered) -> None:
        key = key_of(rendered_from)
        current = self._stores[resource].get(key)
        generation = metadata(rendered_from).get("generation")
        if current is None or metadata(current).get("generation") != generation:
            return  # a newer generation is on its way and will be told about when it is live
        wanted = self._status(resource, current, rendered)
        if wanted == {name: (current.get("status") or {}).get(name) for name in wanted}:
            return
        version = metadata(current).get("resourceVersion")
        try:
            await self._kube.patch(
                resource,
                key.namespace,
                key.name,
                {"metadata": {"resourceVersion": version}, "status": wanted},
                subresource="status",
            )
        except (Conflict, NotFound):
            self._told.set()  # changed or gone meanwhile: look again when the cache knows
            await self._clock.sleep(0.02)
        except ApiError as error:
            log.warning("cannot write status", resource=str(resource), object=str(key), error=str(error))

    def _status(self, resource: Resource, obj: Object, rendered: Rendered) -> dict[str, Any]:
        key = key_of(obj)
        held = self._isolation.held.get((_FIELDS[resource], key))
        problems = rendered.problems_of(resource.kind, key)
        reasons = [held.reason] if held else [text_of(one) for one in problems if one.whole]
        unsupported = [text_of(one) for one in problems if not one.whole]
        now = self._clock.now()
        if resource is HTTP_ROUTES:
            return http_route.status(obj, rendered.unresolved.get(key, []), [*reasons, *unsupported], now)
        return reconciled(obj, refused="; ".join(reasons), problems=unsupported, now=now)


def text_of(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}"
