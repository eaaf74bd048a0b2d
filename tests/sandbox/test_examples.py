"""Every file of examples/ is run by a test: the table says by which one. Those that no other test runs are run here."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from rollout.api.resources import CHAOS_RUNS, ENVOY_FILTERS
from rollout.cli.sandbox_parts import controller_command, our_crds
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from rollout.sandbox.supervisor import SandboxConfig, down, processes_of, up
from tests.sandbox.release_support import ROOT, Ground, Load, Said, command, example

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl on PATH"),
]
HERE = "test_examples.py"
EXAMPLES: Mapping[str, str] = {
    "analysis-metrics.yaml": "test_analysis_metrics.py",
    "chaos-reaper-cronjob.yaml": HERE,  # its command alone: the sandbox has no CronJobs
    "chaos-schedule-parts.yaml": HERE,
    "chaos-schedule.yaml": HERE,  # its calendar, for weeks: tests/stories/test_chaos_schedule.py
    "chaos/container-kill.yaml": "test_chaos_examples.py",
    "chaos/dependency-latency.yaml": "test_chaos_examples.py",
    "chaos/dependency-outage.yaml": "test_chaos_examples.py",
    "chaos/http-abort.yaml": "test_chaos_examples.py",
    "chaos/http-latency.yaml": "test_chaos_examples.py",
    "chaos/network-latency.yaml": "test_chaos_examples.py",  # refused there, as it must be
    "chaos/network-loss.yaml": "test_chaos_examples.py",  # the same
    "chaos/parts.yaml": "test_chaos_examples.py",
    "chaos/pod-delete.yaml": "test_chaos_examples.py",
    "chaos/scale-down.yaml": "test_chaos_examples.py",
    "flagger-canary-parts.yaml": "test_import_flagger.py",
    "flagger-canary.yaml": "test_import_flagger.py",
    **dict.fromkeys(
        ("gitops/argocd/application.yaml", "gitops/argocd/argocd-cm.yaml", "gitops/flux/kustomization.yaml"),
        "../unit/integrations/gitops.py",  # on statuses of whole releases: tests/stories/test_gitops.py
    ),
    "litmus-chaosengines.yaml": "test_import_litmus.py",
    "load-gate.yaml": "test_load_sandbox.py",
    "load-locustfile.yaml": "test_load_sandbox.py",
    "load-plan.yaml": HERE,
    "myapp.yaml": "test_import_litmus.py",
    "rollout-bluegreen-parts.yaml": "test_release_paths.py",
    "rollout-bluegreen.yaml": "test_release_paths.py",  # to its end: tests/stories/test_shared_manifests.py
    "rollout-canary-istio-parts.yaml": "test_release_paths.py",
    "rollout-canary-istio.yaml": "test_release_paths.py",  # to its end: tests/stories/test_shared_manifests.py
    "rollout-gateway.yaml": "test_release_gateway.py",
    "rollout-kind.yaml": HERE,
    "rollout-workloadref.yaml": HERE,
    "sandbox-images.yaml": HERE,
    "admission/secrets-of-the-author.yaml": "../cluster/test_admission.py",
}
"""File -> the module, seen from this directory, that applies it and waits for its outcome."""
WITHOUT_SUFFIX = {"test_chaos_examples.py"}
"""Modules that name their files without `.yaml`."""
UNDECIDED = 4
AGNHOST = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import os

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

ThreadingHTTPServer((os.environ["POD_IP"], int(os.environ["PORT"])), Answer).serve_forever()
"""
"""Answers everything, as that image's netexec nearly does."""


def files() -> set[str]:
    folder = ROOT / "examples"
    return {str(path.relative_to(folder)) for path in folder.rglob("*.yaml")}


def test_the_table_has_every_example_and_nothing_else() -> None:
    assert files() == set(EXAMPLES)


@pytest.mark.parametrize(("name", "module"), EXAMPLES.items())
def test_the_module_that_runs_an_example_names_it(name: str, module: str) -> None:
    text = (Path(__file__).parent / module).read_text(encoding="utf-8")
    stem = Path(name).stem if module in WITHOUT_SUFFIX else Path(name).name
    assert text.count(stem) >= (2 if module == HERE else 1), f"{module} does not run {name}"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, prometheus: None) -> Iterator[Ground]:
    """A sandbox with the images of examples/sandbox-images.yaml, and one that kind would fetch."""
    root = tmp_path_factory.mktemp("examples")
    entries = yaml.safe_load((ROOT / "examples" / "sandbox-images.yaml").read_text(encoding="utf-8"))
    entries.append({"image": "*/agnhost:*", "command": [sys.executable, "-c", AGNHOST]})
    images = root / "images.yaml"
    images.write_text(yaml.safe_dump(entries), encoding="utf-8")
    config = SandboxConfig(
        name="examples",
        state=str(root / "state"),
        images=str(images),
        crds=(str(our_crds()),),
        commands=(controller_command(),),
    )
    try:
        yield Ground(config, up(config, lambda _line: None))
    finally:
        down(config.directory())
        assert processes_of(config.directory()) == []


@pytest.fixture
async def kube(ground: Ground) -> AsyncIterator[HttpKube]:
    client = HttpKube(load(kubeconfig=ground.sandbox.kubeconfig))
    try:
        yield client
    finally:
        await client.close()


async def done(ground: Ground, *arguments: str, program: tuple[str, ...] = (), **env: str) -> Said:
    """A command against the sandbox that must succeed."""
    said = await command(*arguments, program=program, KUBECONFIG=ground.sandbox.kubeconfig, **env)
    assert said.code == 0, said
    return said


async def settled(ground: Ground, name: str, namespace: str = "default") -> None:
    """Wait until a Rollout is Healthy: two minutes and a half, in turns that a command may take."""
    for _ in range(3):
        arguments = ("status", name, "-n", namespace, "--wait", "--timeout", "50s")
        said = await command(*arguments, KUBECONFIG=ground.sandbox.kubeconfig)
        if said.code != UNDECIDED:
            break
    assert said.code == 0, said


async def kubectl(ground: Ground, *arguments: str) -> Said:
    return await done(ground, *arguments, program=("kubectl",))


async def applied(ground: Ground, path: Path, documents: list[Any]) -> None:
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    await kubectl(ground, "apply", "-f", str(path))


@pytest.mark.parametrize(
    ("name", "namespace", "rollout", "image"),
    [
        (
            "rollout-kind.yaml",
            "default",
            "kind-web",
            "web=registry.k8s.io/e2e-test-images/agnhost:2.53",
        ),
        ("rollout-workloadref.yaml", "shop", "catalogue", "catalogue=catalogue:v2"),
    ],
)
async def test_a_release_goes_through_its_steps_to_its_end(
    ground: Ground, name: str, namespace: str, rollout: str, image: str
) -> None:
    if namespace != "default":
        await kubectl(ground, "create", "namespace", namespace)
    await kubectl(ground, "apply", "-f", f"examples/{name}")
    place = ("-n", namespace)
    await settled(ground, rollout, namespace)
    changed = ("set", "image", rollout, image, *place, "--wait", "--timeout", "50s")
    said = await command(*changed, KUBECONFIG=ground.sandbox.kubeconfig)
    assert said.code in {0, UNDECIDED}, said  # with the pauses it may take longer than a command may here
    await settled(ground, rollout, namespace)
    summary = json.loads((await done(ground, "status", rollout, *place, "-o", "json")).out)
    assert (summary["phase"], summary["revision"]) == ("Healthy", "2")
    assert summary["step"]["index"] == summary["step"]["count"], "all steps are done"


async def _measured(prometheus: str, query: str) -> None:
    """Wait until Prometheus has an answer: a rate needs two scrapes of the same pod."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            async with session.get(f"{prometheus}/api/v1/query", params={"query": query}) as answer:
                if (await answer.json())["data"]["result"]:
                    return
            await asyncio.sleep(0.2)


async def test_both_schedules_run_now_with_all_their_checks(
    ground: Ground, kube: HttpKube, tmp_path: Path
) -> None:
    await kubectl(ground, "apply", "-f", "examples/chaos-schedule-parts.yaml")
    await kubectl(ground, "rollout", "status", "deployment/myapp", "--timeout=50s")
    documents = example("chaos-schedule.yaml")
    for one in documents:
        if one["kind"] == "ChaosTemplate":
            one["spec"]["duration"] = "5s"  # of 30 s and 60 s
        for check in one["spec"].get("postChecks") or []:
            check.pop("initialDelay", None)  # of 60 s
    await applied(ground, tmp_path / "chaos-schedule.yaml", documents)
    names = [one["metadata"]["name"] for one in documents if one["kind"] == "ChaosSchedule"]
    assert names == ["pod-delete-chaos", "network-latency-chaos"]
    # Visitors: traffic that the first one's check asks about.
    async with Load(ground.sandbox.gateway, "myapp-service.default", rate=10).running() as visitors:
        await visitors.answered_by("v1")
        await _measured(ground.sandbox.prometheus, "sum(rate(http_requests_total[5m]))")
        for name in names:
            said = await done(ground, "chaos", "schedule", "run", name, "--wait", "--timeout", "55s")
            assert "Successful" in said.out, said
    runs = (await kube.list(CHAOS_RUNS, "default")).items
    assert [one["status"]["verdict"] for one in runs] == ["Successful", "Successful"]
    modes = {one["mode"] for run in runs for one in run["status"]["probes"]}
    assert modes == {"Start", "During", "End"}, (
        "preChecks, the template's probe and postChecks have been asked"
    )
    assert not (await kube.list(ENVOY_FILTERS, "default")).items
    shown = await done(ground, "chaos", "schedule", "list")
    assert all(name in shown.out for name in names)


async def test_the_load_plan_is_sent_as_it_says(ground: Ground, tmp_path: Path) -> None:
    """To the application of rollout-kind.yaml under another name: it answers everything."""
    renamed = yaml.safe_dump_all(example("rollout-kind.yaml")).replace("kind-web", "shop-window")
    await applied(ground, tmp_path / "shop-window.yaml", list(yaml.safe_load_all(renamed)))
    await settled(ground, "shop-window")
    said = await done(
        ground,
        *("load", "run", "-f", "examples/load-plan.yaml", "--target", "http://shop-window.default"),
        *("--fail-if", "result.failRatio > 0", "-o", "json"),
        HTTP_PROXY=ground.sandbox.mesh_proxy,
    )
    outcome = json.loads(said.out)
    result = outcome["result"]
    assert result["requests"] == 100, "20 a second for five seconds"
    assert set(result["perName"]) == {"home", "search"}


async def test_the_command_of_the_reaper_runs(ground: Ground) -> None:
    """chaos-reaper-cronjob.yaml: the same argv, for one look instead of a minute of them."""
    (cron,) = [one for one in example("chaos-reaper-cronjob.yaml") if one["kind"] == "CronJob"]
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    python, *arguments = container["command"]
    assert python == "python"
    shortened = ["--for=1s" if one.startswith("--for=") else one for one in arguments]
    assert shortened != arguments
    await done(ground, *shortened, "--context=surefoot-sandbox", program=(sys.executable,))
