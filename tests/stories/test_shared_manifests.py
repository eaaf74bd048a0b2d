"""The manifests that users have today, unchanged, to the end of a release, with our own analysis controller."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from rollout.api.resources import ANALYSIS_RUNS, SERVICES, VIRTUAL_SERVICES, Resource
from rollout.api.rollout import HASH_LABEL
from rollout.errors import ProviderError
from rollout.runtime.kube import Object
from rollout.sandbox.workloads.podmodel import Behaviour
from tests.stories.world import ROOT, World, play

SHARED = ROOT.parent / "shared" / "manifests"
WEB, PROD = "frontend-team-web-prod", "production"


def documents(name: str, namespace: str) -> list[Object]:
    """The objects of an example; `namespace` is kubectl's -n for those that name none."""
    found = []
    for doc in yaml.safe_load_all((ROOT / "examples" / name).read_text()):
        doc["metadata"].setdefault("namespace", namespace)
        found.append(doc)
    return found


def good(query: str) -> list[float]:
    return [120.0] if "histogram_quantile" in query else [0.999]


@pytest.mark.parametrize("name", ["rollout-canary-istio.yaml", "rollout-bluegreen.yaml"])
def test_the_examples_are_the_users_manifests_to_the_letter(name: str) -> None:
    if not SHARED.exists():
        pytest.skip("shared/manifests does not lie beside this checkout")
    assert (ROOT / "examples" / name).read_text() == (SHARED / name).read_text()


async def canary_deployed(world: World) -> None:
    world.images["*"] = Behaviour(ready_in=2.0)
    world.apply(
        *documents("rollout-canary-istio-parts.yaml", WEB), *documents("rollout-canary-istio.yaml", WEB)
    )
    await world.phase("web-frontend", "Healthy", namespace=WEB)
    world.set_image("web-frontend", "web-frontend:v1.3.0", namespace=WEB)


def weights(world: World) -> list[int]:
    route = world.get(VIRTUAL_SERVICES, "web-frontend-vs", WEB)["spec"]["http"][0]["route"]
    return [one["weight"] for one in route]


def test_the_canary_manifest_runs_to_its_end() -> None:
    async def story(world: World) -> None:
        await canary_deployed(world)
        old = world.status("web-frontend", WEB)["stableRS"]
        seen: list[int] = []

        def note(_kind: str, resource: Resource, _old: Object | None, _new: Object | None) -> None:
            if resource.kind == VIRTUAL_SERVICES.kind:
                seen.append(weights(world)[1])

        world.storage.on_write(note)
        await world.until(
            "promoted", lambda: world.status("web-frontend", WEB)["stableRS"] != old, within=3600
        )
        await world.until("home", lambda: weights(world) == [100, 0])
        assert seen == [10, 20, 40, 60, 80, 100, 0]
        assert sorted(world.runs(WEB).values()) == ["Successful", "Successful"]
        query = world.list(ANALYSIS_RUNS, WEB)[0]["status"]["metricResults"][0]["measurements"][0]["metadata"]
        assert 'job="web-frontend"' in query["ResolvedPrometheusQuery"]
        await world.phase("web-frontend", "Healthy", namespace=WEB)

    play(story, answer=good)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda query: [5000.0] if "histogram_quantile" in query else [0.99], "Failed"),
        (lambda query: [0.5], "Failed"),
        (lambda query: [], "Error"),
        (lambda query: [float("nan")], "Error"),
        (lambda query: ProviderError("prometheus.monitoring:9090: connection refused"), "Error"),
    ],
    ids=["slow", "failing", "no-data", "nan", "prometheus-away"],
)
def test_the_canary_manifest_goes_home_when_the_evidence_is_not_good(answer: Any, why: str) -> None:
    async def story(world: World) -> None:
        await canary_deployed(world)
        await world.phase("web-frontend", "Degraded", namespace=WEB, within=3600)
        assert f"phase {why.lower()}" in world.status("web-frontend", WEB)["message"]
        await world.until("home", lambda: weights(world) == [100, 0])
        status = world.status("web-frontend", WEB)
        assert status["stableRS"] != status["currentPodHash"]

    play(story, answer=answer)


def test_the_blue_green_manifest_runs_to_its_end() -> None:
    async def story(world: World) -> None:
        def active() -> str:
            return str(world.get(SERVICES, "myapp-active", PROD)["spec"]["selector"].get(HASH_LABEL))

        world.apply(
            *documents("rollout-bluegreen-parts.yaml", PROD), *documents("rollout-bluegreen.yaml", PROD)
        )
        await world.phase("myapp-bluegreen", "Healthy", namespace=PROD)
        old = active()
        world.set_image("myapp-bluegreen", "myapp:v2", namespace=PROD)
        await world.phase("myapp-bluegreen", "Paused", namespace=PROD, within=3600)
        assert active() == old
        world.command("myapp-bluegreen", {"pauseConditions": None}, namespace=PROD)
        await world.phase("myapp-bluegreen", "Healthy", namespace=PROD, within=3600)
        assert active() != old
        assert sorted(world.runs(PROD).values()) == ["Successful", "Successful"]
        await world.until(
            "old gone", lambda: world.sets(PROD) == {"myapp:latest": 0, "myapp:v2": 3}, within=60
        )

    play(story, answer=good)


def test_every_example_lints_clean() -> None:
    from rollout.cli.main import run

    for path in sorted((ROOT / "examples").glob("rollout-*.yaml")):
        assert run(["lint", "-f", str(path)]) == 0, path
