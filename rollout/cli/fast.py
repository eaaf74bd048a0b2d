"""Plain values without pydantic.

typer converts every value with pydantic, whose import takes a third of the time that `rollout get` may take. Our
parameters are strings, lists of strings and enumerations of strings; those we convert here. Anything else, and any
typer that works differently inside, goes typer's own way.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class FastCommand(TyperCommand):
    """A command whose plain parameters are converted by us."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_with_converter(one) for one in super().get_params(ctx)]


class FastGroup(TyperGroup):
    """The same for a group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_with_converter(one) for one in super().get_params(ctx)]


def _with_converter(parameter: Any) -> Any:
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if hasattr(parameter, "get_runtime_param") and (converter := _converter(annotation)):
        parameter.get_runtime_param = lambda: converter
    return parameter


class _Plain:
    """Strings, lists of them and flags, as they are."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002 - typer passes it
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        return list(value) if isinstance(value, tuple) else value


class _Choice(_Plain):
    """A member of an enumeration."""

    def __init__(self, kind: type[StrEnum]) -> None:
        self._kind = kind

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return None
        try:
            return self._kind(value)
        except ValueError:
            allowed = ", ".join(self._kind)
            raise typer.BadParameter(f"{value!r} is not one of {allowed}.", ctx=ctx, param=param) from None


def _converter(annotation: Any) -> _Plain | None:
    if annotation in (str, list[str], bool):
        return _Plain()
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return _Choice(annotation)
    return None
