"""Compiled expressions and the tree walk that evaluates them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from rollout.core.expr import functions, regex, values
from rollout.core.expr.errors import ExprError, Fault
from rollout.core.expr.limits import MAX_ITEMS, MAX_SEARCHED, MAX_STEPS
from rollout.core.expr.nodes import (
    Array,
    Binary,
    Call,
    Chain,
    Comparison,
    Conditional,
    Index,
    Let,
    Literal,
    Logical,
    Map,
    Name,
    Node,
    Pointer,
    Sequence,
    Slice,
    Unary,
    walk,
)
from rollout.core.expr.parser import parse

_MISSING = object()


class Program:
    """An expression that was read without errors. Immutable; evaluating it changes nothing."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tree = parse(source)
        nodes = [node for node, _ in walk(self.tree)]
        bound = {node.name for node in nodes if isinstance(node, Let)}
        self.names = frozenset(
            node.name for node in nodes if isinstance(node, Name) and node.name not in bound
        )
        """The variables that the expression asks for."""
        self.functions = frozenset(node.function for node in nodes if isinstance(node, Call))
        """The functions that it calls."""
        self.coalesces = any(isinstance(node, Logical) and node.operator == "??" for node in nodes)

    def evaluate(self, variables: Mapping[str, Any], now: datetime | None = None) -> Any:
        """The value with these variables (plain data). ExprError when it has none."""
        run = _Run(variables, now, nan_allowed="isNaN" in self.functions)
        try:
            return run.value(self.tree)
        except Fault as fault:
            raise ExprError(self.source, run.at, str(fault)) from None
        except RecursionError:
            raise ExprError(self.source, run.at, "the expression or its values nest too deep") from None

    def evaluate_bool(self, variables: Mapping[str, Any], now: datetime | None = None) -> bool:
        """As `evaluate`, for a condition: anything but true or false is an ExprError."""
        result = self.evaluate(variables, now)
        if type(result) is not bool:
            raise ExprError(
                self.source,
                0,
                f"a condition must be true or false, not {values.described(result)}; "
                "compare it, for example `result[0] >= 0.95`",
            )
        return result


@lru_cache(maxsize=1024)
def compile(source: str) -> Program:  # the language's own word
    """Read an expression. ExprError with the place of the first thing that is wrong."""
    return Program(source)


def unknown_names(program: Program, known: Iterable[str]) -> list[str]:
    """The variables the expression asks for that are not among `known`, in order."""
    return sorted(program.names - set(known) - {"$env"})


class _Absent(Exception):
    """`?.` met nil: the whole chain is nil."""


class _Run:
    """One evaluation: its variables, the elements of the predicates around, and what it has used up."""

    def __init__(self, variables: Mapping[str, Any], now: datetime | None, *, nan_allowed: bool) -> None:
        self.now = now
        self.at = 0
        self._variables = variables
        self._locals: list[tuple[str, Any]] = []
        self._elements: list[dict[str, Any]] = []
        self._predicate: Node | None = None
        self._steps = MAX_STEPS
        self._nan_allowed = nan_allowed

    def value(self, node: Node) -> Any:
        self._steps -= 1
        if self._steps < 0:
            self.at = node.at
            self.spend(0)
        return _EVALUATE[type(node)](self, node)

    # What functions ask for (functions.Context)

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise Fault(f"the expression needs more than {MAX_STEPS} steps; look at fewer elements")

    @property
    def has_predicate(self) -> bool:
        return self._predicate is not None

    def holds(self, items: Iterable[Any]) -> Iterator[tuple[int, Any, bool]]:
        for index, item, result in self._each(items):
            yield index, item, values.boolean(result, "a predicate")

    def mapped(self, items: Iterable[Any], accumulator: Any = None) -> list[Any]:
        return [result for _, _, result in self._each(items, accumulator)]

    def reduced(self, items: list[Any], accumulator: Any, first: int) -> Any:
        for index in range(first, len(items)):
            accumulator = self._with_element(items[index], index, accumulator)
        return accumulator

    def _each(self, items: Iterable[Any], accumulator: Any = None) -> Iterator[tuple[int, Any, Any]]:
        for index, item in enumerate(items):
            yield index, item, self._with_element(item, index, accumulator)

    def _with_element(self, item: Any, index: int, accumulator: Any) -> Any:
        predicate = self._predicate
        assert predicate is not None
        self._elements.append({"": item, "index": index, "acc": accumulator})
        try:
            return self.value(predicate)
        finally:
            self._elements.pop()

    # One method for each kind of node

    def _literal(self, node: Literal) -> Any:
        return node.value

    def _name(self, node: Name) -> Any:
        for name, value in reversed(self._locals):
            if name == node.name:
                return value
        if node.name == "$env":
            return dict(self._variables)
        value = self._variables.get(node.name, _MISSING)
        if value is _MISSING:
            self.at = node.at
            known = ", ".join(sorted(self._variables)) or "none"
            raise Fault(f"there is no variable `{node.name}`; known here: {known}")
        return value

    def _pointer(self, node: Pointer) -> Any:
        return self._elements[-1][node.name]

    def _unary(self, node: Unary) -> Any:
        value = self.value(node.operand)
        self.at = node.at
        if node.operator == "not":
            return not values.boolean(value, "the value after `not`")
        if node.operator == "-":
            return values.negated(value)
        return values.number(value, "the value after `+`")

    def _binary(self, node: Binary) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        self.at = node.at
        match node.operator:
            case "==":
                return self._equal(left, right)
            case "!=":
                return not self._equal(left, right)
            case "in":
                return self._contained(left, right)
            case "..":
                return self._range(left, right)
            case "matches":
                return self._matches(left, right)
            case "contains" | "startsWith" | "endsWith" as sign:
                return _string_test(sign, left, right)
            case sign:
                return values.arithmetic(sign, left, right)

    def _equal(self, left: Any, right: Any) -> bool:
        self._refuse_nan(left, right)
        self.spend(min(values.size(left), values.size(right)))
        return values.equal(left, right)

    def _comparison(self, node: Comparison) -> bool:
        left = self.value(node.operands[0])
        for sign, operand in zip(node.operators, node.operands[1:], strict=True):
            right = self.value(operand)
            self.at = node.at
            self._refuse_nan(left, right)
            if not values.ordered(sign, left, right):
                return False
            left = right
        return True

    def _refuse_nan(self, *compared: Any) -> None:
        """Unknown is never a pass: who does not ask isNaN() gets an error, not a `!=` that holds."""
        if not self._nan_allowed and any(type(v) is float and math.isnan(v) for v in compared):
            raise Fault("a value is NaN (no data, or 0/0); say what that means with `isNaN(x) || ...`")

    def _contained(self, left: Any, right: Any) -> bool:
        match values.kind(right):
            case "array":
                self.spend(values.size(right))
                return any(values.alike(left, item) for item in right)
            case "map":
                return values.text(left, "the left side of `in` a map") in right
            case _:
                raise Fault(
                    f"the right side of `in` must be an array or a map, not {values.described(right)}"
                )

    def _matches(self, left: Any, right: Any) -> bool:
        source, pattern = _two_texts("matches", left, right)
        if len(source) > MAX_SEARCHED:
            raise Fault(f"`matches` looks at no more than {MAX_SEARCHED} characters")
        try:
            found = regex.compile(pattern)
        except ValueError as error:
            raise Fault(str(error)) from None
        self.spend(len(source) * found.size)
        return found.search(source)

    def _range(self, left: Any, right: Any) -> list[int]:
        start, stop = values.integer(left, "the start of `..`"), values.integer(right, "the end of `..`")
        if stop - start >= MAX_ITEMS:
            raise Fault(f"the range has more than {MAX_ITEMS} elements")
        self.spend(max(0, stop - start + 1))
        return list(range(start, stop + 1))

    def _logical(self, node: Logical) -> Any:
        left = self.value(node.left)
        self.at = node.at
        if node.operator == "??":
            return left if left is not None else self.value(node.right)
        truth = values.boolean(left, f"the left side of `{node.operator}`")
        if node.operator == "?:":
            return left if truth else self.value(node.right)
        if truth is (node.operator == "or"):
            return truth
        right = self.value(node.right)
        self.at = node.at
        return values.boolean(right, f"the right side of `{node.operator}`")

    def _conditional(self, node: Conditional) -> Any:
        test = self.value(node.test)
        self.at = node.at
        return self.value(node.then if values.boolean(test, "what is asked by `?`") else node.otherwise)

    def _index(self, node: Index) -> Any:
        target = self.value(node.target)
        if target is None and node.optional:
            raise _Absent
        key = self.value(node.key)
        self.at = node.at
        match values.kind(target):
            case "array":
                return _element(target, values.integer(key, "an index"))
            case "map":
                return target.get(values.text(key, "a key"))
            case "nil":
                raise Fault(
                    f"{_key_shown(key)} of nil; use `?.` or `default(x, ...)` where it may be missing"
                )
            case _:
                raise Fault(f"{values.described(target)} has no {_key_shown(key)}")

    def _slice(self, node: Slice) -> Any:
        target = self.value(node.target)
        start = self.value(node.start) if node.start else None
        stop = self.value(node.stop) if node.stop else None
        self.at = node.at
        if values.kind(target) not in {"array", "string"}:
            raise Fault(f"only arrays and strings have slices, not {values.described(target)}")
        for bound in (start, stop):
            if bound is not None:
                values.integer(bound, "a bound of a slice")
        self.spend(len(target))
        return target[start:stop]

    def _chain(self, node: Chain) -> Any:
        try:
            return self.value(node.body)
        except _Absent:
            return None

    def _array(self, node: Array) -> list[Any]:
        return [self.value(item) for item in node.items]

    def _map(self, node: Map) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key, value in node.pairs:
            name = self.value(key)
            self.at = key.at
            built[values.text(name, "a key")] = self.value(value)
        return built

    def _call(self, node: Call) -> Any:
        arguments = [self.value(argument) for argument in node.arguments]
        function = functions.find(node.function)
        assert function is not None
        outer, self._predicate = self._predicate, node.predicate
        self.at = node.at
        try:
            return function.apply(self, arguments)
        finally:
            self._predicate = outer

    def _let(self, node: Let) -> Any:
        self._locals.append((node.name, self.value(node.value)))
        try:
            return self.value(node.body)
        finally:
            self._locals.pop()

    def _sequence(self, node: Sequence) -> Any:
        self.value(node.first)
        return self.value(node.then)


def _element(target: Any, index: int) -> Any:
    if -len(target) <= index < len(target):
        return target[index]
    if not target:
        raise Fault(
            f"index {index} out of range: the array is empty; "
            "use `default(x, ...)` or `len(x) > 0 && ...` where there may be no data"
        )
    raise Fault(f"index {index} out of range: the array has {len(target)} element(s)")


def _key_shown(key: Any) -> str:
    return f"field {key!r}" if type(key) is str else f"element {values.described(key)}"


def _string_test(sign: str, left: Any, right: Any) -> bool:
    source, part = _two_texts(sign, left, right)
    match sign:
        case "contains":
            return part in source
        case "startsWith":
            return source.startswith(part)
        case _:
            return source.endswith(part)


def _two_texts(sign: str, left: Any, right: Any) -> tuple[str, str]:
    source = values.text(left, f"the left side of `{sign}`")
    return source, values.text(right, f"the right side of `{sign}`")


_EVALUATE: dict[type[Node], Any] = {
    Literal: _Run._literal,  # noqa: SLF001 - the dispatch table of the class above
    Name: _Run._name,  # noqa: SLF001
    Pointer: _Run._pointer,  # noqa: SLF001
    Unary: _Run._unary,  # noqa: SLF001
    Binary: _Run._binary,  # noqa: SLF001
    Comparison: _Run._comparison,  # noqa: SLF001
    Logical: _Run._logical,  # noqa: SLF001
    Conditional: _Run._conditional,  # noqa: SLF001
    Index: _Run._index,  # noqa: SLF001
    Slice: _Run._slice,  # noqa: SLF001
    Chain: _Run._chain,  # noqa: SLF001
    Array: _Run._array,  # noqa: SLF001
    Map: _Run._map,  # noqa: SLF001
    Call: _Run._call,  # noqa: SLF001
    Let: _Run._let,  # noqa: SLF001
    Sequence: _Run._sequence,  # noqa: SLF001
}
