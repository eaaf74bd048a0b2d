"""Lists: pages of one consistent snapshot, and the resourceVersion that was asked for.

Contract: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
and #resource-versions on the same page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import msgspec

from rollout.api import codec
from rollout.errors import BadRequest, Expired
from rollout.runtime.kube import ListPage
from rollout.sandbox.schema.fields import FieldError, forbidden, not_supported
from rollout.sandbox.storage import refusals
from rollout.sandbox.storage.selectors import Predicate
from rollout.sandbox.storage.table import Object, ObjectKey, Table

_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - a format's name


class _Token(msgspec.Struct, frozen=True):
    """Where a page ended: the snapshot's version, and the last key that was looked at."""

    v: str
    rv: int
    start: ObjectKey


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What of a list a client asks for."""

    namespace: str | None
    matches: Predicate | None = None
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    match: str = ""
    """resourceVersionMatch: "", "Exact" or "NotOlderThan"."""


def page(table: Table, query: Query, current: int) -> ListPage:
    """One page. `current` is the storage's version now.

    Raises BadRequest (bad token or combination), Invalid, Expired (too old), Timeout (too new).
    """
    check_options(query)
    if query.continue_token:
        token = _read_token(query.continue_token)
        if token.rv > current:
            raise BadRequest(f"continue key is not valid: resource version {token.rv} is in the future")
        if token.rv < table.floor:
            raise Expired(refusals.CONTINUE_EXPIRED)
        return _cut(_at(table, token.rv, query.namespace), query, token.rv, token.start)
    version = parse_version(query.resource_version)
    if version > current:
        raise refusals.too_new(version, current)
    exact = query.match == "Exact" or (not query.match and query.limit > 0 and version > 0)
    if not exact:
        return _newest(table, query, current)
    if version < table.floor:
        raise Expired(refusals.LIST_EXPIRED)
    return _cut(_at(table, version, query.namespace), query, version, None)


def check_options(query: Query) -> None:
    """BadRequest or Invalid for combinations that make no sense, as kube-apiserver words them."""
    path = "resourceVersionMatch"
    errors: list[FieldError] = []
    if query.continue_token and query.resource_version not in {"", "0"}:
        raise BadRequest("specifying resource version is not allowed when using continue")
    if query.match:
        if not query.resource_version:
            errors.append(forbidden(path, f"{path} is forbidden unless resourceVersion is provided"))
        if query.continue_token:
            errors.append(forbidden(path, f"{path} is forbidden when continue is provided"))
        if query.match not in {"Exact", "NotOlderThan"}:
            errors.append(not_supported(path, query.match, ["Exact", "NotOlderThan", ""]))
        if query.match == "Exact" and query.resource_version == "0":
            errors.append(forbidden(path, f'{path} "exact" is forbidden for resourceVersion "0"'))
    if errors:
        raise refusals.invalid_options("ListOptions", errors)


def is_version(text: str) -> bool:
    return text.isascii() and text.isdigit()


def parse_version(text: str) -> int:
    """A resourceVersion as a number; 0 for "". BadRequest when it is no number."""
    if not text:
        return 0
    if not is_version(text):
        raise refusals.invalid_version(text)
    return int(text)


def _newest(table: Table, query: Query, current: int) -> ListPage:
    """The fast way: no look back needed."""
    if query.limit <= 0:
        objects = table.objects(query.namespace)
        matches = query.matches
        items = list(objects) if matches is None else [obj for obj in objects if matches(obj)]
        return ListPage(items, str(current))
    keyed = ((key, obj) for key in table.keys(query.namespace) if (obj := table.get(*key)) is not None)
    return _cut(keyed, query, current, None, total=table.count(query.namespace))


def _at(table: Table, version: int, namespace: str | None) -> dict[ObjectKey, Object]:
    return table.snapshot(version, namespace)


def _cut(
    keyed: Any, query: Query, version: int, start: ObjectKey | None, total: int | None = None
) -> ListPage:
    """Up to `limit` matching objects after `start`."""
    pairs: Iterable[tuple[ObjectKey, Object]] = keyed
    if isinstance(keyed, dict):
        total, pairs = len(keyed), keyed.items()
    items: list[Object] = []
    last: ObjectKey | None = None
    seen = 0
    for key, obj in pairs:
        if start is not None and key <= start:
            seen += 1
            continue
        if (
            query.limit and len(items) == query.limit
        ):  # whether what comes matches is the next page's business
            assert last is not None
            # kube-apiserver counts what remains only where no selector makes the count a guess
            remaining = total - seen if query.matches is None and total is not None else None
            token = codec.encode(_Token(_TOKEN_VERSION, version, last))
            return ListPage(
                items, str(version), base64.urlsafe_b64encode(token).decode().rstrip("="), remaining
            )
        if query.matches is not None and not query.matches(obj):
            seen += 1
            continue
        items.append(obj)
        last = key
        seen += 1
    return ListPage(items, str(version))


def _read_token(text: str) -> _Token:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(data, type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise BadRequest(f"continue key is not valid: {error}") from error
    if token.v != _TOKEN_VERSION or token.rv <= 0:
        raise BadRequest(
            f'continue key is not valid: server does not recognize this encoded version "{token.v}"'
        )
    return token
