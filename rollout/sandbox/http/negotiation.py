"""Which form of an answer a client asked for: the Accept header, as kube-apiserver reads it.

https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

import msgspec

from rollout.errors import NotAcceptable

JSON = "application/json"
YAML = "application/yaml"


class Form(Enum):
    """The kind of object to answer with."""

    WHOLE = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"
    DISCOVERY = "APIGroupDiscoveryList"


class Accepted(msgspec.Struct, frozen=True):
    """A form, its version, and the media type to write: JSON or YAML."""

    form: Form
    version: str = ""
    media_type: str = JSON


WHOLE = Accepted(Form.WHOLE)

_FORMS = {
    ("Table", "v1", "meta.k8s.io"): Accepted(Form.TABLE, "v1"),
    ("Table", "v1beta1", "meta.k8s.io"): Accepted(Form.TABLE, "v1beta1"),
    ("PartialObjectMetadata", "v1", "meta.k8s.io"): Accepted(Form.METADATA, "v1"),
    ("PartialObjectMetadataList", "v1", "meta.k8s.io"): Accepted(Form.METADATA_LIST, "v1"),
    ("APIGroupDiscoveryList", "v2", "apidiscovery.k8s.io"): Accepted(Form.DISCOVERY, "v2"),
    ("APIGroupDiscoveryList", "v2beta1", "apidiscovery.k8s.io"): Accepted(Form.DISCOVERY, "v2beta1"),
}
_SPOKEN = (
    "only the following media types are accepted: application/json, application/yaml, "
    "application/vnd.kubernetes.protobuf"
)


_REPRESENTATIONS = (
    "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
    "application/vnd.kubernetes.protobuf, application/json;stream=watch, "
    "application/vnd.kubernetes.protobuf;stream=watch"
)


@lru_cache(maxsize=256)
def accepted(header: str) -> Accepted:
    """The first clause of `header` that we can answer. Protobuf is passed over. NotAcceptable if none is left."""
    if not header.strip():
        return WHOLE
    for media_type, parameters in sorted(_clauses(header), key=_preference):
        if "as" in parameters:
            asked = (parameters["as"], parameters.get("v", ""), parameters.get("g", ""))
            if asked in _FORMS and media_type in {JSON, "*/*", "application/*"}:
                return _FORMS[asked]
        elif media_type in {JSON, "*/*", "application/*"}:
            return WHOLE
        elif media_type == YAML:
            return Accepted(Form.WHOLE, media_type=YAML)
    if any("as" in parameters for _, parameters in _clauses(header)):
        raise NotAcceptable(_SPOKEN)
    raise NotAcceptable(_REPRESENTATIONS, {})


def media_type_of(header: str) -> str:
    """The bare media type of a Content-Type header, lower case; "" when there is none."""
    return header.partition(";")[0].strip().lower()


def _clauses(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    for clause in header.split(","):
        media_type, *rest = (part.strip() for part in clause.split(";"))
        pairs = (part.partition("=") for part in rest if part)
        yield media_type.lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _preference(clause: tuple[str, dict[str, str]]) -> float:
    """Sorts by descending quality; the order of the header holds among equals."""
    try:
        return -float(clause[1].get("q", "1"))
    except ValueError:
        return 0.0
