"""What the data plane says of the faults: the sandbox's mesh, the proxies of Istio and Envoy Gateway, the injectors' logs.

`gather` is called in every pass of a run, also before its faults begin: the counters of proxies are older than a fault, so the first look is the baseline. It keeps its memory between calls; one that was lost (a restart) makes the
counts smaller and `active` unknown, never larger and never False. Nothing here raises: what cannot be had is None.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
import structlog
from prometheus_client.parser import text_string_to_metric_families

from chaos.faults import envoy_filter, http_route, injector, istio, receipts, traffic_policy, whole
from chaos.faults.base import LEASE_SECONDS
from chaos.faults.envoy_filter import Filter
from chaos.faults.pods import pod_of, status
from chaos.faults.traffic_policy import Policy
from chaos.faults.versions import uid_of
from chaos.observed import Evidence, World
from rollout.api.chaos import Receipt
from rollout.api.codec import view
from rollout.api.meta import Key, Object, key_of, metadata
from rollout.api.resources import BACKEND_TRAFFIC_POLICIES, ENVOY_FILTERS, Resource
from rollout.errors import SurefootError
from rollout.runtime.clock import Clock
from rollout.runtime.http import Request, Response
from rollout.runtime.kube import Kube

LIVE = ("Planned", "Injected", "Proved")
ISTIO_PORT, GATEWAY_PORT = 15090, 19001
"""Where the proxies of Istio and of Envoy Gateway serve their statistics, to anybody who can reach the pod."""
MAX_BYTES = 4 << 20
MAX_PODS = 50
"""Proxies asked for one fault. Of a larger version these are enough for the proof, and `active` stays unknown."""
FETCH_SECONDS = 2.0
TOTAL_SECONDS = 2.5
AT_ONCE = 8
SETTLE = timedelta(seconds=2)
"""How long counters must stand still, with no request under fault, before a silenced fault counts as gone."""
LOG_LINES = 5
FORGET = timedelta(minutes=10)
"""How long a receipt that nobody asks about any more is remembered."""
_METRIC = re.compile(
    r"envoy_http_(?:(?P<prefix>\w+?)_+)?fault_(?P<what>delays_injected|aborts_injected|active_faults)(?:_total)?"
)
_PREFIX_LABEL = "envoy_http_conn_manager_prefix"

log = structlog.get_logger()


class Fetch(Protocol):
    """As `rollout.runtime.guard.GuardedFetch.fetch`."""

    async def __call__(self, request: Request, *, deadline: float, max_bytes: int) -> Response: ...


ReadLog = Callable[[str, str, str], Awaitable[str]]
"""(namespace, pod, container) -> the last lines of its log."""


class Counters(msgspec.Struct, frozen=True):
    """Of one proxy and one direction: what its fault filters have done in all, and the requests they hold now."""

    delayed: int = 0
    aborted: int = 0
    held: int = 0


class Memory(msgspec.Struct):
    """What is remembered of one receipt's fault between two looks."""

    partial: bool = False
    """Whether the first look came when the fault was at work already."""
    proxies: dict[str, Counters] = {}
    """The last look at each proxy, by its pod's uid."""
    delayed: int = 0
    aborted: int = 0
    still_since: datetime | None = None
    """Since when no counter has moved and no request is held, while the fault is silent."""
    expires: datetime | None = None
    missing_since: datetime | None = None
    """Since when the fault's object is not there."""
    last: Evidence = Evidence()
    asked_at: datetime | None = None


class Gatherer:
    """`gather` as the controller calls it, for all its runs. One for the life of a process: it has the memory."""

    def __init__(self, fetch: Fetch, kube: Kube, clock: Clock) -> None:
        self._fetch = fetch
        self._kube = kube
        self._clock = clock
        self._memory: dict[str, Memory] = {}

    async def __call__(
        self, wanted: Sequence[Receipt], objects: Mapping[Resource, Mapping[Key, Object]]
    ) -> Mapping[str, Evidence]:
        world = World(now=self._clock.now(), objects=objects)
        return await gather(wanted, world, self._fetch, self._read_log, self._memory)

    async def _read_log(self, namespace: str, pod: str, container: str) -> str:
        return await self._kube.log(namespace, pod, container=container, tail=LOG_LINES)


async def gather(
    wanted: Iterable[Receipt], world: World, fetch: Fetch, read_log: ReadLog, memory: dict[str, Memory]
) -> dict[str, Evidence]:
    """Evidence by receipt id, for the mesh and network faults among the receipts that are not over."""
    live = [one for one in wanted if one.state in LIVE]
    for one in live:
        memory.setdefault(one.id, Memory(partial=one.state != "Planned")).asked_at = world.now
    for id in [id for id, known in memory.items() if world.now - (known.asked_at or world.now) > FORGET]:
        del memory[id]
    limit = asyncio.Semaphore(AT_ONCE)

    async def bounded(request: Request, *, deadline: float, max_bytes: int) -> Response:
        async with limit:
            return await fetch(request, deadline=deadline, max_bytes=max_bytes)

    found: dict[str, Evidence] = {}

    async def look(receipt: Receipt) -> None:
        known = memory[receipt.id]
        try:
            seen = await _evidence(receipt, world, bounded, read_log, known)
        except SurefootError as error:
            log.warning("no evidence", receipt=receipt.id, error=str(error))
            return
        if seen is not None:
            known.last = found[receipt.id] = seen

    try:
        async with asyncio.timeout(TOTAL_SECONDS), asyncio.TaskGroup() as group:
            for receipt in live:
                group.create_task(look(receipt))
    except TimeoutError:
        log.warning("evidence is late", answered=len(found), asked=len(live))
    return found


async def _evidence(
    receipt: Receipt, world: World, fetch: Fetch, read_log: ReadLog, known: Memory
) -> Evidence | None:
    if receipt.kind in {"networkLatency", "networkLoss"}:
        return await _of_injector(receipt, world, read_log)
    if "route" in receipt.undo:
        return await _of_gateway(receipt, world, fetch, known)
    if "direction" not in receipt.undo:
        return None
    fault = view(receipt.undo, Filter)
    made = world.get(ENVOY_FILTERS, receipt.victim.namespace, fault.name)
    if not receipts.made_by(receipt, made):
        made = None
    expired = _lease_over(known, made, world.now)
    if made is not None and "surefoot" in status(made):
        return msgspec.structs.replace(of_sandbox(made), expired=expired)
    proxies = [pod for pod in whole.pods_labelled(receipt.victim, world) if istio.in_mesh(pod)]
    if not proxies and not known.proxies:
        return msgspec.structs.replace(remembered(known.last), expired=expired) if made is None else None
    direction = "outbound" if fault.direction == "SIDECAR_OUTBOUND" else "inbound"
    looks = await _scrape(proxies, ISTIO_PORT, direction, fetch)
    silent = made is None or envoy_filter.silent(made)
    return msgspec.structs.replace(judged(known, looks, world.now, silent=silent), expired=expired)


def _lease_over(known: Memory, made: Object | None, now: datetime) -> bool:
    """What is not there is not renewed: after LEASE_SECONDS its lease is over, whatever it was."""
    if made is not None:
        known.expires, known.missing_since = receipts.expires_at(made), None
    elif known.missing_since is None:
        known.missing_since = now
    if known.missing_since is not None and now - known.missing_since >= timedelta(seconds=LEASE_SECONDS):
        return True
    return known.expires is not None and now >= known.expires


# --- the sandbox's mesh -------------------------------------------------------------------------------


def of_sandbox(made: Object) -> Evidence:
    """What the sandbox's mesh says. Its counters count at any time, `active` for the present generation only."""
    told = status(made).get("surefoot") or {}
    current = status(made).get("observedGeneration") == metadata(made).get("generation")
    active = told.get("active")
    return Evidence(
        delayed=int(told.get("delayed") or 0),
        aborted=int(told.get("aborted") or 0),
        active=active if current and isinstance(active, bool) else None,
        how=f"the mesh says so of its generation {metadata(made).get('generation')}"
        if current and active is False
        else "",
    )


def remembered(last: Evidence) -> Evidence:
    """Of an object that is gone: its counters, and that it was inactive if it was when last seen."""
    return last if last.active is False else msgspec.structs.replace(last, active=None)


# --- Envoy Gateway's proxies --------------------------------------------------------------------------


async def _of_gateway(receipt: Receipt, world: World, fetch: Fetch, known: Memory) -> Evidence:
    """Of the proxies of a route's Gateways: their counters, and whether the Gateways have taken a silenced policy.

    A proxy counts the faults of all routes together: while other policies inject faults, no count is ours.
    """
    fault = view(receipt.undo, Policy)
    made = world.get(BACKEND_TRAFFIC_POLICIES, receipt.victim.namespace, fault.name)
    if not receipts.made_by(receipt, made):
        made = None
    expired = _lease_over(known, made, world.now)
    proxies = http_route.proxies(fault.gateways, world)
    if not proxies and not known.proxies:
        return msgspec.structs.replace(remembered(known.last), expired=expired)
    looks = await _scrape(proxies, GATEWAY_PORT, "", fetch)
    alone = not http_route.rivals(fault.name, fault.gateways, world)
    silent = made is None or (traffic_policy.silent(made) and traffic_policy.accepted(made, fault.gateways))
    found = judged(known, looks, world.now, silent=silent, ours=alone)
    if made is not None and found.active is False:
        how = f"its Gateways have accepted generation {metadata(made).get('generation')}; {found.how}"
        found = msgspec.structs.replace(found, how=how)
    return msgspec.structs.replace(found, expired=expired)


# --- counters of proxies ------------------------------------------------------------------------------


def judged(
    known: Memory,
    looks: Mapping[str, Counters | None],
    now: datetime,
    *,
    silent: bool,
    ours: bool = True,
) -> Evidence:
    """What a new look at the proxies (None: no answer) says, and what is to be remembered of it.

    Counts are the growth since each proxy's first look; one whose counters went back was started again. `silent`: the
    fault strikes nobody any more, or is not there; not `ours`: others may have made the counters grow.
    """
    moved = False
    for uid, look in looks.items():
        if look is None:
            continue
        before = known.proxies.get(uid, look)
        delayed, aborted = _growth(before.delayed, look.delayed), _growth(before.aborted, look.aborted)
        known.delayed += delayed if ours else 0
        known.aborted += aborted if ours else 0
        moved = moved or bool(delayed or aborted or look.held)
        known.proxies[uid] = look
    complete = None not in looks.values()
    if moved or not silent or not complete:
        known.still_since = None
    elif known.still_since is None:
        known.still_since = now
    active: bool | None = None
    if not silent or (moved and ours):
        active = True
    elif known.still_since is not None and now - known.still_since >= SETTLE:
        active = False
    how = _still(len(looks)) if active is False else ""
    return Evidence(
        delayed=known.delayed,
        aborted=known.aborted,
        active=active,
        settling=active is None and ours and complete and bool(looks),
        partial=known.partial,
        how=how,
    )


def _still(proxies: int) -> str:
    """How far counters that stand still go: nobody tells when a change has reached its proxies."""
    if not proxies:
        return "none of its proxies is left"
    asked = f"{proxies} {'proxy holds' if proxies == 1 else 'proxies hold'} no request under fault"
    return f"{asked}, and counted none for {SETTLE.seconds} s (without traffic that says little)"


def counters(text: str, direction: str) -> Counters:
    """The fault counters of one direction ("inbound", "outbound", "" = all) in a proxy's statistics.

    ValueError if they are malformed. A counter that is not there is 0: Envoy Gateway's proxies have none before the first
    fault.

    The fault filter counts in `http.<stat_prefix>.fault.` of its connection manager, whose prefix begins with the
    direction in Istio; Prometheus' form of it has the prefix as a label, or in the name where no tag was extracted.
    """
    sums = {"delays_injected": 0, "aborts_injected": 0, "active_faults": 0}
    # A proxy may ignore our filter; and without a declared type the library leaves the names as they are.
    few = "".join(f"{line}\n" for line in text.splitlines() if "fault_" in line and not line.startswith("#"))
    try:
        samples = [sample for family in text_string_to_metric_families(few) for sample in family.samples]
    except (IndexError, KeyError) as error:  # the library's own on some malformed lines
        raise ValueError("the proxy's statistics are malformed") from error
    for sample in samples:
        found = _METRIC.fullmatch(sample.name)
        prefix = sample.labels.get(_PREFIX_LABEL) or (found and found["prefix"]) or ""
        if not found or not prefix.startswith(direction):
            continue
        if not 0 <= sample.value < math.inf:
            raise ValueError(f"{sample.name} is {sample.value}")
        sums[found["what"]] += int(sample.value)
    return Counters(sums["delays_injected"], sums["aborts_injected"], sums["active_faults"])


async def _scrape(
    pods: Sequence[Object], port: int, direction: str, fetch: Fetch
) -> dict[str, Counters | None]:
    asked = pods[:MAX_PODS]
    answers = await asyncio.gather(*(_ask(pod, port, direction, fetch) for pod in asked))
    looks = {uid_of(pod): answer for pod, answer in zip(asked, answers, strict=True)}
    return looks | {uid_of(pod): None for pod in pods[MAX_PODS:]}


async def _ask(pod: Object, port: int, direction: str, fetch: Fetch) -> Counters | None:
    address = status(pod).get("podIP") or ""
    if not address:
        return None
    host = f"[{address}]" if ":" in address else address
    request = Request(url=f"http://{host}:{port}/stats/prometheus", params={"filter": r"\.fault\."})
    try:
        answer = await fetch(request, deadline=FETCH_SECONDS, max_bytes=MAX_BYTES)
        if answer.status == 200:
            return counters(answer.text(), direction)
        log.info("no statistics from a proxy", pod=str(key_of(pod)), error=f"HTTP {answer.status}")
    except (SurefootError, ValueError) as error:
        log.info("no statistics from a proxy", pod=str(key_of(pod)), error=str(error))
    return None


def _growth(before: int, now: int) -> int:
    return now - before if now >= before else now


# --- injectors ----------------------------------------------------------------------------------------


async def _of_injector(receipt: Receipt, world: World, read_log: ReadLog) -> Evidence | None:
    """From the log of a running injector; one that has ended speaks through its pod's status."""
    pod, name = pod_of(receipt.victim, world), receipts.object_name(receipt.id)
    if pod is None or not injector.running(pod, name):
        return None
    try:
        text = await read_log(receipt.victim.namespace, receipt.victim.name, name)
    except SurefootError as error:
        log.info("no log from an injector", pod=str(key_of(pod)), error=str(error))
        return None
    return of_log(text)


def of_log(text: str) -> Evidence | None:
    """The last statistics that an injector told: packets impaired and dropped."""
    for line in reversed(text.splitlines()):
        try:
            said = json.loads(line)
            if said.get("event") == "statistics":
                return Evidence(delayed=int(said["packets"]), aborted=int(said["dropped"]), active=True)
        except (ValueError, KeyError, AttributeError):
            continue
    return None
