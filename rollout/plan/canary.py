"""Canary: which pods and which share of the traffic the new revision should have now.

With a router the weight is the traffic, and pods follow (capacity first); without one the share of pods is the
traffic (`replicas.split`). `decide` says what is wanted under the safety rules of reliability.md 8.2; the way
there is `diff`'s business.
"""

from __future__ import annotations

from rollout.api.rollout import (
    CanaryStrategy,
    WeightDestination,
    Weights,
)
from rollout.api.workload import ReplicaSet
from rollout.core.capacity import least_ready, pods_for, surge_and_unavailable
from rollout.core.desired import Desired, Traffic
from rollout.core.observed import Observed, available, hash_label, saturated, settled, wanted
from rollout.core.pauses import INCONCLUSIVE
from rollout.plan import runs
from rollout.plan.draft import Draft
from rollout.plan.lifecycle import within_rollback_window
from rollout.plan.replicas import Count, next_counts, split
from rollout.plan.sets import abort_delay, bindings, kept, made, retire_older, scale_down_delay
from rollout.plan.steps import StepContext, advance
from rollout.traffic.base import Live
from rollout.traffic.services import selected_hash


def decide(seen: Observed, draft: Draft, strategy: CanaryStrategy, live: Live | None) -> Desired:
    """The wanted world for a canary; the draft gets the step index, pauses, aborts and promotions."""
    return _Canary(seen, draft, strategy, live).decide()


class _Canary:
    """One decision. `_live` is None when no router moves the traffic."""

    def __init__(self, seen: Observed, draft: Draft, strategy: CanaryStrategy, live: Live | None) -> None:
        self._seen = seen
        self._draft = draft
        self._strategy = strategy
        self._live = live
        self._sets = seen.sets
        self._replicas = seen.rollout.replicas
        self._surge, self._unavailable = surge_and_unavailable(seen.rollout)
        self._terminate: tuple[str, ...] = runs.stray(seen)
        self._retire: tuple[str, ...] = ()

    def decide(self) -> Desired:
        desired = self._wanted()
        self._tell_weights(desired)
        return desired

    def _wanted(self) -> Desired:
        status, sets = self._draft.status, self._sets
        if not status.stable_rs or (sets.stable is None and sets.hash == status.stable_rs):
            return self._first()
        if sets.is_stable:
            return self._at_rest()
        if sets.stable is None:
            # Somebody has deleted it. The canary takes over, and still has to be proved.
            self._draft.hold = "the stable ReplicaSet is gone: the new one takes all the traffic"
        elif status.abort:
            return self._back_to_stable()
        return self._forward()

    def _first(self) -> Desired:
        """No stable revision yet: the new one gets everything as soon as it is up."""
        sets = self._sets
        up = saturated(sets.new, self._replicas)
        if up and self._bound(sets.hash):
            self._draft.promote(sets.hash, "Initial deploy")
        older = {hash_label(one): 0 for one in sets.older if one.spec.replicas > 0} if up else {}
        target = sets.hash if up else ""
        weight = 0 if up or self._live is None else self._live.high
        return self._world(
            {**older, sets.hash: self._replicas}, kept(sets.new), weight=weight, canary=target, stable=target
        )

    def _at_rest(self) -> Desired:
        """The wanted revision is stable: it takes everything, older sets go when their time has come."""
        sets, pod_hash = self._sets, self._sets.hash
        self._terminate = runs.unfinished(self._seen)
        deadlines = kept(sets.new)
        if self._live is None:
            replicas = self._shares(0 if wanted(sets.new) == 0 and self._replicas == 0 else 100)
        else:
            replicas, older_deadlines = self._retired(sets.older)
            replicas[pod_hash] = self._replicas
            deadlines |= older_deadlines
        target = pod_hash if self._can_take_all(sets.new) else ""
        return self._world(replicas, deadlines, weight=self._weight_home(), canary=target, stable=target)

    def _back_to_stable(self) -> Desired:
        """Aborted: traffic home first, seen to be there; the canary goes after its delay."""
        sets, stable_hash = self._sets, self._draft.status.stable_rs
        self._terminate = runs.unfinished(self._seen)
        if self._live is None:
            home = stable_hash if self._has_pods(sets.stable) else ""
            return self._world(self._shares(0), {}, weight=0, canary=home, stable=home)
        weight = self._weight_home()
        if weight:
            self._draft.hold = "stable has no available pod: traffic stays where it is until it has"
        replicas, deadlines = self._retired(sets.older)
        replicas[stable_hash] = self._replicas
        deadlines |= kept(sets.stable)
        canary_target = self._live.canary_hash
        delay = abort_delay(self._strategy.abort_scale_down_delay_seconds)
        if not self._live.at(0):
            deadlines |= kept(sets.new)  # its time begins when the traffic has left it
        if sets.new is not None and delay is not None and self._live.at(0):
            gone, when = retire_older(self._draft, (sets.new,), delay=delay)
            deadlines |= when
            if gone and self._has_pods(sets.stable):  # else its pods are the last that there are
                canary_target = stable_hash
                replicas |= gone
        if canary_target != sets.hash or wanted(sets.new) == 0:
            canary_target = stable_hash
        stable_target = stable_hash
        if not self._can_take_all(sets.stable):
            canary_target = stable_target = ""
        return self._world(replicas, deadlines, weight=weight, canary=canary_target, stable=stable_target)

    def _weight_home(self) -> int:
        """Weight 0, unless the stable set cannot take the traffic: then what it is."""
        if self._live is None or self._can_take_all(self._sets.stable):
            return 0
        return self._live.high

    def _forward(self) -> Desired:
        """On the way: through the steps, then to the end, then promote."""
        ctx = StepContext(
            seen=self._seen,
            draft=self._draft,
            live=self._live,
            steps=self._strategy.steps,
            index=self._index(),
        )
        if self._draft.status.abort:
            return self._at_step(ctx)  # nothing is left to go back to
        asked = self._background(ctx.index)
        if not self._seen.rollout.spec.paused and not self._draft.commit and not asked:
            if self._draft.status.promote_full:
                ctx.index = len(ctx.steps)
                self._draft.set(current_step_index=ctx.index if ctx.steps else None)
            else:
                advance(ctx)
            if ctx.index >= len(ctx.steps) and not self._draft.commit:
                self._finish(ctx)
        return self._at_step(ctx)

    def _index(self) -> int:
        steps = len(self._strategy.steps)
        index = self._draft.status.current_step_index
        return min(steps, index if index is not None else 0)

    def _at_step(self, ctx: StepContext) -> Desired:
        sets, stable_hash = self._sets, self._draft.status.stable_rs
        weight = ctx.weight()
        up = self._has_pods(sets.new)
        home = stable_hash if self._has_pods(sets.stable) else ""
        if self._live is None:
            # With all pods on the new revision there are no others that a Service could name.
            enough = max(1, self._replicas - self._unavailable)
            over = weight >= 100 and available(sets.new) >= enough
            return self._world(
                self._shares(weight),
                kept(sets.new),
                weight=weight,
                canary=sets.hash if up and split(weight, self._replicas, self._surge)[0] else home,
                stable=sets.hash if over else home,
            )
        replicas, deadlines = self._retired(sets.older)
        replicas |= {stable_hash: self._replicas, sets.hash: ctx.canary_pods()}
        deadlines |= {**kept(sets.stable), **kept(sets.new)}
        safe = self._safe_weight(weight)
        if not (up and (self._live.canary_hash == sets.hash or safe == 0)):
            canary_target = home if safe == 0 else ""
        else:
            canary_target = sets.hash
        return self._world(replicas, deadlines, weight=safe, canary=canary_target, stable=home)

    def _safe_weight(self, weight: int) -> int:
        """The weight that the pods can carry now: raised only when they are there, lowered at once."""
        assert self._live is not None
        sets, live = self._sets, self._live
        ready = available(sets.new)
        if self._replicas == 0:
            return weight if live.canary_hash == sets.hash else 0
        if live.canary_hash != sets.hash or ready == 0:
            return self._weight_home()
        if weight <= live.high:
            return weight if self._can_take(sets.stable, 100 - weight) else live.high
        enough = max(pods_for(weight, self._replicas) if weight < 100 else self._replicas, 1)
        need = least_ready(weight, self._replicas, self._unavailable)
        if saturated(sets.new, enough) or (saturated(sets.new, wanted(sets.new)) and ready >= need):
            return weight
        return live.high

    def _finish(self, ctx: StepContext) -> None:
        """After the last step: everything is on the new revision, and the background analysis agrees."""
        sets, draft = self._sets, self._draft
        if not saturated(sets.new, self._replicas):
            return
        if self._live is not None and not (self._live.at(100) and self._live.canary_hash == sets.hash):
            return
        if draft.status.promote_full:
            draft.promote(sets.hash, "Full promotion requested")
        elif within_rollback_window(self._seen):
            draft.promote(sets.hash, "Rollback within window")
        elif self._background_agrees():
            draft.promote(sets.hash, f"Completed all {len(ctx.steps)} canary steps")

    def _background(self, index: int) -> bool:
        """Start the background analysis when its step has come; abort or ask when it says so.

        True while a person is asked: then no step is completed.
        """
        analysis, draft = self._strategy.analysis, self._draft
        if analysis is None or draft.status.promote_full or within_rollback_window(self._seen):
            return False
        run = runs.current(self._seen, runs.BACKGROUND)
        if run is None:
            if (
                index >= min(analysis.starting_step or 0, len(self._strategy.steps))
                and self._sets.new is not None
            ):
                draft.start.append((runs.BACKGROUND, analysis))
            return False
        told_before = draft.status.canary.current_background_analysis_run_status
        draft.set_canary(current_background_analysis_run_status=runs.told(run))
        if run.status.phase in ("Failed", "Error"):
            draft.abort(runs.abort_cause("Background", run))
            return False
        if run.status.phase != "Inconclusive":
            return False
        if told_before != runs.told(run):
            if draft.paused_for(INCONCLUSIVE) is None:
                draft.pause(INCONCLUSIVE)
            return True
        if draft.status.pause_conditions:
            return True
        # A person has said to go on. That is not evidence: measure anew.
        draft.unpause()
        draft.set_canary(current_background_analysis_run_status=None)
        self._retire = (run.metadata.name,)
        return False

    def _background_agrees(self) -> bool:
        """Whether the background analysis has ended Successful; it is told to end once it has measured."""
        if self._strategy.analysis is None:
            return True
        run = runs.current(self._seen, runs.BACKGROUND)
        if run is None or not run.completed:
            runs.waiting_for(self._draft, runs.BACKGROUND)
            if run is not None and runs.measured(run) and not run.spec.terminate:
                self._terminate = (*self._terminate, run.metadata.name)
            return False
        return run.status.phase == "Successful"

    def _shares(self, weight: int) -> dict[str, int]:
        """Next replica counts of all sets, when the share of pods is the traffic."""
        sets = self._sets
        canary, stable = split(weight, self._replicas, self._surge)
        if weight >= 100:
            canary, stable = self._replicas, 0
        counts: dict[str, Count] = {}
        if sets.stable is not None and not sets.is_stable:
            counts[hash_label(sets.stable)] = _count(sets.stable, stable)
        counts[sets.hash] = _count(sets.new, canary)
        older = tuple(hash_label(one) for one in sets.older)
        for one in sets.older:
            counts[hash_label(one)] = _count(one, 0)
        return next_counts(
            counts, replicas=self._replicas, surge=self._surge, unavailable=self._unavailable, older=older
        )

    def _retired(self, older: tuple[ReplicaSet, ...]) -> tuple[dict[str, int], dict[str, str | None]]:
        """Older sets leave after the delay, as long as the stable set can do without them."""
        replicas, deadlines = retire_older(
            self._draft,
            older,
            delay=scale_down_delay(self._strategy.scale_down_delay_seconds),
            keep=self._strategy.scale_down_delay_revision_limit,
        )
        if available(self._sets.stable) < self._replicas - self._unavailable:
            replicas = {}
        return replicas, deadlines

    def _can_take(self, one: ReplicaSet | None, weight: int) -> bool:
        """Whether a stable set may be given `weight`: enough pods, or enough asked for and some there."""
        if self._replicas == 0:
            return True
        if one is None or not settled(one):
            return False  # its count of pods may be from before it was last scaled
        need = least_ready(weight, self._replicas, self._unavailable)
        return available(one) >= need or (available(one) > 0 and wanted(one) >= need)

    def _has_pods(self, one: ReplicaSet | None) -> bool:
        """Whether a Service or destination may be bound to this set."""
        return one is not None and (self._replicas == 0 or (settled(one) and available(one) > 0))

    def _can_take_all(self, one: ReplicaSet | None) -> bool:
        return self._can_take(one, 100)

    def _bound(self, pod_hash: str) -> bool:
        """Whether every destination that there is selects `pod_hash`."""
        names = [name for name in (self._strategy.canary_service, self._strategy.stable_service) if name]
        if any(selected_hash(self._seen, name) != pod_hash for name in names):
            return False
        return self._live is None or (self._live.canary_hash == self._live.stable_hash == pod_hash)

    def _world(
        self,
        replicas: dict[str, int],
        deadlines: dict[str, str | None],
        *,
        weight: int,
        canary: str,
        stable: str,
    ) -> Desired:
        services = bindings((self._strategy.canary_service, canary), (self._strategy.stable_service, stable))
        return Desired(
            create=made(self._seen, replicas),
            replicas=replicas,
            deadlines=deadlines,
            services=services,
            traffic=Traffic(weight, canary, stable) if self._live is not None else None,
            terminate=self._terminate,
            retire=self._retire,
        )

    def _tell_weights(self, desired: Desired) -> None:
        """Put the live weights into status, as outsiders read them; `verified` says they are as wanted."""
        if self._live is None or desired.traffic is None:
            self._draft.set_canary(weights=None)
            return
        canary, stable = self._live.high, 100 - self._live.high
        self._draft.set_canary(
            weights=Weights(
                canary=WeightDestination(canary, self._strategy.canary_service, self._live.canary_hash),
                stable=WeightDestination(stable, self._strategy.stable_service, self._live.stable_hash),
                verified=self._live.at(desired.traffic.weight),
            )
        )


def _count(one: ReplicaSet | None, target: int) -> Count:
    return Count(spec=wanted(one), available=available(one), target=target)
