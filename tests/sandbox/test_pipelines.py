"""The script of the pipelines against a real sandbox: a good, a bad and a paused release, and what is not there."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from tests.sandbox.release_support import (
    APP,
    GATE,
    ROOT,
    Ground,
    World,
    canary,
    pause,
    template,
)
from tests.shell import bash, with_rollout

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]
LONG = 300.0
"""Seconds for a release on a busy machine."""


class Left(msgspec.Struct, frozen=True):
    """What a step of a pipeline has left."""

    code: int
    outcome: str
    release: dict[str, Any]
    cases: dict[str, list[str]]
    text: str
    summary: str
    said: str


class Pipeline:
    """Runs integrations/release.sh as a CI job would, in an empty folder."""

    def __init__(self, world: World, folder: Path, kubeconfig: str = "") -> None:
        self._world, self._folder = world, folder
        self._kubeconfig = kubeconfig or world.ground.sandbox.kubeconfig

    async def step(self, verb: str, *, name: str = APP, **given: str) -> Left:
        folder = self._folder / verb
        programs = folder / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        env = {
            **os.environ,
            **with_rollout(programs),
            "KUBECONFIG": self._kubeconfig,
            "SUREFOOT_ROLLOUT": name,
            "SUREFOOT_NAMESPACE": self._world.namespace,
            "SUREFOOT_VERB": verb,
            "SUREFOOT_TIMEOUT": f"{LONG:g}s",
            **given,
        }
        script = str(ROOT / "integrations" / "release.sh")
        code, said = await bash(script, environment=env, seconds=2 * LONG, folder=folder)
        return left(folder / "surefoot-reports", code, said)


def left(reports: Path, code: int, said: str) -> Left:
    def text(name: str) -> str:
        path = reports / name
        return path.read_text() if path.exists() else ""

    gates = text("gates.xml")
    cases = ET.fromstring(gates).iter("testcase") if gates else ()
    return Left(
        code=code,
        outcome=text("outcome").strip(),
        release=json.loads(text("release.json") or "{}"),
        cases={str(one.get("name")): [child.tag for child in one] for one in cases},
        text=gates,
        summary=text("summary.md"),
        said=said,
    )


async def test_a_good_release_waits_for_its_person_and_is_promoted_with_its_gates(
    world: World, tmp_path: Path
) -> None:
    pipeline = Pipeline(world, tmp_path)
    await world.apply(template(), *canary({"setWeight": 20}, {"analysis": GATE}, pause()))
    await world.phase("Healthy", seconds=LONG)

    held = await pipeline.step("set-image", SUREFOOT_IMAGES=f"{APP}={APP}:v2")
    assert (held.code, held.outcome) == (5, "paused"), held
    assert held.release["needsPerson"] is True
    assert held.cases == {"release": ["skipped"], "step 2: value": ["system-out"]}
    assert f"`rollout promote {APP} -n {world.namespace}`" in held.summary

    done = await pipeline.step("promote")
    assert (done.code, done.outcome) == (0, "promoted"), done
    assert done.release["phase"] == "Healthy"
    assert done.cases == {"release": [], "step 2: value": ["system-out"]}
    assert "query: vector(1)" in done.text
    assert "success: result[0] == 1" in done.summary

    again = await pipeline.step("promote")
    assert (again.code, again.outcome, again.cases) == (7, "refused", {}), again


async def test_a_bad_release_ends_as_failed_and_tells_query_value_and_rule(
    world: World, tmp_path: Path
) -> None:
    pipeline = Pipeline(world, tmp_path)
    await world.apply(template("vector(7)"), *canary({"setWeight": 20}, {"analysis": GATE}))
    await world.phase("Healthy", seconds=LONG)
    end = await pipeline.step("set-image", SUREFOOT_IMAGES=f"{APP}={APP}:v2", GITHUB_ACTIONS="true")
    assert (end.code, end.outcome) == (3, "failed"), end
    assert end.release["aborted"] is True
    assert end.cases == {"release": ["failure"], "step 2: value": ["failure"]}
    assert "| step 2: value | Failed | `vector(7)` | `success: result[0] == 1` |" in end.summary
    levels = Counter(line.split(" ")[0] for line in end.said.splitlines() if line.startswith("::"))
    assert levels == {"::error": 2}


async def test_what_is_not_there_cannot_be_reached_or_is_not_decided_has_its_own_end(
    ground: Ground, world: World, tmp_path: Path
) -> None:
    del ground
    pipeline = Pipeline(world, tmp_path)
    missing = await pipeline.step("wait", name="nobody")
    assert (missing.code, missing.outcome, missing.cases) == (6, "not-found", {}), missing

    lost = tmp_path / "lost.yaml"
    text = Path(world.ground.sandbox.kubeconfig).read_text()
    address = next(line for line in text.splitlines() if "server:" in line)
    lost.write_text(
        text.replace(address, address[: address.index("server:")] + "server: https://127.0.0.1:9")
    )
    gone = await Pipeline(world, tmp_path / "lost", str(lost)).step("wait")
    assert (gone.code, gone.outcome) == (8, "unreachable"), gone

    await world.apply(template(), *canary({"setWeight": 20}, pause("1h")))
    await world.phase("Healthy", seconds=LONG)
    slow = await pipeline.step("set-image", SUREFOOT_IMAGES=f"{APP}={APP}:v2", SUREFOOT_TIMEOUT="5s")
    assert (slow.code, slow.outcome) == (4, "timeout"), slow
    assert slow.cases["release"] == ["error"]
