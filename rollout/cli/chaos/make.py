"""What `chaos run`, `stop`, `halt` and `schedule run` send: objects and patches. Pure; Refused, or a usage error, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaos.plan.schedule import with_checks
from chaos.plan.template import filled, spec_of
from rollout.api.analysis import Argument
from rollout.api.chaos import SWITCH_NAME, ChaosRun, TemplateUse
from rollout.api.resources import CHAOS_RUNS, CHAOS_SWITCHES
from rollout.cli.exits import USAGE, Failure, Refused
from rollout.core.validate_chaos import validate_run
from rollout.errors import InvalidSpec

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
    """A run's spec from a ChaosTemplate."""
    name = str(template["metadata"]["name"])
    return {**_filled(template.get("spec") or {}, given), "templateRef": {"name": name}}


def from_file(
    documents: Sequence[Any], given: Sequence[Argument], file: str = "the file"
) -> tuple[Json, Json]:
    """(metadata, spec) of the one ChaosRun or ChaosTemplate in a file. A template gives its runs names of their own."""
    kinds = {"ChaosRun", "ChaosTemplate"}
    ours = [one for one in documents if isinstance(one, dict) and one.get("kind") in kinds]
    if len(ours) != 1:
        raise Failure(USAGE, f"{file} must hold exactly one ChaosRun or ChaosTemplate; it holds {len(ours)}")
    (obj,) = ours
    meta, spec = obj.get("metadata"), obj.get("spec")
    if not isinstance(meta, dict) or not isinstance(spec, dict):
        raise Failure(USAGE, f"{file}: a {obj['kind']} needs metadata and a spec")
    kept = dict(meta)
    if obj["kind"] == "ChaosTemplate" and (name := kept.pop("name", "")):
        kept["generateName"] = f"{name}-"
    return kept, _filled(spec, given)


def _filled(spec: Mapping[str, Any], given: Sequence[Argument]) -> Json:
    """The spec with its arguments; those that lack are told as the options that give them."""
    args = [one for one in spec.get("args") or () if isinstance(one, Mapping)]
    known = [str(one.get("name")) for one in args]
    for one in given:
        if one.name not in known:
            what = f"it has: {', '.join(known)}" if known else "it has none"
            raise Failure(USAGE, f"--arg {one.name}: there is no such argument; {what}")
    said = {one.name for one in given}
    bare = [
        one["name"] for one in args if one.get("name") not in said and set(one) <= {"name"} and "name" in one
    ]
    if bare:
        raise Failure(
            USAGE, "arguments without a value; add " + " ".join(f"--arg {name}=..." for name in bare)
        )
    try:
        return filled(spec, given, path="spec", args_path="--arg")
    except InvalidSpec as error:
        raise _refused(error.problems) from error


def _refused(problems: Sequence[object]) -> Refused:
    """All problems, one a line."""
    lines = "\n".join(f"  {one}" for one in problems)
    return Refused(f"this is no run that could be carried out; nothing was started\n{lines}")


def run_object(meta: Json, spec: Json, namespace: str, who: str, dry_run: str) -> Json:
    """The ChaosRun to create; refused with all problems of its spec."""
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
        raise _refused(problems)
    return obj


def stop(run: ChaosRun) -> Json | None:
    """The patch that ends a run and undoes its faults; None when it is ending already."""
    if run.completed:
        raise Refused(f'ChaosRun "{run.metadata.name}" has completed: {run.status.verdict}')
    return None if run.spec.abort else {"spec": {"abort": True}}


def halt(reason: str, *, hold_releases: bool) -> Json:
    """The switch, engaged. What is not said stays as somebody else has said it."""
    more = {"holdReleases": True} if hold_releases else {}
    return _switch({"engaged": True} | more | ({"reason": reason} if reason else {}))


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


def from_schedule(schedule: Mapping[str, Any], use: TemplateUse, template: Mapping[str, Any] | None) -> Json:
    """The spec of a run that is made by hand now, as the schedule would make it: with its pre- and post-checks."""
    try:
        return with_checks(spec_of(use, template, "spec.run"), schedule)
    except InvalidSpec as error:
        raise _refused(error.problems) from error
