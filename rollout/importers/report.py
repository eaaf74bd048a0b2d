"""What an importer answers: our objects, and every place where they say less, or other, than what was read.

The outcome decides the exit code of `rollout import`: exact, approximate (read the notes before applying), or
refused (something that must not be guessed; nothing is emitted for that object).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from rollout.api.meta import key_of

Level = Literal["info", "approximate", "dropped", "refused"]
Outcome = Literal["exact", "approximate", "refused"]
_TOOLS = {"litmuschaos.io": "litmus", "flagger.app": "flagger"}
_LONGEST = 253
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to know. `source` is the object it was read from, `path` the field there ("" for the whole).

    info: nothing is lost. approximate: ours does nearly the same. dropped: the field has no effect here. refused: the
    object cannot be converted; `message` says what to do instead.
    """

    level: Level
    source: str
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.source}: {self.path}" if self.path else self.source
        return f"{self.level}: {where}: {self.message}"


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an import. `outcome` is the worst of all notes."""

    objects: tuple[dict[str, Any], ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def outcome(self) -> Outcome:
        levels = {note.level for note in self.notes}
        if "refused" in levels:
            return "refused"
        return "approximate" if levels & {"approximate", "dropped"} else "exact"


class Refused(Exception):
    """An object cannot be converted; its notes say why."""


def source_of(obj: Mapping[str, Any]) -> str:
    """How an object is called in notes: `ChaosEngine default/nginx-chaos`."""
    return f"{obj.get('kind', 'object')} {key_of(obj)}"


class Reader:
    """Reads one object field by field, and remembers which fields were read: what is left over is said at the end.

    Every method takes a path of plain names and list indexes below the object's root.
    """

    def __init__(self, obj: Mapping[str, Any]) -> None:
        self.source = source_of(obj)
        self.notes: list[Note] = []
        self._root = obj
        self._read: set[tuple[str | int, ...]] = set()

    def get(self, *path: str | int, default: Any = None) -> Any:
        """The value at `path`, which is read as a whole; `default` where there is none."""
        self._read.add(path)
        found = self._at(path)
        return default if found is None else found

    def text(self, *path: str | int, default: str = "") -> str:
        """The value at `path` as text (numbers and booleans as YAML writes them). Refused when it is a list or an object."""
        found = self.get(*path)
        if found is None:
            return default
        if isinstance(found, list | dict):
            raise self.refuse(path, "must be a single value")
        return str(found).lower() if isinstance(found, bool) else str(found)

    def whole(self, *path: str | int, default: int = 0) -> int:
        """The value at `path` as a whole number of at least 0; `default` where there is none. Refused otherwise."""
        text = self.text(*path)
        if not text:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise self.refuse(path, f'"{text}" is no whole number')
        return int(text)

    def texts(self, *path: str | int) -> list[str]:
        """The list of texts at `path`; [] where there is none. Refused otherwise."""
        found = self.get(*path, default=[])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self.refuse(path, "must be a list of texts")
        return list(found)

    def mapping(self, *path: str | int) -> dict[str, Any]:
        """The object at `path`; {} where there is none. Refused otherwise."""
        found = self.get(*path, default={})
        if not isinstance(found, dict):
            raise self.refuse(path, "must be an object")
        return dict(found)

    def items(self, *path: str | int) -> range:
        """The indexes of the list at `path`; its items are read one by one."""
        found = self._at(path)
        return range(len(found)) if isinstance(found, list) else range(0)

    def has(self, *path: str | int) -> bool:
        return self._at(path) is not None

    def info(self, path: Iterable[str | int], message: str) -> None:
        self._note("info", path, message)

    def approximate(self, path: Iterable[str | int], message: str) -> None:
        self._note("approximate", path, message)

    def drop(self, *path: str | int, why: str) -> None:
        """Say that a field, if it is there, has no effect in ours."""
        if self.get(*path) is not None:
            self._note("dropped", path, why)

    def ignore(self, *path: str | int, why: str) -> None:
        """Say that a field, if it is there, is not needed by ours: nothing is lost."""
        if self.get(*path) is not None:
            self._note("info", path, why)

    def refuse(self, path: Iterable[str | int], message: str) -> Refused:
        """Note the refusal; the caller raises what is returned."""
        self._note("refused", path, message)
        return Refused(f"{self.source}: {message}")

    def leftovers(self, *below: str | int) -> None:
        """Say which fields nobody has read: they are unknown, and dropped."""
        value = self._at(below)
        if isinstance(value, Mapping):
            self._unread(below, value)

    def _unread(self, path: tuple[str | int, ...], value: Any) -> None:
        if path in self._read:
            return
        below = [one for one in self._read if one[: len(path)] == path]
        if not below:
            if value not in (None, "", [], {}):
                self._note("dropped", path, "is not known to this importer and has no effect")
            return
        if isinstance(value, Mapping):
            children: Iterable[tuple[str | int, Any]] = value.items()
        else:
            children = enumerate(value) if isinstance(value, list) else ()
        for name, inner in children:
            self._unread((*path, name), inner)

    def _at(self, path: Iterable[str | int]) -> Any:
        found: Any = self._root
        for part in path:
            if isinstance(part, int):
                found = found[part] if isinstance(found, list) and part < len(found) else None
            else:
                found = found.get(part) if isinstance(found, Mapping) else None
            if found is None:
                return None
        return found

    def _note(self, level: Level, path: Iterable[str | int], message: str) -> None:
        self.notes.append(Note(level=level, source=self.source, path=shown_path(path), message=message))


def is_name(value: Any) -> bool:
    """Whether an object may have this name (RFC 1123 subdomain)."""
    return isinstance(value, str) and len(value) <= _LONGEST and bool(_NAME.fullmatch(value))


def leave_alone(reader: Reader, obj: Mapping[str, Any], tool: str) -> None:
    """Say of an object that is not of `tool` whose it is, and that it is left alone."""
    group = str(obj.get("apiVersion", "")).partition("/")[0]
    other = _TOOLS.get(group)
    if other is not None and other != tool:
        reader.info((), f"is left alone: it is of {other.capitalize()}; use `rollout import {other}`")
    else:
        reader.info((), f"is left alone: it is not of {tool.capitalize()}; apply it as it is")


def nothing_of(tool: str, kinds: str) -> Note:
    return Note(
        level="refused", source="input", path="", message=f"there is no {kinds} of {tool.capitalize()} in it"
    )


def shown_path(path: Iterable[str | int]) -> str:
    """`spec.experiments[0].spec` of ("spec", "experiments", 0, "spec")."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            out += f".{part}" if out else part
    return out
