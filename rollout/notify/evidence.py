"""Why a release was given up: the measurements behind it, with query, value, rule and a link to the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from rollout.api.analysis import BAD
from rollout.api.meta import map_of, maps_of, metadata
from rollout.api.rollout import HASH_LABEL

QUERIES = ("ResolvedPrometheusQuery", "query", "url")
"""Where a measurement's metadata says what was asked."""
MAX_EVIDENCE = 5


class Evidence(msgspec.Struct, frozen=True, rename="camel"):
    """The last bad measurement of one metric. Texts; "" for what is not known."""

    run: str
    metric: str
    phase: str
    value: str = ""
    rule: str = ""
    query: str = ""
    link: str = ""
    message: str = ""


def of_release(
    rollout: Mapping[str, Any], runs: Iterable[Mapping[str, Any]], base: str = ""
) -> tuple[Evidence, ...]:
    """What the AnalysisRuns of the present revision hold against it, the latest first.

    `base` is where people reach Prometheus, if not at the address that the metric asks.
    """
    uid = metadata(rollout).get("uid")
    pod_hash = map_of(rollout.get("status")).get("currentPodHash")
    own = [
        run
        for run in runs
        if any(ref.get("uid") == uid for ref in metadata(run).get("ownerReferences") or ())
        and map_of(metadata(run).get("labels")).get(HASH_LABEL) == pod_hash
    ]
    own.sort(key=lambda run: str(map_of(run.get("status")).get("completedAt") or ""), reverse=True)
    found = [one for run in own for one in of_run(run, base)]
    return tuple(found[:MAX_EVIDENCE])


def of_run(run: Mapping[str, Any], base: str = "") -> tuple[Evidence, ...]:
    """The bad metrics of one AnalysisRun."""
    status = map_of(run.get("status"))
    if status.get("phase") not in BAD:
        return ()
    specs = {one.get("name"): one for one in maps_of(map_of(run.get("spec")).get("metrics"))}
    found = [
        _evidence(run, specs.get(result.get("name"), {}), result, base)
        for result in maps_of(status.get("metricResults"))
        if result.get("phase") in BAD and not result.get("dryRun")
    ]
    return tuple(sorted(found, key=lambda one: BAD.index(one.phase)))


def _evidence(
    run: Mapping[str, Any], spec: Mapping[str, Any], result: Mapping[str, Any], base: str
) -> Evidence:
    measurements = maps_of(result.get("measurements"))
    bad = [one for one in measurements if one.get("phase") in BAD]
    last = (bad or measurements or [{}])[-1]
    said = {**map_of(result.get("metadata")), **map_of(last.get("metadata"))}
    query = next((str(said[name]) for name in QUERIES if said.get(name)), "")
    prometheus = map_of(map_of(spec.get("provider")).get("prometheus"))
    address = str(said.get("address") or prometheus.get("address") or "")
    return Evidence(
        run=str(metadata(run).get("name") or ""),
        metric=str(result.get("name") or ""),
        phase=str(result.get("phase")),
        value=str(last.get("value") or ""),
        rule=_rule(spec),
        query=query,
        link=_link(base or address, query) if QUERIES[0] in said else "",
        message=str(last.get("message") or result.get("message") or ""),
    )


def _rule(spec: Mapping[str, Any]) -> str:
    said = []
    if good := spec.get("successCondition"):
        said.append(f"success: {good}")
    if bad := spec.get("failureCondition"):
        said.append(f"failure: {bad}")
    if comparator := spec.get("comparator"):
        said.append(f"comparator: {comparator}")
    return "; ".join(said)


def _link(address: str, query: str) -> str:
    """Prometheus' own page with the query's graph. No user name, password or query of the address goes along."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not host:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}/graph?g0.expr={quote(query, safe='')}&g0.tab=0"


def lines(evidence: Sequence[Evidence]) -> list[str]:
    """The evidence as lines of text, for services that show only text."""
    said = []
    for one in evidence:
        parts = [
            f"{one.metric}: {one.phase}",
            f"value {one.value}" if one.value else "",
            one.rule,
            one.message,
        ]
        said.append(", ".join(part for part in parts if part))
        said += [f"  query: {one.query}"] if one.query else []
        said += [f"  graph: {one.link}"] if one.link else []
    return said
