"""Analysis templates and arguments to the spec of one AnalysisRun.

All templates of an analysis, and those they name in `templates`, make one run: metrics flattened, each template
taken once. Semantics: study/argo-rollouts.md 1.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rollout.api.analysis import AnalysisTemplate, Argument, TemplateRef
from rollout.api.codec import plain
from rollout.api.rollout import RolloutAnalysis
from rollout.core import arguments
from rollout.core.problem import Problem, invalid, raise_if_any, required, shown
from rollout.core.validate_analysis import validate_run_spec
from rollout.errors import InvalidSpec

# A reference to a template: (is cluster-scoped, name).
TemplateKey = tuple[bool, str]
_METRIC = re.compile(r"spec\.metrics\[(\d+)\]")
Templates = Mapping[TemplateKey, AnalysisTemplate]


def key_of(ref: TemplateRef) -> TemplateKey:
    return ref.cluster_scope, ref.template_name


def named(key: TemplateKey) -> str:
    """A template as messages name it: `AnalysisTemplate "success-rate"`."""
    kind = "ClusterAnalysisTemplate" if key[0] else "AnalysisTemplate"
    return f'{kind} "{key[1]}"'


def missing_templates(analysis: RolloutAnalysis, templates: Templates) -> list[str]:
    """The templates that the analysis needs, directly or through others, and that do not exist."""
    missing: list[str] = []
    seen: set[TemplateKey] = set()
    waiting = [key_of(ref) for ref in analysis.templates]
    while waiting:
        key = waiting.pop(0)
        if key in seen:
            continue
        seen.add(key)
        if template := templates.get(key):
            waiting += [key_of(ref) for ref in template.spec.templates]
        else:
            missing.append(named(key))
    return missing


def run_spec(
    analysis: RolloutAnalysis,
    templates: Templates,
    *,
    rollout_object: Mapping[str, Any],
    stable_hash: str = "",
    latest_hash: str = "",
) -> dict[str, Any]:
    """The `spec` of the AnalysisRun (plain data), its arguments resolved, its metrics not yet substituted.

    Raises InvalidSpec when a template is missing or names itself, when a metric or an argument is defined
    twice, when an argument has no value, and when the result is not a valid spec.
    """
    if not analysis.templates:
        raise InvalidSpec(str(required("templates", "an analysis needs at least one template")))
    if missing := missing_templates(analysis, templates):
        fix = "create it, or correct the name"
        raise InvalidSpec(*(str(required("templates", f"there is no {name}", fix)) for name in missing))
    order = _flattened(analysis.templates, templates)
    chosen = [templates[key] for key in order]
    given = tuple(analysis.args)
    args = arguments.resolve_args(
        _declared(chosen, {argument.name for argument in given}),
        given,
        source=rollout_object,
        stable_hash=stable_hash,
        latest_hash=latest_hash,
    )
    origins = [(key, index) for key in order for index in range(len(templates[key].spec.metrics))]
    metrics = [plain(templates[key].spec.metrics[index]) for key, index in origins]
    raise_if_any(_repeated(metrics))
    parts = {
        "metrics": metrics,
        "args": [plain(argument) for argument in args],
        "dryRun": _together(analysis.dry_run, *(template.spec.dry_run for template in chosen)),
        "measurementRetention": _together(
            analysis.measurement_retention, *(template.spec.measurement_retention for template in chosen)
        ),
    }
    spec = {name: value for name, value in parts.items() if value}
    raise_if_any(_in_template(problem, origins) for problem in validate_run_spec(spec))
    return spec


def _in_template(problem: Problem, origins: Sequence[tuple[TemplateKey, int]]) -> Problem:
    """The problem of a metric in the run, told where its author wrote it."""
    place = _METRIC.match(problem.path)
    if place is None:
        return problem
    key, index = origins[int(place[1])]
    return Problem(f"{named(key)} spec.metrics[{index}]{problem.path[place.end() :]}", problem.message)


def _flattened(refs: Iterable[TemplateRef], templates: Templates) -> list[TemplateKey]:
    """Every template once, a template's own metrics before those of the templates it names."""
    order: list[TemplateKey] = []

    def visit(key: TemplateKey, above: tuple[TemplateKey, ...]) -> None:
        if key in above:
            chain = " -> ".join(named(step) for step in (*above, key))
            raise InvalidSpec(
                str(invalid("templates", key[1], f"templates name each other in a circle: {chain}"))
            )
        if key in order:
            return
        order.append(key)
        for ref in templates[key].spec.templates:
            visit(key_of(ref), (*above, key))

    for ref in refs:
        visit(key_of(ref), ())
    return order


def _declared(chosen: Iterable[AnalysisTemplate], given: set[str]) -> list[Argument]:
    """The arguments of all templates, each once; a default counts wherever it stands."""
    declared: dict[str, Argument] = {}
    problems: list[Problem] = []
    for template in chosen:
        for argument in template.spec.args:
            known = declared.get(argument.name)
            if known is None or _bare(known):
                declared[argument.name] = argument
            elif not _bare(argument) and argument != known and argument.name not in given:
                rule = f"two templates give it different defaults (the other is {shown(known.value)})"
                fix = "give the value in the args of the analysis, or make the templates agree"
                problems.append(invalid(f"args[{argument.name}]", argument.value, rule, fix))
    raise_if_any(problems)
    return list(declared.values())


def _bare(argument: Argument) -> bool:
    return argument.value is None and argument.value_from is None


def _repeated(metrics: Iterable[Mapping[str, Any]]) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for metric in metrics:
        name = str(metric.get("name", ""))
        if name in seen:
            fix = "rename one of the two metrics"
            problems.append(invalid("metrics", name, "two templates have a metric of this name", fix))
        seen.add(name)
    return problems


def _together(*groups: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for group in groups:
        found += [item for item in map(plain, group) if item not in found]
    return found
