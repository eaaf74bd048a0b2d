"""Blue/green: the new revision is brought up beside the active one, proved, and then switched to at once.

`status.blueGreen.activeSelector` is the intent: it is saved before the active Service is switched, so that a
crash between the two goes on instead of asking again (study/argo-rollouts.md 1.6).
"""

from __future__ import annotations

from datetime import timedelta

from rollout.api.meta import pause_seconds
from rollout.api.rollout import BlueGreenStrategy, RolloutAnalysis
from rollout.api.workload import ReplicaSet
from rollout.core import pauses
from rollout.core.desired import Desired
from rollout.core.observed import Observed, available, hash_label, saturated, settled, wanted
from rollout.plan import runs
from rollout.plan.draft import Draft
from rollout.plan.lifecycle import fast_rollback, within_rollback_window
from rollout.plan.sets import abort_delay, bindings, kept, made, retire_older, scale_down_delay
from rollout.plan.steps import overruled
from rollout.traffic.services import selected_hash


def decide(seen: Observed, draft: Draft, strategy: BlueGreenStrategy) -> Desired:
    """The wanted world for a blue/green release; the draft gets pauses, aborts, the switch and the promotion."""
    return _BlueGreen(seen, draft, strategy).decide()


class _BlueGreen:
    def __init__(self, seen: Observed, draft: Draft, strategy: BlueGreenStrategy) -> None:
        self._seen = seen
        self._draft = draft
        self._strategy = strategy
        self._sets = seen.sets
        self._replicas = seen.rollout.replicas
        self._active = selected_hash(seen, strategy.active_service)
        self._preview = selected_hash(seen, strategy.preview_service)
        self._terminate: tuple[str, ...] = runs.stray(seen)

    def decide(self) -> Desired:
        status, sets = self._draft.status, self._sets
        if not status.stable_rs or (sets.stable is None and sets.hash == status.stable_rs):
            desired = self._first()
        elif sets.is_stable:
            desired = self._at_rest()
        elif sets.stable is None:
            desired = self._alone()
        elif status.abort:
            desired = self._back_to_stable()
        elif status.blue_green.active_selector == sets.hash:
            desired = self._switched()
        else:
            desired = self._beside()
        if not self._draft.commit:
            self._draft.set_blue_green(preview_selector=self._preview)
        return desired

    def _first(self) -> Desired:
        """No stable revision yet: the new one is it as soon as all of it is up; then the Services are switched."""
        sets = self._sets
        if saturated(sets.new, self._replicas):
            self._draft.promote(sets.hash, "Initial deploy")
            self._draft.set_blue_green(active_selector=sets.hash)
        return self._world({sets.hash: self._replicas}, kept(sets.new), active="", preview="")

    def _alone(self) -> Desired:
        """Somebody has deleted the stable ReplicaSet: the new one takes over, and still has to be proved."""
        sets, draft, strategy = self._sets, self._draft, self._strategy
        draft.hold = "the stable ReplicaSet is gone: the new one takes all the traffic"
        up = self._able(sets.new)
        if up and draft.status.blue_green.active_selector != sets.hash:
            draft.set_blue_green(active_selector=sets.hash)
            draft.commit = True
        elif self._active == sets.hash and not draft.status.abort and not self._seen.rollout.spec.paused:
            if draft.status.promote_full:
                draft.promote(sets.hash, "Full promotion requested")
            elif self._proved() and not draft.commit:
                draft.set_blue_green(scale_up_preview_check_point=True)
                if self._passed(runs.POST_PROMOTION, strategy.post_promotion_analysis):
                    draft.promote(sets.hash, "Completed blue-green update")
        return self._world({sets.hash: self._replicas}, kept(sets.new), active=up, preview=up)

    def _at_rest(self) -> Desired:
        sets = self._sets
        self._terminate = runs.unfinished(self._seen)
        self._draft.set_blue_green(active_selector=sets.hash)
        replicas, deadlines = self._retired()
        replicas[sets.hash] = self._replicas
        target = self._able(sets.new)
        return self._world(replicas, {**deadlines, **kept(sets.new)}, active=target, preview=target)

    def _back_to_stable(self) -> Desired:
        """Aborted: the active Service names the stable revision again; the new one goes after its delay."""
        sets, stable_hash = self._sets, self._draft.status.stable_rs
        self._terminate = runs.unfinished(self._seen)
        self._draft.set_blue_green(active_selector=stable_hash)
        active = self._able(sets.stable)
        if not active and self._active != stable_hash:
            self._draft.hold = (
                "stable has no available pod: the active Service stays where it is until it has"
            )
        replicas, deadlines = self._retired()
        replicas[stable_hash] = self._replicas
        deadlines |= kept(sets.stable)
        delay = abort_delay(self._strategy.abort_scale_down_delay_seconds)
        preview = self._preview
        if sets.new is not None and delay and self._active == stable_hash:
            gone, when = retire_older(self._draft, (sets.new,), delay=delay)
            deadlines |= when
            replicas |= gone
            if gone:
                preview = active
        if wanted(sets.new) == 0 or preview != sets.hash:
            preview = active
        return self._world(replicas, deadlines, active=active, preview=preview)

    def _beside(self) -> Desired:
        """The new revision runs beside the active one until it is proved."""
        sets, draft, stable_hash = self._sets, self._draft, self._draft.status.stable_rs
        draft.set_blue_green(active_selector=stable_hash)
        paused = self._seen.rollout.spec.paused
        if not paused and fast_rollback(self._seen):
            # The old set is still up: there is nothing to learn about it.
            draft.set_blue_green(active_selector=sets.hash)
            draft.promote(sets.hash, "Fast rollback")
        elif not paused and saturated(sets.new, self._pods_beside()) and self._previewed():
            if self._proved():
                draft.set_blue_green(scale_up_preview_check_point=True)
            if self._cleared() and saturated(sets.new, self._replicas):
                draft.set_blue_green(active_selector=sets.hash)
                draft.set(pause_conditions=(), controller_pause=False)
                draft.commit = True
        replicas, deadlines = self._retired()
        replicas |= {stable_hash: self._replicas, sets.hash: self._pods_beside()}
        deadlines |= {**kept(sets.stable), **kept(sets.new)}
        preview = sets.hash if available(sets.new) > 0 or self._replicas == 0 else ""
        return self._world(replicas, deadlines, active=self._able(sets.stable), preview=preview)

    def _switched(self) -> Desired:
        """The active Service names the new revision; the old one is held up until the switch is proved."""
        sets, draft, stable_hash = self._sets, self._draft, self._draft.status.stable_rs
        if self._active == sets.hash and not self._seen.rollout.spec.paused:
            if draft.status.promote_full:
                draft.promote(sets.hash, "Full promotion requested")
            elif within_rollback_window(self._seen):
                draft.promote(sets.hash, "Rollback within window")
            elif self._passed(runs.POST_PROMOTION, self._strategy.post_promotion_analysis):
                draft.promote(sets.hash, "Completed blue-green update")
        replicas, deadlines = self._retired()
        replicas |= {stable_hash: self._replicas, sets.hash: self._replicas}
        deadlines |= {**kept(sets.stable), **kept(sets.new)}
        target = self._able(sets.new)
        return self._world(replicas, deadlines, active=target, preview=target)

    def _able(self, one: ReplicaSet | None) -> str:
        """The set's hash if it can take all the traffic now, else "" (leave the Service where it is).

        The stable set may take it with fewer pods than it was asked for: some failed on their own.
        """
        is_stable = hash_label(one) == self._draft.status.stable_rs
        some = one is not None and settled(one) and available(one) > 0
        enough = some if is_stable else saturated(one, self._replicas)
        return hash_label(one) if enough or self._replicas == 0 else ""

    def _pods_beside(self) -> int:
        """Pods of the new revision before the switch: the preview's size, full size once it is cleared."""
        preview = self._strategy.preview_replica_count
        return self._replicas if preview is None or self._cleared() else min(preview, self._replicas)

    def _cleared(self) -> bool:
        """Whether proof and person have both said yes (kept in status, so it is asked once)."""
        status = self._draft.status
        return status.promote_full or status.blue_green.scale_up_preview_check_point

    def _previewed(self) -> bool:
        nothing_to_see = not self._strategy.preview_service or self._pods_beside() == 0
        return nothing_to_see or self._preview == self._sets.hash

    def _proved(self) -> bool:
        """Pre-promotion analysis, then the wait for a person or for time."""
        if self._cleared() or within_rollback_window(self._seen):
            return True
        if self._draft.resumed_by_hand():
            # Whichever pause it was: the person has seen the preview and said yes.
            self._draft.unpause()
            return True
        if not self._passed(runs.PRE_PROMOTION, self._strategy.pre_promotion_analysis):
            return False
        return self._waited()

    def _waited(self) -> bool:
        draft = self._draft
        length = pauses.length(self._seen.rollout, pauses.BLUE_GREEN)
        if length == 0:
            return True
        started = draft.paused_for(pauses.BLUE_GREEN)
        if started is None:
            draft.pause(pauses.BLUE_GREEN)
            started = draft.paused_for(pauses.BLUE_GREEN) or draft.now
        if length is None:
            return False
        end = started + timedelta(seconds=pause_seconds(length))
        if draft.now >= end:
            draft.unpause()
            return True
        draft.wake(end)
        return False

    def _passed(self, role: runs.Role, analysis: RolloutAnalysis | None) -> bool:
        """Whether the analysis of this role has passed; it is started, and may abort or pause."""
        if analysis is None:
            return True
        draft, run = self._draft, runs.current(self._seen, role)
        field = "pre_promotion" if role == runs.PRE_PROMOTION else "post_promotion"
        draft.set_blue_green(**{f"{field}_analysis_run_status": runs.told(run)})
        if run is None:
            draft.start.append((role, analysis))
            runs.waiting_for(draft, role)
            return False
        match run.status.phase:
            case "Successful":
                return True
            case "Failed" | "Error":
                kind = (
                    "Blue/green pre-promotion" if role == runs.PRE_PROMOTION else "Blue/green post-promotion"
                )
                draft.abort(runs.abort_cause(kind, run))
                return False
            case "Inconclusive":
                return overruled(draft)
        runs.waiting_for(draft, role)
        return False

    def _retired(self) -> tuple[dict[str, int], dict[str, str | None]]:
        replicas, deadlines = retire_older(
            self._draft,
            self._sets.older,
            delay=scale_down_delay(self._strategy.scale_down_delay_seconds),
            keep=self._strategy.scale_down_delay_revision_limit,
        )
        if not saturated(self._sets.stable, self._replicas):
            replicas = {}
        return replicas, deadlines

    def _world(
        self, replicas: dict[str, int], deadlines: dict[str, str | None], *, active: str, preview: str
    ) -> Desired:
        services = bindings(
            (self._strategy.active_service, active), (self._strategy.preview_service, preview)
        )
        return Desired(
            create=made(self._seen, replicas),
            replicas=replicas,
            deadlines=deadlines,
            services=services,
            terminate=self._terminate,
        )
