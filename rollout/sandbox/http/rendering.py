"""Objects to bytes. What is sent often is encoded once: 50 watchers of one event cost one encoding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import yaml

from rollout.api import codec
from rollout.sandbox.http.negotiation import YAML

Object = dict[str, Any]


class Encoder:
    """JSON bytes of shared, read-only objects, remembered by identity.

    Storage hands the same dict to every reader until the object changes, so identity is the right key; the
    memory keeps the object alive, which keeps its identity its own. Bounded by the bytes remembered.
    """

    def __init__(self, limit_bytes: int = 24 * 1024 * 1024, left_out: Sequence[str] = ()) -> None:
        """`left_out`: fields that are not written (the items of lists of built-in kinds do not say what they are)."""
        self._limit = limit_bytes
        self._left_out = frozenset(left_out)
        self._known: dict[int, tuple[Object, bytes]] = {}
        self._size = 0

    def shared(self, obj: Object) -> bytes:
        """Bytes of an object that storage owns and will hand out again."""
        if (known := self._known.get(id(obj))) is not None:
            return known[1]
        out = self._left_out
        data = codec.encode({key: one for key, one in obj.items() if key not in out} if out else obj)
        self._known[id(obj)] = (obj, data)
        self._size += len(data)
        while self._size > self._limit:
            _, oldest = self._known.pop(next(iter(self._known)))
            self._size -= len(oldest)
        return data

    def list_of(self, head: Mapping[str, Any], items: Iterable[Object]) -> bytes:
        """A list object: the fields of `head` (kind, apiVersion, metadata), then the items."""
        inner = b",".join([self.shared(item) for item in items])
        return codec.encode(head)[:-1] + b',"items":[' + inner + b"]}"


def in_media_type(data: bytes, media_type: str, *, pretty: bool = False) -> bytes:
    """JSON bytes as the client wants to read them."""
    if media_type == YAML:
        dumped = yaml.dump(codec.decode(data), Dumper=yaml.CSafeDumper, sort_keys=False)
        return dumped.encode()
    return msgspec.json.format(data, indent=2) if pretty else data


def metadata_only(obj: Object) -> Object:
    """The PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj.get("metadata") or {},
    }
