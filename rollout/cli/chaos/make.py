"""What `chaos run`, `stop`, `halt` and `schedule run` send: objects and patches. Pure; Refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaos.plan.template import filled
from rollout.api.analysis import Argument
from rollout.api.chaos import SWITCH_NAME, ChaosRun, ChaosSchedule
from rollout.api.resources import CHAOS_RUNS, CHAOS_SWITCHES
from rollout.cli.exits import USAGE, Failure, Refused
from rollout.core.validate_chaos import validate_run

Json = dict[str, Any]
DRY_RUNS = {"": "", "targets": "Targets", "probes": "Probes"}


def arguments(texts: Sequence[str]) -> list[Argument]:
    """`name=value` texts as arguments."""
    found = []
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise Failure(USAGE, f"--arg {text}: write it as name=value")
        found.append(Argument(name=name, value=value))
    return found


def from_template(template: Mapping[str, Any], given: Sequence[Argument]) -> Json:
    """A run's spec from a ChaosTemplate. InvalidSpec when an argument is missing or unknown."""
    name = str(template["metadata"]["name"])
    spec = filled(template.get("spec") or {}, given, path="spec", args_path="--arg")
    return {**spec, "templateRef": {"name": name}}


def from_file(documents: Sequence[Any], given: Sequence[Argument]) -> tuple[Json, Json]:
    """(metadata, spec) of the one ChaosRun or ChaosTemplate in a file."""
    ours = [
        one for one in documents if isinstance(one, dict) and one.get("kind") in {"ChaosRun", "ChaosTemplate"}
    ]
    if len(ours) != 1:
        raise Failure(
            USAGE, f"the file must hold exactly one ChaosRun or ChaosTemplate; it holds {len(ours)}"
        )
    meta, spec = ours[0].get("metadata") or {}, ours[0].get("spec") or {}
    return dict(meta), filled(spec, given, path="spec", args_path="--arg")


def run_object(meta: Json, spec: Json, namespace: str, who: str, dry_run: str) -> Json:
    """The ChaosRun to create. InvalidSpec with all problems of the spec."""
    if dry_run not in DRY_RUNS:
        raise Failure(USAGE, f"--dry-run {dry_run}: must be targets or probes")
    if dry_run:
        spec = {**spec, "dryRun": DRY_RUNS[dry_run]}
    kept = {key: meta[key] for key in ("name", "generateName", "labels", "annotations") if meta.get(key)}
    if who:
        kept["annotations"] = {**kept.get("annotations", {}), "surefoot.dev/requested-by": who}
    obj = {
        "apiVersion": CHAOS_RUNS.api_version,
        "kind": CHAOS_RUNS.kind,
        "metadata": {**kept, "namespace": namespace},
        "spec": spec,
    }
    problems = validate_run(obj)
    if problems:
        raise Failure(3, "\n".join(str(one) for one in problems))
    return obj


def stop(run: ChaosRun) -> Json | None:
    """The patch that ends a run and undoes its faults; None when it is ending already."""
    if run.completed:
        raise Refused(f'ChaosRun "{run.metadata.name}" has completed: {run.status.verdict}')
    return None if run.spec.abort else {"spec": {"abort": True}}


def halt(reason: str, *, hold_releases: bool) -> Json:
    """The switch, engaged."""
    return _switch({"engaged": True, "holdReleases": hold_releases, "reason": reason})


def resume() -> Json:
    """The switch, let go."""
    return _switch({"engaged": False, "holdReleases": False, "reason": ""})


def _switch(spec: Json) -> Json:
    return {
        "apiVersion": CHAOS_SWITCHES.api_version,
        "kind": CHAOS_SWITCHES.kind,
        "metadata": {"name": SWITCH_NAME},
        "spec": spec,
    }


def from_schedule(schedule: ChaosSchedule, template: Mapping[str, Any] | None) -> Json:
    """The spec of a run that is made by hand now, as the schedule would make it: with its pre- and post-checks."""
    from chaos.plan.template import spec_of
    from rollout.api.codec import plain

    use = schedule.spec.run
    spec = spec_of(use, template, "spec.run")
    checks = [plain(one) for one in (*schedule.spec.pre_checks, *schedule.spec.post_checks)]
    return {**spec, "probes": [*(spec.get("probes") or []), *checks]}
