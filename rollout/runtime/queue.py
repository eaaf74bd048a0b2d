"""A work queue of keys, after the contract of client-go's `util/workqueue`.

- Fair: keys are handed out in the order in which they were added; urgent ones before the others.
- Stingy: a key that is added many times before it is taken is handed out once.
- Exclusive: a key is never handed out while it is being worked on; added meanwhile, it comes again afterwards.
- Delays: `add_after` (the earlier of two deadlines wins) and `add_rate_limited` (exponential back-off per key).
- Shut down: nothing more is accepted or handed out; what is being worked on may finish.

For one event loop; not thread-safe. Keys are anything hashable.

    async with queue.take() as key:      # raises ShutDown when the queue ends
        ...
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from rollout.errors import SurefootError
from rollout.runtime.clock import Clock

K = TypeVar("K", bound=Hashable)

BASE_SECONDS = 0.005
CAP_SECONDS = 60.0
JITTER = 0.2
"""A back-off of d is drawn from d to d * (1 + JITTER), so that keys that failed together do not return together."""


class ShutDown(SurefootError):
    """The queue was shut down: there is nothing more to take."""


class Backoff(Generic[K]):
    """Exponential back-off per key: base * 2^failures up to cap, plus jitter. Seconds."""

    def __init__(self, clock: Clock, *, base: float = BASE_SECONDS, cap: float = CAP_SECONDS) -> None:
        self._clock = clock
        self._base = base
        self._cap = cap
        self._failures: dict[K, int] = {}

    def next(self, key: K) -> float:
        """Count one more failure of `key` and return how long to wait for it."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._cap, self._base * 2.0 ** min(failures, 64))
        return delay * (1 + JITTER * self._clock.random.random())

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        self._failures.pop(key, None)


class WorkQueue(Generic[K]):
    """The queue. `on_wait(seconds)`, if set, is told how long each key waited before it was taken."""

    def __init__(self, clock: Clock, *, base: float = BASE_SECONDS, cap: float = CAP_SECONDS) -> None:
        self.on_wait: Callable[[float], None] | None = None
        self._clock = clock
        self._backoff: Backoff[K] = Backoff(clock, base=base, cap=cap)
        self._order: OrderedDict[K, None] = OrderedDict()
        self._first: OrderedDict[K, None] = OrderedDict()
        self._urgent: set[K] = set()
        self._owed: set[K] = set()
        """Urgent ones that are being worked on: unless it goes well, they are urgent again."""
        self._dirty: dict[K, float] = {}  # key -> when it was added
        self._processing: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._takers: deque[asyncio.Future[None]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._paused = False
        self._shut = False

    # --- adding -----------------------------------------------------------------------------------

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Have `key` worked on soon; an urgent one before all that are not, now and until it went well (`forget`)."""
        if self._shut:
            return
        if urgent:
            self._urgent.add(key)
            if key in self._order:
                del self._order[key]
                self._first[key] = None
        if key in self._dirty:
            return
        self._dirty[key] = self._clock.monotonic()
        if key not in self._processing:
            self._line_up(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Have `key` worked on after `seconds`, or earlier if an earlier deadline is already set."""
        if self._shut:
            return
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def add_rate_limited(self, key: K) -> float:
        """Have `key` worked on after its back-off; returns the seconds."""
        seconds = self.back_off(key)
        self.add_after(key, seconds)
        return seconds

    def back_off(self, key: K) -> float:
        """Count one more failure of `key`; the seconds it should wait. The caller adds it."""
        return self._backoff.next(key)

    def forget(self, key: K) -> None:
        """`key` went well: its next back-off starts from the beginning."""
        self._backoff.forget(key)
        self._owed.discard(key)

    def failures(self, key: K) -> int:
        """How often `key` was added rate-limited since it was last forgotten."""
        return self._backoff.failures(key)

    # --- taking -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def take(self) -> AsyncIterator[K]:
        """The next key, exclusively ours until the block ends. Raises ShutDown at the end of the queue."""
        while (self._paused or not len(self)) and not self._shut:
            await self._added()
        if self._shut:
            raise ShutDown("the work queue was shut down")
        key, _ = (self._first or self._order).popitem(last=False)
        added = self._dirty.pop(key)
        self._processing.add(key)
        if key in self._urgent:
            self._urgent.discard(key)
            self._owed.add(key)
        self._idle.clear()
        if self.on_wait is not None:
            self.on_wait(self._clock.monotonic() - added)
        try:
            yield key
        finally:
            self._done(key)

    def pause(self) -> None:
        """Hand out no more keys until `resume` (leadership in doubt); additions still count."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        for _ in range(len(self)):
            self._wake()

    def shut_down(self) -> None:
        """Accept and hand out nothing more; every waiting `take` raises ShutDown."""
        self._shut = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._order.clear()
        self._first.clear()
        self._dirty.clear()
        while self._takers:
            self._wake()

    async def idle(self) -> None:
        """Wait until no key is being worked on."""
        await self._idle.wait()

    def __len__(self) -> int:
        """How many keys wait to be taken now (delayed ones not counted)."""
        return len(self._order) + len(self._first)

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._timers)

    @property
    def processing(self) -> frozenset[K]:
        """The keys that are being worked on."""
        return frozenset(self._processing)

    # --- inside -----------------------------------------------------------------------------------

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _done(self, key: K) -> None:
        self._processing.discard(key)
        if not self._processing:
            self._idle.set()
        if key in self._owed:
            self._owed.discard(key)
            self._urgent.add(key)
        if key in self._dirty:
            self._line_up(key)

    def _line_up(self, key: K) -> None:
        (self._first if key in self._urgent else self._order)[key] = None
        self._wake()

    async def _added(self) -> None:
        """Wait to be woken. A taker that is cancelled hands its waking on to the next."""
        waiter = asyncio.get_running_loop().create_future()
        self._takers.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._takers:
                self._takers.remove(waiter)
            else:
                self._wake()
            raise

    def _wake(self) -> None:
        if self._paused and not self._shut:
            return
        while self._takers:
            waiter = self._takers.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
