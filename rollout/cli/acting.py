"""Carrying out a verb: look, decide, patch; on a conflict look again and decide again; then tell, and wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from rollout.api.resources import ROLLOUTS, Resource
from rollout.api.rollout import Rollout
from rollout.cli import output as out
from rollout.cli.options import How, Output, Target
from rollout.cli.phase import Outcome, exit_code, outcome
from rollout.cli.session import Session, seconds, session
from rollout.cli.summary import rollout_of, summarise
from rollout.cli.verbs import Plan, promoted_by
from rollout.errors import Conflict, SurefootError

Object = dict[str, Any]
Decide = Callable[[Session, Object, Rollout], Plan]
TRIES = 5
SELF = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)


def act(
    target: Target,
    verb: str,
    name: str,
    how: How,
    decide: Decide,
    *,
    success: Outcome = "healthy",
    judge: Callable[[Rollout], Outcome] = outcome,
) -> None:
    """Carry out `verb`. With --wait, `judge` says when it is decided, and `success` is the outcome hoped for.

    Ends the command with its exit code.
    """
    limit = seconds(how.timeout, "--timeout")
    with session(target, manager=f"rollout-{verb}") as cluster:
        raw, plan, generation = _apply(cluster, name, decide, dry_run=how.dry_run)
        shown = rollout_of(raw)
        if plan.changes and verb == "promote" and not how.dry_run:
            _keep_who(cluster, shown, plan)
        _tell(shown, plan, how)
        if not how.wait or how.dry_run:
            return
        from rollout.cli.waiting import wait_for_outcome

        newer_than = shown.metadata.resource_version if plan.changes else ""
        judge = with_workload(judge, generation)
        result = judge(wait_for_outcome(cluster, name, limit, newer_than=newer_than, judge=judge))
    if result == "progressing":
        out.say(f"Not decided after {how.timeout}.")
    raise typer.Exit(0 if result == success else exit_code(result, success_on_pause=how.success_on_pause))


def with_workload(judge: Callable[[Rollout], Outcome], generation: int) -> Callable[[Rollout], Outcome]:
    """`judge`, once the controller has seen this generation of the workload that our request has changed."""

    def judged(rollout: Rollout) -> Outcome:
        seen = rollout.status.workload_observed_generation
        known = int(seen) if seen.isdecimal() and len(seen) < 19 else 0
        return judge(rollout) if known >= generation else "progressing"

    return judged


def _apply(cluster: Session, name: str, decide: Decide, *, dry_run: bool) -> tuple[Object, Plan, int]:
    """The Rollout after the patches of the plan, the plan, and the generation of a changed workload (else 0)."""
    for attempt in range(1, TRIES + 1):
        raw, generation = cluster.rollout(name), 0
        plan = decide(cluster, raw, rollout_of(raw))
        try:
            for change in plan.changes:
                place = change.place
                new = cluster.kube.patch(
                    place.resource,
                    cluster.namespace,
                    place.name or name,
                    change.body(place.version or raw["metadata"].get("resourceVersion", "")),
                    type=change.type,
                    subresource=change.subresource,
                    dry_run=dry_run,
                )
                if place.name:
                    generation = int(new["metadata"].get("generation") or 0)
                else:
                    raw = new
        except Conflict:
            if attempt == TRIES:
                raise
            continue
        return raw, plan, generation
    raise AssertionError("unreachable: the last attempt returns or raises")


def _keep_who(cluster: Session, rollout: Rollout, plan: Plan) -> None:
    """Note on the Rollout who promoted it. People may be allowed to promote without being allowed to do this."""
    try:
        review = cluster.kube.create(SELF, None, {"apiVersion": SELF.api_version, "kind": SELF.kind})
        who = review["status"]["userInfo"]["username"]
        record = promoted_by(who, cluster.clock.now(), rollout, plan.said)
        cluster.kube.patch(ROLLOUTS, cluster.namespace, rollout.metadata.name, record)
    except (SurefootError, KeyError) as error:
        out.say(f"note: who promoted was not kept as an annotation: {error}")


def _tell(rollout: Rollout, plan: Plan, how: How) -> None:
    name = f"rollout.argoproj.io/{rollout.metadata.name}"
    if how.output in (Output.json, Output.yaml):
        out.document(summarise(rollout), how.output)
    elif how.output is Output.name:
        out.lines([name])
    else:
        tail = " (dry run)" if how.dry_run else f" (generation {rollout.metadata.generation})"
        out.lines([f"{name} {plan.said}{tail}"])
