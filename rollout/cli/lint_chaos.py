"""What is wrong with chaos objects in manifests: each by itself, and what it names in the other files. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from chaos.plan.template import filled, spec_of
from rollout.api.chaos import ChaosRunSpec, ChaosScheduleSpec, ChaosSwitchSpec
from rollout.api.codec import view
from rollout.api.fields import fields_of
from rollout.api.meta import Key
from rollout.api.resources import CHAOS_RUNS
from rollout.core import structure
from rollout.core.checks import check_duration
from rollout.core.problem import Problem, invalid, problems_of, required
from rollout.core.validate_chaos import validate_run, warnings
from rollout.core.validate_schedule import validate_schedule
from rollout.errors import InvalidSpec

Object = Mapping[str, Any]
Find = Callable[[str, Key], Object | None]
"""(kind, key) -> the object of the files that has this name."""
GROUP = CHAOS_RUNS.group


class Said(msgspec.Struct, frozen=True):
    """Errors; warnings of what is allowed and hardly meant; notes of what could not be checked."""

    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


def look(obj: Object, find: Find) -> Said:
    """What is to be said of an object of our own API group."""
    match obj.get("kind"):
        case "ChaosRun":
            return _run(obj, find)
        case "ChaosTemplate":
            return _template(obj, find)
        case "ChaosSchedule":
            return _schedule(obj, find)
        case "ChaosSwitch":
            return Said(errors=tuple(_switch(obj)))
        case other:
            return Said(errors=(invalid("kind", other, f"{GROUP} has no such kind"),))


def _run(obj: Object, find: Find) -> Said:
    if found := validate_run(obj):
        return Said(errors=tuple(found))
    spec, namespace = view(obj["spec"], ChaosRunSpec), str(obj["metadata"].get("namespace") or "")
    notes = []
    for index, probe in enumerate(spec.probes):
        if (ref := probe.template_ref) is not None:
            kind = "ClusterAnalysisTemplate" if ref.cluster_scope else "AnalysisTemplate"
            if find(kind, Key("" if ref.cluster_scope else namespace, ref.name)) is None:
                path = f"spec.probes[{index}].templateRef"
                notes.append(Problem(path, f'{kind} "{ref.name}" is not in these files'))
    return Said(warnings=tuple(warnings(obj)), notes=tuple(notes))


def _template(obj: Object, find: Find) -> Said:
    """As the run that its own arguments make of it. One that is still asked for has to be seen where it is used."""
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        return Said(errors=(required("spec", "a template needs the spec of a run"),))
    try:
        declared = view({"args": spec.get("args") or ()}, ChaosRunSpec, path="spec").args
    except InvalidSpec as error:
        return Said(errors=tuple(problems_of(error)))
    asked = [one.name for one in declared if one.value is None and one.value_from is None]
    if asked:
        said = f"needs values for {', '.join(asked)}: checked where it is used"
        return Said(notes=(Problem("spec.args", said),))
    return _made(lambda: filled(spec, ()), obj, find)


def _schedule(obj: Object, find: Find) -> Said:
    if found := validate_schedule(obj):
        return Said(errors=tuple(found))
    use = view(obj["spec"], ChaosScheduleSpec).run
    namespace = str((obj.get("metadata") or {}).get("namespace") or "")
    template = find("ChaosTemplate", Key(namespace, use.template_name)) if use.template_name else None
    if use.template_name and template is None:
        missing = f'ChaosTemplate "{use.template_name}" is not in these files'
        return Said(notes=(Problem("spec.run.templateName", missing),))
    made = _made(lambda: _without_ref(spec_of(use, template, "spec.run")), obj, find)
    if obj["spec"].get("preChecks") or obj["spec"].get("postChecks"):  # which become probes of the run
        told = tuple(one for one in made.warnings if one.path != "spec.probes")
        made = msgspec.structs.replace(made, warnings=told)
    if use.spec is None:
        return made
    return Said(
        *(tuple(_below("spec.run.", group) for group in some) for some in msgspec.structs.astuple(made))
    )


def _made(make: Callable[[], dict[str, Any]], obj: Object, find: Find) -> Said:
    try:
        spec = make()
    except InvalidSpec as error:
        return Said(errors=tuple(problems_of(error)))
    meta = obj.get("metadata") or {}
    namespace = {"namespace": meta["namespace"]} if meta.get("namespace") else {}
    return _run({"metadata": {"name": "made", **namespace}, "spec": spec}, find)


def _without_ref(spec: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name != "templateRef"}


def _below(prefix: str, problem: Problem) -> Problem:
    inside = problem.path.startswith("spec") and not problem.path.startswith(prefix)
    return msgspec.structs.replace(problem, path=prefix + problem.path) if inside else problem


def _switch(obj: Object) -> list[Problem]:
    spec = obj.get("spec") or {}
    found = list(structure.check(spec, fields_of(ChaosSwitchSpec), "spec"))
    if not found:
        path = "spec.caps.maxDuration"
        found += check_duration((spec.get("caps") or {}).get("maxDuration"), path, positive=True)
    return found
