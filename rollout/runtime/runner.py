"""Runs a reconciler: keys from a queue, several workers, one key at a time, errors by the table in `rollout.errors`.

A reconciler is `async reconcile(key) -> After | None`. It learns only the key, never why it was woken, so it must decide
from the present state. It may be called at any time (a slow resync calls it for every key).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, Literal, TypeVar

import msgspec
import structlog

from rollout.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    ConfigError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    InvalidSpec,
    InvariantBroken,
    NotFound,
    Throttled,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from rollout.runtime.clock import Clock
from rollout.runtime.queue import Backoff, ShutDown, WorkQueue

log = structlog.get_logger()

K = TypeVar("K", bound=Hashable)

WORKERS = 10
RESYNC_SECONDS = 900.0
RECONCILE_SECONDS = 300.0
DRAIN_SECONDS = 20.0
SLOW_SECONDS = 60.0
REFUSED_SECONDS = 5.0
BARRIER_BASE, BARRIER_CAP = 0.02, 1.0


class After(msgspec.Struct, frozen=True):
    """Come back to this key after `seconds`, if nothing wakes it earlier."""

    seconds: float


class Retry(msgspec.Struct, frozen=True):
    """What to do with a key whose reconcile failed.

    `at_least`: seconds to wait, back-off not counted; None means not at all: wait for a change.
    `level` and `traceback` say how loudly to tell it.
    """

    at_least: float | None
    level: Literal["debug", "info", "warning", "error"]
    traceback: bool = False


def policy(error: Exception) -> Retry:
    """The table in `rollout.errors` as a function."""
    match error:
        case Conflict() | NotFound() | AlreadyExists() | Expired():
            return Retry(0.0, "debug")
        case Throttled(after=after):
            return Retry(after or 0.0, "info")
        case Unavailable():
            return Retry(0.0, "warning")
        case Forbidden() | Unauthorized() | ConfigError():
            return Retry(SLOW_SECONDS, "error")
        case Invalid() | BadRequest() | TooLarge():
            return Retry(REFUSED_SECONDS, "error")
        case ApiError():
            return Retry(REFUSED_SECONDS, "warning")
        case InvalidSpec():
            return Retry(None, "info")
        case InvariantBroken():
            return Retry(None, "error", traceback=True)
        case _:
            return Retry(0.0, "error", traceback=True)


class Runner(Generic[K]):
    """One controller's workers around one queue.

    `keys()` lists what the resync goes through. `ready(key)` is the read-your-writes barrier: while it is
    False the key is held back. `on_reconcile(result, seconds)` is told every outcome: "success", "requeue_after",
    "error" or "held".
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[K], Awaitable[After | None]],
        *,
        clock: Clock,
        workers: int = WORKERS,
        keys: Callable[[], Iterable[K]] | None = None,
        resync: float = RESYNC_SECONDS,
        ready: Callable[[K], bool] | None = None,
        on_error: Callable[[Exception], Retry] = policy,
        on_reconcile: Callable[[str, float], None] | None = None,
        deadline: float = RECONCILE_SECONDS,
        drain: float = DRAIN_SECONDS,
    ) -> None:
        self.name = name
        self.queue: WorkQueue[K] = WorkQueue(clock)
        self._reconcile = reconcile
        self._clock = clock
        self.workers = workers
        self._keys = keys
        self._resync = resync
        self._ready = ready
        self._on_error = on_error
        self._on_reconcile = on_reconcile
        self._deadline = deadline
        self._drain = drain
        self._held: Backoff[K] = Backoff(clock, base=BARRIER_BASE, cap=BARRIER_CAP)
        self._told: dict[K, str] = {}
        self._stopping = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Have `key` reconciled soon; an urgent one before those that are not."""
        self.queue.add(key, urgent=urgent)

    async def run(self) -> None:
        """Work until `stop` (then finish what is running, within `drain` seconds) or until cancelled (at once)."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.resize(self.workers)
            resync = None
            if self._keys is not None:
                resync = group.create_task(self._resync_forever(self._keys), name=f"{self.name} resync")
            await self._stopping.wait()
            self._group = None
            self.queue.shut_down()
            try:
                async with asyncio.timeout(self._drain):
                    await self.queue.idle()
            except TimeoutError:
                keys = sorted(map(str, self.queue.processing))
                log.warning("cancelling reconciles that did not end in time", controller=self.name, keys=keys)
            for task in [*self._tasks.values(), *([resync] if resync is not None else [])]:
                task.cancel()

    def resize(self, workers: int) -> None:
        """Work with so many workers from now on. One too many ends after the key that it has in hand, or the next."""
        self.workers = workers
        if self._group is None:
            return  # they are started by `run`
        for number in range(workers):
            if number not in self._tasks:
                task = self._group.create_task(self._work(number), name=f"{self.name} {number}")
                self._tasks[number] = task

    def stop(self) -> None:
        """Take no more keys, and let `run` return once the running ones are finished."""
        self._stopping.set()

    # --- workers ----------------------------------------------------------------------------------

    async def _work(self, number: int) -> None:
        while number < self.workers:
            try:
                async with self.queue.take() as key:
                    with structlog.contextvars.bound_contextvars(controller=self.name, key=str(key)):
                        await self._one(key)
            except ShutDown:
                return
        del self._tasks[number]

    async def _one(self, key: K) -> None:
        if self._ready is not None and not self._ready(key):
            self.queue.add_after(key, self._held.next(key))
            self._tell("held", 0.0)
            return
        self._held.forget(key)
        started = self._clock.monotonic()
        result = "error"
        try:
            async with asyncio.timeout(self._deadline):
                after = await self._reconcile(key)
        except Exception as error:  # noqa: BLE001 - one key's trouble must never end the worker
            self._failed(key, error)
        else:
            result = "success" if after is None else "requeue_after"
            self.queue.forget(key)
            self._told.pop(key, None)
            if after is not None:
                self.queue.add_after(key, after.seconds)
        self._tell(result, self._clock.monotonic() - started)

    def _failed(self, key: K, error: Exception) -> None:
        retry = self._on_error(error)
        if retry.at_least is None:
            self.queue.forget(key)
            wait = None
        else:
            wait = max(retry.at_least, self.queue.back_off(key))
            self.queue.add_after(key, wait)
        text = f"{type(error).__name__}: {error}"
        # The same complaint over and over is said once, then quietly.
        level = retry.level if self._told.get(key) != text else "debug"
        self._told[key] = text
        getattr(log, level)(
            "reconcile failed",
            error=text,
            retry_seconds=None if wait is None else round(wait, 3),
            exc_info=error if retry.traceback and level != "debug" else None,
        )

    def _tell(self, result: str, seconds: float) -> None:
        if self._on_reconcile is not None:
            self._on_reconcile(result, seconds)

    async def _resync_forever(self, keys: Callable[[], Iterable[K]]) -> None:
        """Add every key once per period, spread over it, so that a resync is no wave."""
        while True:
            await self._clock.sleep(self._resync * (0.9 + 0.2 * self._clock.random.random()))
            for key in list(keys()):
                self.queue.add_after(key, self._resync * 0.1 * self._clock.random.random())
