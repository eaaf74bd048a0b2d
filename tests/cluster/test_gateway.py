"""The Gateway API for real: Envoy Gateway, HTTPRoutes, and the demo's release, whose weights it carries out."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.api.resources import HTTP_ROUTES
from rollout.runtime.kube import Object
from tests.cluster import evidence, ours
from tests.cluster.evidence import GATE, judged
from tests.cluster.gateway.install import Public
from tests.cluster.ground.cluster import Cluster
from tests.cluster.ground.waiting import until
from tests.cluster.recording import PATIENCE
from tests.cluster.releases import APP, Load, Releases, stage, template
from tests.cluster.routes import by_route, served, weights
from tests.sandbox.release_support import pause, service, share_is

pytestmark = pytest.mark.cluster
SAMPLE = 800


@pytest.fixture(scope="module")
def prepared(own_cluster: Cluster) -> Iterator[Cluster]:
    with ours.prepared(own_cluster, "demo", "prometheus"):
        yield own_cluster


def deployment(version: str) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": version},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": version}},
            "template": template(version, name=version),
        },
    }


def route(host: str, public: Public, **weights: int) -> Object:
    """An HTTPRoute that splits all requests to `host` over Services."""
    refs = [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": APP},
        "spec": {"parentRefs": [public.parent], "hostnames": [host], "rules": [{"backendRefs": refs}]},
    }


async def sampled(load: Load, version: str, weight: int) -> Counter[str]:
    """A sample in which the version has this share; the last one when it does not come to that.

    Accepted says that the route is understood; that Envoy has it comes a moment later, and nothing tells when.
    """
    sample: Counter[str] = Counter()
    async with asyncio.timeout(PATIENCE):
        while not share_is(sample := await load.sample(SAMPLE), version, weight):
            await asyncio.sleep(0.2)
    return sample


async def test_two_services_behind_a_route_get_the_shares_that_its_weights_say(
    prepared: Cluster, public: Public, namespace: str
) -> None:
    host = f"shares.{namespace}"
    objects = [deployment("v1"), deployment("v2")]
    objects += [service("v1"), service("v2"), route(host, public, v1=80, v2=20)]
    prepared.kubectl("apply", "-n", namespace, "-f", "-", stdin=objects)
    for one in ("v1", "v2"):
        prepared.kubectl("rollout", "status", f"deployment/{one}", "-n", namespace, "--timeout=300s")
    until("the route is served", lambda: served(prepared.get("httproute", APP, "-n", namespace)))
    requests = Load(f"http://{public.address}/", host)
    async with requests.running():
        await requests.begun("v1", "v2")
        sample = await requests.sample(SAMPLE)
        assert sample.keys() == {"v1", "v2"}
        assert share_is(sample, "v2", 20), sample
        # A check that cannot fail is none: the same sample fits no other weights.
        assert not share_is(sample, "v2", 40)
        patch = json.dumps([{"op": "replace", "path": f"/spec/rules/0/backendRefs/{number}/weight", "value": weight}
                            for number, weight in enumerate((0, 100))])  # fmt: skip
        prepared.kubectl("patch", "httproute", APP, "-n", namespace, "--type=json", "-p", patch)
        await requests.answered_by("v2")
    assert requests.lost == {}


async def shared(releases: Releases, requests: Load, version: str, *, at: int, step: int) -> None:
    """The release has come to this step: the route, the status and the answers show this weight. A person goes on."""
    await releases.phase("Paused", step=step)
    assert weights(releases) == [100 - at, at]
    told = releases.status()["canary"]["weights"]
    assert (told["canary"]["weight"], told["verified"]) == (at, True)
    assert served(releases.find(HTTP_ROUTES))
    assert len(await sampled(requests, version, at)) == 2
    await releases.promote()


async def test_a_canary_by_an_http_route_gets_each_weight_and_is_promoted_or_aborted_on_the_evidence_of_prometheus(
    prepared: Cluster, public: Public, namespace: str, tmp_path: Path
) -> None:
    host = f"{APP}.{namespace}"
    steps = [{"setWeight": 20}, pause(), {"analysis": GATE}, {"setWeight": 60}, pause()]
    async with judged(prepared, namespace, tmp_path, more=(HTTP_ROUTES,)) as releases:
        await releases.create(*by_route(public, host, *steps, image="web-frontend:v1"))
        await releases.phase("Healthy")
        before = releases.find(HTTP_ROUTES)
        assert served(before)
        requests = Load(f"http://{public.address}/", host)
        async with requests.running():
            await requests.begun("v1")
            await releases.release("v2", "web-frontend:v2")
            await shared(releases, requests, "v2", at=20, step=1)
            await shared(releases, requests, "v2", at=60, step=4)
            await releases.phase("Healthy", step=5)
            await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "the old pods are gone")
            await requests.answered_by("v2")
            assert requests.lost == {}
            await evidence.passed(releases)

            await releases.release("v3", "web-frontend:v3")
            await shared(releases, requests, "v3", at=20, step=1)
            await releases.phase("Degraded")
            await releases.until(lambda: weights(releases) == [100, 0], "traffic is back on stable")
            await releases.until(
                lambda: releases.sizes() == {"v1": 0, "v2": 2, "v3": 0}, "the bad pods are gone"
            )
            await requests.answered_by("v2")
        await evidence.caught(releases)
        # The bad version's own errors are all that was lost.
        assert set(requests.lost) == {"HTTP 500 by v3"}
        # Only the weights were ours to write, and they are where they were.
        assert releases.find(HTTP_ROUTES)["spec"] == before["spec"]
        await releases.seen.complete()
        assert releases.seen.broken() == []


async def test_a_route_that_no_gateway_answers_for_holds_its_release_and_says_what_is_waited_for(
    prepared: Cluster, public: Public, namespace: str, tmp_path: Path
) -> None:
    objects = by_route(public, f"{APP}.{namespace}", {"setWeight": 40}, pause(), image="web-frontend:v1")
    [http_route] = [one for one in objects if one["kind"] == "HTTPRoute"]
    http_route["spec"]["parentRefs"] = [{**public.parent, "name": "nobody"}]
    async with stage(prepared, namespace, tmp_path, more=(HTTP_ROUTES,)) as releases:
        await releases.create(*objects)
        await releases.until(
            lambda: "is not served yet" in releases.status().get("message", ""), "it is said"
        )
        assert "stableRS" not in releases.status()
        patch = {"spec": {"parentRefs": [public.parent]}}
        await releases.kube.patch(HTTP_ROUTES, namespace, APP, patch)
        await releases.phase("Healthy")
        assert served(releases.find(HTTP_ROUTES))
