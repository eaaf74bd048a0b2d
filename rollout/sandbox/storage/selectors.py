"""Label and field selectors as they stand in a query string, compiled to predicates.

Grammar: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors and
https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from rollout.errors import BadRequest
from rollout.sandbox.schema import names

Object = Mapping[str, Any]
Predicate = Callable[[Object], bool]


class Requirement(msgspec.Struct, frozen=True):
    """One term. `operator` is one of =, !=, in, notin, exists, !, gt, lt; `values` is empty for the unary."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        have = labels.get(self.key)
        match self.operator:
            case "=" | "in":
                return have is not None and have in self.values
            case "!=" | "notin":
                return have is None or have not in self.values
            case "exists":
                return have is not None
            case "!":
                return have is None
            case _:
                return have is not None and _compares(have, self.operator, self.values[0])


def _compares(have: str, operator: str, bound: str) -> bool:
    if not re.fullmatch(r"[+-]?[0-9]+", have):
        return False
    return int(have) > int(bound) if operator == "gt" else int(have) < int(bound)


_TOKEN = re.compile(r"\s*(?:(?P<op>==|!=|[=!(),<>])|(?P<word>[^\s=!(),<>]+))")


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> tuple[Requirement, ...]:
    """The terms of a label selector; () for "". BadRequest when it cannot be read."""
    return _LabelParser(text).parse()


class _LabelParser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:  # pragma: no cover - the token expression takes any character
                raise _unreadable(f"unexpected {text[at:]!r}")
            self._tokens.append(
                ("op", found["op"]) if found["op"] else ("word", found["word"]),
            )
            at = found.end()
        self._at = 0

    def parse(self) -> tuple[Requirement, ...]:
        terms: list[Requirement] = []
        if not self._tokens:
            return ()
        while True:
            terms.append(self._requirement())
            if self._at == len(self._tokens):
                return tuple(terms)
            if self._take() != ("op", ","):
                raise BadRequest(f"found '{self._tokens[self._at - 1][1]}', expected: ',' or 'end of string'")
            kind, text = self._peek()
            if kind != "word" and text != "!":
                raise BadRequest(f"found '{text}', expected: identifier after ','")

    def _take(self) -> tuple[str, str]:
        if self._at == len(self._tokens):
            return ("end", "")
        self._at += 1
        return self._tokens[self._at - 1]

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _requirement(self) -> Requirement:
        negated = self._peek() == ("op", "!")
        if negated:
            self._take()
        kind, key = self._take()
        if kind != "word":
            raise BadRequest(f"found '{key}', expected: !, identifier, or 'end of string'")
        if problems := names.qualified_name(key):
            raise _unreadable(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')
        if negated:
            return Requirement(key, "!")
        return self._rest(key)

    def _rest(self, key: str) -> Requirement:
        kind, text = self._peek()
        if kind == "end" or (kind, text) == ("op", ","):
            return Requirement(key, "exists")
        self._take()
        if kind == "op" and text in {"=", "==", "!="}:
            value = self._take()[1] if self._peek()[0] == "word" else ""
            return Requirement(key, "!=" if text == "!=" else "=", (self._value(key, value),))
        if kind == "op" and text in {"<", ">"}:
            bound = self._take()[1]
            if not re.fullmatch(r"[+-]?[0-9]+", bound):
                raise _unreadable(
                    f"values[0]: Invalid value: \"{bound}\": for 'Gt', 'Lt' operators, "
                    "the value must be an integer"
                )
            return Requirement(key, "gt" if text == ">" else "lt", (bound,))
        if kind == "word" and text in {"in", "notin"}:
            return Requirement(key, text, self._values(key))
        raise _unreadable(f"found '{text}', expected: in, notin, =, ==, !=, gt, lt")

    def _values(self, key: str) -> tuple[str, ...]:
        if (found := self._take()) != ("op", "("):
            raise _unreadable(f"found '{found[1]}' expected: '('")
        values: list[str] = []
        while True:
            kind, text = self._take()
            if kind == "word":
                values.append(self._value(key, text))
                kind, text = self._take()
            elif kind == "op" and text in {",", ")"}:
                values.append("")  # "in (,a)" and "in ()" name the empty value
            if (kind, text) == ("op", ")"):
                return tuple(sorted(set(values)))
            if (kind, text) != ("op", ","):
                raise _unreadable(f"found '{text}', expected: ',' or ')'")

    def _value(self, key: str, value: str) -> str:
        if problems := names.label_value(value):
            raise _unreadable(f'values[0][{key}]: Invalid value: "{value}": {"; ".join(problems)}')
        return value


def _unreadable(why: str) -> BadRequest:
    return BadRequest(f"unable to parse requirement: {why}")


@lru_cache(maxsize=1024)
def parse_fields(text: str) -> tuple[tuple[str, str, str], ...]:
    r"""(field, "=" or "!=", value) terms of a field selector. `\\`, `\,` and `\=` are escapes in values."""
    terms = []
    for part in re.findall(r"(?:[^,\\]|\\.)+", text):
        found = re.fullmatch(r"\s*([^=!\s]+)\s*(==|!=|=)(.*)", part, re.DOTALL)
        if found is None or re.search(r"(?<!\\)=", found[3]):
            raise BadRequest(f"invalid selector: '{text}'; can't understand '{part}'")
        value = re.sub(r"\\([\\,=])", r"\1", found[3])
        terms.append((found[1], "!=" if found[2] == "!=" else "=", value))
    return tuple(terms)


_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
_EVENT_FIELDS = (
    *(
        f"involvedObject.{name}"
        for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    ),
    "reason",
    "reportingComponent",
    "source",
    "type",
)
SUPPORTED_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): _POD_FIELDS,
    ("", "events"): _EVENT_FIELDS,
    ("", "secrets"): ("type",),
    ("", "namespaces"): ("status.phase",),
    ("", "nodes"): ("spec.unschedulable",),
    ("", "services"): ("spec.clusterIP", "spec.type"),
    ("apps", "replicasets"): ("status.replicas",),
    ("batch", "jobs"): ("status.successful",),
}
_EVERYWHERE = ("metadata.name", "metadata.namespace")


def field_value(obj: Object, field: str) -> str:
    """The text a field selector compares with: "" when absent, "true"/"false" for booleans."""
    if field == "source":  # events: the old source.component, or its successor
        source = obj.get("source") or {}
        return str(source.get("component") or obj.get("reportingComponent") or "")
    value: Any = obj
    for part in field.split("."):
        if not isinstance(value, Mapping):
            return ""
        value = value.get(part)
    if value is None:
        return {"spec.unschedulable": "false", "spec.hostNetwork": "false", "status.replicas": "0"}.get(
            field, ""
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def compile_selector(
    labels: str, fields: str, resource: tuple[str, str], *, builtin: bool, selectable: Sequence[str] = ()
) -> Predicate | None:
    """One predicate for both selectors, or None when everything matches.

    `resource` is (group, plural), `builtin` whether no CRD defines it; `selectable` are further fields a CRD allows.
    BadRequest when a selector cannot be read or names a field that cannot be selected by.
    """
    label_terms = parse_labels(labels) if labels else ()
    field_terms = parse_fields(fields) if fields else ()
    known = (*_EVERYWHERE, *SUPPORTED_FIELDS.get(resource, ()), *selectable)
    for field, _, _ in field_terms:
        if field in known:
            continue
        if resource in SUPPORTED_FIELDS or not builtin:
            raise BadRequest(f"field label not supported: {field}")
        raise BadRequest(
            f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        )
    if not label_terms and not field_terms:
        return None

    def matches(obj: Object) -> bool:
        if label_terms:
            have = obj["metadata"].get("labels") or {}
            if not all(term.holds(have) for term in label_terms):
                return False
        return all(
            (field_value(obj, field) == value) is (operator == "=") for field, operator, value in field_terms
        )

    return matches


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector (matchLabels, matchExpressions) as the string that lists take.

    The order is client-go's (LabelSelectorAsSelector, then String): requirements sorted by key.
    """
    terms = [(key, f"{key}={value}") for key, value in ((selector or {}).get("matchLabels") or {}).items()]
    for term in (selector or {}).get("matchExpressions") or ():
        key, operator = term["key"], term["operator"]
        values = ",".join(sorted(term.get("values") or ()))
        match operator:
            case "In":
                terms.append((key, f"{key} in ({values})"))
            case "NotIn":
                terms.append((key, f"{key} notin ({values})"))
            case "Exists":
                terms.append((key, key))
            case _:
                terms.append((key, f"!{key}"))
    return ",".join(text for _, text in sorted(terms))
