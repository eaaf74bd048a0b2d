"""YAML and JSON files as Kubernetes reads them, with the line of everything.

Stricter than a YAML library by itself: a key that stands twice is a problem, not the last one's value. Timestamps
stay text, as in the API server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

MAX_NODES = 200_000
"""Nodes of one document, aliases counted each time: a small file can otherwise unfold to billions."""

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    pass


_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != _TIMESTAMP]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


class Unreadable(msgspec.Struct, frozen=True):
    """A place that is not valid YAML, or that says a thing twice."""

    file: str
    line: int
    message: str


class Document(msgspec.Struct, frozen=True):
    """One object of a file. `line_of` finds the line of a field path, or of the nearest thing above it."""

    file: str
    line: int
    object: Any
    node: Any

    def line_of(self, path: str) -> int:
        node, line = self.node, self.line
        for part in _parts(path):
            found = _member(node, part)
            if found is None:
                break
            node, line = found
        return line


def read(file: str, text: str) -> Iterator[Document | Unreadable]:
    """The documents of a file; lists are taken apart. What cannot be read ends the file, and is said."""
    loader = None
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            trouble = list(_trouble(file, node))
            yield from trouble
            if not trouble:
                yield from _documents(file, node, loader.construct_document(node))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or " ".join(str(error).split())
        yield Unreadable(file, mark.line + 1 if mark else 1, f"not valid YAML: {said}")
    except (ValueError, RecursionError, OverflowError) as error:
        yield Unreadable(file, 1, f"not valid YAML: {error}")
    finally:
        if loader is not None:
            loader.dispose()


def _documents(file: str, node: Any, obj: Any) -> Iterator[Document]:
    if obj is None:
        return
    if isinstance(obj, dict) and obj.get("kind") == "List" and isinstance(obj.get("items"), list):
        items = _member(node, "items")
        for one, below in zip(obj["items"], items[0].value if items else [], strict=False):
            yield Document(file, below.start_mark.line + 1, one, below)
    else:
        yield Document(file, node.start_mark.line + 1, obj, node)


def _trouble(file: str, root: Any) -> Iterator[Unreadable]:
    """Keys that stand twice, and documents that unfold without end."""
    waiting, count = [root], 0
    while waiting:
        node = waiting.pop()
        count += 1
        if count > MAX_NODES:
            line = root.start_mark.line + 1
            yield Unreadable(file, line, f"the document has more than {MAX_NODES} parts; aliases?")
            return
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    yield Unreadable(file, line, "a key must be text")
                elif key.value in seen and key.value != "<<":
                    first = seen[key.value]
                    yield Unreadable(
                        file, line, f'key "{key.value}" stands twice; the first is in line {first}'
                    )
                else:
                    seen[key.value] = line
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)


_PART = re.compile(r'\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|([^.\[\]]+)')


def _parts(path: str) -> Iterator[str | int]:
    for index, quoted, name in _PART.findall(path):
        yield int(index) if index else quoted or name


def _member(node: Any, part: str | int) -> tuple[Any, int] | None:
    """The node below, and the line where it is named."""
    if isinstance(part, int) and isinstance(node, yaml.SequenceNode) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, key.start_mark.line + 1
    return None
