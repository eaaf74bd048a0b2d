"""Bytes <-> plain dicts <-> views. The only file that calls msgspec's decoders.

The cache and the wire hold plain dicts, so that fields we do not know survive; pure code sees frozen
views of the fields it reads. A view is never sent back: what we write are patches over known fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from rollout.errors import InvalidSpec

T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def encode(value: Any) -> bytes:
    """JSON bytes of plain data or views, compact."""
    return _encoder.encode(value)


def decode(data: bytes | str) -> Any:
    """Plain data of JSON bytes. ValueError (msgspec.DecodeError) if malformed."""
    return _decoder.decode(data)


def view(obj: Any, kind: type[T], *, path: str = "") -> T:
    """A frozen view of the fields of `obj` that `kind` names.

    Raises InvalidSpec with the path of the first field whose type is wrong, below `path`.
    """
    try:
        return msgspec.convert(obj, kind)
    except msgspec.ValidationError as error:
        raise InvalidSpec(_with_path(str(error), path)) from error


def view_of(text: str, kind: type[T], *, path: str = "") -> T:
    """A frozen view of what is kept as the text of a JSON object in the field `path`. InvalidSpec as from `view`."""
    try:
        obj = decode(text)
    except msgspec.DecodeError as error:
        raise InvalidSpec(f"{path}: {error}") from error
    return view(obj, kind, path=path)


def plain(value: Any) -> Any:
    """The plain JSON data (dicts, lists, scalars) of a view: camelCase, defaults left out."""
    return msgspec.to_builtins(value)


def merge_diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns `old` into `new`; {} when they are equal."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := merge_diff(before, value):
                patch[key] = inner
        elif key not in old or before != value or type(before) is not type(value):
            patch[key] = value
    return patch


def _with_path(message: str, prefix: str) -> str:
    """msgspec says "Expected `int`, got `str` - at `$.steps[0].setWeight`"; we put the path first."""
    what, _, where = message.partition(" - at `$")
    where = where.rstrip("`").lstrip(".")
    path = ".".join(part for part in (prefix, where) if part)
    return f"{path}: {what[0].lower()}{what[1:]}" if path else what
