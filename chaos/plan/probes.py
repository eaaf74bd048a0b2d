"""The AnalysisRuns of a chaos run: made under computed names, ended, and read back.

What a sample showed is counted by the AnalysisRun; the streaks are kept here, incrementally, so that they survive the
samples that it no longer keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chaos.actions import Create, Patch
from chaos.faults.receipts import label_value
from chaos.observed import Observed
from chaos.plan.draft import Draft
from rollout.api.analysis import COMPLETED, AnalysisRun, Measurement, MetricResult
from rollout.api.chaos import RUN_LABEL, RUN_UID, ChaosRunSpec, Probe, ProbeResult
from rollout.api.meta import duration, time_of
from rollout.api.resources import ANALYSIS_RUNS, CHAOS_RUNS
from rollout.api.rollout import INSTANCE_ID
from rollout.core.probes import SAMPLING, Role, Source, probes_of, spec_for

MODE: Mapping[Role, str] = {
    "start": "Start",
    "during": "During",
    "continuous": "Continuous",
    "end": "End",
    "stop": "Stop",
}
STALE_SECONDS = 30.0
"""A stop condition that was not measured for so long is no safeguard any more."""
INTERRUPTED = "stopped before it had an answer"
"""What `analysis.lasting` says of a measurement that was cut off by the end of its run: it is no sample."""
_QUICK = frozenset({"prometheus", "web", "http", "kubernetes"})
_QUICK_SECONDS, _LASTING_SECONDS = 40.0, 680.0
"""What one attempt may take beyond its interval: the slowest answer of its provider, or the wait after an Error."""


def child_name(run: str, role: Role) -> str:
    return f"{run}-{role}"


def child(seen: Observed, role: Role) -> AnalysisRun | None:
    """The run's own AnalysisRun of this role."""
    name = child_name(seen.run.metadata.name, role)
    return next((one for one in seen.runs if one.metadata.name == name), None)


def plans(seen: Observed, role: Role) -> tuple[dict[str, Any], tuple[Source, ...]] | None:
    """The spec of the role's AnalysisRun; None when nothing is measured in it. Raises InvalidSpec."""
    return spec_for(seen.run.spec, role, seen.templates, seen.raw)


def want(draft: Draft, role: Role) -> AnalysisRun | None:
    """The role's AnalysisRun; it is made when it is not there yet. None while it is not, or when it has no metrics.

    One that has measured already and is gone is not made again: its evidence is lost, and that is said.
    """
    there = child(draft.seen, role)
    if there is not None:
        return there
    made = plans(draft.seen, role)
    if made is None or any(_measured(one) for one in results(draft, role)):
        return None
    spec, _ = made
    run = draft.run.metadata
    labels = {RUN_LABEL: label_value(run.name), RUN_UID: run.uid}
    if instance := run.label(INSTANCE_ID):
        labels[INSTANCE_ID] = instance
    owner = {
        "apiVersion": CHAOS_RUNS.api_version,
        "kind": CHAOS_RUNS.kind,
        "name": run.name,
        "uid": run.uid,
        "controller": True,
    }
    name = child_name(run.name, role)
    obj = {
        "apiVersion": ANALYSIS_RUNS.api_version,
        "kind": ANALYSIS_RUNS.kind,
        "metadata": {
            "name": name,
            "namespace": run.namespace,
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": spec,
    }
    draft.note("Measuring", f"AnalysisRun {name}")
    draft.act([Create(resource=ANALYSIS_RUNS, object=obj)])
    return None


def end(draft: Draft, *roles: Role) -> bool:
    """Have these runs end; whether none of them is measuring any more."""
    ended = True
    for role in roles:
        run = child(draft.seen, role)
        if run is None or run.completed:
            continue
        ended = False
        if not run.spec.terminate:
            meta = run.metadata
            draft.act(
                [
                    Patch(
                        resource=ANALYSIS_RUNS,
                        namespace=meta.namespace,
                        name=meta.name,
                        patch={"spec": {"terminate": True}},
                    )
                ]
            )
    return ended


# --- reading ------------------------------------------------------------------------------------------


def results(draft: Draft, role: Role) -> list[ProbeResult]:
    return [one for one in draft.status.probes if one.mode == MODE[role]]


def read(draft: Draft) -> None:
    """Bring the probe results up to date with what the AnalysisRuns have measured."""
    probes = list(draft.status.probes)
    places = {(one.mode, one.name): at for at, one in enumerate(probes)}
    for role in ("start", "continuous", "during", "end"):
        run = child(draft.seen, role)
        for metric in run.status.metric_results if run is not None else ():
            place = MODE[role], metric.name
            before = (
                probes[places[place]]
                if place in places
                else ProbeResult(
                    name=metric.name, mode=MODE[role], runs=(child_name(draft.run.metadata.name, role),)
                )
            )
            after = sampled(before, metric)
            if place in places:
                probes[places[place]] = after
            else:
                places[place] = len(probes)
                probes.append(after)
    draft.set(probes=tuple(probes))


def sampled(before: ProbeResult, metric: MetricResult) -> ProbeResult:
    """The result with the samples that were taken since."""
    answered = [one for one in metric.measurements if one.phase in COMPLETED]
    cut_off = bool(answered) and (answered[-1].phase, answered[-1].message) == ("Inconclusive", INTERRUPTED)
    if cut_off:
        del answered[-1]
    bad = metric.failed + metric.inconclusive - cut_off
    total = metric.successful + bad + metric.error
    fresh = total - (before.good + before.bad + before.errors)
    streak, worst = before.streak, before.worst_streak
    for one in answered[-fresh:] if fresh > 0 else ():
        streak = 0 if one.phase == "Successful" else streak + 1
        worst = max(worst, streak)
    return msgspec.structs.replace(
        before,
        good=metric.successful,
        bad=bad,
        errors=metric.error,
        ratio=round(metric.successful / total, 6) if total else None,
        streak=streak,
        worst_streak=worst,
        message=_last_complaint(answered) or before.message,
    )


def _last_complaint(measurements: Sequence[Measurement]) -> str:
    return next((one.message for one in reversed(measurements) if one.phase != "Successful"), "")


def _measured(result: ProbeResult) -> int:
    return result.good + result.bad + result.errors


# --- judging ------------------------------------------------------------------------------------------


def probe_named(spec: ChaosRunSpec, metric: str) -> Probe | None:
    """The probe that a metric of a run belongs to."""
    return next((one for one in spec.probes if metric == one.name or metric.startswith(f"{one.name}/")), None)


def judged(draft: Draft, role: Role) -> list[ProbeResult]:
    """The role's results with their verdicts, now that it has ended. Nothing measured is an Error."""
    run = child(draft.seen, role)
    found = {one.name: one for one in results(draft, role)}
    for _, probe in probes_of(draft.spec, role):
        if not any(probe_named(draft.spec, name) == probe for name in found):
            said = run.status.message if run is not None else "its AnalysisRun was not made"
            found[probe.name] = ProbeResult(
                name=probe.name,
                mode=MODE[role],
                message=said,
                runs=(child_name(draft.run.metadata.name, role),),
            )
    judged_all = [_judged(one, probe_named(draft.spec, one.name), role) for one in found.values()]
    return judged_all if run is not None else [_lost(one) for one in judged_all]


def _lost(result: ProbeResult) -> ProbeResult:
    """Its AnalysisRun was deleted in the middle: nobody knows what it would have seen."""
    if not _measured(result):
        return result
    said = f"its AnalysisRun is gone after {_measured(result)} samples"
    return msgspec.structs.replace(result, phase="Error", message=said)


def _judged(result: ProbeResult, probe: Probe | None, role: Role) -> ProbeResult:
    def said(phase: str, message: str) -> ProbeResult:
        return msgspec.structs.replace(result, phase=phase, message=message)

    if not _measured(result):
        return said(
            "Error", f"nothing was measured: {result.message}" if result.message else "nothing was measured"
        )
    worse = "Failed" if result.bad else "Error"
    detail = f" ({result.message})" if result.message else ""
    if role not in SAMPLING:
        return (
            said("Successful", result.message)
            if result.good
            else said(worse, f"none of {_measured(result)} attempts was good{detail}")
        )
    assert probe is not None
    if said_so := broken(probe, result):
        return said(worse, f"{said_so}{detail}")
    return said("Successful", result.message)


def broken(probe: Probe, result: ProbeResult, *, to_come: int = 0) -> str:
    """How the tolerance is broken, for good if at most `to_come` more samples can be taken; "" if it is not."""
    total, most = _measured(result), probe.tolerance.streak
    if most is not None and result.worst_streak > most:
        return f"{result.worst_streak} samples in a row were not good, tolerance.streak is {most}"
    if total and result.good + to_come < probe.tolerance.ratio * (total + to_come) - 1e-9:
        return f"{result.good} of {total} samples were good, tolerance.ratio is {probe.tolerance.ratio:g}"
    return ""


def seconds_for(spec: ChaosRunSpec, role: Role) -> float:
    """How long the probes of a role may take until all of them have an answer."""
    longest = 0.0
    for _, probe in probes_of(spec, role):
        tries = 1 if role in SAMPLING else probe.attempts
        quick = bool(probe.provider) and set(probe.provider) <= _QUICK
        each = duration(probe.interval) + (_QUICK_SECONDS if quick else _LASTING_SECONDS)
        longest = max(longest, duration(probe.initial_delay or "0s") + tries * each)
    return longest + _QUICK_SECONDS


# --- stop conditions ----------------------------------------------------------------------------------


def stop_condition(seen: Observed) -> str:
    """Why a stop condition ends the run, as "Cause: words"; "" while all of them hold."""
    run = child(seen, "stop")
    if run is None or run.spec.terminate:
        return ""
    for result in run.status.metric_results:
        if result.completed and result.phase != "Successful":
            cause = "StopCondition" if result.phase == "Failed" else "Unmeasured"
            last = _last_complaint(result.measurements)
            detail = f" ({last})" if last else ""
            return f"{cause}: {result.name}: {result.message or result.phase}{detail}"
    if run.completed and run.status.phase != "Successful":
        return f"Unmeasured: stop conditions: {run.status.message or run.status.phase}"
    return ""


def stop_ready(seen: Observed) -> bool:
    """Whether every stop condition has held once: before that nothing is injected."""
    if not seen.run.spec.stop_conditions:
        return True
    run = child(seen, "stop")
    return (
        run is not None
        and len(run.status.metric_results) == len(run.spec.metrics)
        and all(one.successful for one in run.status.metric_results)
    )


def stop_unwatched(seen: Observed) -> str:
    """Why the stop conditions are no safeguard any more, while faults are at work; "" when they are."""
    if not seen.run.spec.stop_conditions:
        return ""
    run = child(seen, "stop")
    if run is None or run.completed or run.spec.terminate:
        return "Unmeasured: the AnalysisRun of the stop conditions has gone or was ended"
    for result in run.status.metric_results:
        last = result.measurements[-1] if result.measurements else None
        at = time_of(last.finished_at or last.started_at) if last is not None else None
        if at is None or (seen.now - at).total_seconds() > STALE_SECONDS:
            return f"Unmeasured: the stop condition {result.name} was not measured for {STALE_SECONDS:g} s"
    return ""
