"""Why a run has to end before its time. Somebody's word comes first, whatever else happens."""

from __future__ import annotations

import hashlib
import json

import msgspec

from chaos.observed import Observed
from chaos.plan.draft import Draft, moment
from chaos.plan.probes import broken, probe_named, stop_condition, stop_unwatched
from chaos.plan.switch import engaged
from rollout.api.chaos import ChaosRunSpec, ProbeResult
from rollout.api.codec import plain
from rollout.api.meta import duration

_LATER = {"abort": False, "ttl_seconds_after_finished": None, "template_ref": None}
_SAMPLED = frozenset({"Continuous", "During"})


def hash_of(spec: ChaosRunSpec) -> str:
    """Of all that the experiment is; what may be said later (abort, time to live) is left out."""
    whole = json.dumps(plain(msgspec.structs.replace(spec, **_LATER)), sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def word(seen: Observed) -> str:
    """Somebody's word that the run is to end, as "Cause: words"; "" when nobody has said so."""
    run = seen.run
    if run.metadata.deletion_timestamp:
        return "Deleted: the ChaosRun was deleted"
    if run.spec.abort:
        return "Aborted: spec.abort was set"
    if said := engaged(seen.switches):
        return f"Switch: {said}"
    return ""


def reason(draft: Draft) -> str:
    """Why a run that has begun is to be stopped now, as "Cause: words"; "" while it is not."""
    seen, status = draft.seen, draft.status
    if said := word(seen):
        return said
    if status.spec_hash and status.spec_hash != hash_of(seen.run.spec):
        return "Changed: the spec is not the one that the run was started with"
    if said := stop_condition(seen):
        return said
    if status.phase != "Injecting":
        return ""
    if said := stop_unwatched(seen):
        return said
    return next((said for one in status.probes if (said := _fatal(draft, one))), "")


def _fatal(draft: Draft, result: ProbeResult) -> str:
    """Why a sampled probe that is to end the run at once can no more hold."""
    if result.mode not in _SAMPLED:
        return ""
    probe = probe_named(draft.spec, result.name)
    if probe is None or probe.failure_policy != "Abort":
        return ""
    ends = [moment(one.deadline or None, draft.now) for one in draft.status.receipts]
    left = max([0.0, *((end - draft.now).total_seconds() for end in ends)])
    to_come = int(left / max(0.1, duration(probe.interval))) + 1
    said = broken(probe, result, to_come=to_come)
    detail = f" ({result.message})" if result.message else ""
    return f"ProbeFailed: probe {result.name}: {said}{detail}" if said else ""
