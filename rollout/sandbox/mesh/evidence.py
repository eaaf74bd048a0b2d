"""What Envoy says that its faults have done: read from its admin interface, summed up, told in status.

`EnvoyFilter.status.surefoot` is the proof that chaos rests on, so it says what Envoy runs and has counted, never
what was sent to it:

    status:
      observedGeneration: 3
      surefoot: {active: true, delayed: 120, aborted: 0, pods: 2, at: "2026-01-05T12:00:00Z"}
      conditions: [{type: Reconciled, status: "True", reason: Live, ...}]

`delayed` and `aborted` count requests since the object was created and only grow. `active` is false once no
listener with the fault is led to and none of its requests is still held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from rollout.api.codec import decode
from rollout.api.meta import Object, timestamp
from rollout.runtime.unix_http import UnixHttp
from rollout.sandbox.mesh.injection import Placement, uid_of
from rollout.sandbox.mesh.status import LIVE, reconciled

_STATS = "/stats?format=json&filter=^http.fault-.*(injected|active_faults|downstream_cx_active)$"
_FIELDS = {
    "fault.delays_injected": "delayed",
    "fault.aborts_injected": "aborted",
    "fault.active_faults": "held",
    "downstream_cx_active": "connections",
}


class Counts(msgspec.Struct, frozen=True):
    """One listener's counters, and its requests under fault and connections at the moment."""

    delayed: int = 0
    aborted: int = 0
    held: int = 0
    connections: int = 0


class Seen(msgspec.Struct, frozen=True):
    """What Envoy runs now: its fault listeners by name."""

    counts: Mapping[str, Counts]
    listeners: frozenset[str]


async def counts(admin: UnixHttp) -> dict[str, Counts]:
    """The counters of all fault listeners. Raises Unavailable when Envoy does not answer."""
    found: dict[str, dict[str, int]] = {}
    for entry in decode(await admin.get(_STATS)).get("stats") or ():
        name, _, field = str(entry.get("name") or "").removeprefix("http.").partition(".")
        if field in _FIELDS:
            found.setdefault(name, {})[_FIELDS[field]] = int(entry["value"])
    return {name: Counts(**values) for name, values in found.items()}


async def look(admin: UnixHttp) -> Seen:
    """Raises Unavailable when Envoy does not answer."""
    numbers = await counts(admin)
    answer = decode(await admin.get("/listeners?format=json"))
    return Seen(numbers, frozenset(str(entry["name"]) for entry in answer.get("listener_statuses") or ()))


class Ledger:
    """The sums for each object, over its listeners' coming and going and over Envoy's own restarts."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}
        """By uid: what is not in the present counters of its listeners."""
        self._start: dict[str, Counts] = {}
        self._last: dict[str, Counts] = {}

    def open(self, uid: str, obj: Object) -> None:
        """Go on from what an earlier driver told about the object."""
        if uid not in self._before:
            told = (obj.get("status") or {}).get("surefoot") or {}
            self._before[uid] = (int(told.get("delayed") or 0), int(told.get("aborted") or 0))

    def begin(self, name: str, now: Counts) -> None:
        """A listener of this name is there, and nothing leads to it yet. Envoy keeps counters for a while after
        a listener's end, so one that comes again may go on with the old numbers, or not."""
        self._settle(name)
        self._start[name] = self._last[name] = now

    def take(self, numbers: Mapping[str, Counts]) -> None:
        """What Envoy says now. Counters that went back began anew; unknown listeners are not ours (any more)."""
        for name, now in numbers.items():
            last = self._last.get(name)
            if last is None:
                continue
            if now.delayed < last.delayed or now.aborted < last.aborted:
                self._settle(name)
                self._start[name] = Counts()
            self._last[name] = now

    def end(self, name: str, last: Counts) -> None:
        """A listener's last word, before it is removed."""
        self.take({name: last})
        self._settle(name)

    def _settle(self, name: str) -> None:
        last, start = self._last.pop(name, Counts()), self._start.pop(name, Counts())
        delayed, aborted = self._before.get(uid_of(name), (0, 0))
        self._before[uid_of(name)] = (
            delayed + last.delayed - start.delayed,
            aborted + last.aborted - start.aborted,
        )

    def sums(self, uid: str) -> tuple[int, int]:
        """(delayed, aborted) of the object with this uid."""
        delayed, aborted = self._before.get(uid, (0, 0))
        for name, last in self._last.items():
            if uid_of(name) == uid:
                delayed += last.delayed - self._start[name].delayed
                aborted += last.aborted - self._start[name].aborted
        return delayed, aborted

    def keep(self, uids: Iterable[str]) -> None:
        """Forget all objects but these."""
        known = set(uids)
        self._before = {uid: sums for uid, sums in self._before.items() if uid in known}
        self._last = {name: one for name, one in self._last.items() if uid_of(name) in known}
        self._start = {name: one for name, one in self._start.items() if uid_of(name) in known}


def is_active(placement: Placement, seen: Seen) -> bool:
    """Whether the fault can touch a request, or still holds one. `placement` is what Envoy confirmed to use."""
    held = any(one.held for name, one in seen.counts.items() if uid_of(name) == placement.uid)
    return held or bool(placement.listeners & seen.listeners)


def fault_status(
    obj: Object,
    placement: Placement,
    *,
    active: bool,
    sums: tuple[int, int],
    reasons: Iterable[str],
    expired: bool,
    now: datetime,
) -> dict[str, Any]:
    """The status of an EnvoyFilter whose present generation is live; `reasons`: why it is not, if it is not."""
    said = LIVE
    if expired:
        said = ("Expired", "past its expiry: treated as absent")
    elif not placement.listeners:
        said = ("NoEffect", "its share is 0 %, or no request comes to (or from) a selected pod this way")
    status = reconciled(obj, refused="; ".join(reasons), problems=(), now=now, said=said)
    told = {"active": active, "delayed": sums[0], "aborted": sums[1], "pods": placement.pods}
    before = (obj.get("status") or {}).get("surefoot") or {}
    same = told == {name: value for name, value in before.items() if name != "at"}
    return {**status, "surefoot": {**told, "at": before.get("at") if same else timestamp(now)}}
