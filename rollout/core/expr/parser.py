"""Tokens to syntax tree: a Pratt parser. Precedences were found by trying the expr-lang library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rollout.core.expr import functions
from rollout.core.expr.errors import ExprError
from rollout.core.expr.limits import MAX_DEPTH, MAX_NESTING
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
from rollout.core.expr.tokens import Token, tokenize

# operator -> how strongly it binds; all but the power bind to the left.
_BINARY = {
    "|": 0,
    "or": 10,
    "||": 10,
    "and": 15,
    "&&": 15,
    "==": 20,
    "!=": 20,
    "<": 20,
    ">": 20,
    "<=": 20,
    ">=": 20,
    "in": 20,
    "contains": 20,
    "startsWith": 20,
    "endsWith": 20,
    "matches": 20,
    "..": 25,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "**": 100,
    "^": 100,
    "??": 500,
}
_UNARY = {"not": 50, "!": 50, "-": 90, "+": 90}
_ORDERING = frozenset({"<", ">", "<=", ">="})
_NEGATABLE = frozenset({"in", "contains", "startsWith", "endsWith", "matches"})
_SAME = {"||": "or", "&&": "and", "^": "**", "!": "not"}
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
T = TypeVar("T")
_POINTERS = frozenset({"#", "#acc", "#index"})


def parse(source: str) -> Node:
    """The tree of `source`. ExprError with the place of the first thing that is wrong."""
    parser = _Parser(source)
    tree = parser.sequence()
    if parser.token.kind != "end":
        raise parser.error(f"{parser.token} is not expected here")
    if max(depth for _, depth in walk(tree)) > MAX_DEPTH:
        raise ExprError(source, 0, f"the expression nests more than {MAX_DEPTH} deep")
    return tree


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokenize(source)
        self._at = 0
        self._nesting = 0
        self._predicates = 0
        self._locals: list[str] = []

    @property
    def token(self) -> Token:
        return self._tokens[self._at]

    def error(self, reason: str, at: int | None = None) -> ExprError:
        return ExprError(self._source, self.token.position if at is None else at, reason)

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        """Around whatever parses a part of itself, so that no source can exhaust the stack."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise self.error(f"the expression nests more than {MAX_NESTING} deep")
        yield
        self._nesting -= 1

    def sequence(self) -> Node:
        """`let` bindings and expressions separated by `;`; the value is the last one's."""
        at = self.token.position
        with self._deeper():
            first = self.expression()
            return Sequence(at, first, self.sequence()) if self._accept(";") else first

    def expression(self) -> Node:
        at = self.token.position
        if self._accept("let"):
            return self._let(at)
        if self._accept("if"):
            node = self._if(at)
        else:
            node = self._binary(0)
            while True:
                at = self.token.position
                if self._accept("?"):
                    then = self.expression()
                    self._expect(":")
                    node = Conditional(at, node, then, self.expression())
                elif self._accept("?:"):
                    node = Logical(at, "?:", node, self.expression())
                else:
                    break
        return node

    def _let(self, at: int) -> Node:
        name = self._name()
        if functions.exists(name) or name in _CONSTANTS or name in self._locals:
            raise self.error(f"`{name}` exists already; give the variable another name", at)
        self._expect("=")
        value = self.expression()
        self._expect(";")
        self._locals.append(name)
        body = self.sequence()
        self._locals.pop()
        return Let(at, name, value, body)

    def _if(self, at: int) -> Node:
        test = self.expression()
        then = self._block()
        self._expect("else")
        other = self.token.position
        with self._deeper():
            return Conditional(at, test, then, self._if(other) if self._accept("if") else self._block())

    def _block(self) -> Node:
        self._expect("{")
        body = self.sequence()
        self._expect("}")
        return body

    def _binary(self, floor: int) -> Node:
        with self._deeper():
            return self._operators(self._prefix(), floor)

    def _operators(self, left: Node, floor: int) -> Node:
        coalesced = False
        while True:
            token = self.token
            negated = self._negated()
            operator = str(self._tokens[self._at + 1].value) if negated else str(token.value)
            strength = _BINARY.get(operator) if token.kind == "operator" else None
            if strength is None or strength < floor:
                return left
            if coalesced and operator not in {"??", "|"}:
                raise self.error(f"`{operator}` after `??` is ambiguous; put one of the two in parentheses")
            coalesced = operator == "??"
            if operator in _ORDERING:
                left = self._comparison(left, strength)
                continue
            self._at += 2 if negated else 1
            left = self._combine(token.position, operator, strength, left)
            if negated:
                left = Unary(token.position, "not", left)

    def _comparison(self, left: Node, strength: int) -> Node:
        """`a < b < c` means `a < b && b < c`, each side evaluated once."""
        at = self.token.position
        operators, operands = [], [left]
        while self.token.kind == "operator" and self.token.value in _ORDERING:
            operators.append(str(self.token.value))
            self._at += 1
            operands.append(self._binary(strength + 1))
        return Comparison(at, tuple(operators), tuple(operands))

    def _combine(self, at: int, operator: str, strength: int, left: Node) -> Node:
        operator = _SAME.get(operator, operator)
        if operator == "|":
            return self._pipe(left)
        if operator == "**":
            return Binary(at, operator, left, self._binary(strength))
        right = self._binary(strength + 1)
        if operator in {"and", "or", "??"}:
            return Logical(at, operator, left, right)
        return Binary(at, operator, left, right)

    def _negated(self) -> bool:
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        return (
            self.token.kind == "operator"
            and self.token.value == "not"
            and following.kind == "operator"
            and following.value in _NEGATABLE
        )

    def _prefix(self) -> Node:
        token = self.token
        if token.kind == "operator" and token.value in _UNARY:
            self._at += 1
            operand = self._binary(_UNARY[str(token.value)])
            operator = str(token.value)
            return Unary(token.position, _SAME.get(operator, operator), operand)
        return self._primary()

    def _primary(self) -> Node:
        token = self.token
        self._at += 1
        match token.kind, token.value:
            case "number", int() | float():
                return Literal(token.position, token.value)
            case "string", str():
                return self._postfix(Literal(token.position, token.value))
            case "name", name if name in _CONSTANTS:
                return Literal(token.position, _CONSTANTS[str(name)])
            case "name", name:
                if self._is("("):
                    return self._postfix(self._call(str(name), token.position, ()))
                return self._postfix(Name(token.position, str(name)))
            case "operator", pointer if pointer in _POINTERS and self._predicates:
                return self._postfix(Pointer(token.position, str(pointer)[1:]))
            case "operator", "." if self._predicates:
                key = Literal(self.token.position, self._name())
                return self._postfix(Index(token.position, Pointer(token.position, ""), key, optional=False))
            case "bracket", "(":
                node = self.sequence()
                self._expect(")")
                return self._postfix(node)
            case "bracket", "[":
                items = self._list("]", self.expression)
                return self._postfix(Array(token.position, tuple(items)))
            case "bracket", "{":
                pairs = self._list("}", self._pair)
                return self._postfix(Map(token.position, tuple(pairs)))
        self._at -= 1
        if token.kind == "operator" and token.value in _POINTERS:
            raise self.error(f"{token} stands for an element and is known only inside a predicate")
        raise self.error(f"{token} is not expected here; a value is")

    def _postfix(self, node: Node) -> Node:
        optional = False
        while True:
            at = self.token.position
            if self._accept("?."):
                optional = True
                key = self._bracketed_key() if self._is("[") else Literal(self.token.position, self._field())
                node = Index(at, node, key, optional=True)
            elif self._accept("."):
                node = Index(at, node, Literal(self.token.position, self._field()), optional=False)
            elif self._is("["):
                node = self._subscript(node, at)
            else:
                return Chain(node.at, node) if optional else node

    def _field(self) -> str:
        name = str(self.token.value)
        if self.token.kind == "operator" and name.isalpha():
            self._at += 1
        else:
            name = self._name()
        if self._is("("):
            raise self.error(
                f"there are no methods; write a function such as `len(x)` instead of `.{name}()`"
            )
        return name

    def _bracketed_key(self) -> Node:
        self._expect("[")
        key = self.expression()
        self._expect("]")
        return key

    def _subscript(self, target: Node, at: int) -> Node:
        self._expect("[")
        start = None if self._is(":") else self.expression()
        if not self._accept(":"):
            self._expect("]")
            assert start is not None
            return Index(at, target, start, optional=False)
        stop = None if self._is("]") else self.expression()
        self._expect("]")
        return Slice(at, target, start, stop)

    def _pair(self) -> tuple[Node, Node]:
        token = self.token
        key: Node
        if self._accept("("):
            key = self.expression()
            self._expect(")")
        elif token.kind in {"name", "string", "number"}:
            self._at += 1
            key = Literal(token.position, str(token.value))
        else:
            raise self.error(f"{token} is not a key of a map; write a name, a string or (an expression)")
        self._expect(":")
        return key, self.expression()

    def _pipe(self, left: Node) -> Node:
        at = self.token.position
        name = self._name()
        if not self._is("("):
            raise self.error(f"after `|` stands a function call; write `{name}()`")
        return self._call(name, at, (left,))

    def _call(self, name: str, at: int, first: tuple[Node, ...]) -> Node:
        """`name` was read, `(` is next; `first` is what a pipe brings."""
        function = functions.find(name)
        if function is None:
            raise self.error(f"there is no function `{name}`{functions.suggestion(name)}", at)
        self._expect("(")
        arguments = list(first)
        predicate: Node | None = None
        while not self._is(")"):
            if function.predicate and len(arguments) == 1 and predicate is None:
                predicate = self._predicate()
            else:
                arguments.append(self.expression())
            if not self._accept(","):
                break
        self._expect(")")
        if reason := function.wrong_count(len(arguments), predicate is not None):
            raise self.error(reason, at)
        return Call(at, name, tuple(arguments), predicate)

    def _predicate(self) -> Node:
        self._predicates += 1
        node = self._block() if self._is("{") else self.expression()
        self._predicates -= 1
        return node

    def _list(self, closing: str, item: Callable[[], T]) -> list[T]:
        items: list[T] = []
        while not self._accept(closing):
            items.append(item())
            if not self._accept(","):
                self._expect(closing)
                break
        return items

    def _name(self) -> str:
        token = self.token
        if token.kind != "name":
            raise self.error(f"{token} is not expected here; a name is")
        self._at += 1
        return str(token.value)

    def _is(self, text: str) -> bool:
        return self.token.kind in {"operator", "bracket"} and self.token.value == text

    def _accept(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self.error(f"{self.token} is not expected here; `{text}` is")
