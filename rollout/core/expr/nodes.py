"""The syntax tree. Every node knows its offset in the source, for error messages."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Node(msgspec.Struct, frozen=True):
    at: int

    def children(self) -> Iterator[Node]:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Node):
                yield value
            elif isinstance(value, tuple):
                for item in value:
                    if isinstance(item, Node):
                        yield item
                    elif isinstance(item, tuple):
                        yield from (part for part in item if isinstance(part, Node))


class Literal(Node, frozen=True):
    value: bool | int | float | str | None


class Name(Node, frozen=True):
    name: str


class Pointer(Node, frozen=True):
    """`#`, `#acc` or `#index` inside a predicate; `name` without the sign."""

    name: str


class Unary(Node, frozen=True):
    operator: str
    operand: Node


class Binary(Node, frozen=True):
    """Any operator with two evaluated sides."""

    operator: str
    left: Node
    right: Node


class Comparison(Node, frozen=True):
    """`a < b <= c`: one operator between each two operands."""

    operators: tuple[str, ...]
    operands: tuple[Node, ...]


class Logical(Node, frozen=True):
    """`and`, `or`, `??` and `?:`: the right side is evaluated only when needed."""

    operator: str
    left: Node
    right: Node


class Conditional(Node, frozen=True):
    test: Node
    then: Node
    otherwise: Node


class Index(Node, frozen=True):
    """`a[b]`, `a.b` and their optional forms; a missing key of a map is nil."""

    target: Node
    key: Node
    optional: bool


class Slice(Node, frozen=True):
    target: Node
    start: Node | None
    stop: Node | None


class Chain(Node, frozen=True):
    """The extent of `?.`: when a target inside is nil, the whole chain is nil."""

    body: Node


class Array(Node, frozen=True):
    items: tuple[Node, ...]


class Map(Node, frozen=True):
    pairs: tuple[tuple[Node, Node], ...]


class Call(Node, frozen=True):
    """A function; `predicate` is evaluated for each element of the first argument."""

    function: str
    arguments: tuple[Node, ...]
    predicate: Node | None = None


class Let(Node, frozen=True):
    name: str
    value: Node
    body: Node


class Sequence(Node, frozen=True):
    first: Node
    then: Node


def walk(root: Node) -> Iterator[tuple[Node, int]]:
    """All nodes below and with `root`, each with its depth; without recursion."""
    stack = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack.extend((child, depth + 1) for child in node.children())
