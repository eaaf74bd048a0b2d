"""The chart's life: upgraded and rolled back under a release, uninstalled, installed again, and gone without a trace.

The commands are those of docs/upgrade.md, run as they are written there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.api.chaos import FINALIZER, OPT_IN
from rollout.api.meta import metadata
from rollout.api.resources import CHAOS_RUNS, DEPLOYMENTS, PODS
from tests.cluster import chart
from tests.cluster.gateway.install import archives
from tests.cluster.ground.cluster import Cluster
from tests.cluster.ground.examples import container
from tests.cluster.ground.needs import ROOT
from tests.cluster.ground.waiting import until
from tests.cluster.page import Page
from tests.cluster.releases import APP, Load, Releases, releases_in, rollout
from tests.sandbox.release_support import pause, service
from tools.images.recipes import version

pytestmark = pytest.mark.cluster
NEWER = "0.9.0"
"""The version that is upgraded to: the same program under another name, and one more feature by default."""
FIELDS = "KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name"
NOT_MADE = frozenset({"CustomResourceDefinition", "APIService", "Event"})
"""The definitions, what the API server makes of them by itself, and what people may still want to read."""
GROUPS = ("argoproj.io", "surefoot.dev")


@pytest.fixture(scope="module")
def stocked(own_cluster: Cluster) -> Cluster:
    """The images, under the names of two versions."""
    if lacks := chart.missing():
        pytest.skip("; ".join(lacks))
    if (images := archives(("controller", "demo"))) is None:
        pytest.skip("images have not been built: python -m tools.images controller demo")
    for archive in images:
        own_cluster.import_image(archive)
    image = "docker.io/surefoot/controller"
    own_cluster.tag_image(f"{image}:{version()}", f"{image}:{NEWER}")
    return own_cluster


@pytest.fixture
def ground(stocked: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """Nothing of ours but an empty namespace, before and afterwards."""
    made = ("create", "namespace", chart.NAMESPACE, "--dry-run=client", "-o", "yaml")
    stocked.kubectl("apply", "-f", "-", stdin=stocked.kubectl(*made))
    for what in ("serviceaccount/default", "configmap/kube-root-ca.crt"):
        stocked.kubectl("wait", "-n", chart.NAMESPACE, "--for=create", what, "--timeout=240s")
    clear(stocked)
    shutil.copytree(ROOT / "charts", tmp_path / "charts")
    yield stocked
    clear(stocked)


def clear(cluster: Cluster) -> None:
    """However a test has ended: no release, no CRD, no finalizer that nobody takes away."""
    for release in (chart.RELEASE, "surefoot-crds"):
        chart.helm(cluster, "uninstall", release, "--ignore-not-found", "--wait", "--timeout=300s")
    if definitions(cluster):
        for run in cluster.get("chaosruns.surefoot.dev", "-A")["items"]:
            name, namespace = run["metadata"]["name"], run["metadata"]["namespace"]
            bare = '{"metadata": {"finalizers": null}}'
            cluster.kubectl("patch", "chaosrun", name, "-n", namespace, "--type=merge", "-p", bare)
        cluster.kubectl("delete", *definitions(cluster), "--timeout=240s")
    delete = ("delete", "lease", "surefoot-controller", "--ignore-not-found")
    cluster.kubectl("-n", chart.NAMESPACE, *delete)


def definitions(cluster: Cluster) -> list[str]:
    """Our CRDs that are there."""
    names = cluster.kubectl("get", "crds", "-o", "name").split()
    return [name for name in names if name.endswith(GROUPS)]


def ours(cluster: Cluster) -> set[tuple[str, ...]]:
    """(kind, namespace, name) of whatever is in our namespace or called by our name, of all kinds that there are."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    told = cluster.kubectl("get", ",".join(kinds), "-A", "--no-headers", "-o", f"custom-columns={FIELDS}")
    found = {tuple(line.split()) for line in told.splitlines()}
    return {one for one in found if one[1] == chart.NAMESPACE or "surefoot" in one[2]}


def left(cluster: Cluster, before: set[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """What is there that was not before, but for definitions."""
    return sorted(one for one in ours(cluster) - before if one[0] not in NOT_MADE)


def nothing_left(cluster: Cluster, before: set[tuple[str, ...]]) -> None:
    """Waits until it is so: pods take their time to end."""
    try:
        until("nothing of ours is left", lambda: not left(cluster, before))
    except TimeoutError as error:
        error.add_note(f"left: {left(cluster, before)}")
        raise


def newer(folder: Path) -> None:
    """Make the copy of the chart one of the next version, with other defaults."""
    about = folder / "charts/surefoot/Chart.yaml"
    facts = yaml.safe_load(about.read_text())
    about.write_text(yaml.safe_dump({**facts, "version": NEWER, "appVersion": NEWER}))
    values = folder / "charts/surefoot/values.yaml"
    defaults = yaml.safe_load(values.read_text())
    defaults["features"]["chaos"] = True
    values.write_text(yaml.safe_dump(defaults))


def deployed(cluster: Cluster) -> tuple[str, bool, bool]:
    """The controllers' image, whether they are told of chaos, and whether there is a reaper."""
    [container] = cluster.get("deployment", chart.RELEASE, "-n", chart.NAMESPACE)["spec"]["template"]["spec"][
        "containers"
    ]
    features = next(one for one in container["args"] if one.startswith("--features="))
    reapers = cluster.get("cronjobs", "-n", chart.NAMESPACE)["items"]
    return container["image"].partition(":")[2], "chaos" in features, bool(reapers)


def serving(releases: Releases) -> set[str]:
    """The uids of the Rollout's pods that are to stay."""
    found = [one for one in releases.seen.store[PODS].values() if not metadata(one).get("deletionTimestamp")]
    return {metadata(one)["uid"] for one in found if metadata(one)["labels"].get("app") == APP}


async def test_an_upgrade_and_a_rollback_in_mid_canary_lose_no_request_and_no_two_controllers_act(
    ground: Cluster, namespace: str, tmp_path: Path
) -> None:
    page = Page("upgrade.md", ground, tmp_path)
    before = ours(ground)
    kept = ("--set=metrics.maxObjects=123", "--set=reaper.schedule=0 0 1 1 *", "--create-namespace")
    chart.helm(ground, "install", chart.RELEASE, str(tmp_path / "charts/surefoot"), *kept)
    chart.ready(ground)
    async with releases_in(ground, namespace, PODS) as releases:
        steps = [{"setWeight": 50}, pause(), pause()]
        await releases.create(
            service(), rollout({"canary": {"maxSurge": 1, "maxUnavailable": 0, "steps": steps}}, version="v1")
        )
        await releases.phase("Healthy")
        since, terms = ground.audit.stat().st_size, chart.terms(ground)
        async with Load(f"http://{releases.address(APP)}/").running() as load:
            await load.begun("v1")
            await releases.release("v2")
            await releases.phase("Paused", step=1)
            assert deployed(ground) == (version(), False, False)

            newer(tmp_path)
            await page.run("Before")
            await page.run("CRDs first")
            await page.run("The controller")
            assert deployed(ground) == (NEWER, True, True), "new defaults count"
            config = ground.get("configmap", "surefoot-config", "-n", chart.NAMESPACE)["data"]["config.yaml"]
            assert yaml.safe_load(config)["metrics"] == {"maxObjects": 123}, "and our values are kept"
            assert releases.status()["phase"] == "Paused"
            await releases.promote()
            await releases.phase("Paused", step=2)

            await page.run("Going back", "helm rollback")
            assert deployed(ground) == (version(), False, False)
            await releases.promote()
            await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "v2 is released")
            await releases.phase("Healthy", step=3)
            await load.answered_by("v2")
        assert load.lost == {}
        wrote, terms = chart.turns(ground.audit, namespace, since), chart.terms(ground) - terms
        assert len(wrote) >= 3, f"each version has acted: {wrote}"
        assert len(wrote) - 1 <= terms, f"nobody acts but who leads, in {terms} new terms: {wrote}"
        await releases.seen.complete()
        assert releases.seen.broken() == []

        # Uninstalled: what users have made stays, and what the controller has made for them.
        await releases.until(lambda: len(serving(releases)) == 2, "v1's pods go")
        pods = serving(releases)
        await page.run("Uninstalling", "helm uninstall")
        nothing_left(ground, before)
        assert definitions(ground)
        await releases.seen.complete()
        assert releases.sizes() == {"v1": 0, "v2": 2}
        assert releases.status()["phase"] == "Healthy"
        assert serving(releases) == pods


def idle() -> Any:
    """A Deployment of two pods, for chaos to take one of."""
    template = {
        "metadata": {"labels": {"app": "idle"}},
        "spec": {"containers": [container("exec sleep 3600")]},
    }
    template["spec"]["terminationGracePeriodSeconds"] = 1
    selector = {"matchLabels": {"app": "idle"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "idle"},
        "spec": {"replicas": 2, "selector": selector, "template": template},
    }


def half() -> Any:
    """A ChaosRun that keeps it at one pod for an hour."""
    fault = {"name": "half", "scaleDown": {"percent": 50}}
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosRun",
        "metadata": {"name": "half"},
        "spec": {
            "duration": "1h",
            "target": {"workloadRef": {"kind": "Deployment", "name": "idle"}},
            "limits": {"maxPercent": 100},
            "steps": [{"faults": [fault]}],
        },
    }


def replicas(releases: Releases) -> int:
    """The pods that the Deployment asks for."""
    return int(releases.find(DEPLOYMENTS, "idle")["spec"]["replicas"])


async def test_a_new_installation_adopts_what_was_kept_and_undoes_the_chaos_that_was_left_and_all_of_it_can_go(
    ground: Cluster, namespace: str, tmp_path: Path
) -> None:
    page = Page("upgrade.md", ground, tmp_path)
    before = ours(ground)
    ground.kubectl("label", "namespace", namespace, f"{OPT_IN}=enabled")
    await page.run("Installing again", "--create-namespace")
    chart.ready(ground)
    async with releases_in(ground, namespace, PODS, DEPLOYMENTS, CHAOS_RUNS) as releases:
        await releases.create(idle(), rollout({"canary": {"steps": [pause("1s")]}}, version="v1"))
        await releases.phase("Healthy")
        await releases.create(half())
        await releases.until(lambda: replicas(releases) == 1, "chaos has taken one")
        pods = serving(releases)

        # Cut short: the run keeps its finalizer, and what it did stays.
        await page.run("Uninstalling", "helm uninstall")
        nothing_left(ground, before)
        await releases.kube.delete(CHAOS_RUNS, namespace, "half")
        await releases.until(
            lambda: "deletionTimestamp" in metadata(releases.find(CHAOS_RUNS, "half")), "it is to go"
        )
        assert FINALIZER in metadata(releases.find(CHAOS_RUNS, "half"))["finalizers"]
        assert replicas(releases) == 1

        # Another release of helm's takes the definitions over, and a new controller all that was kept.
        await page.run("Installing again", "--take-ownership")
        chart.ready(ground)
        await releases.until(lambda: not releases.seen.store[CHAOS_RUNS], "the run is undone, and gone")
        assert replicas(releases) == 2
        await releases.seen.complete()
        assert serving(releases) == pods, "none was started again"
        await releases.release("v2")
        await releases.until(lambda: releases.sizes() == {"v1": 0, "v2": 2}, "v2 is released")
        await releases.phase("Healthy", step=1)

        await page.run("Uninstalling", "chaos halt")
        await page.run("Uninstalling", "helm uninstall")
        assert releases.sizes() == {"v1": 0, "v2": 2}

    await page.run("All of it")
    assert definitions(ground) == []
    nothing_left(ground, before)
    pods_left = ("get", "pods", "-n", namespace, "-l", f"app={APP}", "-o", "name")
    until("the garbage collector takes the pods", lambda: not ground.kubectl(*pods_left).strip())
