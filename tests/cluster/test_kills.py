"""kill -9 of the controller at every write of a release, on a real cluster with traffic: it goes on to the same end.

A proxy before the API counts the controller's writes and kills it at the n-th, before it is passed on or before it is
answered; it is started again at once. In each release every twelfth write is struck, and four releases begin at four
different ones, so that every third of some thirty writes is, by replica share, over an HTTPRoute, and blue/green. (The
first five writes of a new controller say that it has the turn: one that is killed more often gets nowhere.) With
SUREFOOT_EVERY_KILL=true every write has two releases of its own, one for each moment, until a release is over before
its write comes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from rollout.api.meta import metadata
from rollout.api.resources import HTTP_ROUTES, REPLICA_SETS, ROLLOUTS, Resource
from rollout.runtime.config import load
from rollout.runtime.kube import Object
from tests.cluster import ours
from tests.cluster.gateway.install import Public
from tests.cluster.ground.cluster import Cluster
from tests.cluster.proxy import CountingProxy, Strike
from tests.cluster.releases import (
    APP,
    IMAGE,
    Controller,
    Load,
    Releases,
    answers,
    releases_in,
    rollout,
)
from tests.cluster.routes import by_route, weights
from tests.sandbox.release_support import GATE, pause, service

pytestmark = pytest.mark.cluster
EVERY = os.environ.get("SUREFOOT_EVERY_KILL") == "true"
STRIDE, LANES = 12, (1, 4, 7, 10)
MOST = 200
"""More writes than any of these releases has."""
REPLICAS = 2
HISTORY = 2
CANARY = {
    "canary": {
        "maxSurge": 1,
        "maxUnavailable": 0,
        "steps": [{"setWeight": 50}, pause("1s"), {"analysis": GATE}],
    }
}
BLUE_GREEN = {
    "blueGreen": {
        "activeService": f"{APP}-active",
        "previewService": f"{APP}-preview",
        "scaleDownDelaySeconds": 1,
        "prePromotionAnalysis": GATE,
        "postPromotionAnalysis": GATE,
    }
}


@pytest.fixture(scope="module")
def prepared(own_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the chart's roles, and with the demo's application."""
    with ours.prepared(own_cluster, "demo"):
        yield own_cluster


class Ground:
    """A namespace with a controller behind a proxy."""

    def __init__(self, releases: Releases, proxy: CountingProxy, controller: Controller) -> None:
        self.releases, self.proxy, self.controller = releases, proxy, controller


@asynccontextmanager
async def ground(cluster: Cluster, namespace: str, folder: Path, *more: Resource) -> AsyncIterator[Ground]:
    proxy = CountingProxy(load(kubeconfig=str(cluster.kubeconfig)), folder)
    async with proxy.running(), releases_in(cluster, namespace, *more) as releases:
        controller = Controller(proxy.kubeconfig(ours.token(cluster)), folder, "--namespaces", namespace)
        proxy.kill = controller.kill
        async with controller.running():
            yield Ground(releases, proxy, controller)


def strikes() -> Iterator[set[Strike]]:
    """The writes to kill at in one release after the other, without end when every write has its own."""
    if EVERY:
        for number in count(1):
            yield {Strike(number, "before")}
            yield {Strike(number, "after")}
    for first in LANES:
        numbers = range(first, MOST, STRIDE)
        yield {
            Strike(number, "before" if (place + first // 3) % 2 else "after")
            for place, number in enumerate(numbers)
        }


async def released(ground: Ground, load: Load, version: str, *at: Strike) -> Object:
    """The status after a release of `version`, during which the controller was killed at these writes."""
    releases = ground.releases
    ground.proxy.count_from_here(*at)
    await releases.release(version)
    await releases.phase("Healthy")
    await releases.until(
        lambda: all(size == (REPLICAS if one == version else 0) for one, size in releases.sizes().items()),
        f"only {version} has pods",
    )
    await releases.until(
        lambda: len(releases.seen.store[REPLICA_SETS]) <= HISTORY + 1, "sets beyond the history are gone"
    )
    await load.answered_by(version)
    assert load.lost == {}, ground.proxy.struck
    status = releases.status()
    assert status["currentPodHash"] == status["stableRS"]
    assert not status.get("abort")
    only_what_belongs(releases, status["currentPodHash"])
    return status


def only_what_belongs(releases: Releases, now: str) -> None:
    """One decision of each kind that comes once; every ReplicaSet and AnalysisRun is this Rollout's and is over."""
    kinds = [kind for kind, pod_hash in releases.decisions() if pod_hash == now]
    assert kinds.count("begin") == 1, kinds
    assert kinds.count("promote") == 1, kinds
    assert not {"abort", "retry"} & set(kinds), kinds
    owner = metadata(releases.find(ROLLOUTS))["uid"]
    sets, runs = list(releases.seen.store[REPLICA_SETS].values()), releases.runs()
    for one in (*sets, *runs):
        assert [each["uid"] for each in metadata(one)["ownerReferences"]] == [owner]
    assert {one["status"]["phase"] for one in runs} == {"Successful"}
    mine = [one for one in runs if metadata(one)["labels"]["rollouts-pod-template-hash"] == now]
    assert len(mine) == (2 if "blueGreen" in releases.find(ROLLOUTS)["spec"]["strategy"] else 1)


async def killed_at_every_write(ground: Ground, load: Load) -> int:
    """Releases until each write was struck; how many writes one has."""
    await released(ground, load, "quiet")
    writes = len(ground.proxy.writes)
    for number, at in enumerate(strikes()):
        await released(ground, load, f"r{number}", *at)
        if not ground.proxy.struck:
            assert EVERY
            break
    assert ground.controller.starts > len(LANES)
    await ground.releases.seen.complete()
    assert ground.releases.seen.broken() == []
    return writes


async def test_a_canary_goes_on_to_its_end_whenever_the_controller_is_killed(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with ground(prepared, namespace, tmp_path) as on:
        releases = on.releases
        await releases.create(service())
        await releases.seen.complete()
        address = f"http://{releases.address(APP)}/"
        strategy = rollout(CANARY, version="first", replicas=REPLICAS, revisionHistoryLimit=HISTORY)
        await releases.create(answers(address), strategy)
        await releases.phase("Healthy")
        async with Load(address).running() as load:
            await load.begun("first")
            assert await killed_at_every_write(on, load) > 8


async def test_a_blue_green_release_goes_on_to_its_end_whenever_the_controller_is_killed(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with ground(prepared, namespace, tmp_path) as on:
        releases = on.releases
        active, preview = f"{APP}-active", f"{APP}-preview"
        await releases.create(service(active, app=APP), service(preview, app=APP))
        await releases.seen.complete()
        strategy = rollout(BLUE_GREEN, version="first", replicas=REPLICAS, revisionHistoryLimit=HISTORY)
        await releases.create(answers(f"http://{releases.address(preview)}/"), strategy)
        await releases.phase("Healthy")
        async with Load(f"http://{releases.address(active)}/").running() as load:
            await load.begun("first")
            assert await killed_at_every_write(on, load) > 8
        now = releases.status()["currentPodHash"]
        assert (releases.selector(active), releases.selector(preview)) == (now, now)
        assert releases.status()["blueGreen"]["activeSelector"] == now


async def test_a_canary_over_an_http_route_goes_on_to_its_end_whenever_the_controller_is_killed(
    prepared: Cluster, public: Public, namespace: str, tmp_path: Path
) -> None:
    canary, stable = f"{APP}-canary", f"{APP}-stable"
    host = f"{APP}.{namespace}"
    async with ground(prepared, namespace, tmp_path, HTTP_ROUTES) as on:
        releases = on.releases
        *objects, strategy = by_route(
            public, host, {"setWeight": 50}, pause("1s"), {"analysis": GATE}, version="first", image=IMAGE
        )
        strategy["spec"]["revisionHistoryLimit"] = HISTORY
        await releases.create(*objects)
        await releases.seen.complete()
        await releases.create(answers(f"http://{releases.address(canary)}/"), strategy)
        await releases.phase("Healthy")
        async with Load(f"http://{public.address}/", host).running() as load:
            await load.begun("first")
            assert await killed_at_every_write(on, load) > 8
        now = releases.status()["currentPodHash"]
        assert (releases.selector(stable), releases.selector(canary)) == (now, now)
        assert weights(releases) == [100, 0]
