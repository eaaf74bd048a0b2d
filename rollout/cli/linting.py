"""What is wrong with manifests: each object by itself, and what they name among each other. Pure.

The rules are those of the controller (`rollout.core.validate`, `validate_analysis`, the routers), so that what
passes here is what it acts on. A name that the files do not contain is a note: it may be in the cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from rollout.api.analysis import AnalysisTemplate, Argument
from rollout.api.codec import view
from rollout.api.meta import Key, View
from rollout.api.resources import DESTINATION_RULES, HTTP_ROUTES, VIRTUAL_SERVICES, Resource
from rollout.api.rollout import HASH_LABEL, Rollout, RolloutAnalysis
from rollout.cli import lint_chaos, lint_notify
from rollout.cli.manifests import Document, Unreadable
from rollout.core.observed import Observed
from rollout.core.problem import Problem, invalid, required, unsupported
from rollout.core.references import analyses, references
from rollout.core.runs import missing_templates, named, run_spec
from rollout.core.validate import validate
from rollout.core.validate_analysis import validate_run_spec, validate_template
from rollout.core.workload import filled, ref_of
from rollout.core.workload import problems as workload_problems
from rollout.errors import InvalidSpec
from rollout.plan.references import router_for

Object = Mapping[str, Any]
GROUP, VERSION = "argoproj.io", "v1alpha1"
_NOW = datetime(1970, 1, 1, tzinfo=UTC)


class Finding(View, frozen=True, omit_defaults=False):
    """One thing to change; with severity "warning" one that is allowed and hardly meant, with "note" one that could
    not be checked."""

    severity: str
    file: str
    line: int
    kind: str
    namespace: str
    name: str
    path: str
    message: str

    def __str__(self) -> str:
        what = f"{self.kind} {self.name}: " if self.kind else ""
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}: {self.severity}: {what}{where}{self.message}"


_SIBLINGS = frozenset(
    {
        *("Application", "ApplicationSet", "AppProject"),
        *("Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"),
        *("EventBus", "EventSource", "Sensor"),
    }
)
"""Kinds of Argo CD, Workflows and Events. They share the API group, and often the repository, with Rollouts."""


class Report(View, frozen=True, omit_defaults=False):
    """`checked` counts objects of ours; `others` those that are only looked up by name."""

    schema_version: int
    checked: int
    others: int
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        return any(one.severity == "error" for one in self.findings)


def lint(read: Sequence[Document | Unreadable], *, complete: bool = False) -> Report:
    """The report on everything that was read. `complete`: a name that the files do not contain is an error."""
    documents = [one for one in read if isinstance(one, Document)]
    findings = [
        Finding("error", one.file, one.line, "", "", "", "", one.message)
        for one in read
        if isinstance(one, Unreadable)
    ]
    world = _World(documents)
    checked = 0
    notified = lint_notify.config_of([one.object for one in documents])
    for one in documents:
        problems = _alone(one.object)
        checked += problems is not None
        findings += [_finding("error", one, problem) for problem in problems or ()]
        if problems == [] and _is_chaos(one.object):
            said = lint_chaos.look(one.object, world.find)
            findings += [_finding("error", one, problem) for problem in said.errors]
            findings += [_finding("warning", one, problem) for problem in said.warnings]
            findings += [_finding("error" if complete else "note", one, problem) for problem in said.notes]
        if problems == [] and _kind(one.object) == "Rollout":
            wrong, missing = world.check(one.object)
            findings += [_finding("error", one, problem) for problem in wrong]
            findings += [_finding("error" if complete else "note", one, problem) for problem in missing]
        severity = "error" if complete or notified is not None else "note"
        findings += [
            _finding(severity, one, problem) for problem in lint_notify.subscriptions(one.object, notified)
        ]
    return Report(1, checked, len(documents) - checked, tuple(dict.fromkeys(findings)))


def _alone(obj: Any) -> list[Problem] | None:
    """The problems of one object by itself; None when its kind is not ours."""
    version, kind = (obj.get("apiVersion"), obj.get("kind")) if isinstance(obj, Mapping) else (None, None)
    if version is None and kind is None:
        return None  # a Helm values file, a list of rules: no manifest at all
    if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
        return [required("apiVersion" if not version else "kind", "a manifest says what it is")]
    if lint_notify.is_config(obj):
        return lint_notify.look(obj)
    group = version.partition("/")[0]
    if group not in (GROUP, lint_chaos.GROUP) or (group == GROUP and kind in _SIBLINGS):
        return None
    if version != f"{group}/{VERSION}":
        return [invalid("apiVersion", version, f"must be {group}/{VERSION}")]
    named_ = obj.get("metadata")
    problems = []
    if not isinstance(named_, Mapping) or not (named_.get("name") or named_.get("generateName")):
        problems.append(required("metadata.name", "every object has a name"))
    if group == lint_chaos.GROUP:
        return problems  # the rest is said by `lint_chaos.look`
    match kind:
        case "Rollout":
            return problems + validate(obj)
        case "AnalysisTemplate" | "ClusterAnalysisTemplate":
            return problems + validate_template(obj)
        case "AnalysisRun":
            spec = obj.get("spec")
            return problems + (
                validate_run_spec(spec) if isinstance(spec, Mapping) else [required("spec", "the metrics")]
            )
        case "Experiment":
            return [unsupported("kind", "Experiments are not acted on", "remove it")]
        case _:
            return [invalid("kind", kind, f"{GROUP} has no such kind")]


def _is_chaos(obj: Any) -> bool:
    return str(obj.get("apiVersion", "")).partition("/")[0] == lint_chaos.GROUP


class _World:
    """The objects of the files, by what they can be referred to. A namespace that is not written matches any."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._objects: dict[tuple[str, str], list[Object]] = {}
        for one in documents:
            if isinstance(one.object, Mapping) and isinstance(one.object.get("metadata"), Mapping):
                name = str(one.object["metadata"].get("name"))
                self._objects.setdefault((_kind(one.object), name), []).append(one.object)

    def find(self, kind: str, key: Key) -> Object | None:
        for one in self._objects.get((kind, key.name), ()):
            namespace = one["metadata"].get("namespace") or ""
            if not namespace or not key.namespace or namespace == key.namespace:
                return one
        return None

    def check(self, raw: Object) -> tuple[list[Problem], list[Problem]]:
        """What is wrong between a valid Rollout and the other files; and what they do not contain."""
        ref, wrong, missing = ref_of(raw), [], []
        rollout = view(raw, Rollout)
        if ref is not None:
            source = self.find(ref.kind, Key(rollout.metadata.namespace, ref.name))
            if source is None:
                missing = [
                    _absent("spec.workloadRef.name", ref.kind, Key(rollout.metadata.namespace, ref.name))
                ]
            elif wrong := workload_problems(ref, rollout.metadata.namespace, raw, source):
                return wrong, []
            else:
                raw = filled(raw, ref, source)
                rollout = view(raw, Rollout)
        refs = references(rollout)
        missing += [
            _absent(ref.path, kind, ref.key)
            for kind, group in (
                ("Service", refs.services),
                ("VirtualService", refs.virtual_services),
                ("DestinationRule", refs.destination_rules),
                ("HTTPRoute", refs.http_routes),
            )
            for ref in group
            if self.find(kind, ref.key) is None
        ]
        wrong += [*self._services(rollout), *self._routes(rollout, raw)]
        for path, analysis in analyses(rollout):
            found, absent = self._analysis(path, analysis, rollout, raw)
            wrong += found
            missing += absent
        return wrong, missing

    def _services(self, rollout: Rollout) -> Iterator[Problem]:
        labels = ((rollout.spec.template.get("metadata") or {}).get("labels")) or {}
        for ref in references(rollout).services if rollout.spec.template else ():
            service = self.find("Service", ref.key)
            spec = service.get("spec") if service is not None else None
            selector = spec.get("selector") if isinstance(spec, Mapping) else None
            if not isinstance(selector, Mapping):
                continue
            other = {key: value for key, value in selector.items() if key != HASH_LABEL}
            if any(labels.get(key) != value for key, value in other.items()):
                yield invalid(
                    ref.path,
                    ref.key.name,
                    f"the Service selects {_pairs(other)}, which the template's labels do not have",
                    "make the two agree, or no request will arrive",
                )

    def _routes(self, rollout: Rollout, raw: Object) -> list[Problem]:
        router = router_for(rollout)
        if router is None:
            return []
        routes: dict[tuple[Resource, Key], Object] = {}
        for resource, key in router.refs():
            found = self.find(resource.kind, key)
            if found is None:
                return []
            if not _readable(resource, found):
                return [Problem("", f'{resource.kind} "{key.name}" has a spec that cannot be read')]
            routes[resource, key] = found
        return router.problems(Observed(now=_NOW, rollout=rollout, raw=raw, routes=routes))

    def _analysis(
        self, path: str, analysis: RolloutAnalysis, rollout: Rollout, raw: Object
    ) -> tuple[list[Problem], list[Problem]]:
        templates = {}
        for kind, scope in (("AnalysisTemplate", False), ("ClusterAnalysisTemplate", True)):
            for name in [name for of_kind, name in self._objects if of_kind == kind]:
                found = self.find(kind, Key("" if scope else rollout.metadata.namespace, name))
                if found is not None and not _alone(found):
                    templates[scope, name] = view(found, AnalysisTemplate)
        if absent := missing_templates(analysis, templates):
            unchecked = [one for one in absent if not self._is_here(one)]
            return [], [Problem(path, f"{one} is not in these files") for one in unchecked]
        # Where an argument comes from a field, its value is known in the cluster only: any value will do here.
        known = tuple(
            Argument(name=one.name, value="x") if one.value_from is not None else one for one in analysis.args
        )
        try:
            run_spec(msgspec.structs.replace(analysis, args=known), templates, rollout_object=raw)
        except InvalidSpec as error:
            return [Problem(path, sentence) for sentence in error.problems], []
        return [], []

    def _is_here(self, said: str) -> bool:
        """Whether a template that `missing_templates` names is in the files, and only wrong by itself."""
        return any(
            said == named((kind == "ClusterAnalysisTemplate", name))
            for kind, name in self._objects
            if kind.endswith("AnalysisTemplate")
        )


def _readable(resource: Resource, obj: Object) -> bool:
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        return False
    if resource == DESTINATION_RULES:
        return _mappings(spec.get("subsets"))
    if resource == HTTP_ROUTES:
        return _mappings(spec.get("rules")) and all(
            _mappings(rule.get("backendRefs")) for rule in spec.get("rules") or []
        )
    assert resource == VIRTUAL_SERVICES, "the routers name these three kinds"
    return _mappings(spec.get("http")) and all(
        _mappings(route.get("route"))
        and all(isinstance(one.get("destination"), Mapping) for one in route.get("route") or [])
        for route in spec.get("http") or []
    )


def _mappings(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(one, Mapping) for one in value))


def _absent(path: str, kind: str, key: Key) -> Problem:
    return Problem(path, f'{kind} "{key}" is not in these files')


def _pairs(labels: Object) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _kind(obj: Any) -> str:
    return str(obj.get("kind", "")) if isinstance(obj, Mapping) else ""


_LEADING_PATH = re.compile(r"((?:spec|metadata)[^\s:]*): (.+)", re.DOTALL)


def _finding(severity: str, document: Document, problem: Problem) -> Finding:
    obj = document.object
    if not problem.path and (said := _LEADING_PATH.fullmatch(problem.message)):
        problem = Problem(said[1], said[2])
    meta = obj.get("metadata") if isinstance(obj, Mapping) else None
    meta = meta if isinstance(meta, Mapping) else {}
    return Finding(
        severity=severity,
        file=document.file,
        line=document.line_of(problem.path),
        kind=_kind(obj),
        namespace=str(meta.get("namespace") or ""),
        name=str(meta.get("name") or meta.get("generateName") or ""),
        path=problem.path,
        message=problem.message,
    )
