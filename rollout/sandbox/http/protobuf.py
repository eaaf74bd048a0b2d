"""Kubernetes' protobuf bodies to plain JSON data, for the built-in kinds.

kubectl's imperative commands (`create namespace`, `create deployment`, ...) send nothing else. Only reading: answers
are always JSON, which every client takes. The envelope is described in
https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding, the wire format in
https://protobuf.dev/programming-guides/encoding/; field names and numbers are in protobuf.json.gz
(tools/make_protobuf.py, NOTICE).
"""

from __future__ import annotations

import gzip
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from rollout.api import codec
from rollout.api.meta import micro_timestamp, timestamp

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_MAX_DEPTH = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Object = dict[str, Any]
Wire = int | bytes
"""A field's value as it is on the wire: a number, or the bytes of anything with a length."""


class UnknownKindError(ValueError):
    """A kind whose messages are not known: no built-in one."""


class _Table(msgspec.Struct, frozen=True, rename="camel"):
    delete_options: str
    kinds: dict[str, str]
    messages: dict[str, dict[int, tuple[str, str, bool]]]


@cache
def _table() -> _Table:
    packed = files("rollout.sandbox.http").joinpath("protobuf.json.gz").read_bytes()
    return msgspec.convert(codec.decode(gzip.decompress(packed)), _Table, strict=False)


def decode(data: bytes) -> Object:
    """The object in a protobuf body. ValueError when malformed, UnknownKindError for kinds we do not know."""
    if not data.startswith(_MAGIC):
        raise ValueError("the body does not begin as protobuf of Kubernetes does")
    envelope = dict(_fields(data[len(_MAGIC) :]))
    declared = dict(_fields(_message_bytes(envelope.get(1, b""))))
    api_version, kind = _text(declared.get(1, b"")), _text(declared.get(2, b""))
    table = _table()
    name = table.delete_options if kind == "DeleteOptions" else table.kinds.get(f"{api_version} {kind}")
    if name is None:
        raise UnknownKindError(f"{api_version or 'no apiVersion'}, {kind or 'no kind'}")
    return {"apiVersion": api_version, "kind": kind} | _message(_message_bytes(envelope.get(2, b"")), name, 0)


def _message(data: bytes, name: str, depth: int) -> Object:
    if depth > _MAX_DEPTH:
        raise ValueError("exceeded max depth")
    shapes = _table().messages[name]
    found: Object = {}
    for number, value in _fields(data):
        if number not in shapes:
            continue  # of a newer release
        field, shape, keep_zero = shapes[number]
        if shape.startswith("[]"):
            found.setdefault(field, []).append(_value(value, shape[2:], depth))
        elif shape.startswith("map:"):
            key, item = _entry(value, shape[4:], depth)
            found.setdefault(field, {})[key] = item
        else:
            plain = _value(value, shape, depth)
            if not field:
                found |= plain
            elif plain is not None and (keep_zero or plain or isinstance(plain, float)):
                found[field] = plain
    return found


def _entry(data: Wire, shape: str, depth: int) -> tuple[str, Any]:
    pair = dict(_fields(_message_bytes(data)))
    zero: Wire = 0 if shape in {"int", "bool"} else b""
    return _text(pair.get(1, b"")), _value(pair.get(2, zero), shape, depth)


def _value(value: Wire, shape: str, depth: int) -> Any:
    if (read := _SHAPES.get(shape)) is not None:
        return read(value)
    return _message(_message_bytes(value), shape, depth + 1)


def _fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """Number and raw value of every field."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        match wire:
            case _ if wire == _VARINT:
                value, at = _varint(data, at)
                yield number, value
                continue
            case _ if wire == _BYTES:
                size, at = _varint(data, at)
            case _ if wire == _FIXED64:
                size = 8
            case _ if wire == _FIXED32:
                size = 4
            case _:
                raise ValueError(f"wire type {wire} is not known")
        if at + size > end:
            raise ValueError("unexpected EOF")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("unexpected EOF")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & (2**64 - 1), at
    raise ValueError("integer overflow")


def _message_bytes(value: Wire) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message should be")  # noqa: TRY004 - bad input, not a bug
    return value


def _number(value: Wire) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number should be")  # noqa: TRY004 - bad input, not a bug
    return value - 2**64 if value >= 2**63 else value


def _text(value: Wire) -> str:
    return _message_bytes(value).decode()


def _double(value: Wire) -> float:
    data = _message_bytes(value)
    if len(data) != 8:
        raise ValueError("a double has eight bytes")
    return float(struct.unpack("<d", data)[0])


def _moment(value: Wire) -> datetime | None:
    """meta/v1 Time: seconds and nanoseconds of an instant; nothing at all for Go's zero time."""
    parts = dict(_fields(_message_bytes(value)))
    if not parts:
        return None
    seconds, nanos = _number(parts.get(1, 0)), _number(parts.get(2, 0))
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{seconds} s is no time") from error


def _time(value: Wire) -> str | None:
    moment = _moment(value)
    return timestamp(moment) if moment is not None else None


def _micro_time(value: Wire) -> str | None:
    moment = _moment(value)
    return micro_timestamp(moment) if moment is not None else None


def _quantity(value: Wire) -> str:
    return _text(dict(_fields(_message_bytes(value))).get(1, b"")) or "0"


def _int_or_string(value: Wire) -> int | str:
    parts = dict(_fields(_message_bytes(value)))
    return _text(parts.get(3, b"")) if _number(parts.get(1, 0)) else _number(parts.get(2, 0))


def _raw(value: Wire) -> Any:
    """Embedded JSON (FieldsV1, RawExtension)."""
    data = _message_bytes(dict(_fields(_message_bytes(value))).get(1, b""))
    return codec.decode(data) if data else None


_SHAPES: dict[str, Callable[[Wire], Any]] = {
    "string": _text,
    "int": _number,
    "bool": lambda value: bool(_number(value)),
    "bytes": lambda value: b64encode(_message_bytes(value)).decode(),
    "double": _double,
    "Time": _time,
    "MicroTime": _micro_time,
    "Quantity": _quantity,
    "IntOrString": _int_or_string,
    "Raw": _raw,
}
