"""Analysis without measuring: ends AnalysisRuns with the verdict that the story has written down.

It stands in for the analysis controller where a story is about what a release does with a verdict. Each metric is
measured every second; a run with `count` metrics ends after that many, others when they are told to.
"""

from __future__ import annotations

import asyncio
from typing import Any

from rollout.api.meta import metadata, timestamp
from rollout.api.resources import ANALYSIS_RUNS, Resource
from rollout.errors import NotFound
from rollout.runtime.clock import LoopClock
from rollout.runtime.kube import Object
from rollout.sandbox.storage import Storage

ENDED = ("Successful", "Failed", "Error", "Inconclusive")


class Judge:
    """`verdicts` maps a part of a run's name to the phase of its measurements (default Successful)."""

    def __init__(self, storage: Storage, clock: LoopClock) -> None:
        self.verdicts: dict[str, str] = {}
        self.seconds = 5.0
        self._storage = storage
        self._clock = clock
        self._since: dict[str, float] = {}
        self._made = asyncio.Event()
        storage.on_write(self._wake)

    def _wake(self, kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource == ANALYSIS_RUNS and kind == "ADDED":
            self._made.set()

    async def run(self) -> None:
        while True:
            self._made.clear()
            if not self._running():
                await self._made.wait()
            await self._clock.sleep(1.0)
            await asyncio.sleep(0)
            for run in self._running():
                self._step(run)

    def _running(self) -> list[Object]:
        runs = self._storage.list(ANALYSIS_RUNS).items
        return [run for run in runs if (run.get("status") or {}).get("phase") not in ENDED]

    def _step(self, run: Object) -> None:
        meta, spec = metadata(run), run["spec"]
        since = self._since.setdefault(meta["uid"], self._clock.monotonic())
        verdict = next((phase for part, phase in self.verdicts.items() if part in meta["name"]), "Successful")
        old = (run.get("status") or {}).get("metricResults") or []
        measured = len(old[0]["measurements"]) + 1 if old else 1
        endless = any("interval" in metric and "count" not in metric for metric in spec["metrics"])
        over = spec.get("terminate") or verdict != "Successful"
        over = over or (not endless and self._clock.monotonic() - since >= self.seconds)
        phase = (verdict if measured else "Successful") if over else "Running"
        now = timestamp(self._clock.now())
        measurement = {"phase": verdict, "value": "[1]", "startedAt": now, "finishedAt": now}
        results: list[dict[str, Any]] = [
            {
                "name": metric["name"],
                "phase": phase,
                "count": measured,
                "measurements": [measurement] * min(measured, 10),
            }
            for metric in spec["metrics"]
        ]
        status = {"phase": phase, "metricResults": results, "message": "" if phase != "Failed" else "planned"}
        try:
            self._storage.patch(ANALYSIS_RUNS, meta["namespace"], meta["name"], {"status": status})
        except NotFound:
            return  # deleted in between
