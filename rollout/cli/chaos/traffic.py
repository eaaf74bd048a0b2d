"""The load test that goes on beside a ChaosRun: both are measurements of one AnalysisRun."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from analysis.lasting import START_AT
from analysis.load.objects import CONTAINER, LABEL, MAIN, ROLE_LABEL, TIMELINE_KEY
from rollout.api.chaos import ChaosRun
from rollout.api.meta import time_of
from rollout.api.resources import ANALYSIS_RUNS, CONFIG_MAPS, PODS
from rollout.cli.chaos.lanes import Second, course, progress
from rollout.cli.session import Session
from rollout.errors import ApiError

LOG_LINES = 400
LOAD_TEST = "loadTest"
"""Where a load test's measurement keeps the name of what it made."""


def load_beside(cluster: Session, run: ChaosRun) -> list[Second]:
    """The load second by second; [] without one. While it goes on it is read from the log of the pod that counts."""
    owner = next((one for one in run.metadata.owner_references if one.kind == ANALYSIS_RUNS.kind), None)
    if owner is None:
        return []
    try:
        raw = cluster.kube.get(ANALYSIS_RUNS, run.metadata.namespace, owner.name)
        return [second for test, start in _tests(raw) for second in _rows(cluster, run, test, start)]
    except ApiError:
        return []  # the picture goes without the load; the commands themselves do not rest on it


def _tests(raw: Mapping[str, Any]) -> Iterator[tuple[str, datetime]]:
    """(name, start) of every load test that the AnalysisRun has begun."""
    for result in (raw.get("status") or {}).get("metricResults") or ():
        for measurement in result.get("measurements") or ():
            known = measurement.get("metadata") or {}
            start = time_of(known.get(START_AT) or measurement.get("startedAt"))
            if known.get(LOAD_TEST) and start is not None:
                yield known[LOAD_TEST], start


def _rows(cluster: Session, run: ChaosRun, test: str, start: datetime) -> list[Second]:
    namespace = run.metadata.namespace
    kept = (cluster.kube.get(CONFIG_MAPS, namespace, test).get("data") or {}).get(TIMELINE_KEY)
    if kept:
        return course(json.loads(kept))
    selector = f"{LABEL}={test},{ROLE_LABEL}={MAIN}"
    pods = cluster.all(PODS, namespace, labels=selector)
    if not pods:
        return []
    text = cluster.kube.log(namespace, pods[0]["metadata"]["name"], container=CONTAINER, tail=LOG_LINES)
    return progress(_said(text), start)


def _said(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith('{"surefoot":"progress"'):
            try:
                yield json.loads(line)
            except ValueError:
                continue  # cut in the middle: it is being written
