"""CEL rules (`x-kubernetes-validations`) of structural schemas.

Contract: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
(validation rules, transition rules, messageExpression, reason, fieldPath, optionalOldSelf). The engine is
cel-cpp through cel-expr-python. Rules are compiled once per schema. Expressions are checked when they run,
not against the schema's types, and there is no cost budget: `rollout sandbox gaps` says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec
from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_optional, ext_strings

from rollout.sandbox.schema import fields
from rollout.sandbox.schema.correlate import MISSING, item_before, member_before, same
from rollout.sandbox.schema.fields import NO_FIELD, FieldError, child

Schema = dict[str, Any]


class Rule(msgspec.Struct, frozen=True):
    """One entry of x-kubernetes-validations."""

    text: str
    message: str
    message_expression: str
    reason: str
    field_path: str
    transition: bool
    optional_old: bool


class Node(msgspec.Struct, frozen=True):
    """The part of a schema that has rules at or below it; `transitions`: some of them look at the old value."""

    schema: Schema
    rules: tuple[Rule, ...]
    properties: dict[str, Node]
    additional: Node | None
    items: Node | None
    transitions: bool


REASONS = (fields.DUPLICATE, fields.FORBIDDEN, fields.INVALID, fields.REQUIRED)
"""What a rule may name as its `reason`."""


def compile_error(text: str) -> str:
    """Why an expression does not compile; "" when it does."""
    try:
        _compiled(text)
    except RuntimeError as error:
        return _first_line(error)
    return ""


def has_rules(schema: Schema) -> bool:
    return _plan(schema) is not None


def broken(obj: Any, schema: Schema, old: Any = MISSING) -> Iterator[FieldError]:
    """The rules that `obj` breaks. Transition rules run where an old value exists."""
    node = _plan(schema)
    if node:
        yield from _judge(obj, node, "", old, root=True)


# -- which parts of a schema have rules ---------------------------------------------------------

_plans: dict[int, tuple[Schema, Node | None]] = {}
_MAX_PLANS = 512


def _plan(schema: Schema) -> Node | None:
    """Found once per schema object. The cache keeps the schema alive, so its id cannot be used again."""
    known = _plans.get(id(schema))
    if known is None:
        if len(_plans) >= _MAX_PLANS:
            _plans.clear()
        known = _plans[id(schema)] = (schema, _node(schema))
    return known[1]


def _node(schema: Any) -> Node | None:
    if not isinstance(schema, dict):
        return None
    entries = schema.get("x-kubernetes-validations")
    rules = (
        tuple(_rule(entry) for entry in entries if isinstance(entry, dict))
        if isinstance(entries, list)
        else ()
    )
    known = schema.get("properties")
    properties = {
        key: node
        for key, below in (known.items() if isinstance(known, dict) else ())
        if (node := _node(below)) is not None
    }
    additional, items = _node(schema.get("additionalProperties")), _node(schema.get("items"))
    below = [node for node in (*properties.values(), additional, items) if node]
    if not rules and not below:
        return None
    transitions = any(rule.transition for rule in rules) or any(node.transitions for node in below)
    return Node(schema, rules, properties, additional, items, transitions)


def _rule(entry: dict[str, Any]) -> Rule:
    text, expression = str(entry.get("rule", "")), str(entry.get("messageExpression") or "")
    return Rule(
        text=text,
        message=str(entry.get("message") or ""),
        message_expression=expression,
        reason=str(entry.get("reason") or fields.INVALID),
        field_path=str(entry.get("fieldPath") or ""),
        transition=re.search(r"\boldSelf\b", re.sub(r"'[^']*'|\"[^\"]*\"", "", text)) is not None,
        optional_old=entry.get("optionalOldSelf") is True,
    )


# -- judging an object --------------------------------------------------------------------------


def _judge(value: Any, node: Node, path: str, old: Any, *, root: bool = False) -> Iterator[FieldError]:
    if value is None or (not node.transitions and old is not MISSING and same(value, old)):
        return
    if node.rules:
        yield from _apply(value, node, path, old, root=root)
    if isinstance(value, dict):
        for key, inner in value.items():
            below = node.properties.get(key, node.additional)
            if below:
                yield from _judge(inner, below, child(path, key), member_before(key, old))
    elif isinstance(value, list) and node.items:
        for index, item in enumerate(value):
            yield from _judge(item, node.items, f"{path}[{index}]", item_before(item, old, node.schema))


def _apply(value: Any, node: Node, path: str, old: Any, *, root: bool) -> Iterator[FieldError]:
    unchanged = old is not MISSING and same(value, old)
    due = [
        rule
        for rule in node.rules
        if (rule.optional_old or old is not MISSING if rule.transition else not unchanged)
    ]
    if not due:
        return
    data = {"self": _cel(value, node.schema, resource=root)}
    if old is not MISSING:
        data["oldSelf"] = _cel(old, node.schema, resource=root)
    for rule in due:
        error = _verdict(rule, data, node.schema, path)
        if error:
            yield error


def _verdict(rule: Rule, data: dict[str, Any], schema: Schema, path: str) -> FieldError | None:
    kind = str(schema.get("type") or "")
    here = path or NO_FIELD
    try:
        program = _compiled(_with_optional(rule.text, rule, data))
    except RuntimeError as error:
        return fields.invalid(here, kind, f"rule compile error: {_first_line(error)}")
    outcome, problem = _run(program, data)
    name = rule.message or rule.text.strip()
    if problem.startswith("no such overload"):
        return fields.invalid(
            here,
            kind,
            f"'{problem}': call arguments did not match a supported operator, function or macro "
            f"signature for rule: {name}",
        )
    if problem:
        return fields.invalid(here, kind, f"{problem} evaluating rule: {name}")
    if outcome is True:
        return None
    where = _resolved(path, rule.field_path) or NO_FIELD
    message = _message(rule, data)
    match rule.reason:
        case fields.REQUIRED:
            return fields.required(where, message)
        case fields.FORBIDDEN:
            return fields.forbidden(where, message)
        case fields.DUPLICATE:
            return fields.duplicate(where, kind)
        case _:
            return fields.invalid(where, kind, message)


def _with_optional(text: str, rule: Rule, data: dict[str, Any]) -> str:
    """The engine takes no optional values from outside, so optionalOldSelf wraps the name in the text."""
    if not rule.optional_old:
        return text
    value = "optional.of(oldSelf)" if "oldSelf" in data else "optional.none()"
    return re.sub(r"(?<![.\w])oldSelf\b", value, text)


def _message(rule: Rule, data: dict[str, Any]) -> str:
    if rule.message_expression:
        try:
            text, problem = _run(_compiled(_with_optional(rule.message_expression, rule, data)), data)
        except RuntimeError:
            text, problem = None, "does not compile"
        if not problem and isinstance(text, str) and text.strip() and "\n" not in text:
            return text.strip()
    return rule.message or f"failed rule: {rule.text.strip()}"


def _resolved(path: str, field_path: str) -> str:
    """`path` extended by a fieldPath such as `.spec.limits['cpu']`."""
    for name, key in re.findall(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\['([^']*)'\]", field_path):
        path = child(path, name) if name else f"{path}[{key}]"
    return path


# -- the engine ---------------------------------------------------------------------------------


def _function(name: str, returns: Any, parameters: list[Any], impl: Callable[..., Any]) -> Any:
    overload = cel.Overload(
        f"surefoot_{name}_{len(parameters)}", returns, parameters, is_member=True, impl=impl
    )
    return cel.FunctionDecl(name, [overload])


def _sorted(items: list[Any]) -> bool:
    return all(a <= b for a, b in pairwise(items))


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found.group() if found else ""


def _find_all(text: str, pattern: str) -> list[str]:
    return [found.group() for found in re.finditer(pattern, text)]


_DYN, _LIST, _STR = cel.Type.DYN, cel.Type.List(cel.Type.DYN), cel.Type.STRING

# Kubernetes' list and regex libraries, which CEL itself does not have.
_ENV = cel.NewEnv(
    variables={"self": _DYN, "oldSelf": _DYN},
    extensions=[ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional()],
    functions=[
        _function("isSorted", cel.Type.BOOL, [_LIST], _sorted),
        _function("sum", _DYN, [_LIST], sum),
        _function("min", _DYN, [_LIST], min),
        _function("max", _DYN, [_LIST], max),
        _function("find", _STR, [_STR, _STR], _find),
        _function("findAll", _LIST, [_STR, _STR], _find_all),
    ],
)


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Any:
    """The program of an expression. RuntimeError when it does not compile."""
    return _ENV.compile(text)


def _run(program: Any, data: dict[str, Any]) -> tuple[Any, str]:
    """(value, "") or (None, what went wrong, as far as possible in kube-apiserver's words)."""
    try:
        value = program.eval(data=data)
        if value.type() != cel.Type.ERROR:
            return value.plain_value(), ""
        text = str(value.value())
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        text = _first_line(error)
    if missing := re.search(r'Key not found in map : "(.*)"', text):
        return None, f"no such key: {missing[1]}"
    if "No matching overloads" in text:
        return None, "no such overload"
    return None, text.partition(": ")[2] or text


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


# -- JSON values as CEL sees them ---------------------------------------------------------------

_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_SIGNS = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


@lru_cache(maxsize=4096)
def _escaped(name: str) -> str:
    """A property's name as rules write it (`x-prop` is `self.x__dash__prop`)."""
    if name in _RESERVED:
        return f"__{name}__"
    return re.sub(r"__|[.\-/]", lambda sign: _SIGNS[sign[0]], name)


def _cel(value: Any, schema: Any, *, resource: bool = False) -> Any:
    """`value` with numbers typed by `schema`, and property names escaped.

    Strings of format date-time or duration stay strings: the engine takes no times from outside.
    """
    if not isinstance(schema, dict):
        return value
    if isinstance(value, dict):
        known = schema.get("properties")
        properties = known if isinstance(known, dict) else {}
        others = schema.get("additionalProperties")
        result = {
            _escaped(key) if key in properties else key: _cel(inner, properties.get(key, others))
            for key, inner in value.items()
        }
        if resource or schema.get("x-kubernetes-embedded-resource"):
            meta = value.get("metadata")
            named = meta if isinstance(meta, dict) else {}
            result["metadata"] = {key: named[key] for key in ("name", "generateName") if key in named}
        return result
    if isinstance(value, list):
        return [_cel(item, schema.get("items")) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if schema.get("type") == "number" else _whole(value, schema)
    return value


def _whole(value: float, schema: Schema) -> float:
    return int(value) if schema.get("type") == "integer" and float(value).is_integer() else value
