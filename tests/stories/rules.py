"""The invariants of study/reliability.md 8.2, checked on the server's own state after every write of anybody.

I1-I5 compare pictures around each write (`rollout.core.invariants`); the others follow each Rollout's history. A
broken rule is kept with the write that broke it, and fails the story at its next look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from rollout.api.analysis import COMPLETED, AnalysisRun
from rollout.api.codec import view
from rollout.api.meta import Key, key_of, metadata, pause_seconds
from rollout.api.resources import (
    ANALYSIS_RUNS,
    DECISION_RECORDS,
    DESTINATION_RULES,
    HTTP_ROUTES,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.api.rollout import HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE, Rollout, WorkloadRef
from rollout.api.workload import ReplicaSet, Service
from rollout.core.invariants import Picture, Version, violations
from rollout.core.observed import Observed, hash_label
from rollout.core.pauses import CANARY_STEP, INCONCLUSIVE
from rollout.core.references import references
from rollout.core.workload import RESOURCES, filled, ref_of, remembered
from rollout.errors import ApiError, InvalidSpec
from rollout.plan import safety
from rollout.plan.references import route_keys, router_for
from rollout.plan.runs import RUN_TYPE, STEP_INDEX, SUPERSEDED
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Object
from rollout.sandbox.storage import Storage
from rollout.traffic.base import Live
from rollout.traffic.services import selected_hash
from tests.stories.records import Records

_NEVER = datetime(2026, 1, 1, tzinfo=UTC)  # the rules ask for no time
_ROUTES = (VIRTUAL_SERVICES, DESTINATION_RULES, HTTP_ROUTES)
_WATCHED = (ROLLOUTS, REPLICA_SETS, SERVICES, *_ROUTES, ANALYSIS_RUNS)


class _Past(msgspec.Struct):
    """What is remembered of one Rollout between writes."""

    picture: Picture | None = None
    exact: Picture | None = None
    rollout: Rollout | None = None
    live: Live | None = None
    home: bool = False
    home_at: datetime | None = None
    stable_once: set[str] = set()
    ready: dict[str, list[tuple[float, int]]] = {}
    promotes: int = 0
    paused_at: datetime | None = None
    skipped: set[tuple[str, str, str]] = set()


class Rules:
    """`alone` says that one controller runs: a second one with old caches may tell the same thing again."""

    def __init__(self, storage: Storage, clock: Clock, *, alone: bool = True) -> None:
        self._storage = storage
        self._clock = clock
        self._alone = alone
        self._past: dict[Key, _Past] = {}
        self.records = Records(alone=alone)
        self.broken: list[str] = []
        self.overruled: set[str] = set()
        """AnalysisRuns that a person has overruled in the story (promoted past an inconclusive gate)."""
        self.lag = 0.2
        """Seconds for which our controllers may not know that a pod has failed."""
        self.slack = 0.001
        """Seconds by which a pause or delay may seem too short: our clock and the one that waits may not agree."""
        self.by_hand = False
        """The next writes are a person's, who may break what our own writes must not."""
        storage.on_write(self._written)

    def assert_kept(self) -> None:
        assert not self.broken, "\n".join(self.broken)

    def promoted(self, raw: Object) -> None:
        """A person says to go on with what this Rollout is at: told before the patch is made."""
        rollout = view(raw, Rollout)
        past = self._past.setdefault(rollout.metadata.key, _Past())
        status = rollout.status
        canary = rollout.spec.strategy.canary
        if status.pause_conditions or (canary and (status.current_step_index or 0) < len(canary.steps)):
            past.promotes += 1
        unpaused = not status.pause_conditions
        if unpaused or any(one.reason == INCONCLUSIVE for one in status.pause_conditions):
            index = str(status.current_step_index) if status.current_step_index is not None else ""
            past.skipped |= {(status.current_pod_hash, "Step", index)}
        if not unpaused:
            past.skipped |= {
                (status.current_pod_hash, role, "") for role in ("PrePromotion", "PostPromotion")
            }

    def _written(self, kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        what = f"{kind} {resource} {key_of(new or old or {})} at version {self._storage.resource_version}"
        if resource == DECISION_RECORDS and not self.by_hand:
            found = self.records.written(key_of(new or old or {}), old, new)
            self.broken += [f"{rule} ({what})" for rule in found]
        if resource not in _WATCHED:
            return
        if resource == REPLICA_SETS and old is None and new is not None and not self.by_hand:
            owners = metadata(new).get("ownerReferences") or ()
            for name in [one["name"] for one in owners if one["kind"] == ROLLOUTS.kind]:
                made = self.records.made(Key(key_of(new).namespace, name), new)
                self.broken += [f"{rule} ({what})" for rule in made]
        for obj in self._storage.list(ROLLOUTS).items:
            try:
                found = [f"{rule} ({what})" for rule in self._look(obj)]
            except (InvalidSpec, ApiError):
                continue  # an undecodable Rollout has nothing to check
            self.broken += found

    def _look(self, raw: Object) -> Iterator[str]:
        rollout = view(raw, Rollout)
        past = self._past.setdefault(rollout.metadata.key, _Past())
        seen = self._observe(raw, rollout)
        router = router_for(rollout)
        live = None
        if router is not None and not router.problems(seen):
            live = router.live(seen)
        exact = safety.observe(seen, live)
        picture = self._lenient(exact, past)
        if past.picture is not None and past.exact is not None and not self.by_hand:
            yield from (rule for rule in violations(past.picture, picture) if not rule.startswith("I3"))
            yield from (rule for rule in violations(past.exact, exact) if rule.startswith("I3"))
        yield from self._home_and_kept(seen, live, past)
        yield from self._recorded_first(seen, live, past)
        yield from self._waits(rollout, past)
        yield from self._proved(seen, past)
        yield from self._one_run_each(seen)
        yield from self._steps_rise(rollout, past)
        if past.rollout is not None and (
            past.rollout.status.current_pod_hash != rollout.status.current_pod_hash
            or past.rollout.status.current_step_hash != rollout.status.current_step_hash
            or (past.rollout.status.aborted_at and not rollout.status.aborted_at)
        ):
            past.skipped.clear()
        past.picture, past.exact, past.rollout, past.live = picture, exact, rollout, live

    def _lenient(self, picture: Picture, past: _Past) -> Picture:
        """The picture with the pods that were ready a moment ago: nobody can know of a failure before it is told."""
        now = self._clock.monotonic()
        versions = {}
        for pod_hash, version in picture.versions.items():
            known = [(at, n) for at, n in past.ready.get(pod_hash, ()) if at >= now - self.lag]
            past.ready[pod_hash] = [*known, (now, version.ready)]
            versions[pod_hash] = Version(version.spec, max([version.ready, *(n for _, n in known)]))
        return msgspec.structs.replace(picture, versions=versions)

    def _observe(self, raw: Object, rollout: Rollout) -> Observed:
        namespace, uid = rollout.metadata.namespace, rollout.metadata.uid

        def owned(resource: Resource) -> list[Object]:
            objects = self._storage.list(resource, namespace).items
            return [
                o
                for o in objects
                if any(r.get("uid") == uid for r in o["metadata"].get("ownerReferences") or ())
            ]

        services = {}
        for ref in references(rollout).services:
            if self._storage.exists(SERVICES, ref.key.namespace, ref.key.name):
                services[ref.key.name] = view(
                    self._storage.get(SERVICES, ref.key.namespace, ref.key.name), Service
                )
        routes = {}
        for resource, key in route_keys(rollout):
            if self._storage.exists(resource, key.namespace, key.name):
                routes[resource, key] = self._storage.get(resource, key.namespace, key.name)
        sets = tuple(view(one, ReplicaSet) for one in owned(REPLICA_SETS))
        if ref := ref_of(raw):
            raw = dict(self._with_workload(raw, ref, sets))
            rollout = view(raw, Rollout)
        return Observed(
            now=_NEVER,
            rollout=rollout,
            raw=raw,
            replica_sets=sets,
            runs=tuple(view(one, AnalysisRun) for one in owned(ANALYSIS_RUNS)),
            services=services,
            routes=routes,
        )

    def _with_workload(
        self, raw: Object, ref: WorkloadRef, sets: tuple[ReplicaSet, ...]
    ) -> Mapping[str, Any]:
        """The Rollout with its workload's template, or while that is away the last one that it wanted."""
        resource, namespace = RESOURCES[ref.kind], raw["metadata"]["namespace"]
        if self._storage.exists(resource, namespace, ref.name):
            return filled(raw, ref, self._storage.get(resource, namespace, ref.name))
        wanted = (raw.get("status") or {}).get("currentPodHash")
        return remembered(raw, next((one for one in sets if hash_label(one) == wanted), None))

    def _home_and_kept(self, seen: Observed, live: Live | None, past: _Past) -> Iterator[str]:
        """I6: after an abort traffic goes home, nothing raises it again, and the canary leaves after its delay."""
        rollout = seen.rollout
        status, canary = rollout.status, rollout.spec.strategy.canary
        has_home = any(hash_label(one) == status.stable_rs for one in seen.replica_sets)
        settled = bool(status.abort and status.aborted_at) and has_home
        if not settled or live is None or canary is None:
            past.home, past.home_at = False, None
            return
        if self.by_hand:
            past.home = past.home and live.at(0)
            return
        if past.home and live.high > 0 and self._alone:
            yield f"I6: aborted, and the canary's weight rises to {live.high} again"
        was = past.picture.versions.get(status.current_pod_hash) if past.picture is not None else None
        one = next((one for one in seen.replica_sets if hash_label(one) == status.current_pod_hash), None)
        if was is not None and one is not None and one.spec.replicas < was.spec and rollout.replicas:
            delay = canary.abort_scale_down_delay_seconds
            kept = 30 if delay is None else delay
            since = (self._clock.now() - past.home_at).total_seconds() if past.home_at else -1.0
            before = past.rollout is not None and past.rollout.spec.replicas == rollout.spec.replicas
            if before and (kept == 0 or past.home_at is None or since < kept - self.slack):
                yield f"I6: the aborted canary shrinks {since:.1f} s after traffic went home, not {kept}"
        if live.at(0) and not past.home:
            past.home, past.home_at = True, self._clock.now()

    def _recorded_first(self, seen: Observed, live: Live | None, past: _Past) -> Iterator[str]:
        """I16: a decision is recorded before its act; a switch and a promotion are in status before the traffic follows."""
        status, strategy = seen.rollout.status, seen.rollout.spec.strategy
        if self.by_hand:
            return
        if past.rollout is not None:
            yield from self.records.acted(seen, past.rollout)
        if past.picture is None or not status.stable_rs:
            return
        known = {status.stable_rs}
        if strategy.blue_green is not None:
            name = strategy.blue_green.active_service
            now, before = selected_hash(seen, name), past.picture.selectors.get(name)
            known.add(status.blue_green.active_selector)
            if now and before is not None and now != before:
                yield from self.records.switched(seen, now)
                if now not in known and self._alone:
                    yield f"I16: the active Service is switched to {now}, which status does not name"
        elif live is not None and past.live is not None and self._alone:
            if live.high > past.live.high:
                yield from self.records.raised(seen, live.high)
            known.add(past.live.stable_hash)
            if live.stable_hash not in ("", *known):
                yield f"I16: the stable destination selects {live.stable_hash}, which is not stable"

    def _waits(self, rollout: Rollout, past: _Past) -> Iterator[str]:
        """I9: a pause ends when its time is over, or by a person's word; each word ends one pause at the most."""
        before, canary, status = past.rollout, rollout.spec.strategy.canary, rollout.status
        if before is None or canary is None:
            return
        old, index = before.status.current_step_index, status.current_step_index
        had, has = _is_paused(before), _is_paused(rollout)
        if has and not had:
            past.paused_at = self._clock.now()
        if before.status.current_pod_hash != status.current_pod_hash or before.spec != rollout.spec:
            past.promotes = 0
            return
        if old is None or index is None or index <= old or before.status.promote_full:
            return
        if self.by_hand:
            past.promotes -= 1
            return
        if before.status.current_step_hash != status.current_step_hash:
            return
        for place, step in enumerate(canary.steps[old:index], old):
            if step.pause is None:
                continue
            if step.pause.duration is None:
                past.promotes -= 1
                if past.promotes < 0:
                    yield f"I9: pause {place} ended though nobody has promoted"
            elif place == old and had and past.paused_at is not None:
                waited = (self._clock.now() - past.paused_at).total_seconds()
                if waited < pause_seconds(step.pause.duration) - self.slack:
                    yield f"I9: the pause of {step.pause.duration} ended after {waited:.3f} s"

    def _proved(self, seen: Observed, past: _Past) -> Iterator[str]:
        """I7: a promotion has every gate of this revision Successful, unless a person said otherwise."""
        rollout, before = seen.rollout, past.rollout
        if before is None or rollout.status.stable_rs == before.status.stable_rs:
            return
        if not before.status.stable_rs:
            past.stable_once.add(rollout.status.stable_rs)  # the first deploy has nothing to be compared with
            return
        canary, blue_green = rollout.spec.strategy.canary, rollout.spec.strategy.blue_green
        promoted = rollout.status.stable_rs
        was_stable = promoted in past.stable_once
        past.stable_once.add(promoted)
        new = next((one for one in seen.replica_sets if one.metadata.label(HASH_LABEL) == promoted), None)
        kept_for_it = new is not None and new.metadata.annotation(SCALE_DOWN_DEADLINE)
        if before.status.promote_full or (was_stable and (kept_for_it or rollout.spec.rollback_window)):
            return
        roles: list[tuple[str, str]] = []
        if canary is not None:
            roles += [("Step", str(i)) for i, step in enumerate(canary.steps) if step.analysis is not None]
            roles += [("Background", "")] if canary.analysis is not None else []
        if blue_green is not None:
            roles += [("PrePromotion", "")] if blue_green.pre_promotion_analysis is not None else []
            roles += [("PostPromotion", "")] if blue_green.post_promotion_analysis is not None else []
        revision = new.metadata.annotation(REVISION) if new is not None else ""
        for label, index in roles:
            if (promoted, label, index) in past.skipped:
                continue
            phases = [
                run.status.phase
                for run in seen.runs
                if run.metadata.label(HASH_LABEL) == promoted
                and run.metadata.label(RUN_TYPE) == label
                and run.metadata.label(STEP_INDEX) == index
                and run.metadata.annotation(REVISION) == revision
                and not run.metadata.annotation(SUPERSEDED)
                and run.metadata.name not in self.overruled
            ]
            overruled = any(
                run.metadata.name in self.overruled and run.metadata.label(RUN_TYPE) == label
                for run in seen.runs
            )
            if phases != ["Successful"] and not (overruled and not phases):
                yield f"I7: promoted with {label} {index} analyses {phases or 'missing'}"

    def _one_run_each(self, seen: Observed) -> Iterator[str]:
        """I8: one live AnalysisRun per revision and role at the most."""
        live: dict[tuple[str, ...], str] = {}
        for run in seen.runs:
            meta = run.metadata
            if run.status.phase in COMPLETED or run.spec.terminate or meta.annotation(SUPERSEDED):
                continue
            role = (
                meta.label(HASH_LABEL),
                meta.annotation(REVISION),
                meta.label(RUN_TYPE),
                meta.label(STEP_INDEX),
            )
            if role in live:
                yield f"I8: {meta.name} and {live[role]} both run for {role}"
            live[role] = meta.name

    def _steps_rise(self, rollout: Rollout, past: _Past) -> Iterator[str]:
        """I9: the step index never falls inside a revision, except on abort, retry or changed steps."""
        before = past.rollout
        if before is None:
            return
        old, new = before.status, rollout.status
        same = old.current_pod_hash == new.current_pod_hash and old.current_step_hash == new.current_step_hash
        fell = old.current_step_index is not None and new.current_step_index is not None
        fell = fell and (new.current_step_index or 0) < (old.current_step_index or 0)
        if same and fell and not (old.abort or new.abort or old.aborted_at or self.by_hand):
            yield f"I9: the step index falls from {old.current_step_index} to {new.current_step_index}"


def _is_paused(rollout: Rollout) -> bool:
    return any(one.reason == CANARY_STEP for one in rollout.status.pause_conditions)
