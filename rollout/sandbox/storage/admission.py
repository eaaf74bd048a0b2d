"""Schemas at the door: unknown fields, defaults, validation, the same for built-in and custom kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from rollout.api import codec
from rollout.errors import BadRequest, Unclassified
from rollout.runtime.kube import Propagation
from rollout.sandbox.schema import decoding, kinds, structural
from rollout.sandbox.schema.fields import FieldError
from rollout.sandbox.storage import refusals
from rollout.sandbox.storage.registry import Served

Object = dict[str, Any]
Warn = Callable[[str], None]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a write is to be done; the same for all verbs.

    `manager` is the field manager; `field_validation` one of "", "Ignore", "Warn", "Strict" (unknown fields);
    `warn` is called with the text of each warning.
    """

    manager: str = "unknown"
    dry_run: bool = False
    force: bool = False
    field_validation: str = ""
    warn: Warn | None = None


class DeleteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`propagation` None keeps what the object's finalizers say (Background when they say nothing)."""

    uid: str = ""
    resource_version: str = ""
    propagation: Propagation | None = None
    grace_seconds: int | None = None
    dry_run: bool = False


DEFAULT_OPTIONS = Options()
DEFAULT_DELETE_OPTIONS = DeleteOptions()


def schema_of(served: Served) -> dict[str, Any] | None:
    """The schema of this version, or None for a kind without one (everything is kept then)."""
    if served.schema is not None:
        return served.schema
    return kinds.schema_of(*served.resource.gvk) if served.builtin else None


def check_types(served: Served, obj: Any, known: Mapping[str, Any] | None = None) -> None:
    """Refuse (400) what kube-apiserver cannot even decode: another kind, wrong types (of custom resources only
    in metadata). Fields that are `known`'s own were decoded before."""
    check_kind(served, obj)
    if problem := decoding_problem(served, obj, known or {}):
        raise refusals.cannot_handle(served.resource, problem)


def check_kind(served: Served, obj: Any) -> None:
    """Refuse (400) an object of another kind or version; neither has to be said."""
    resource = served.resource
    if not isinstance(obj, Mapping):
        raise BadRequest(
            f"the object provided is unrecognized (must be of type {resource.kind}): "
            "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value"
        )
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    if kind and kind != resource.kind:
        problem = f"the kind in the data ({kind}) does not match the expected kind ({resource.kind})"
        raise refusals.cannot_handle(resource, problem, kind=kind, version=api_version or "")
    if api_version and api_version != resource.api_version:
        raise BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )


def check_declared(served: Served, applied: Mapping[str, Any]) -> None:
    """Refuse an applied configuration of a built-in kind with fields that the kind does not have: nobody could own
    them."""
    schema = schema_of(served)
    if not served.builtin or schema is None or not (unknown := structural.unknown_paths(applied, schema)):
        return
    meta, resource = applied.get("metadata") or {}, served.resource
    problems = [f".{path}: field not declared in schema" for path in unknown]
    told = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {one}" for one in problems)
    where = f"{meta.get('namespace', '')}/{meta.get('name', '')}; {resource.group}/{resource.version}"
    raise Unclassified(f"failed to create typed patch object ({where}, Kind={resource.kind}): {told}")


def decoding_problem(served: Served, obj: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Why `obj` does not fit the types of its kind, in Go's words; "" when it does."""
    if problem := decoding.metadata_problem(obj.get("metadata")):
        return problem
    if not served.builtin:
        return ""
    fresh = {key: value for key, value in obj.items() if key != "metadata" and value is not known.get(key)}
    return decoding.problem(fresh, *served.resource.gvk)


def with_known_parts(served: Served, obj: Object) -> tuple[Object, Object]:
    """A new object, and what of it was admitted before: the pods of one template share one spec, defaults and
    all. The parts are the same objects in both, so that nobody looks at them again."""
    spec = obj.get("spec") if served.bucket == ("", "pods") else None
    admitted = _admitted_pod_spec(codec.encode(spec)) if isinstance(spec, dict) else None
    if admitted is None:
        return obj, {}
    return {**obj, "spec": admitted}, {"spec": admitted}


@lru_cache(maxsize=256)
def _admitted_pod_spec(text: bytes) -> Object | None:
    """A pod spec in its complete form; None when there is anything to be said about it, so that it is said to
    every client who sends it. Nothing in a pod but its spec has a say in that."""
    schema = kinds.schema_of("v1", "Pod")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": codec.decode(text)}
    if schema is None or decoding.problem(pod, "v1", "Pod") or structural.prune(pod, schema) is not pod:
        return None
    pod = kinds.defaults(structural.default(pod, schema))
    if structural.validate(pod, schema) or kinds.validate(pod):
        return None
    spec: Object = pod["spec"]
    return spec


def admit_shape(
    served: Served, obj: Object, live: Object | None, options: Options, known: Object | None = None
) -> Object:
    """`obj` without unknown fields and with defaults. BadRequest under Strict when a field is unknown.

    Top-level fields that are `live`'s or `known`'s own were admitted before, and are not looked at again.
    """
    before = live or known or {}
    fresh = {key: value for key, value in obj.items() if value is not before.get(key)}
    schema = schema_of(served)
    if schema is not None:
        pruned = structural.prune(fresh, schema)
        if pruned is not fresh and options.field_validation in {"Strict", "Warn"}:
            _unknown_fields(served, structural.unknown_fields(fresh, schema), options)
        shaped = structural.default(pruned, schema)
        if shaped is not fresh:
            kept = {key: value for key, value in obj.items() if key in shaped or key not in fresh}
            obj = {**kept, **{key: value for key, value in shaped.items() if key not in obj or key in fresh}}
    if served.builtin and not (before and fresh.keys() <= _WITHOUT_DEFAULTS):
        obj = kinds.defaults(obj)
    return obj


def _unknown_fields(served: Served, problems: Sequence[str], options: Options) -> None:
    if not problems:
        return
    if not served.builtin:
        problems = sorted(problems)
    if options.field_validation == "Strict":
        raise refusals.cannot_handle(served.resource, f"strict decoding error: {', '.join(problems)}")
    for problem in problems if options.warn else ():
        assert options.warn is not None
        options.warn(problem)


_WITHOUT_DEFAULTS = {"apiVersion", "kind", "metadata", "status"}


def shape_errors(served: Served, obj: Object, old: Object | None) -> list[FieldError]:
    """What the schema (types, limits, CEL rules) and the rules of a built-in kind have against `obj`."""
    schema = schema_of(served)
    errors = structural.validate(obj, schema, old=old) if schema is not None else []
    if not served.builtin:
        return errors
    # of metadata `objectmeta` speaks
    return [one for one in errors if not one.field.startswith("metadata.")] + kinds.validate(obj, old)
