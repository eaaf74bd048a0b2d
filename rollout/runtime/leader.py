"""Leader election by a Lease: at most one of several processes works, the others stand by warm.

A Lease is advice, not a lock: safety comes from preconditions on every write. What this election adds:
- Time is observed on the monotonic clock; the times in the Lease are written for people, never compared.
- A renewal counts from the moment it was *sent*. Every call has a deadline of at most the time left.
- After two thirds of the lease without a renewal the leader is in doubt: it takes no more keys (`on_doubt`). At the
  deadline, one retry period before others may take over, all work is cancelled and awaited, and `run` raises
  LeadershipLost: the process exits and a fresh one starts, which is safer than to resume.
- `FencedKube` refuses writes at once when the lease is over, even if a blocked event loop kept the timers from firing.
- Each acquisition has a higher number (`fence`, the Lease's leaseTransitions) for writes to carry. Only deleting the
  Lease starts the count anew.

The caches of a standby run all the time; only the workers wait for `run` to call `lead`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import structlog

from rollout.api.meta import micro_timestamp
from rollout.api.resources import LEASES
from rollout.errors import AlreadyExists, ApiError, Conflict, NotFound, SurefootError, Unavailable
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube, Object
from rollout.runtime.wrap import Change, WrappedKube

log = structlog.get_logger()

T = TypeVar("T")

LEASE_SECONDS = 15.0
RETRY_SECONDS = 2.0
LOOK_SECONDS = 1.0
"""How often a standby looks at the lease: what it sees late it has to wait longer for."""
CALL_SECONDS = 10.0
DOUBT_SHARE = 2 / 3
RETRY_JITTER = 0.2
RELEASE_SECONDS = 3.0
CANCEL_SECONDS = 10.0


class LeadershipLost(SurefootError):
    """We lead no longer. The work has been cancelled; exit now."""


class _Record(msgspec.Struct, frozen=True):
    """What a Lease says. Two equal records mean that its holder did nothing in between."""

    holder: str
    duration: float
    renewed: str
    transitions: int


class Elector:
    """One candidate. `identity` must be unique to this process and this start of it."""

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        lease: float = LEASE_SECONDS,
        retry: float = RETRY_SECONDS,
        look: float = LOOK_SECONDS,
        call: float = CALL_SECONDS,
        on_doubt: Callable[[bool], None] | None = None,
        take_over: bool = False,
    ) -> None:
        self.name = name
        self.identity = identity
        self.fence = 0
        """The number of our present leadership; higher than that of all leaders before us."""
        self.holder = ""
        """Who held the lease when we last looked; "" if nobody."""
        self._kube = kube
        self._namespace = namespace
        self._clock = clock
        self._lease = lease
        self._retry = retry
        self._look = look
        self._call = call
        self._on_doubt = on_doubt
        self._take_over = take_over
        self._ours: Object | None = None  # the Lease as our last write left it
        self._until = 0.0  # monotonic time at which our leadership ends
        self._lost = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._observed: tuple[_Record, float] | None = None
        self._complaint = ""

    @property
    def leading(self) -> bool:
        """Whether we lead at this very moment."""
        return self.remaining() > 0

    def remaining(self) -> float:
        """Seconds for which we still lead for certain; 0 if we do not."""
        return max(0.0, self._until - self._clock.monotonic()) if self._ours is not None else 0.0

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for leadership, run `lead()` while it lasts, release it when `lead` returns or we are cancelled.

        Raises LeadershipLost after cancelling and awaiting `lead`; what `lead` raises comes out as it is.
        """
        await self._acquire()
        log.info("leading", lease=self.name, identity=self.identity, fence=self.fence)
        work = asyncio.ensure_future(lead())
        keep = asyncio.create_task(self._keep(), name=f"lease {self.name}")
        lost = asyncio.create_task(self._lost.wait(), name=f"lease {self.name} lost")
        try:
            await asyncio.wait({work, keep, lost}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
                return
            raise LeadershipLost(f"the lease {self._namespace}/{self.name} was lost: {self._complaint}")
        finally:
            ended = await _cancel(work)
            await _cancel(keep)
            await _cancel(lost)
            self._disarm()
            if ended:
                await self._release()

    def give_up(self, reason: str) -> None:
        """Lead no longer, at once (a blocked event loop, a broken cache): work is cancelled, `run` raises.

        Nothing happens if we do not lead.
        """
        if self._ours is not None:
            self._complaint = reason
            self._expire()

    # --- becoming leader --------------------------------------------------------------------------

    async def _acquire(self) -> None:
        # Leading has to be checked: if the event loop hung over the answer, the lease may be over again.
        while not (await self._attempt(self._try_acquire, self._call) and self.leading):
            self._disarm()
            self._ours = None
            await self._clock.sleep(self._pause())

    def _pause(self) -> float:
        """Seconds until the next look: soon after the holder's time is over, when that comes before the usual one."""
        jitter = RETRY_JITTER * self._clock.random.random()
        usual = self._look * (1 + jitter)
        if self._observed is None or not self._observed[0].holder:
            return usual
        record, since = self._observed
        left = since + record.duration - self._clock.monotonic()
        return min(usual, left + self._look * jitter) if left > 0 else usual

    async def _try_acquire(self) -> bool:
        """Look at the Lease, and take it if it is free or its holder has been silent for its whole duration."""
        try:
            found = await self._kube.get(LEASES, self._namespace, self.name)
        except NotFound:
            seen = self._observed[0].transitions if self._observed else 0
            return await self._write(None, seen + 1)
        record = _record(found, self._lease)
        self.holder = record.holder
        now = self._clock.monotonic()
        if self._observed is None or self._observed[0] != record:
            self._observed = record, now
        silent = now - self._observed[1]
        if record.holder in {"", self.identity} or self._take_over or silent >= record.duration:
            return await self._write(found, record.transitions + 1)
        return False

    # --- staying leader ---------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Renew until we know that somebody else leads. A task of its own: no reconcile ever delays it."""
        while not self._lost.is_set():
            await self._clock.sleep(min(self._retry, self.remaining()))
            if self.remaining() == 0:
                self._expire()
                return
            await self._attempt(self._renew, min(self._call, self.remaining()))

    async def _renew(self) -> bool:
        try:
            return await self._write(self._ours, self.fence)
        except NotFound:
            # Deleted by hand. Whoever creates it first leads; if that is us, with a higher number.
            return await self._write(None, self.fence + 1)
        except Conflict:
            found = await self._kube.get(LEASES, self._namespace, self.name)
            record = _record(found, self._lease)
            self.holder = record.holder
            if record.holder != self.identity:
                self._complaint = f"{record.holder or 'nobody'} holds it"
                self._expire()
                return False
            # Edited by somebody, or a write of ours whose answer we never saw.
            return await self._write(found, max(self.fence, record.transitions))

    async def _write(self, found: Object | None, transitions: int) -> bool:
        """Write our name with a new time. True if the server took it; raises Conflict if we were not the first."""
        sent = self._clock.monotonic()
        obj = _lease(found, self._namespace, self.name, self._spec(found, transitions))
        if found is None:
            try:
                self._ours = await self._kube.create(LEASES, self._namespace, obj)
            except AlreadyExists as error:
                raise Conflict(error.message) from error
        else:
            self._ours = await self._kube.replace(LEASES, self._namespace, self.name, obj)
        self.fence = transitions
        self.holder = self.identity
        self._arm(sent)
        return True

    def _spec(self, found: Object | None, transitions: int) -> dict[str, Any]:
        now = micro_timestamp(self._clock.now())
        before = (found or {}).get("spec") or {}
        ours = before.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self._lease),
            "acquireTime": before.get("acquireTime") or now if ours else now,
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    async def _attempt(self, action: Callable[[], Awaitable[bool]], deadline: float) -> bool:
        """Try `action`; a failure is noted, said once, and left to the next attempt."""
        try:
            async with asyncio.timeout(deadline):
                done = await action()
        except (Conflict, AlreadyExists, NotFound):
            return False  # somebody was faster: look again
        except TimeoutError:
            self._complain(f"no answer within {deadline:.1f} s")
        except Exception as error:  # noqa: BLE001 - whatever it was, the deadline decides, not the error
            self._complain(f"{type(error).__name__}: {error}")
        else:
            if done:
                self._complaint = ""
            return done
        return False

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            log.warning("cannot reach the lease", lease=self.name, error=text)
        self._complaint = text

    # --- time -------------------------------------------------------------------------------------

    def _arm(self, sent: float) -> None:
        """Set when doubt and the end come, counted from the sending of the last renewal."""
        self._disarm()
        self._until = sent + self._lease - self._retry
        loop = asyncio.get_running_loop()
        gone = self._clock.monotonic() - sent
        self._timers = [
            loop.call_later(self._lease * DOUBT_SHARE - gone, self._doubt, True),
            loop.call_later(self._lease - self._retry - gone, self._expire),
        ]
        self._doubt(False)

    def _disarm(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def _doubt(self, in_doubt: bool) -> None:
        if in_doubt:
            log.warning("the lease is in doubt: no new work", lease=self.name, error=self._complaint)
        if self._on_doubt is not None:
            self._on_doubt(in_doubt)

    def _expire(self) -> None:
        self._complaint = self._complaint or "no renewal in time"
        self._until = 0.0
        self._lost.set()

    # --- ending -----------------------------------------------------------------------------------

    async def _release(self) -> None:
        """Give the lease back, if it is still ours, so that a standby need not wait. Never raises."""
        ours, still = self._ours, self.leading
        self._ours = None
        if ours is None or not still:
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                try:
                    await self._free(ours)
                except Conflict:
                    # A renewal whose answer we did not wait for has arrived all the same, or somebody else leads.
                    found = await self._kube.get(LEASES, self._namespace, self.name)
                    if _record(found, self._lease).holder == self.identity:
                        await self._free(found)
        except (ApiError, TimeoutError) as error:
            log.warning("could not release the lease; a standby takes it when it runs out", error=str(error))

    async def _free(self, found: Object) -> None:
        """Take our name out of the Lease as it was found."""
        spec = self._spec(found, self.fence) | {"holderIdentity": "", "leaseDurationSeconds": 1}
        obj = _lease(found, self._namespace, self.name, spec)
        await self._kube.replace(LEASES, self._namespace, self.name, obj)


async def live_holder(
    kube: Kube, *, namespace: str, name: str, clock: Clock, retry: float = RETRY_SECONDS
) -> str:
    """Who holds the Lease and is alive: seen to renew it while we looked, for at most its duration. "" if nobody.

    For a person's question ("is another controller running?"); election itself needs no such look.
    """
    first: _Record | None = None
    started = clock.monotonic()
    while True:
        try:
            record = _record(await kube.get(LEASES, namespace, name), LEASE_SECONDS)
        except NotFound:
            return ""
        if first is None:
            first = record
        if not record.holder:
            return ""
        if record != first:
            return record.holder
        if clock.monotonic() - started >= record.duration:
            return ""
        await clock.sleep(retry)


def _record(lease: Object, default_duration: float) -> _Record:
    spec = lease.get("spec") or {}
    return _Record(
        str(spec.get("holderIdentity") or ""),
        float(spec.get("leaseDurationSeconds") or default_duration),
        str(spec.get("renewTime") or ""),
        int(spec.get("leaseTransitions") or 0),
    )


def _lease(found: Object | None, namespace: str, name: str, spec: dict[str, Any]) -> Object:
    """The Lease to write: what is there, fields unknown to us included, with `spec` over it."""
    if found is None:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
    return {**found, "spec": {**(found.get("spec") or {}), **spec}}


async def _cancel(task: asyncio.Future[Any]) -> bool:
    """Cancel a task and wait until it has ended, within bounds. Whether it has."""
    if task.done():
        return True
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=CANCEL_SECONDS)
    if not done:
        log.error("a task did not end when cancelled", task=str(task))
    elif not task.cancelled() and (error := task.exception()) is not None:
        log.warning("work ended with an error when cancelled", error=str(error))
    return bool(done)


class FencedKube(WrappedKube):
    """Lets writes through only while `elector` leads for certain, and not beyond the end of its lease."""

    def __init__(self, kube: Kube, elector: Elector) -> None:
        super().__init__(kube)
        self._elector = elector

    async def _change(self, change: Change, sent: Awaitable[T]) -> T:
        remaining = self._elector.remaining()
        if remaining <= 0:
            if asyncio.iscoroutine(sent):
                sent.close()
            raise LeadershipLost(f"no {change.verb} of {change.resource}: lease {self._elector.name} is over")
        try:
            async with asyncio.timeout(remaining):
                return await sent
        except TimeoutError as error:
            raise Unavailable(f"a {change.verb} of {change.resource} did not end before the lease") from error
