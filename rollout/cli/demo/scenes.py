"""The three releases of the demo: what is done, what must come of it, and what is kept for the summary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from rollout.api.meta import Key
from rollout.api.resources import ANALYSIS_RUNS
from rollout.api.rollout import HASH_LABEL
from rollout.cli.demo.ground import Command
from rollout.cli.demo.view import View
from rollout.errors import SandboxError
from rollout.runtime.kube import Object

CANARY = Key("demo", "web-frontend")
BLUE_GREEN = Key("demo-bluegreen", "web-frontend")
RELEASE_SECONDS = 60.0
ASKED = ("ResolvedPrometheusQuery", "load", "chaos")
"""Where the providers record what they asked, or did."""


class Decision(msgspec.Struct, frozen=True):
    """One gate's verdict and the evidence for it: the query, its values, and the rule that decided."""

    run: str
    phase: str
    metric: str
    query: str
    values: tuple[str, ...]
    rule: str


class Outcome(msgspec.Struct, frozen=True):
    """How a release ended."""

    title: str
    expected: bool
    result: str
    decisions: tuple[Decision, ...]


Say = Callable[[str], None]


class Stage:
    """What the scenes play on: the view, the command line, and a place for narration."""

    def __init__(self, view: View, command: Command, say: Say) -> None:
        self.view = view
        self.command = command
        self.say = say
        self.key = CANARY
        self.title = ""

    async def phase(self, phase: str, *, seconds: float = RELEASE_SECONDS) -> None:
        """Wait until the Rollout of the scene is in `phase` and has seen its latest spec."""
        key = self.key

        def holds() -> bool:
            raw = self.view.rollout(key) or {}
            status = raw.get("status") or {}
            seen = status.get("observedGeneration") == str(raw.get("metadata", {}).get("generation"))
            return seen and status.get("phase") == phase

        if not await self.view.until(holds, seconds):
            status = self.view.status(key)
            raise SandboxError(
                f"{key} did not become {phase} within {seconds:.0f} s; it is {status.get('phase') or 'unknown'}"
                f"{': ' + status['message'] if status.get('message') else ''}"
            )

    async def pods_gone(self, image: str, *, seconds: float = 30.0) -> None:
        """Wait until the ReplicaSet of an image has been scaled to zero."""
        from rollout.api.resources import REPLICA_SETS

        def holds() -> bool:
            sets = self.view.list(REPLICA_SETS, self.key.namespace)
            return all(one["spec"]["replicas"] == 0 for one in sets if _image(one) == image)

        if not await self.view.until(holds, seconds):
            raise SandboxError(f"the pods of {image} are still there after {seconds:.0f} s")

    def decisions(self) -> tuple[Decision, ...]:
        """The verdicts on the present revision."""
        pod_hash = self.view.status(self.key).get("currentPodHash")
        runs = self.view.list(ANALYSIS_RUNS, self.key.namespace)
        ours = [run for run in runs if run["metadata"]["labels"].get(HASH_LABEL) == pod_hash]
        ours.sort(key=lambda run: run["metadata"]["creationTimestamp"])
        return tuple(one for run in ours for one in decisions_of(run))


def decisions_of(run: Object) -> list[Decision]:
    """What an AnalysisRun has measured, one entry per metric."""
    conditions = {metric["name"]: _rule(metric) for metric in run["spec"]["metrics"]}
    found = []
    for result in (run.get("status") or {}).get("metricResults") or []:
        measurements = result.get("measurements") or []
        asked = [m.get("metadata") or {} for m in measurements] + [result.get("metadata") or {}]
        query = next((one[name] for one in asked for name in ASKED if name in one), "")
        found.append(
            Decision(
                run=run["metadata"]["name"],
                phase=result.get("phase", ""),
                metric=result["name"],
                query=" ".join(query.split()),
                values=tuple(map(_value, measurements)),
                rule=": ".join(filter(None, [conditions.get(result["name"], ""), result.get("message", "")])),
            )
        )
    return found


def _value(measurement: Mapping[str, Any]) -> str:
    """What was measured; in words where the provider has some."""
    summary = (measurement.get("metadata") or {}).get("summary")
    value, message = measurement.get("value") or "", measurement.get("message") or ""
    if summary:
        return str(summary)
    return str(message if message and value.startswith("{") else value or message)


def _rule(metric: Mapping[str, Any]) -> str:
    return str(metric.get("successCondition") or metric.get("failureCondition") or "")


def _image(replica_set: Object) -> str:
    return str(replica_set["spec"]["template"]["spec"]["containers"][0]["image"])


async def good_canary(stage: Stage) -> Outcome:
    stage.title, stage.key = "1  v1 -> v2, a good version: canary with Istio subsets", CANARY
    await stage.command(
        "set", "image", "web-frontend", "web-frontend=web-frontend:v2", "-n", CANARY.namespace
    )
    stage.say("weights 10, 20; then Prometheus is asked about the canary alone; then 40, 60, 80 and all")
    await stage.phase("Healthy")
    await stage.pods_gone("web-frontend:v1")
    done = stage.view.status(CANARY)
    promoted = done.get("stableRS") == done.get("currentPodHash")
    return Outcome(stage.title, promoted, "promoted: v2 serves everything", stage.decisions())


async def bad_canary(stage: Stage) -> Outcome:
    stage.title, stage.key = "2  v2 -> v3, a bad version: 8 % of its answers are errors", CANARY
    await stage.command(
        "set", "image", "web-frontend", "web-frontend=web-frontend:v3", "-n", CANARY.namespace
    )
    stage.say("the same steps; the analysis at 20 % should catch it")
    await stage.phase("Degraded")
    message = stage.view.status(CANARY).get("message", "")
    stage.say("caught; traffic goes back to v2 before the canary's pods go")
    await stage.view.until(lambda: stage.view.canary_weight(CANARY) == 0, 10)
    await stage.pods_gone("web-frontend:v3")
    refused = message.startswith("RolloutAborted") and stage.view.canary_weight(CANARY) == 0
    return Outcome(stage.title, refused, message, stage.decisions())


async def blue_green(stage: Stage) -> Outcome:
    stage.title, stage.key = (
        "3  v2 -> v4 by blue/green: preview, proof, a person's word, proof again",
        BLUE_GREEN,
    )
    await stage.command(
        "set", "image", "web-frontend", "web-frontend=web-frontend:v4", "-n", BLUE_GREEN.namespace
    )
    stage.say("v4 starts beside v2; the preview Service is measured before anybody is asked")
    await stage.phase("Paused")
    stage.say("proved in preview; it waits for a person")
    await stage.command("promote", "web-frontend", "-n", BLUE_GREEN.namespace)
    await stage.phase("Healthy")
    stage.say("switched and proved again; v2 is kept 8 s for an instant way back, then goes")
    await stage.pods_gone("web-frontend:v2")
    done = stage.view.status(BLUE_GREEN)
    promoted = done.get("stableRS") == done.get("currentPodHash")
    return Outcome(stage.title, promoted, "promoted: v4 is active", stage.decisions())


SCENES: tuple[Callable[[Stage], Awaitable[Outcome]], ...] = (good_canary, bad_canary, blue_green)
