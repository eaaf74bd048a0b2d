"""`rollout chaos ...` as a person types it, against a sandbox: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from rollout.cli.demo.ground import MANIFESTS
from tests.sandbox.release_support import PATIENCE, Ground, Said, command

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
WEB, SHOP = "demo-chaos", "demo-shop"
ALL_PHASES = {"Pending", "Checking", "Injecting", "Reverting", "Recovering", "Completed"}
TEMPLATE = {
    "apiVersion": "surefoot.dev/v1alpha1",
    "kind": "ChaosTemplate",
    "metadata": {"name": "kill", "namespace": SHOP},
    "spec": {
        "args": [{"name": "time", "value": "3s"}],
        "target": {"workloadRef": {"kind": "Deployment", "name": "shop"}, "count": 1},
        "duration": "{{args.time}}",
        "steps": [{"name": "kill", "faults": [{"name": "kill", "podDelete": {}}]}],
        "probes": [
            {
                "name": "up",
                "mode": "During",
                "interval": "500ms",
                "provider": {"http": {"url": "http://shop.demo-shop/", "timeout": "2s"}},
                "successCondition": "result.status == 200",
                "tolerance": {"ratio": 0.5},
            }
        ],
    },
}


class Person:
    """Somebody at a terminal; each command's exit code is asserted."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig

    async def chaos(self, *words: str, code: int = 0) -> Said:
        said = await command("chaos", *words, KUBECONFIG=self.kubeconfig)
        assert said.code == code, (words, said)
        assert "Traceback" not in said.err
        return said

    async def data(self, *words: str, code: int = 0) -> Any:
        found = json.loads((await self.chaos(*words, "-o", "json", code=code)).out)
        assert found["schemaVersion"] == 1
        return found

    async def once(self, name: str, namespace: str, **wanted: int) -> Any:
        """The run, once its only fault has the counts that are wanted."""
        async with asyncio.timeout(PATIENCE):
            while True:
                run = await self.data("get", name, "-n", namespace)
                (fault,) = run["faults"]
                if all(fault[field] == count for field, count in wanted.items()):
                    return run


@pytest.fixture
async def person(ground: Ground) -> AsyncIterator[Person]:
    """Somebody whose cluster has the demo's objects, healthy, and no run and no halt."""
    kubeconfig = str(ground.config.directory().kubeconfig)
    applied = await command(
        "apply", "-f", str(MANIFESTS / "chaos.yaml"), program=("kubectl",), KUBECONFIG=kubeconfig
    )
    assert applied.code == 0, applied
    healthy = await command("status", "web-frontend", "-n", WEB, "--wait", KUBECONFIG=kubeconfig)
    assert healthy.code == 0, healthy
    for words in (
        ("wait", "deployment/shop", "-n", SHOP, "--for=condition=Available", "--timeout=60s"),
        ("delete", "chaosruns", "--all", "-A", "--timeout=60s"),
    ):
        said = await command(*words, program=("kubectl",), KUBECONFIG=kubeconfig)
        assert said.code == 0, said
    yield Person(kubeconfig)
    await command("chaos", "resume", KUBECONFIG=kubeconfig)


async def test_a_run_is_watched_stopped_undone_and_reported(person: Person) -> None:
    assert (await person.data("list", "-A"))["items"] == []
    assert (await person.data("preflight", "--template", "long-latency", "-n", WEB))["obstacles"] == []
    made = await person.chaos("run", "--template", "long-latency", "--name", "slow", "-n", WEB, "-o", "name")
    assert made.out == "chaosrun.surefoot.dev/slow\n"
    twice = await person.chaos("run", "--template", "long-latency", "--name", "slow", "-n", WEB, code=7)
    assert "exists already" in twice.err

    watching = asyncio.create_task(person.chaos("get", "slow", "-w", "-n", WEB))
    run = await person.once("slow", WEB, proved=1)
    assert (run["phase"], run["verdict"]) == ("Injecting", "")
    assert (run["injectedAt"] != "", run["completedAt"]) == (True, "")

    stopped = await person.data("stop", "slow", "-n", WEB, "--wait")
    (fault,) = stopped["faults"]
    assert (stopped["phase"], stopped["verdict"]) == ("Completed", "Inconclusive")
    assert stopped["stopping"].startswith("Aborted")
    assert (fault["injected"], fault["proved"], fault["undone"], fault["unverified"]) == (1, 1, 1, 0)
    again = await person.chaos("stop", "slow", "-n", WEB, code=7)
    assert "has completed: Inconclusive" in again.err

    lines = (await watching).out.splitlines()
    phases = [line.split()[1] for line in lines]
    assert set(phases[:-1]) <= ALL_PHASES
    assert phases[-1] == "Inconclusive"

    shown = (await person.chaos("get", "slow", "-n", WEB)).out
    assert "Envoy delayed" in shown
    assert "█" in shown
    (row,) = [line for line in (await person.chaos("list", "-n", WEB)).out.splitlines() if "slow" in line]
    assert row.split()[:4] == ["slow", "Completed", "Inconclusive", "httpLatency"]
    markdown = (await person.chaos("report", "slow", "-n", WEB)).out
    assert markdown.startswith(f"# Chaos run {WEB}/slow: Inconclusive\n")
    suite = ET.fromstring((await person.chaos("report", "slow", "-n", WEB, "--format", "junit")).out)[0]
    assert (suite.get("errors"), suite.get("failures"), suite.get("skipped")) == ("0", "0", "1")
    reported = json.loads((await person.chaos("report", "slow", "-n", WEB, "--format", "json")).out)
    assert reported == await person.data("get", "slow", "-n", WEB)
    assert "Nothing is left behind." in (await person.chaos("reap")).err


async def test_a_run_from_a_file_ends_with_its_verdict(person: Person, tmp_path: Any) -> None:
    file = tmp_path / "kill.yaml"
    file.write_text(yaml.safe_dump(TEMPLATE))
    run = await person.data("run", "-f", str(file), "-n", SHOP, "--wait")
    assert run["name"].startswith("kill-")
    assert (run["verdict"], run["probes"][0]["phase"]) == ("Successful", "Successful")
    dry = await person.data("run", "-f", str(file), "-n", SHOP, "--wait", "--dry-run", "targets")
    assert (dry["verdict"], dry["dryRun"], len(dry["victims"])) == ("Inconclusive", "Targets", 1)
    late = await person.chaos(
        "run", "-f", str(file), "--arg", "time=40s", "--name", "late", "-n", SHOP, "--wait", "--timeout", "1s",
        code=4,
    )  # fmt: skip
    assert "Not completed in time." in late.err
    await person.chaos("stop", "late", "-n", SHOP, "--wait")


async def test_what_cannot_be_is_refused_with_the_reason_and_changes_nothing(
    person: Person, tmp_path: Any
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(TEMPLATE | {"spec": TEMPLATE["spec"] | {"duration": "x", "steps": []}}))
    for words, code, told in (
        (["run"], 2, "either --template NAME or -f FILE"),
        (["run", "-f", str(file), "-n", SHOP], 7, "spec.duration"),
        (["run", "-f", str(file), "-n", SHOP, "--arg", "time"], 2, "name=value"),
        (["run", "-f", str(file), "-n", SHOP, "--arg", "tyme=3s"], 2, "it has: time"),
        (["run", "-f", str(file), "-n", WEB], 2, "add -n demo-shop"),
        (["run", "-f", str(tmp_path / "none"), "-n", WEB], 2, "cannot read"),
        (["run", "--template", "nope", "-n", WEB], 6, 'ChaosTemplate "nope" not found'),
        (["run", "--template", "long-latency", "-n", WEB, "-w", "-o", "json"], 2, "--watch"),
        (["get", "nope", "-n", WEB], 6, "rollout chaos list -n demo-chaos"),
        (["stop", "nope", "-n", WEB], 6, "not found"),
        (["report", "nope", "-n", WEB], 6, "not found"),
        (["schedule", "run", "nope", "-n", SHOP], 6, 'ChaosSchedule "nope" not found'),
        (["list", "--context", "nope"], 2, "has no context 'nope'"),
    ):
        assert told in (await person.chaos(*words, code=code)).err, words
    assert (await person.data("list", "-A"))["items"] == []


async def test_the_halt_ends_all_runs_of_the_cluster_and_resume_allows_them_again(
    person: Person, tmp_path: Any
) -> None:
    file = tmp_path / "kill.yaml"
    file.write_text(yaml.safe_dump(TEMPLATE))
    await person.chaos("run", "--template", "long-latency", "--name", "slow", "-n", WEB)
    await person.chaos("run", "-f", str(file), "--arg", "time=60s", "--name", "kill", "-n", SHOP)
    await person.once("slow", WEB, proved=1)
    await person.once("kill", SHOP, proved=1)

    halted = await person.chaos("halt", "--reason", "incident", "--hold-releases", "--wait")
    assert "demo-chaos/slow, demo-shop/kill" in halted.err
    items = {one["name"]: one for one in (await person.data("list", "-A"))["items"]}
    assert {one["phase"] for one in items.values()} == {"Completed"}
    assert {one["stopping"] for one in items.values()} == {"Switch: ChaosSwitch default is engaged: incident"}
    assert items["slow"]["faults"][0]["undone"] == 1

    preflight = await person.data("preflight", "--template", "long-latency", "-n", WEB, code=3)
    assert preflight["missing"] == "ChaosSwitch default is engaged: incident"
    await person.chaos("run", "--template", "long-latency", "-n", WEB, "--wait", code=3)
    image = ("set", "image", "web-frontend", "web-frontend=web-frontend:v2", "-n", WEB)
    assert (await command(*image, KUBECONFIG=person.kubeconfig)).code == 0
    held = await command("status", "web-frontend", "-n", WEB, "--wait", KUBECONFIG=person.kubeconfig)
    assert (held.code, "held by ChaosSwitch default: incident" in held.out) == (5, True), held
    promoted = await command("promote", "web-frontend", "-n", WEB, KUBECONFIG=person.kubeconfig)
    assert (promoted.code, "rollout chaos resume" in promoted.err) == (7, True), promoted

    back = ("set", "image", "web-frontend", "web-frontend=web-frontend:v1", "-n", WEB)
    assert (await command(*back, KUBECONFIG=person.kubeconfig)).code == 0
    await person.chaos("resume")
    assert (await person.data("preflight", "--template", "long-latency", "-n", WEB))["missing"] == ""


async def test_a_schedule_is_listed_run_by_hand_suspended_and_resumed(person: Person) -> None:
    (row,) = (await person.chaos("schedule", "list", "-n", SHOP)).out.splitlines()[1:]
    assert row.split()[0] == "weekly"
    run = await person.data("schedule", "run", "weekly", "-n", SHOP, "--wait")
    assert run["name"].startswith("weekly-manual-")
    assert run["verdict"] == "Successful"
    assert {(one["name"], one["mode"], one["phase"]) for one in run["probes"]} == {
        ("healthy", "Start", "Successful"),
        ("fast-again", "End", "Successful"),
    }
    await person.chaos("schedule", "suspend", "weekly", "-n", SHOP)
    (schedule,) = (await person.data("schedule", "list", "-A"))["items"]
    assert schedule["spec"]["suspend"] is True
    await person.chaos("schedule", "resume", "weekly", "-n", SHOP)
    (schedule,) = (await person.data("schedule", "list", "-A"))["items"]
    assert schedule["spec"]["suspend"] is False


async def test_a_live_picture_on_a_terminal_ends_with_the_run(person: Person) -> None:
    program = (
        "import os, pty, sys\n"
        "os.environ |= {'TERM': 'xterm', 'COLUMNS': '80', 'LINES': '24'}\n"
        "code = os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:]))\n"
        "sys.exit(code)\n"
    )
    words = ("-m", "rollout.cli.main", "chaos", "schedule", "run", "weekly", "-n", SHOP, "-w")
    said = await command(
        sys.executable, *words, program=(sys.executable, "-c", program), KUBECONFIG=person.kubeconfig
    )
    assert said.code == 0, said
    assert "\x1b[?25l" in said.out
    assert "weekly-manual-" in said.out
    assert "every probe held" in said.out
    assert "Traceback" not in said.out
