"""The read-your-writes barrier: a key waits until the caches show what was written for it."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from rollout.api.meta import Key
from rollout.api.resources import CONFIG_MAPS, PODS, REPLICA_SETS
from rollout.errors import Conflict, NotFound
from rollout.runtime.clock import LoopClock
from rollout.runtime.fresh import Fresh
from rollout.runtime.runner import Runner
from rollout.runtime.store import Store
from tests import virtual


def obj(name: str, version: int | str, **meta: Any) -> dict:
    return {
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"u-{name}",
            "resourceVersion": str(version),
            **meta,
        }
    }


class Answers:
    """A Kube whose every change answers the given thing."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    async def _reply(self, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    create = replace = patch = delete = evict = bind = get = _reply


class Setup:
    def __init__(self) -> None:
        self.now = 0.0
        self.pods, self.sets = Store(PODS), Store(REPLICA_SETS)
        self.fresh = Fresh([self.pods, self.sets], clock=self)  # type: ignore[arg-type]

    def monotonic(self) -> float:
        return self.now

    def kube(self, answer: Any) -> Any:
        return self.fresh.kube("k", Answers(answer))  # type: ignore[arg-type]


@pytest.fixture
def setup() -> Setup:
    return Setup()


async def test_a_change_is_waited_for_until_the_object_has_its_version(setup: Setup) -> None:
    setup.pods.apply(obj("a", 5))
    await setup.kube(obj("a", 9)).patch(PODS, "ns", "a", {})
    assert not setup.fresh.ready("k")
    setup.pods.apply(obj("a", 8))
    assert not setup.fresh.ready("k")
    assert setup.fresh.ready("another key")
    setup.pods.apply(obj("a", 9))
    assert setup.fresh.ready("k")


async def test_a_creation_is_waited_for_until_the_watch_has_come_so_far(setup: Setup) -> None:
    await setup.kube(obj("a", 9)).create(PODS, "ns", obj("a", 0))
    assert not setup.fresh.ready("k")
    setup.pods.apply(
        obj("other", 10)
    )  # the watch has passed our write: the object came and is gone, or is filtered
    assert setup.fresh.ready("k")


async def test_a_bookmark_is_enough(setup: Setup) -> None:
    await setup.kube(obj("a", 9)).replace(PODS, "ns", "a", {}, subresource="status")
    setup.pods.reach(9)
    assert setup.fresh.ready("k")


async def test_versions_of_other_resources_say_nothing(setup: Setup) -> None:
    await setup.kube(obj("a", 9)).patch(PODS, "ns", "a", {})
    setup.sets.reach(100)
    assert not setup.fresh.ready("k")


async def test_all_writes_are_waited_for(setup: Setup) -> None:
    await setup.kube(obj("a", 9)).patch(PODS, "ns", "a", {})
    await setup.kube(obj("b", 4)).create(REPLICA_SETS, "ns", {})
    setup.pods.reach(9)
    assert not setup.fresh.ready("k")
    setup.sets.reach(4)
    assert setup.fresh.ready("k")


@pytest.mark.parametrize("verb", ["delete", "evict"])
async def test_a_deletion_is_waited_for_until_the_object_is_gone_marked_or_another(
    setup: Setup, verb: str
) -> None:
    for seen in (None, obj("a", 9, deletionTimestamp="t"), obj("a", 9, uid="u-new")):
        setup.pods.replace([obj("a", 5)], 5)
        if verb == "delete":
            await setup.kube(None).delete(PODS, "ns", "a")
        else:
            await setup.kube(None).evict("ns", "a")
        assert not setup.fresh.ready("k")
        setup.pods.replace([seen] if seen else [], 9)
        assert setup.fresh.ready("k")


async def test_a_deletion_of_what_is_gone_already_waits_for_the_cache_too(setup: Setup) -> None:
    setup.pods.apply(obj("a", 5))
    with pytest.raises(NotFound):
        await setup.kube(NotFound("gone")).delete(PODS, "ns", "a", uid="u-a")
    assert not setup.fresh.ready("k")
    setup.pods.delete(obj("a", 6))
    assert setup.fresh.ready("k")


async def test_failed_writes_dry_runs_and_uncached_resources_are_not_waited_for(setup: Setup) -> None:
    with pytest.raises(Conflict):
        await setup.kube(Conflict("no")).patch(PODS, "ns", "a", {})
    await setup.kube(obj("a", 9)).create(PODS, "ns", {}, dry_run=True)
    await setup.kube(obj("a", 9)).create(CONFIG_MAPS, "ns", {})
    await setup.kube(None).bind("ns", "a", "node")
    assert setup.fresh.ready("k")


async def test_versions_that_are_no_numbers_are_compared_for_equality(setup: Setup) -> None:
    await setup.kube(obj("a", "x9")).patch(PODS, "ns", "a", {})
    setup.pods.apply(obj("a", "x8"))
    assert not setup.fresh.ready("k")
    setup.pods.apply(obj("a", "x9"))
    assert setup.fresh.ready("k")


async def test_after_five_minutes_the_cache_is_believed_again_and_that_is_said(setup: Setup) -> None:
    await setup.kube(obj("a", 9)).patch(PODS, "ns", "a", {})
    setup.now = 299
    assert not setup.fresh.ready("k")
    setup.now = 300
    with capture_logs() as lines:
        assert setup.fresh.ready("k")
    assert setup.fresh.expired == 1
    assert [(line["log_level"], line["object"], line["version"]) for line in lines] == [
        ("error", "ns/a", "9")
    ]


async def test_a_forgotten_key_waits_for_nothing(setup: Setup) -> None:
    await setup.kube(obj("a", 9)).patch(PODS, "ns", "a", {})
    setup.fresh.forget("k")
    assert setup.fresh.ready("k")
    assert setup.fresh.expired == 0


def test_a_reconciler_behind_the_barrier_creates_its_child_once_though_the_cache_lags() -> None:
    async def main(clock: LoopClock) -> None:
        store = Store(PODS)
        created: list[int] = []
        fresh = Fresh([store], clock=clock)

        async def reconcile(key: str) -> None:
            if store.get(Key("ns", "child")) is not None:
                return
            created.append(1)
            answer = obj("child", 10 + len(created))
            await fresh.kube(key, Answers(answer)).create(PODS, "ns", {})  # type: ignore[arg-type]
            asyncio.get_running_loop().call_later(20, store.apply, answer)
            runner.add(key)

        runner: Runner[str] = Runner("test", reconcile, clock=clock, ready=fresh.ready)
        runner.add("k")
        task = asyncio.create_task(runner.run())
        await clock.sleep(60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert created == [1]

    virtual.run(main)
