"""podDelete: pods go away, by eviction, by deletion, or without any grace. Nothing is left to undo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaos.actions import Action, RemovePod
from chaos.faults import receipts
from chaos.faults.base import Context, Obstacle, Plain, Refusal
from chaos.faults.pods import alive, condition, pod_of, terminating
from chaos.faults.targets import pods_meant
from chaos.observed import World
from rollout.api.chaos import ChaosRun, Fault, PodDelete, Receipt, Victim
from rollout.api.codec import view
from rollout.api.meta import LabelSelector, Object, key_of, metadata
from rollout.api.resources import PDBS, PODS


class PodDeletion(Plain):
    def victims(self, context: Context, pods: Sequence[Victim], world: World) -> Sequence[Victim]:
        return pods

    def receipt(self, context: Context, victim: Victim, world: World) -> Receipt | Refusal:
        pod = pod_of(victim, world)
        if pod is None:
            return Refusal(f"pod {victim.namespace}/{victim.name} (uid {victim.uid}) is not there any more")
        if not alive(pod):
            return Refusal(f"pod {victim.namespace}/{victim.name} is ending already")
        return receipts.receipt(context, victim, {})

    def inject(self, receipt: Receipt, context: Context, world: World) -> tuple[Action, ...]:
        pod = pod_of(receipt.victim, world)
        if pod is None or terminating(pod):
            return ()
        how = context.fault.pod_delete or PodDelete()
        return (
            RemovePod(
                receipt=receipt.id,
                namespace=receipt.victim.namespace,
                name=receipt.victim.name,
                uid=receipt.victim.uid,
                evict=how.method == "evict",
                grace_seconds=0 if how.method == "force" else how.grace_period_seconds,
            ),
        )

    def proof(self, receipt: Receipt, world: World) -> str:
        pod = pod_of(receipt.victim, world)
        if pod is None:
            return receipt.proof or self.gone(receipt, world)
        if not terminating(pod):
            return ""
        reason = condition(pod, "DisruptionTarget").get("reason") or "deleted"
        since = metadata(pod)["deletionTimestamp"]
        return f"pod {receipt.victim.name} (uid {receipt.victim.uid}) is being removed ({reason}, {since})"

    def revert(self, receipt: Receipt, world: World) -> tuple[Action, ...]:
        return ()

    def gone(self, receipt: Receipt, world: World) -> str:
        if not world.serves(PODS) or pod_of(receipt.victim, world) is not None:
            return ""
        return f"pod {receipt.victim.name} (uid {receipt.victim.uid}) has gone"

    def obstacles(self, fault: Fault, run: ChaosRun, world: World) -> tuple[Obstacle, ...]:
        if (fault.pod_delete or PodDelete()).method != "evict":
            return ()
        guards = {name: text for pod in pods_meant(fault, run, world) for name, text in _guards(pod, world)}
        instead = (
            "wait until the budget allows one, scale up, or method: delete, which does not ask the budget"
        )
        return tuple(Obstacle(fault.name, text, instead) for text in guards.values())


def _guards(pod: Object, world: World) -> list[tuple[str, str]]:
    """The disruption budgets over this pod that allow nothing now. One pod in two budgets can never be evicted."""
    namespace, labels = key_of(pod).namespace, metadata(pod).get("labels")
    over = [pdb for pdb in world.of(PDBS, namespace) if _covers(pdb, labels)]
    names = ", ".join(sorted(key_of(pdb).name for pdb in over))
    if len(over) > 1:
        return [
            (names, f"pods are under more than one PodDisruptionBudget ({names}): eviction is always refused")
        ]
    blocked = [pdb for pdb in over if not (pdb.get("status") or {}).get("disruptionsAllowed")]
    return [(names, f"PodDisruptionBudget {names} allows no disruption now") for _ in blocked]


def _covers(pdb: Object, labels: Mapping[str, str] | None) -> bool:
    # policy/v1: an empty selector selects every pod of the namespace, an absent one none.
    selector = (pdb.get("spec") or {}).get("selector")
    return selector is not None and view(selector, LabelSelector).matches(labels)
