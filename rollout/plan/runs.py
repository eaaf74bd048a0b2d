"""The AnalysisRuns of a release: their names, which of them count, and what they say.

A run's name is computed from the Rollout, the revision and the role, so creating it twice is one run. A retry
needs new evidence: the runs of the attempt that is over are marked SUPERSEDED (and ended) before the status
says that a new attempt has begun, so that no crash can let old evidence count for the new attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.api.analysis import AnalysisRun
from rollout.api.resources import ANALYSIS_RUNS, ROLLOUTS
from rollout.api.rollout import (
    HASH_LABEL,
    INSTANCE_ID,
    REVISION,
    BackgroundAnalysis,
    RolloutAnalysis,
    RunStatus,
)
from rollout.core.observed import Observed
from rollout.core.runs import run_spec
from rollout.plan.draft import Draft

SUPERSEDED = "surefoot.dev/superseded"
STEP_INDEX = "step-index"
RUN_TYPE = "rollout-type"


class Role(msgspec.Struct, frozen=True):
    """What a run is for: the value of its label `rollout-type`, and the suffix of its name."""

    label: str
    suffix: str


BACKGROUND = Role("Background", "")
PRE_PROMOTION = Role("PrePromotion", "-pre")
POST_PROMOTION = Role("PostPromotion", "-post")


def step_role(index: int) -> Role:
    return Role("Step", f"-{index}")


def base_name(seen: Observed, role: Role) -> str:
    sets = seen.sets
    return f"{seen.rollout.metadata.name}-{sets.hash}-{sets.revision}{role.suffix}"


def current(seen: Observed, role: Role) -> AnalysisRun | None:
    """The run of this attempt for `role`, or None when it has not been made."""
    live = [run for run in _named(seen, role) if not run.metadata.annotation(SUPERSEDED)]
    return max(live, key=lambda run: _attempt(run, role, seen), default=None)


def superseded(seen: Observed) -> tuple[str, ...]:
    """The runs of this revision that an attempt which is now over has left."""
    sets = seen.sets
    return tuple(
        run.metadata.name
        for run in seen.runs
        if run.metadata.label(HASH_LABEL) == sets.hash
        and run.metadata.annotation(REVISION) == str(sets.revision)
        and not run.metadata.annotation(SUPERSEDED)
    )


def stray(seen: Observed) -> tuple[str, ...]:
    """Unfinished runs of other revisions: a newer template has made them pointless."""
    sets = seen.sets
    return tuple(
        run.metadata.name
        for run in seen.runs
        if not run.completed
        and not run.spec.terminate
        and (
            run.metadata.label(HASH_LABEL) != sets.hash
            or run.metadata.annotation(REVISION) != str(sets.revision)
        )
    )


def unfinished(seen: Observed) -> tuple[str, ...]:
    """Runs that still measure and have not been told to stop."""
    return tuple(run.metadata.name for run in seen.runs if not run.completed and not run.spec.terminate)


def build(seen: Observed, role: Role, analysis: RolloutAnalysis) -> dict[str, Any]:
    """The AnalysisRun object for `role`. Raises InvalidSpec when templates or arguments do not resolve."""
    rollout, sets = seen.rollout, seen.sets
    base = base_name(seen, role)
    attempts = len(_named(seen, role))
    labels = {**_selector_labels(seen), HASH_LABEL: sets.hash, RUN_TYPE: role.label}
    if instance := rollout.metadata.label(INSTANCE_ID):
        labels[INSTANCE_ID] = instance
    if role.label == "Step":
        labels[STEP_INDEX] = role.suffix.removeprefix("-")
    return {
        "apiVersion": ANALYSIS_RUNS.api_version,
        "kind": ANALYSIS_RUNS.kind,
        "metadata": {
            "name": f"{base}.{attempts}" if attempts else base,
            "namespace": rollout.metadata.namespace,
            "labels": labels,
            "annotations": {REVISION: str(sets.revision)},
            "ownerReferences": [owner(seen)],
        },
        "spec": run_spec(
            analysis,
            seen.templates,
            rollout_object=seen.raw,
            stable_hash=rollout.status.stable_rs,
            latest_hash=sets.hash,
        ),
    }


def owner(seen: Observed) -> dict[str, Any]:
    """The controlling owner reference of everything that a Rollout makes."""
    return {
        "apiVersion": ROLLOUTS.api_version,
        "kind": ROLLOUTS.kind,
        "name": seen.rollout.metadata.name,
        "uid": seen.rollout.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def told(run: AnalysisRun | None) -> RunStatus | None:
    """What the Rollout's status says of a run."""
    if run is None:
        return None
    return RunStatus(name=run.metadata.name, status=run.status.phase, message=run.status.message)


def measured(run: AnalysisRun) -> bool:
    """Whether every metric that counts has at least one answer, and its last one was a success.

    A measurement that still lasts is no answer; when the run is ended now, those before it count.
    """
    results = {result.name: result for result in run.status.metric_results}
    for metric in run.spec.metrics:
        result = results.get(metric.name)
        answers = [one for one in result.measurements if one.phase != "Running"] if result else []
        if result is None or not answers:
            return False
        if not result.dry_run and answers[-1].phase != "Successful":
            return False
    return True


def background_of(seen: Observed) -> BackgroundAnalysis | None:
    canary = seen.rollout.spec.strategy.canary
    return canary.analysis if canary is not None else None


def abort_cause(kind: str, run: AnalysisRun) -> str:
    """The words for an update that an analysis has ended."""
    detail = f": {run.status.message}" if run.status.message else ""
    return f"{kind} analysis phase {run.status.phase.lower()} ({run.metadata.name}){detail}"


def waiting_for(draft: Draft, role: Role) -> None:
    """Say in the draft that the release waits for the analysis of this role (whichever attempt of it)."""
    draft.hold = f"waiting for analysis {base_name(draft.seen, role)}"


def _named(seen: Observed, role: Role) -> list[AnalysisRun]:
    base = base_name(seen, role)
    return [run for run in seen.runs if run.metadata.name == base or _is_attempt(run.metadata.name, base)]


def _is_attempt(name: str, base: str) -> bool:
    return name.startswith(f"{base}.") and name[len(base) + 1 :].isdecimal()


def _attempt(run: AnalysisRun, role: Role, seen: Observed) -> int:
    return int(run.metadata.name[len(base_name(seen, role)) + 1 :] or 0)


def _selector_labels(seen: Observed) -> Mapping[str, str]:
    selector = seen.rollout.spec.selector
    return (selector.match_labels or {}) if selector is not None else {}
