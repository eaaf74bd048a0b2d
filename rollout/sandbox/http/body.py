"""Request bodies: size limit, media types, JSON and YAML to plain data, in kube-apiserver's words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import yaml
from starlette.requests import Request

from rollout.api import codec
from rollout.errors import BadRequest, TooLarge, UnsupportedMediaType
from rollout.runtime.kube import PatchType
from rollout.sandbox.http import protobuf
from rollout.sandbox.http.negotiation import JSON, YAML, media_type_of

MAX_BYTES = 3 * 1024 * 1024
_MAX_NODES = 1_000_000
_MAX_DEPTH = 200


def too_large() -> TooLarge:
    return TooLarge(f"Request entity too large: limit is {MAX_BYTES}")


async def read(request: Request) -> bytes:
    """The whole body. TooLarge beyond MAX_BYTES, before more than that is held."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BYTES:
        raise too_large()
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BYTES:
            raise too_large()
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decode_object(data: bytes, content_type: str, kind: str) -> dict[str, Any]:
    """The object of a create, update or delete body; {} for null. `kind` is what the endpoint expects.

    BadRequest when it is anything else; UnsupportedMediaType for anything but JSON, YAML, and protobuf of the
    built-in kinds.
    """
    media_type = media_type_of(content_type) or JSON
    if media_type not in _DECODERS:
        raise unsupported(tuple(_DECODERS))
    syntax, decoder = _DECODERS[media_type]
    try:
        value = decoder(data)
    except protobuf.UnknownKindError as error:
        raise unsupported((JSON, YAML)) from error
    except ValueError as error:
        raise BadRequest(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
            f"{syntax} parse error: {error} ({glimpse(data)})"
        ) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
            f"{syntax} parse error: expected an object, found {_json_type(value)} ({glimpse(data)})"
        )
    return value


def decode_patch(data: bytes, kind: PatchType) -> Any:
    """The patch of a request body. BadRequest when it cannot be read."""
    try:
        return decode_yaml(data) if kind == "apply" else decode_json(data)
    except ValueError as error:
        where = {"apply": "error decoding YAML: ", "strategic": ""}.get(kind, "error decoding patch: ")
        raise BadRequest(f"{where}{error}") from error


def unsupported(spoken: tuple[str, ...]) -> UnsupportedMediaType:
    return UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(spoken)}"
    )


def decode_json(data: bytes) -> Any:
    """Plain data of JSON. ValueError when malformed or nested beyond reason."""
    try:
        return codec.decode(data)
    except msgspec.DecodeError as error:
        cut = str(error).startswith("Input data was truncated")
        raise ValueError("unexpected end of JSON input" if cut else str(error)) from error
    except RecursionError as error:
        raise ValueError("exceeded max depth") from error


def decode_yaml(data: bytes) -> Any:
    """Plain JSON data of one YAML document (JSON is YAML too). ValueError when malformed or a bomb.

    Dates stay strings and keys become strings, as sigs.k8s.io/yaml has them.
    """
    if data.lstrip()[:1] == b"{":
        try:
            return decode_json(data)
        except ValueError:
            pass  # a YAML flow mapping, perhaps; the YAML parser gives the verdict
    try:
        value = yaml.load(data, Loader=_Loader)  # noqa: S506 - a CSafeLoader without timestamps
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise ValueError("exceeded max depth") from error
    return _Plain().of(value, 0)


_DECODERS: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    JSON: ("json", decode_json),
    YAML: ("yaml", decode_yaml),
    protobuf.MEDIA_TYPE: ("proto", protobuf.decode),
}


def duplicate_fields(data: bytes) -> list[str]:
    """Paths of the fields that a JSON body names more than once. For fieldValidation Strict and Warn."""
    try:
        value = json.loads(data, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return []  # the decoder reports what is wrong
    found: list[str] = []
    _collect_duplicates(value, "", found)
    return found


class _Pairs:
    """A JSON object with all its pairs, doubles included."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _collect_duplicates(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _collect_duplicates(item, f"{path}[{index}]", found)
    elif isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value.pairs:
            here = f"{path}.{key}" if path else key
            if key in seen and here not in found:
                found.append(here)
            seen.add(key)
            _collect_duplicates(item, here, found)


class _Loader(yaml.CSafeLoader):
    """CSafeLoader whose dates stay text: JSON has no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


class _Plain:
    """Copies loaded YAML into plain JSON data. Aliases are expanded here, so here they are counted."""

    def __init__(self) -> None:
        self.nodes = 0

    def of(self, value: Any, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > _MAX_NODES:
            raise ValueError("document contains excessive aliasing")
        if depth > _MAX_DEPTH:
            raise ValueError("exceeded max depth")
        match value:
            case dict():
                return {_key(key): self.of(item, depth + 1) for key, item in value.items()}
            case list():
                return [self.of(item, depth + 1) for item in value]
            case None | bool() | int() | str():
                return value
            case float() if math.isfinite(value):
                return value
            case _:
                raise ValueError(f"{value!r} cannot be said in JSON")


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(key)
    raise ValueError(f"{key!r} cannot be the key of an object")


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an array"


def glimpse(data: bytes, length: int = 30) -> str:
    """The beginning of a body, for a refusal."""
    text = data.decode(errors="replace")
    return text if len(text) <= length else f"{text[:length]} ..."
