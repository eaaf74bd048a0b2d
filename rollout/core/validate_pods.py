"""What can be wrong with the pods of a Rollout: its selector and its pod template."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rollout.api.fields import Field, fields_of
from rollout.api.meta import LabelSelector, LabelSelectorRequirement
from rollout.api.rollout import HASH_LABEL, RolloutSpec
from rollout.core.problem import Problem, invalid, required
from rollout.core.structure import check, fits

Object = Mapping[str, Any]

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_RULE = (
    "must be at most 63 lower-case letters, digits and '-', beginning and ending with a letter or a digit"
)
_STRING_MAP = Field(type="map", nullable=True, items=Field(type="string"))
_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}


def selector_problems(spec: Object) -> Iterator[Problem]:
    path, selector = "spec.selector", spec.get("selector")
    if selector is None:
        if spec.get("workloadRef") is None:
            yield required(path, "the selector says which pods belong to this Rollout", "add matchLabels")
        return
    if not fits(selector, fields_of(RolloutSpec).fields["selector"]):
        return
    terms = selector.get("matchExpressions") or []
    labels = selector.get("matchLabels") or {}
    if not terms and not labels:
        yield invalid(path, selector, "an empty selector matches every pod", "add matchLabels")
        return
    if HASH_LABEL in labels:
        yield invalid(
            f"{path}.matchLabels", HASH_LABEL, "this label is set by the controller", "remove it here"
        )
        return
    wrong = False
    for index, term in enumerate(terms):
        for problem in _requirement(term, f"{path}.matchExpressions[{index}]"):
            wrong = True
            yield problem
    pod_labels = _pod_labels(spec.get("template"))
    if wrong or pod_labels is None:
        return
    wanted = LabelSelector(
        match_labels=labels,
        match_expressions=tuple(
            LabelSelectorRequirement(
                key=t["key"], operator=t["operator"], values=tuple(t.get("values") or ())
            )
            for t in terms
        ),
    )
    if not wanted.matches(pod_labels):
        yield invalid(
            "spec.template.metadata.labels", pod_labels, "must match spec.selector",
            "give the template the labels that the selector asks for",
        )  # fmt: skip


def _requirement(term: Object, path: str) -> Iterator[Problem]:
    operator, values = term["operator"], term.get("values")
    if not term["key"]:
        yield required(f"{path}.key", "a label's name")
    if operator not in _OPERATORS:
        yield Problem(
            f"{path}.operator", f'Unsupported value: "{operator}": must be one of {", ".join(_OPERATORS)}'
        )
    elif _OPERATORS[operator] != bool(values):
        rule = "must be set" if _OPERATORS[operator] else "must be empty"
        yield invalid(f"{path}.values", values, f"{rule} when the operator is {operator}")


def _pod_labels(template: Any) -> dict[str, str] | None:
    """The template's labels; None where they cannot be read, which is said elsewhere."""
    if not isinstance(template, Mapping) or not isinstance(template.get("metadata") or {}, Mapping):
        return None
    labels = (template.get("metadata") or {}).get("labels") or {}
    readable = isinstance(labels, Mapping) and all(isinstance(value, str) for value in labels.values())
    return dict(labels) if readable else None


def template_problems(owner: Object, path: str) -> Iterator[Problem]:
    """The pod template as far as we read it; the rest is the API server's to check when it makes a ReplicaSet."""
    template = owner.get("template")
    if template is None:
        if "template" not in owner and owner.get("workloadRef") is None:
            yield required(path, "the pods to run", "add metadata.labels and spec.containers")
        return
    if owner.get("workloadRef") is not None and isinstance(template, Mapping):
        if template:
            yield Problem(path, "exactly one of template and workloadRef must be set; remove one of them")
        return
    if not isinstance(template, Mapping):
        return
    for name in sorted(set(map(str, template)) - {"metadata", "spec"}):
        yield Problem(f"{path}.{name}", "unknown field; a pod template has metadata and spec")
    meta, spec = template.get("metadata") or {}, template.get("spec")
    if not isinstance(meta, Mapping):
        yield invalid(f"{path}.metadata", meta, "must be an object")
    else:
        for name in ("labels", "annotations"):
            yield from check(meta.get(name), _STRING_MAP, f"{path}.metadata.{name}")
    if not isinstance(spec, Mapping):
        yield required(f"{path}.spec", "the pods' spec must be an object with containers")
        return
    if spec.get("restartPolicy") not in (None, "", "Always"):
        yield invalid(f"{path}.spec.restartPolicy", spec["restartPolicy"], 'must be "Always"', "remove it")
    if spec.get("activeDeadlineSeconds") is not None:
        yield invalid(
            f"{path}.spec.activeDeadlineSeconds", spec["activeDeadlineSeconds"],
            "pods of a Rollout run until they are replaced", "remove it",
        )  # fmt: skip
    yield from _containers(spec, f"{path}.spec")


_API_VERSIONS = {"Deployment": "apps/v1", "ReplicaSet": "apps/v1", "PodTemplate": "v1"}


def workload_ref_problems(ref: Any, path: str) -> Iterator[Problem]:
    """What is wrong with a reference whose shape is right; whether the workload exists is asked elsewhere."""
    if not isinstance(ref, Mapping):
        return
    kind, name, version, mode = (ref.get(key) for key in ("kind", "name", "apiVersion", "scaleDown"))
    if "name" in ref and (not isinstance(name, str) or not SUBDOMAIN.fullmatch(name)):
        yield invalid(f"{path}.name", name, "must be the name of a workload in the same namespace")
    if not isinstance(kind, str) or kind not in _API_VERSIONS:
        return
    if version and version != _API_VERSIONS[kind]:
        yield invalid(f"{path}.apiVersion", version, f"a {kind} is of {_API_VERSIONS[kind]}")
    if kind != "Deployment" and mode not in (None, "never"):
        yield invalid(f"{path}.scaleDown", mode, f"a {kind} cannot be scaled down", "remove it")


def _containers(spec: Object, path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for field in ("initContainers", "containers"):
        containers = spec.get(field)
        if not containers and field == "containers":
            yield required(f"{path}.containers", "at least one container", "give it a name and an image")
            continue
        if not isinstance(containers or [], list):
            yield invalid(f"{path}.{field}", containers, "must be a list")
            continue
        for index, container in enumerate(containers or []):
            yield from _container(container, f"{path}.{field}[{index}]", seen)


def _container(container: Any, path: str, seen: set[str]) -> Iterator[Problem]:
    if not isinstance(container, Mapping):
        yield invalid(path, container, "must be an object with name and image")
        return
    name, image = container.get("name"), container.get("image")
    if not name:
        yield required(f"{path}.name", "a container needs a name")
    elif not isinstance(name, str) or not LABEL.fullmatch(name):
        yield invalid(f"{path}.name", name, LABEL_RULE)
    elif name in seen:
        yield Problem(f"{path}.name", f'Duplicate value: "{name}": container names must differ')
    else:
        seen.add(name)
    if not image:
        yield required(f"{path}.image", "a container needs an image")
    elif not isinstance(image, str) or image != image.strip():
        yield invalid(f"{path}.image", image, "must be the image's name without spaces around it")
