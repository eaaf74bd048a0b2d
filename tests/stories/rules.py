"""The invariants of study/reliability.md 8.2, checked on the server's own state after every write of anybody.

I1-I5 compare pictures around each write (`rollout.core.invariants`); I6-I9 follow each Rollout's history. A broken
rule is kept with the write that broke it, and fails the story at its next look.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from rollout.api.analysis import COMPLETED, AnalysisRun
from rollout.api.codec import view
from rollout.api.meta import Key, key_of
from rollout.api.resources import (
    ANALYSIS_RUNS,
    DESTINATION_RULES,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.api.rollout import HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE, Rollout
from rollout.api.workload import ReplicaSet, Service
from rollout.core.invariants import Picture, violations
from rollout.core.observed import Observed
from rollout.core.references import references
from rollout.errors import ApiError, InvalidSpec
from rollout.plan import safety
from rollout.plan.references import route_keys, router_for
from rollout.plan.runs import RUN_TYPE, STEP_INDEX, SUPERSEDED
from rollout.runtime.kube import Object
from rollout.sandbox.storage import Storage
from rollout.traffic.base import Live

_NEVER = datetime(2026, 1, 1, tzinfo=UTC)  # the rules ask for no time
_WATCHED = (ROLLOUTS, REPLICA_SETS, SERVICES, VIRTUAL_SERVICES, DESTINATION_RULES, ANALYSIS_RUNS)


class _Past(msgspec.Struct):
    """What is remembered of one Rollout between writes."""

    picture: Picture | None = None
    rollout: Rollout | None = None
    live: Live | None = None
    home: bool = False
    stable_once: set[str] = set()


class Rules:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._past: dict[Key, _Past] = {}
        self.broken: list[str] = []
        self.overruled: set[str] = set()
        """AnalysisRuns that a person has overruled in the story (promoted past an inconclusive gate)."""
        storage.on_write(self._written)

    def assert_kept(self) -> None:
        assert not self.broken, "\n".join(self.broken)

    def _written(self, kind: str, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource not in _WATCHED:
            return
        what = f"{kind} {resource} {key_of(new or old or {})} at version {self._storage.resource_version}"
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
        picture = safety.observe(seen, live)
        if past.picture is not None:
            yield from violations(past.picture, picture)
        yield from self._stays_home(rollout, live, past)
        yield from self._proved(seen, past)
        yield from self._one_run_each(seen)
        yield from self._steps_rise(rollout, past)
        past.picture, past.rollout, past.live = picture, rollout, live

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
        return Observed(
            now=_NEVER,
            rollout=rollout,
            raw=raw,
            replica_sets=tuple(view(one, ReplicaSet) for one in owned(REPLICA_SETS)),
            runs=tuple(view(one, AnalysisRun) for one in owned(ANALYSIS_RUNS)),
            services=services,
            routes=routes,
        )

    def _stays_home(self, rollout: Rollout, live: Live | None, past: _Past) -> Iterator[str]:
        """I6: once an aborted release has all its traffic on stable, nothing raises the canary again."""
        if not rollout.status.abort or live is None:
            past.home = False
            return
        if past.home and live.high > 0:
            yield f"I6: aborted, and the canary's weight rises to {live.high} again"
        past.home = past.home or live.at(0)

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
        for label, index in roles:
            phases = [
                run.status.phase
                for run in seen.runs
                if run.metadata.label(HASH_LABEL) == promoted
                and run.metadata.label(RUN_TYPE) == label
                and run.metadata.label(STEP_INDEX) == index
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
        if same and fell and not (old.abort or new.abort or old.aborted_at):
            yield f"I9: the step index falls from {old.current_step_index} to {new.current_step_index}"
