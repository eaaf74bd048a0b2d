"""The releases of `make demo` on a real cluster: replica shares and blue/green, judged by a real Prometheus, with load.
Nothing is lost but what a bad version itself fails. (The third, over an HTTPRoute, is in test_gateway.py.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import evidence, ours
from tests.cluster.evidence import GATE, judged
from tests.cluster.ground.cluster import Cluster
from tests.cluster.releases import APP, Load, rollout
from tests.sandbox.release_support import pause, service

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def prepared(own_cluster: Cluster) -> Iterator[Cluster]:
    with ours.prepared(own_cluster, "demo", "prometheus"):
        yield own_cluster


async def test_a_canary_by_replica_share_is_promoted_or_aborted_on_the_evidence_of_prometheus(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with judged(prepared, namespace, tmp_path) as releases:
        await releases.create(service())
        await releases.seen.complete()
        url = f"http://{releases.address(APP)}"
        strategy = {
            "maxSurge": 1,
            "maxUnavailable": 0,
            "abortScaleDownDelaySeconds": 1,
            "steps": [{"setWeight": 50}, {"analysis": GATE}, pause("1s")],
        }
        await releases.create(rollout({"canary": strategy}, version="v1", image="web-frontend:v1"))
        await releases.phase("Healthy")
        async with Load(f"{url}/").running() as load:
            await load.begun("v1")
            await releases.release("v2", "web-frontend:v2")
            await releases.phase("Healthy", step=3)
            await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "the old pods are gone")
            await load.answered_by("v2")
            assert load.lost == {}
            await evidence.passed(releases)

            await releases.release("v3", "web-frontend:v3")
            await releases.phase("Degraded")
            await releases.until(
                lambda: releases.sizes() == {"v1": 0, "v2": 2, "v3": 0}, "the bad pods are gone"
            )
            await load.answered_by("v2")
        await evidence.caught(releases)
        # The bad version's own errors are all that was lost.
        assert set(load.lost) == {"HTTP 500 by v3"}
        await releases.seen.complete()
        assert releases.seen.broken() == []


async def test_a_blue_green_release_waits_for_a_person_between_two_analyses_and_loses_nothing(
    prepared: Cluster, namespace: str, tmp_path: Path
) -> None:
    active, preview = f"{APP}-active", f"{APP}-preview"
    async with judged(prepared, namespace, tmp_path) as releases:
        await releases.create(service(active, app=APP), service(preview, app=APP))
        await releases.seen.complete()
        strategy = {
            "activeService": active,
            "previewService": preview,
            "autoPromotionEnabled": False,
            "scaleDownDelaySeconds": 2,
            "prePromotionAnalysis": GATE,
            "postPromotionAnalysis": GATE,
        }
        await releases.create(rollout({"blueGreen": strategy}, version="v1", image="web-frontend:v1"))
        await releases.phase("Healthy")
        old = releases.status()["stableRS"]
        users = Load(f"http://{releases.address(active)}/")
        testers = Load(f"http://{releases.address(preview)}/", rate=10)
        async with users.running(), testers.running():
            await users.begun("v1")
            await releases.release("v2", "web-frontend:v2")
            await releases.phase("Paused")
            await releases.until(
                lambda: [one["status"].get("phase") for one in releases.runs()] == ["Successful"],
                "the preview is proved",
            )
            await testers.answered_by("v2")
            new = releases.status()["currentPodHash"]
            assert (releases.selector(active), releases.selector(preview)) == (old, new)
            assert (await users.sample(100)).keys() == {"v1"}
            await releases.promote()
            await releases.phase("Healthy")
            assert releases.selector(active) == new
            await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "the old pods are gone")
            await users.answered_by("v2")
        assert users.lost == {}
        assert testers.lost == {}
        assert [one["status"]["phase"] for one in releases.runs()] == ["Successful"] * 2
