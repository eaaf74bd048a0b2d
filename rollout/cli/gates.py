"""What the gates of a release have said, for a pipeline: JUnit, Markdown, and GitHub's annotations. Pure.

A gate is one metric of an AnalysisRun of the wanted revision and of this attempt: evidence of an earlier revision, or
from before a retry, is not evidence for what is released now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rollout.api.analysis import AnalysisRun, Metric, MetricResult
from rollout.api.codec import view
from rollout.api.meta import View, time_of
from rollout.api.rollout import HASH_LABEL, REVISION, Rollout
from rollout.cli.phase import Outcome
from rollout.cli.report import RESULTS, Case, Suite, code, table
from rollout.cli.summary import Summary
from rollout.cli.tree import owned
from rollout.errors import InvalidSpec
from rollout.plan.runs import RUN_TYPE, STEP_INDEX, SUPERSEDED

Object = Mapping[str, Any]
ASKED = ("ResolvedPrometheusQuery", "load", "chaos", "url", "objects", "argv")
"""Where the providers record what they asked, or did (`asked` in analysis/providers)."""
_SHOWN = 3
"""How many measurements a line of Markdown shows: the last ones, which decided."""


class Answer(View, frozen=True, omit_defaults=False):
    """One measurement."""

    phase: str
    value: str
    message: str
    finished_at: str


class Gate(View, frozen=True, omit_defaults=False):
    """One metric: when it was asked (`place`), what, by which rule, the verdict, and all answers that are kept.

    `phase` is the metric's: Successful, Failed, Error, Inconclusive, or Running and Pending while it goes on.
    """

    run: str
    place: str
    metric: str
    query: str
    rule: str
    phase: str
    message: str
    dry_run: bool
    answers: tuple[Answer, ...]
    started_at: str
    finished_at: str

    @property
    def name(self) -> str:
        return f"{self.place}: {self.metric}"


def gates(rollout: Rollout, runs: Iterable[Object]) -> tuple[Gate, ...]:
    """The gates of the wanted revision, in the order in which their runs were made."""
    ours = [one for one in owned(runs, rollout.metadata.uid) if _of_this_release(rollout, one)]
    return tuple(gate for one in sorted(ours, key=_made) for gate in _gates(one))


def _made(one: Object) -> tuple[str, str]:
    meta = one.get("metadata") or {}
    return str(meta.get("creationTimestamp") or ""), str(meta.get("name") or "")


def _of_this_release(rollout: Rollout, one: Object) -> bool:
    meta = one.get("metadata") or {}
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    return bool(
        labels.get(HASH_LABEL) == rollout.status.current_pod_hash
        and notes.get(REVISION) == rollout.metadata.annotation(REVISION)
        and not notes.get(SUPERSEDED)
    )


def _gates(one: Object) -> Iterator[Gate]:
    try:
        run = view(one, AnalysisRun)
    except InvalidSpec as error:
        # No report at all would hide the other gates; this one is no pass.
        run = view(
            {"metadata": one["metadata"], "status": {"phase": "Error", "message": str(error)}}, AnalysisRun
        )
    results = {result.name: result for result in run.status.metric_results}
    for metric in run.spec.metrics or (() if results else (Metric(name="analysis"),)):
        yield _gate(run, metric, results.pop(metric.name, None))
    for left in results.values():
        yield _gate(run, Metric(name=left.name), left)


def _gate(run: AnalysisRun, metric: Metric, result: MetricResult | None) -> Gate:
    # A run that could not even begin says so itself; its metrics have no results.
    seen = result or MetricResult(phase=run.status.phase or "Pending", message=run.status.message)
    return Gate(
        run=run.metadata.name,
        place=_place(run),
        metric=metric.name,
        query=_query(metric, seen),
        rule=_rule(metric),
        phase=seen.phase or "Pending",
        message=seen.message,
        dry_run=seen.dry_run,
        answers=tuple(
            Answer(phase=one.phase, value=one.value, message=one.message, finished_at=one.finished_at or "")
            for one in seen.measurements
        ),
        started_at=_first(one.started_at for one in seen.measurements) or run.status.started_at or "",
        finished_at=_first(one.finished_at for one in reversed(seen.measurements)),
    )


def _first(texts: Iterable[str | None]) -> str:
    return next((text for text in texts if text), "")


def _place(run: AnalysisRun) -> str:
    """Where in the release the gate stands; steps count from 1 as `rollout get` counts them."""
    match kind := run.metadata.label(RUN_TYPE):
        case "Step" if (index := run.metadata.label(STEP_INDEX)).isdecimal():
            return f"step {int(index) + 1}"
        case "Background":
            return "background"
        case "PrePromotion":
            return "before promotion"
        case "PostPromotion":
            return "after promotion"
        case _:
            return kind or "analysis"


def _query(metric: Metric, result: MetricResult) -> str:
    """What was asked, as the last measurement recorded it; else the provider's name."""
    recorded: list[Mapping[str, str]] = [one.metadata or {} for one in reversed(result.measurements)]
    for known in (*recorded, result.metadata or {}):
        for key in ASKED:
            if known.get(key):
                return known[key]
    return next(iter(metric.provider), "")


def _rule(metric: Metric) -> str:
    said = []
    if metric.success_condition:
        said.append(f"success: {metric.success_condition}")
    if metric.failure_condition:
        said.append(f"failure: {metric.failure_condition}")
    if (wanted := metric.comparator) is not None:
        said.append(f"{wanted.type} {wanted.operator} {wanted.value}")
    return "; ".join(said)


# --- JUnit --------------------------------------------------------------------------------------------


def suite(summary: Summary, outcome: Outcome, found: Sequence[Gate]) -> Suite:
    """One case for the release, one for each gate."""
    start = _first(one.started_at for one in found)
    return Suite(
        name=f"release {summary.namespace}/{summary.name}",
        classname=f"release.{summary.namespace}.{summary.name}",
        cases=(_release(summary, outcome), *(_case(one) for one in found)),
        timestamp=start,
        seconds=_seconds(start, _first(one.finished_at for one in reversed(found))),
    )


def _release(summary: Summary, outcome: Outcome) -> Case:
    said = f"{summary.phase}: {summary.message}" if summary.message else summary.phase
    match outcome:
        case "healthy":
            return Case("release")
        case "failed":
            return Case("release", "failure", said)
        case "paused":
            return Case("release", "skipped", f"waits for a person: {said}")
        case _:
            return Case("release", "error", f"not decided in time: {said}")


def _case(one: Gate) -> Case:
    result = "skipped" if one.dry_run and one.phase != "Successful" else RESULTS.get(one.phase, "skipped")
    said = f"{one.phase}: {one.message or _last(one)}".removesuffix(": ")
    return Case(
        one.name,
        result,
        f"dry run, does not count: {said}" if one.dry_run else said,
        text="\n".join(_details(one)),
        seconds=_seconds(one.started_at, one.finished_at),
    )


def _last(one: Gate) -> str:
    return next((answer.message or f"value {answer.value}" for answer in reversed(one.answers)), "")


def _details(one: Gate) -> Iterator[str]:
    yield f"analysis run: {one.run}"
    yield f"query: {one.query}"
    yield f"rule: {one.rule}"
    for answer in one.answers:
        yield f"{answer.finished_at}  {answer.phase}  {answer.value}  {answer.message}".rstrip()
    if not one.answers:
        yield "nothing was measured"


def _seconds(start: str, end: str) -> float:
    try:
        begin, finish = time_of(start), time_of(end)
    except ValueError:
        return 0.0
    return max((finish - begin).total_seconds(), 0.0) if begin and finish else 0.0


# --- Markdown -----------------------------------------------------------------------------------------


def markdown(summary: Summary, outcome: Outcome, found: Sequence[Gate]) -> list[str]:
    """A section for a pipeline's summary page."""
    lines = [f"## Release {summary.namespace}/{summary.name}: {_verdict(summary, outcome)}", ""]
    if summary.message:
        lines += [code(summary.message), ""]
    if outcome == "paused":
        where = f"{summary.name} -n {summary.namespace}"
        lines += [f"It goes on with `rollout promote {where}`, and back with `rollout abort {where}`.", ""]
    if not found:
        return [*lines, "No gates: nothing was measured.", ""]
    rows = [
        [
            one.name,
            f"{one.phase} (dry run)" if one.dry_run else one.phase,
            code(one.query),
            code(one.rule),
            ", ".join(code(answer.value or answer.phase) for answer in one.answers[-_SHOWN:]) or "none",
            code(one.message),
        ]
        for one in found
    ]
    return [*lines, *table(["gate", "verdict", "query", "rule", "last values", ""], rows), ""]


def _verdict(summary: Summary, outcome: Outcome) -> str:
    names = {
        "healthy": "promoted",
        "failed": "failed",
        "paused": "waits for a person",
        "progressing": "not decided",
    }
    name = names[outcome]
    return f"{name} (revision {summary.revision})" if summary.revision else name


# --- GitHub -------------------------------------------------------------------------------------------


def workflow_commands(summary: Summary, outcome: Outcome, found: Sequence[Gate]) -> list[str]:
    """Workflow commands that GitHub shows beside the job: for the release, and for each gate that was no pass.

    Format and escapes: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    cases = suite(summary, outcome, found).cases
    asked = {one.name: one.query for one in found}
    lines = []
    for case in cases:
        if not case.result:
            continue
        level = "warning" if case.result == "skipped" else "error"
        query = f"\nquery: {asked[case.name]}" if asked.get(case.name) else ""
        title = f"{summary.namespace}/{summary.name}, {case.name}"
        lines.append(f"::{level} title={_property(title)}::{_data(case.message + query)}")
    return lines


def _data(said: str) -> str:
    return said.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(said: str) -> str:
    return _data(said).replace(":", "%3A").replace(",", "%2C")
