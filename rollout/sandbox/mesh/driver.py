"""Keeps Envoy equal to the API's objects, and says in their status what is live."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from rollout.api.meta import Object, key_of, metadata
from rollout.api.resources import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    ENVOY_FILTERS,
    HTTP_ROUTES,
    PODS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.errors import ApiError, Conflict, InvalidSpec, NotFound, SurefootError
from rollout.runtime.clock import Clock
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Kube
from rollout.runtime.store import Store
from rollout.sandbox.mesh import http_route
from rollout.sandbox.mesh.envoy_filter import expired, expiry
from rollout.sandbox.mesh.evidence import fault_status, is_active
from rollout.sandbox.mesh.injection import Placement
from rollout.sandbox.mesh.isolation import Isolation
from rollout.sandbox.mesh.model import Problem, Snapshot
from rollout.sandbox.mesh.push import NotLive, Pusher, Refused
from rollout.sandbox.mesh.render import Rendered, render
from rollout.sandbox.mesh.status import reconciled
from rollout.sandbox.mesh.watching import concerns

log = structlog.get_logger()

TOLD = (VIRTUAL_SERVICES, DESTINATION_RULES, HTTP_ROUTES)
OPTIONAL = (*TOLD, ENVOY_FILTERS)
RESOURCES = (SERVICES, ENDPOINT_SLICES, PODS, *OPTIONAL)
_FIELDS = {
    VIRTUAL_SERVICES: "virtual_services",
    DESTINATION_RULES: "destination_rules",
    HTTP_ROUTES: "http_routes",
    ENVOY_FILTERS: "envoy_filters",
}
RETRY_SECONDS = 0.5
REST = 2.0
MAX_REST_SECONDS = 0.5
"""After a push the driver rests this many times as long as it took, so that in a busy sandbox with hundreds of
Services it never takes more than a third of the process that it shares; with a few it rests milliseconds."""

TELL_SECONDS = 1.0
"""How often the status of EnvoyFilters may be written, and lingering listeners are looked after."""


def snapshot(stores: Mapping[Resource, Store], now: datetime) -> Snapshot:
    """The objects of the caches as rendering reads them: expired ones are not there."""
    return Snapshot(
        services=tuple(stores[SERVICES]),
        endpoint_slices=tuple(stores[ENDPOINT_SLICES]),
        pods=tuple(stores[PODS]),
        virtual_services=tuple(stores[VIRTUAL_SERVICES]),
        destination_rules=tuple(stores[DESTINATION_RULES]),
        http_routes=tuple(stores[HTTP_ROUTES]),
        envoy_filters=tuple(one for one in stores[ENVOY_FILTERS] if not expired(one, now)),
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
        self._told = asyncio.Event()
        self._account_due = asyncio.Event()

    async def run(self) -> None:
        for resource, informer in self.informers.items():
            informer.on_change(self._handler(resource))
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run())
            group.create_task(self._follow())
            group.create_task(self._tell())
            group.create_task(self._account())

    def wake(self) -> None:
        """Push anew, for example to an Envoy that was started again."""
        self._dirty.set()

    def _handler(self, resource: Resource) -> Any:
        def changed(old: Object | None, new: Object | None) -> None:
            if concerns(resource, old, new):
                self._dirty.set()
                if resource is ENVOY_FILTERS:
                    self._account_due.set()

        return changed

    async def _follow(self) -> None:
        for informer in self.informers.values():
            await informer.wait_synced()
        self._dirty.set()
        while True:
            await _either(self._dirty, self._seconds_to_next())
            self._dirty.clear()
            started = self._clock.monotonic()
            try:
                await self._bring(snapshot(self._stores, self._clock.now()))
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

    def _seconds_to_next(self) -> float | None:
        """When there is something to do though no object changes: an expiry, or listeners to remove."""
        present = self._last[0].envoy_filters if self._last else ()
        now = self._clock.now()
        due = [(at - now).total_seconds() for one in present if (at := _expiry(one)) is not None]
        if self._pusher.lingering:
            due.append(TELL_SECONDS)
        return max(min(due), 0.0) if due else None

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
            self._account_due.set()

    # --- status -------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Write what is live into the objects' status, apart from pushing, so that writes delay no traffic."""
        while True:
            await self._told.wait()
            self._told.clear()
            if self._last is None:
                continue
            wanted, rendered = self._last
            for resource in TOLD:
                for obj in getattr(wanted, _FIELDS[resource]):
                    await self._write_status(resource, obj, rendered)

    async def _write_status(self, resource: Resource, rendered_from: Object, rendered: Rendered) -> None:
        key = key_of(rendered_from)
        current = self._stores[resource].get(key)
        generation = metadata(rendered_from).get("generation")
        if current is None or metadata(current).get("generation") != generation:
            return  # a newer generation is on its way and will be told about when it is live
        if not await self._patch_status(resource, current, self._status(resource, current, rendered)):
            self._told.set()  # changed or gone meanwhile: look again when the cache knows
            await self._clock.sleep(0.02)

    async def _patch_status(self, resource: Resource, current: Object, wanted: Mapping[str, Any]) -> bool:
        """Write `wanted` into the status, if it is not there; False when the object has changed meanwhile."""
        if wanted == {name: (current.get("status") or {}).get(name) for name in wanted}:
            return True
        key = key_of(current)
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
            return False
        except ApiError as error:
            log.warning("cannot write status", resource=str(resource), object=str(key), error=str(error))
        return True

    def _status(self, resource: Resource, obj: Object, rendered: Rendered) -> dict[str, Any]:
        reasons, unsupported = self._judged(resource, obj, rendered)
        now = self._clock.now()
        if resource is HTTP_ROUTES:
            unresolved = rendered.unresolved.get(key_of(obj), [])
            return http_route.status(obj, unresolved, [*reasons, *unsupported], now)
        return reconciled(obj, refused="; ".join(reasons), problems=unsupported, now=now)

    def _judged(self, resource: Resource, obj: Object, rendered: Rendered) -> tuple[list[str], list[str]]:
        """Why nothing of the object is served, and what of it is not."""
        key = key_of(obj)
        held = self._isolation.held.get((_FIELDS[resource], key))
        problems = rendered.problems_of(resource.kind, key)
        reasons = [held.reason] if held else [text_of(one) for one in problems if one.whole]
        return reasons, [text_of(one) for one in problems if not one.whole]

    # --- faults -------------------------------------------------------------------------------------

    async def _account(self) -> None:
        """Write into the status of EnvoyFilters what Envoy really did, while there are any."""
        while True:
            filters = tuple(self._stores[ENVOY_FILTERS])
            await _either(self._account_due, TELL_SECONDS if filters else None)
            self._account_due.clear()
            if self._last is None or not filters:
                continue
            try:
                wrote = await self._tell_faults(*self._last)
            except SurefootError as error:
                log.warning("Envoy does not tell what its faults did", error=str(error))
                wrote = True
            if wrote:
                await self._clock.sleep(TELL_SECONDS)

    async def _tell_faults(self, live: Snapshot, rendered: Rendered) -> bool:
        """Whether anything had to be written."""
        ledger, generations = self._pusher.ledger, _generations(live)
        known = [uid_text(one) for one in self._stores[ENVOY_FILTERS]]
        for obj in self._stores[ENVOY_FILTERS]:
            ledger.open(uid_text(obj), obj)
        seen = await self._pusher.look()
        ledger.keep(known)
        wrote = False
        for obj in tuple(self._stores[ENVOY_FILTERS]):
            uid, now = uid_text(obj), self._clock.now()
            gone = uid not in generations
            if gone and not expired(obj, now):
                continue  # newer than what is live
            if not gone and generations[uid] != metadata(obj).get("generation"):
                continue  # a newer generation is on its way
            placement = Placement(uid) if gone else rendered.faults.get(key_of(obj), Placement(uid))
            reasons, _ = self._judged(ENVOY_FILTERS, obj, rendered)
            wanted = fault_status(
                obj,
                placement,
                active=is_active(placement, seen),
                sums=ledger.sums(uid),
                reasons=() if gone else reasons,
                expired=gone,
                now=now,
            )
            if wanted != {name: (obj.get("status") or {}).get(name) for name in wanted}:
                wrote = True
                await self._patch_status(ENVOY_FILTERS, obj, wanted)
        return wrote


def text_of(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}"


def uid_text(obj: Object) -> str:
    return str(metadata(obj).get("uid") or key_of(obj))


def _generations(live: Snapshot) -> dict[str, Any]:
    return {uid_text(one): metadata(one).get("generation") for one in live.envoy_filters}


def _expiry(obj: Object) -> datetime | None:
    try:
        return expiry(obj)
    except InvalidSpec:
        return None  # told as a problem of the object


async def _either(event: asyncio.Event, seconds: float | None) -> None:
    """Until the event, or for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
