"""The invariants I10-I13 of study/reliability.md 8.2 on the server's own state: checked before every harmful write of
ours, and after every write of anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from chaos.faults.pods import ready
from chaos.faults.receipts import object_name
from chaos.plan.choose import floor
from chaos.plan.workloads import owner_name
from rollout.api.chaos import FINALIZER, OPT_IN, RECEIPT, RUN_LABEL, ChaosRun, Receipt
from rollout.api.codec import view
from rollout.api.meta import Key, key_of, metadata, time_of
from rollout.api.resources import (
    BACKEND_TRAFFIC_POLICIES,
    CHAOS_RUNS,
    ENVOY_FILTERS,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    Resource,
)
from rollout.errors import ApiError, InvalidSpec
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Object
from rollout.runtime.wrap import Change
from rollout.sandbox.storage import Storage

MADE = (ENVOY_FILTERS, BACKEND_TRAFFIC_POLICIES, NETWORK_POLICIES)
GRACE = timedelta(seconds=30)
_ORDER = ("Planned", "Injected", "Proved", "Reverted")


class ChaosRules:
    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._receipts: dict[str, Receipt] = {}
        self.broken: list[str] = []
        self.harmed: list[str] = []
        """Pods that our controllers have asked to be removed, by uid, in order."""
        storage.on_write(self._written)

    def assert_kept(self) -> None:
        assert not self.broken, "\n".join(self.broken)

    def assert_clean(self) -> None:
        """I13: nothing of any run that has ended is left."""
        for raw in self._runs():
            if (raw.get("status") or {}).get("phase") == "Completed":
                assert FINALIZER not in (metadata(raw).get("finalizers") or ()), key_of(raw)
        for resource in MADE:
            if self._serves(resource):
                left = [key_of(one) for one in self._storage.list(resource, labels=RUN_LABEL).items]
                assert not left, f"left behind: {left}"

    # --- before a write of ours -------------------------------------------------------------------

    def sending(self, change: Change) -> None:
        if change.dry_run:
            return
        if change.resource == PODS and change.deletes:
            self.harmed.append(change.uid)
            self.broken += self._removal(change)
        if change.resource in MADE and change.verb == "create":
            names = {object_name(one.id) for _, one in self._saved()}
            if not any(change.key.name.startswith(name) for name in names):
                self.broken.append(f"I10: {change.resource} {change.key} is made without a saved receipt")

    def _removal(self, change: Change) -> Iterator[str]:
        found = [(run, one) for run, one in self._saved() if one.victim.uid == change.uid]
        if not found:
            yield f"I10: pod {change.key} is removed, and no saved receipt names it"
            return
        run, receipt = found[-1]
        if not receipt.deadline:
            yield f"I10: the receipt {receipt.id} has no deadline"
        if FINALIZER not in run.metadata.finalizers:
            yield f"I10: pod {change.key} is removed, and the run has no finalizer"
        if receipt.state == "Unverified":
            return  # the last resort
        if receipt.state != "Planned" or run.status.stopping:
            yield f"I10: pod {change.key} is removed for a receipt that is {receipt.state} ({run.status.stopping})"
        namespace = self._storage.get(NAMESPACES, None, change.key.namespace)
        if (metadata(namespace).get("labels") or {}).get(OPT_IN) != "enabled":
            yield f"I12: namespace {change.key.namespace} has not opted in"
        yield from self._blast(run, change)

    def _blast(self, run: ChaosRun, change: Change) -> Iterator[str]:
        try:
            pod = self._storage.get(PODS, change.key.namespace, change.key.name)
        except ApiError:
            return
        if metadata(pod).get("uid") != change.uid or metadata(pod).get("deletionTimestamp"):
            return
        owner = owner_name(pod)
        pods = self._storage.list(PODS, change.key.namespace).items
        others = [one for one in pods if ready(one) and owner_name(one) == owner and one is not pod]
        left = len([one for one in others if metadata(one).get("uid") != change.uid])
        if left < floor(run.spec.limits):
            yield f"I12: taking {change.key} leaves {left} ready pods of {owner}"
        if run.spec.limits.max_pods is not None and len(run.status.victims) > run.spec.limits.max_pods:
            yield f"I12: {len(run.status.victims)} victims, maxPods is {run.spec.limits.max_pods}"

    # --- after a write of anybody -----------------------------------------------------------------

    def _written(self, kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource == CHAOS_RUNS and new is not None:
            self.broken += self._run_written(old, new)
        now = self._clock.now()
        for made in MADE if self._receipts else ():
            if not self._serves(made):
                continue
            for obj in self._storage.list(made, labels=RUN_LABEL).items:
                receipt = self._receipts.get((metadata(obj).get("annotations") or {}).get(RECEIPT, ""))
                deadline = time_of(receipt.deadline) if receipt else None
                if deadline is not None and now > deadline + GRACE:
                    self.broken.append(f"I11: {made} {key_of(obj)} is still there at {now}, past {deadline}")

    def _run_written(self, old: Object | None, new: Object) -> Iterator[str]:
        try:
            after = view(new, ChaosRun)
            before = view(old, ChaosRun) if old is not None else None
        except InvalidSpec:
            return
        self._receipts |= {one.id: one for one in after.status.receipts}
        if before is None or before.metadata.uid != after.metadata.uid:
            return
        key: Key = after.metadata.key
        states = {one.id: one.state for one in after.status.receipts}
        for one in before.status.receipts:
            state = states.get(one.id)
            if state is None:
                yield f"I16: {key}: the receipt {one.id} has vanished"
            elif state in _ORDER and one.state not in _ORDER:
                yield f"I16: {key}: {one.id} goes from {one.state} to {state}"
            elif state in _ORDER and _ORDER.index(state) < _ORDER.index(one.state):
                yield f"I16: {key}: {one.id} goes back from {one.state} to {state}"
        lines = before.status.journal
        if len(after.status.journal) < 200 and after.status.journal[: len(lines)] != lines:
            yield f"I16: {key}: the journal was rewritten"
        if before.completed and (after.status.verdict, after.status.phase) != (
            before.status.verdict,
            before.status.phase,
        ):
            yield f"I16: {key}: the verdict changes after the end"
        if after.completed and not before.completed:
            open_ = [
                one.id for one in after.status.receipts if one.state in {"Planned", "Injected", "Proved"}
            ]
            if open_:
                yield f"I13: {key}: completed with {open_} still at work"

    def _saved(self) -> list[tuple[ChaosRun, Receipt]]:
        runs = [view(raw, ChaosRun) for raw in self._runs()]
        return [(run, one) for run in runs for one in run.status.receipts]

    def _runs(self) -> list[Object]:
        return list(self._storage.list(CHAOS_RUNS).items) if self._serves(CHAOS_RUNS) else []

    def _serves(self, resource: Resource) -> bool:
        return any(one.resource == resource for one in self._storage.resources())
