"""A snapshot as a decision's recorded inputs, and back: only what `decide` reads, and small.

Left out: pod and analysis templates, router objects (what they say is `traffic`), pods, what the status only tells
people, older ReplicaSets that have no pods, and AnalysisRuns of other attempts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from rollout.api.analysis import (
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    Measurement,
    Metric,
    MetricResult,
)
from rollout.api.codec import plain
from rollout.api.decisions import Inputs, RunSeen, SetSeen, Traffic
from rollout.api.meta import ObjectMeta
from rollout.api.rollout import (
    HASH_LABEL,
    PROVED,
    REVISION,
    SCALE_DOWN_DEADLINE,
    Condition,
    Rollout,
    RolloutStatus,
)
from rollout.api.workload import ReplicaSet, ReplicaSetSpec, ReplicaSetStatus, Service, ServiceSpec
from rollout.core import conditions
from rollout.core.observed import Observed, Sets, hash_label, scale_down_deadline, settled, was_stable
from rollout.plan.runs import SUPERSEDED, measured
from rollout.traffic.base import Live

_PROGRESS = "Progressing"


def inputs_of(seen: Observed, live: Live | None, *, refused: str = "", gateless: bool = False) -> Inputs:
    """What the decision about `seen` was made from. A refusal rests on nothing but its reasons."""
    status = _status(seen.rollout.status)
    if refused and not gateless:
        return Inputs(status=status, refused=refused, hash=seen.sets.hash)
    sets = seen.sets
    return Inputs(
        status=status,
        hash=sets.hash,
        collision_count=sets.collision_count,
        revision=sets.revision,
        new=sets.new.metadata.name if sets.new is not None else "",
        stable=sets.stable.metadata.name if sets.stable is not None else "",
        sets=tuple(_set(one) for one in sets.all if _counts(one, seen)),
        runs=tuple(_run(one) for one in seen.runs if _of_this_attempt(one, seen)),
        services={name: _selects(one) for name, one in seen.services.items()},
        traffic=_traffic(live),
        refused=refused,
        gateless=gateless,
    )


def spec_of(rollout: Rollout) -> dict[str, Any]:
    """The Rollout's spec as decisions read it, as plain data: without what only its pods are made from."""
    spec: dict[str, Any] = plain(msgspec.structs.replace(rollout.spec, template={}, selector=None))
    return spec


def read_back(inputs: Inputs, rollout: Rollout, now: datetime) -> tuple[Observed, Live | None]:
    """The snapshot, and the live traffic, that `inputs_of` has made these inputs from."""
    sets = {one.name: _set_again(one) for one in inputs.sets}
    new, stable = sets.get(inputs.new), sets.get(inputs.stable)
    seen = Observed(
        now=now,
        rollout=rollout,
        raw={},
        replica_sets=tuple(sets.values()),
        runs=tuple(_run_again(one, inputs) for one in inputs.runs),
        services={
            name: Service(ObjectMeta(name=name), spec=ServiceSpec(selector={HASH_LABEL: pod_hash}))
            for name, pod_hash in inputs.services.items()
        },
    )
    roles = Sets(
        hash=inputs.hash,
        collision_count=inputs.collision_count,
        revision=inputs.revision,
        new=new,
        stable=stable,
        older=tuple(one for one in sets.values() if one is not new and one is not stable),
    )
    traffic = inputs.traffic
    live = None if traffic is None else Live(**msgspec.structs.asdict(traffic))
    return seen.told_apart(roles), live


def _status(status: RolloutStatus) -> RolloutStatus:
    """Without the words. Of the conditions, deciding reads the clock of the progress deadline and the refusals."""
    clock = conditions.find(status.conditions, _PROGRESS)
    kept = [msgspec.structs.replace(clock, message="", last_transition_time="")] if clock is not None else []
    kept += [_refusal(one) for one in status.conditions if one.type in ("InvalidSpec", "InvariantBroken")]
    return msgspec.structs.replace(status, phase="", message="", selector="", conditions=tuple(kept))


def _refusal(condition: Condition) -> Condition:
    return Condition(type=condition.type, status=condition.status, message=condition.message[:300])


def _counts(one: ReplicaSet, seen: Observed) -> bool:
    """Whether deciding can depend on this set: not on an old one that is empty, but for rollback windows."""
    sets = seen.sets
    named = one is sets.new or one is sets.stable or seen.rollout.spec.rollback_window is not None
    return named or bool(one.spec.replicas or one.status.replicas) or scale_down_deadline(one) is not None


def _set(one: ReplicaSet) -> SetSeen:
    meta, status = one.metadata, one.status
    return SetSeen(
        name=meta.name,
        hash=hash_label(one),
        wanted=one.spec.replicas,
        pods=status.replicas,
        ready=status.ready_replicas,
        available=status.available_replicas,
        settled=settled(one),
        created=meta.creation_timestamp,
        deadline=meta.annotation(SCALE_DOWN_DEADLINE),
        proved=was_stable(one),
    )


def _set_again(one: SetSeen) -> ReplicaSet:
    """Two sets are told apart by uid; here a name is as good."""
    return ReplicaSet(
        metadata=ObjectMeta(
            name=one.name,
            uid=one.name,
            generation=1,
            creation_timestamp=one.created,
            labels={HASH_LABEL: one.hash},
            annotations={
                **({SCALE_DOWN_DEADLINE: one.deadline} if one.deadline else {}),
                **({PROVED: "true"} if one.proved else {}),
            }
            or None,
        ),
        spec=ReplicaSetSpec(replicas=one.wanted),
        status=ReplicaSetStatus(
            replicas=one.pods,
            ready_replicas=one.ready,
            available_replicas=one.available,
            observed_generation=1 if one.settled else 0,
        ),
    )


def _of_this_attempt(run: AnalysisRun, seen: Observed) -> bool:
    meta = run.metadata
    return (
        meta.label(HASH_LABEL) == seen.sets.hash
        and meta.annotation(REVISION) == str(seen.sets.revision)
        and not meta.annotation(SUPERSEDED)
    )


def _run(run: AnalysisRun) -> RunSeen:
    return RunSeen(
        name=run.metadata.name,
        phase=run.status.phase,
        message=run.status.message,
        terminate=run.spec.terminate,
        measured=not run.completed and measured(run),
    )


def _run_again(one: RunSeen, inputs: Inputs) -> AnalysisRun:
    """The run with one metric that stands for all of them."""
    good = MetricResult(name="all", measurements=(Measurement(phase="Successful"),))
    return AnalysisRun(
        metadata=ObjectMeta(
            name=one.name,
            labels={HASH_LABEL: inputs.hash},
            annotations={REVISION: str(inputs.revision)},
        ),
        spec=AnalysisRunSpec(metrics=(Metric(name="all"),), terminate=one.terminate),
        status=AnalysisRunStatus(
            phase=one.phase, message=one.message, metric_results=(good,) if one.measured else ()
        ),
    )


def _selects(service: Service) -> str:
    return (service.spec.selector or {}).get(HASH_LABEL, "")


def _traffic(live: Live | None) -> Traffic | None:
    return None if live is None else Traffic(**msgspec.structs.asdict(live))
