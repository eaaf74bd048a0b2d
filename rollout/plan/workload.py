"""What a plan does about the workload that the Rollout's pods are read from (`spec.workloadRef`).

The workload's own pods count as nothing else: not as the Rollout's, not as capacity for any weight. They are taken
away, if `scaleDown` asks for it, only as far as available pods of the Rollout's serving revision stand in for them.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollout.api.rollout import WORKLOAD_GENERATION, RolloutStatus
from rollout.core.actions import ScaleWorkload
from rollout.core.observed import Observed, available, settled
from rollout.plan.draft import Draft


def generation(seen: Observed) -> str:
    """The workload's generation as status and annotation keep it: the last one seen, "" without a workloadRef."""
    if seen.workload is not None:
        return str(seen.workload.generation)
    return seen.rollout.status.workload_observed_generation if seen.rollout.spec.workload_ref else ""


def marks(seen: Observed) -> dict[str, str]:
    """What the Rollout's annotations should say of the workload and do not yet."""
    if seen.workload is None or seen.rollout.metadata.annotation(WORKLOAD_GENERATION) == generation(seen):
        return {}
    return {WORKLOAD_GENERATION: generation(seen)}


def default_replicas(seen: Observed) -> int:
    """The pods of a Rollout that does not say how many it wants: as many as its workload has, at least one.

    One pod, the API's default, in the place of many would be an outage as soon as the many are scaled down.
    """
    return max(1, seen.workload.replicas if seen.workload is not None else 1)


def scale_down(seen: Observed, draft: Draft) -> Iterator[ScaleWorkload]:
    """Take the workload's own pods away, as far as the Rollout's pods stand in for them.

    Nothing is taken from a workload while the Rollout is aborted, Degraded, paused by hand or wants no pods, and the
    last pod only goes when the Rollout is Healthy.
    """
    ref, workload, wanted = seen.rollout.spec.workload_ref, seen.workload, seen.rollout.spec.replicas
    mode, status = ref.scale_down if ref is not None else None, draft.status
    if mode in (None, "never") or workload is None or workload.deleting or not wanted:
        return
    if status.abort or status.phase == "Degraded" or seen.rollout.spec.paused:
        return
    left = max(0, wanted - _standing_in(seen, status))
    if status.phase != "Healthy":
        left = max(1, left) if mode == "progressively" else workload.replicas
    if left < workload.replicas:
        draft.event(
            "ScalingWorkload",
            f"Scaled down {workload.kind} {workload.name} from {workload.replicas} to {left}",
        )
        yield ScaleWorkload(
            resource=workload.resource,
            name=workload.name,
            resource_version=workload.resource_version,
            replicas=left,
        )


def _standing_in(seen: Observed, status: RolloutStatus) -> int:
    """Available pods of the revision that serves: the stable one, or the first one while it comes up."""
    serving = seen.sets.by_hash(status.stable_rs) if status.stable_rs else seen.sets.new
    return available(serving) if serving is not None and settled(serving) else 0
