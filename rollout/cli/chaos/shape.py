"""One ChaosRun in short: the rows of `chaos list`, the header of `chaos get`, and the documented JSON. Pure.

The fields are the schema that docs/cli.md documents: names are only ever added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.api.chaos import FAULT_KINDS, ChaosRun, ChaosRunStatus, Fault, ProbeResult, Receipt, Target
from rollout.api.codec import plain, view
from rollout.api.meta import View
from rollout.errors import InvalidSpec

SCHEMA_VERSION = 1
Object = Mapping[str, Any]


class FaultLine(View, frozen=True, omit_defaults=False):
    """One fault: how many victims it has, and how far they are. `proofs` are one for each kind of proof that was seen."""

    name: str
    kind: str
    step: int
    victims: int
    injected: int
    proved: int
    undone: int
    unverified: int
    refused: int
    proofs: tuple[str, ...]
    first_injected_at: str
    last_reverted_at: str


class ProbeLine(View, frozen=True, omit_defaults=False):
    """One probe. `ratio` is good samples by all samples, None while there is none."""

    name: str
    mode: str
    phase: str
    good: int
    bad: int
    errors: int
    ratio: float | None
    worst_streak: int
    message: str


class JournalLine(View, frozen=True, omit_defaults=False):
    """What happened, when, and about what."""

    at: str
    what: str
    message: str


class RunView(View, frozen=True, omit_defaults=False):
    """A ChaosRun as `-o json` tells it. Times are RFC 3339; "" where there is none."""

    schema_version: int
    namespace: str
    name: str
    phase: str
    verdict: str
    message: str
    stopping: str
    target: str
    dry_run: str
    seed: int | None
    requested_by: str
    created_at: str
    started_at: str
    injected_at: str
    ended_at: str
    completed_at: str
    recovery_seconds: float | None
    victims: tuple[str, ...]
    faults: tuple[FaultLine, ...]
    probes: tuple[ProbeLine, ...]
    preflight: tuple[str, ...]
    journal: tuple[JournalLine, ...]


def run_of(raw: Object) -> ChaosRun:
    """The view of a ChaosRun as it came; one that cannot be read keeps its name and says so."""
    try:
        return view(raw, ChaosRun)
    except InvalidSpec as error:
        bare = view({"metadata": raw.get("metadata") or {}}, ChaosRun)
        status = ChaosRunStatus(phase="Completed", verdict="Error", message=f"cannot be read: {error}")
        return msgspec.structs.replace(bare, status=status)


def shape(run: ChaosRun) -> RunView:
    """Everything that the run's own object tells."""
    status = run.status
    return RunView(
        schema_version=SCHEMA_VERSION,
        namespace=run.metadata.namespace,
        name=run.metadata.name,
        phase=status.phase or "Pending",
        verdict=status.verdict,
        message=status.message,
        stopping=status.stopping,
        target=targets_text(run),
        dry_run=run.spec.dry_run,
        seed=status.seed,
        requested_by=status.requested_by,
        created_at=run.metadata.creation_timestamp,
        started_at=status.started_at or "",
        injected_at=status.injected_at or "",
        ended_at=status.ended_at or "",
        completed_at=status.completed_at or "",
        recovery_seconds=status.recovery.seconds if status.recovery else None,
        victims=tuple(f"{one.kind} {one.namespace}/{one.name}" for one in status.victims),
        faults=tuple(
            _fault_line(fault, index, status.receipts)
            for index, step in enumerate(run.spec.steps)
            for fault in step.faults
        ),
        probes=_probe_lines(run),
        preflight=status.preflight,
        journal=tuple(JournalLine(one.at, one.what, one.message) for one in status.journal),
    )


def went_well(one: RunView) -> bool:
    """Whether a completed run is good news. A dry run can prove nothing: it went well when nothing was against it."""
    if not one.dry_run:
        return one.verdict == "Successful"
    probes = one.probes if one.dry_run == "Probes" else ()
    unhurt = one.verdict in {"Successful", "Inconclusive"} and not one.stopping
    return unhurt and all(probe.phase == "Successful" for probe in probes)


def undone(one: RunView) -> bool:
    """Whether every fault of a completed run was shown to be gone."""
    return not any(fault.unverified for fault in one.faults)


def kind_of(fault: Fault) -> str:
    """The wire name of the fault's kind; "" when it has none."""
    found = plain(fault)
    return next((kind for kind in FAULT_KINDS if kind in found), "")


def targets_text(run: ChaosRun) -> str:
    """Whom the run is about; fault by fault where these have targets of their own."""
    faults = [fault for step in run.spec.steps for fault in step.faults]
    said = {one.name: target_text(one.target or run.spec.target, run.metadata.namespace) for one in faults}
    texts = set(said.values()) or {target_text(run.spec.target, run.metadata.namespace)}
    if len(texts) == 1:
        return texts.pop()
    return "; ".join(f"{name}: {text}" for name, text in said.items())


def target_text(target: Target, namespace: str) -> str:
    """`canary pods of Rollout web, 25 %` and the like."""
    what = []
    if (ref := target.workload_ref) is not None:
        role = "" if ref.role == "all" else f"{ref.role} "
        what.append(f"{role}pods of {ref.kind} {ref.name}")
    if target.selector is not None:
        labels = ",".join(f"{key}={value}" for key, value in (target.selector.match_labels or {}).items())
        terms = [f"{one.key} {one.operator}" for one in target.selector.match_expressions or ()]
        what.append("pods with " + ", ".join([*filter(None, [labels]), *terms]))
    if target.pod_names:
        what.append(f"pods {', '.join(target.pod_names)}")
    share = f"{target.percent} %" if target.percent is not None else f"{target.count or 1} of them"
    where = f" in {target.namespace}" if target.namespace and target.namespace != namespace else ""
    return f"{' and '.join(what) or 'nothing'}{where}, {share}"


def _fault_line(fault: Fault, step: int, receipts: tuple[Receipt, ...]) -> FaultLine:
    own = [one for one in receipts if one.fault == fault.name and one.step == step]
    done = {"Injected", "Proved", "Reverted", "Unverified"}
    return FaultLine(
        name=fault.name,
        kind=kind_of(fault),
        step=step,
        victims=len(own),
        injected=sum(one.injected_at is not None or one.state in done for one in own),
        proved=sum(bool(one.proof) for one in own),
        undone=sum(one.state == "Reverted" for one in own),
        unverified=sum(one.state == "Unverified" for one in own),
        refused=sum(one.state == "Refused" for one in own),
        proofs=tuple(dict.fromkeys(one.proof for one in own if one.proof)),
        first_injected_at=min((one.injected_at for one in own if one.injected_at), default=""),
        last_reverted_at=max((one.reverted_at for one in own if one.reverted_at), default=""),
    )


def _probe_lines(run: ChaosRun) -> tuple[ProbeLine, ...]:
    """One line for each result (an Edge probe has two: before and after), and for each probe without one."""
    lines = []
    for probe in run.spec.probes:
        results = [one for one in run.status.probes if one.name == probe.name]
        lines += [_probe_line(one) for one in results or (ProbeResult(name=probe.name, mode=probe.mode),)]
    return tuple(lines)


def _probe_line(result: ProbeResult) -> ProbeLine:
    return ProbeLine(
        name=result.name,
        mode=result.mode,
        phase=result.phase,
        good=result.good,
        bad=result.bad,
        errors=result.errors,
        ratio=result.ratio,
        worst_streak=result.worst_streak,
        message=result.message,
    )
