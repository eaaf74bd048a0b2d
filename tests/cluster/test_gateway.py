"""The Gateway API for real: Envoy Gateway, HTTPRoutes, and releases whose weights it carries out."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rollout.api.resources import HTTP_ROUTES
from rollout.runtime.kube import Object
from tests.cluster import chart
from tests.cluster.control_plane import ENDS_WITH_PARENT
from tests.cluster.gateway import install
from tests.cluster.gateway.install import Public, archives
from tests.cluster.ground.cluster import Cluster
from tests.cluster.ground.needs import ROOT
from tests.cluster.ground.waiting import until
from tests.cluster.world import IMAGE, PATIENCE, pod_template, world_in
from tests.sandbox.release_support import APP, Load, by_route, pause, service, share_is

pytestmark = pytest.mark.cluster
SAMPLE = 800


@pytest.fixture(scope="module")
def public(own_cluster: Cluster) -> Iterator[Public]:
    """Envoy Gateway, the demo's images, and our CRDs by the chart, which runs no controller here."""
    if lacks := [*install.missing(), *chart.missing()]:
        pytest.skip("; ".join(lacks))
    if (images := archives(("demo",))) is None:
        pytest.skip("images have not been built: python -m tools.images demo")
    for archive in images:
        own_cluster.import_image(archive)
    chart.install(own_cluster, "replicas=0", "reaper.enabled=false")
    yield install.install(own_cluster)
    chart.uninstall(own_cluster)


@asynccontextmanager
async def controller(cluster: Cluster, namespace: str, folder: Path) -> AsyncIterator[None]:
    """`rollout controller run` on this machine; what it said is in the test's output."""
    log = folder / "controller.log"
    options = ["--kubeconfig", str(cluster.kubeconfig), "--namespaces", namespace, "--no-leader-election"]
    argv = [*ENDS_WITH_PARENT, sys.executable, "-m", "rollout.cli.main", "controller", "run", *options]
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=ROOT, stdout=file, stderr=file, env=os.environ
        )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()
        sys.stdout.write(log.read_text(errors="replace")[-8000:])


def deployment(name: str, image: str) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": pod_template(image, name),
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


def served(route: Object) -> bool:
    """Whether every Gateway of a route has accepted its present generation."""
    generation = route["metadata"]["generation"]
    told = [
        {
            one["type"]
            for one in parent["conditions"]
            if (one["status"], one["observedGeneration"]) == ("True", generation)
        }
        for parent in (route.get("status") or {}).get("parents", ())
    ]
    return bool(told) and all({"Accepted", "ResolvedRefs"} <= one for one in told)


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
    own_cluster: Cluster, public: Public, namespace: str
) -> None:
    host = f"shares.{namespace}"
    objects = [deployment(one, f"{IMAGE}:{one}") for one in ("v1", "v2")]
    objects += [service("v1"), service("v2"), route(host, public, v1=80, v2=20)]
    own_cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=objects)
    for one in ("v1", "v2"):
        own_cluster.kubectl("rollout", "status", f"deployment/{one}", "-n", namespace, "--timeout=300s")
    until("the route is served", lambda: served(own_cluster.get("httproute", APP, "-n", namespace)))
    requests = Load(f"http://{public.address}", host, rate=20)
    async with requests.running():
        await requests.answered_by("v1", "v2")
        sample = await requests.sample(SAMPLE)
        assert sample.keys() == {"v1", "v2"}
        assert share_is(sample, "v2", 20), sample
        # A check that cannot fail is none: the same sample fits no other weights.
        assert not share_is(sample, "v2", 40)
        patch = json.dumps([{"op": "replace", "path": f"/spec/rules/0/backendRefs/{number}/weight", "value": weight}
                            for number, weight in enumerate((0, 100))])  # fmt: skip
        own_cluster.kubectl("patch", "httproute", APP, "-n", namespace, "--type=json", "-p", patch)
        await requests.answered_by("v2")
    assert requests.lost == {}


async def test_a_canary_by_an_http_route_on_envoy_gateway_gets_each_weight_and_loses_no_request(
    own_cluster: Cluster, public: Public, namespace: str, tmp_path: Path
) -> None:
    weights = (20, 60)
    host = f"{APP}.{namespace}"
    steps = [step for weight in weights for step in ({"setWeight": weight}, pause())]
    objects = by_route(*steps, host=host, scaleDownDelaySeconds=15)
    for one in objects:
        if one["kind"] == "HTTPRoute":
            one["spec"]["parentRefs"] = [public.parent]
        if one["kind"] == "Rollout":
            one["spec"]["template"] = pod_template(f"{IMAGE}:v1", APP)
            one["spec"]["replicas"] = 2
    async with (
        controller(own_cluster, namespace, tmp_path),
        world_in(own_cluster, namespace, HTTP_ROUTES) as world,
    ):
        await world.apply(*objects)
        await world.phase("Healthy")
        before = world.route()
        assert served(before)
        requests = Load(f"http://{public.address}", host, rate=20)
        async with requests.running():
            await requests.begun("v1")
            await world.release("v2")
            for number, weight in enumerate(weights):
                await world.phase("Paused", step=2 * number + 1)
                assert world.shares() == [100 - weight, weight]
                told = world.status()["canary"]["weights"]
                assert (told["canary"]["weight"], told["verified"]) == (weight, True)
                assert served(own_cluster.get("httproute", APP, "-n", namespace))
                sample = await sampled(requests, "v2", weight)
                assert sample.keys() == {"v1", "v2"}
                assert (await world.rollout("promote", APP)).code == 0
            await world.phase("Healthy", step=4)
            await world.until(lambda: world.sizes() == {"v1": 0, "v2": 2}, "the old pods are gone")
            await requests.answered_by("v2")
        assert requests.lost == {}
        assert all(status == 200 for _, status in requests.answers)
        # Only the weights were ours to write, and they are where they were.
        assert world.route()["spec"] == before["spec"]
        world.steps_never_fell()


async def test_a_route_that_no_gateway_answers_for_holds_its_release_and_says_what_is_waited_for(
    own_cluster: Cluster, public: Public, namespace: str, tmp_path: Path
) -> None:
    objects = by_route({"setWeight": 40}, pause(), host=f"{APP}.{namespace}")
    [http_route] = [one for one in objects if one["kind"] == "HTTPRoute"]
    [wanted] = [one for one in objects if one["kind"] == "Rollout"]
    http_route["spec"]["parentRefs"] = [{**public.parent, "name": "nobody"}]
    wanted["spec"]["template"] = pod_template(f"{IMAGE}:v1", APP)
    wanted["spec"]["replicas"] = 1
    async with (
        controller(own_cluster, namespace, tmp_path),
        world_in(own_cluster, namespace, HTTP_ROUTES) as world,
    ):
        await world.apply(*objects)
        await world.until(lambda: "is not served yet" in world.status().get("message", ""), "it is said")
        assert "stableRS" not in world.status()
        http_route["spec"]["parentRefs"] = [public.parent]
        await world.apply(http_route)
        await world.phase("Healthy")
        assert served(world.route())
