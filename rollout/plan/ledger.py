"""The book that decisions are kept in: one object per Rollout, appended to, and bounded.

Pure: from the object as it was read to the patch that adds a decision and drops what is too old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.api.codec import encode, plain, view
from rollout.api.decisions import Decision, DecisionRecord, Entry, Inputs, Stance
from rollout.api.meta import micro_timestamp
from rollout.api.resources import DECISION_RECORDS
from rollout.core.observed import Observed
from rollout.errors import InvalidSpec
from rollout.plan.inputs import spec_of
from rollout.plan.runs import owner

MAX_DECISIONS = 50
MAX_BYTES = 64 * 1024


class Page(msgspec.Struct, frozen=True):
    """What is remembered of one decision that was kept: its size, and the spec it names."""

    size: int
    spec: str


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a record to append to it: `version` is its resourceVersion, "" when there is none.

    `foreign` are keys of a record that an earlier Rollout of this name has left, or that cannot be read.
    """

    version: str = ""
    last: Stance | None = None
    pages: Mapping[str, Page] = {}
    specs: Mapping[str, int] = {}
    foreign: bool = False


def ledger_of(raw: Mapping[str, Any], uid: str) -> Ledger:
    """What to remember of the record that the Rollout with this uid has."""
    try:
        record = view(raw, DecisionRecord)
    except InvalidSpec:
        record = None
    if record is None or not record.metadata.controlled_by(uid):
        version = str((raw.get("metadata") or {}).get("resourceVersion") or "")
        pages = dict.fromkeys(raw.get("decisions") or {}, Page(0, ""))
        return Ledger(
            version=version, pages=pages, specs=dict.fromkeys(raw.get("specs") or {}, 0), foreign=True
        )
    entries = record.in_order()
    return Ledger(
        version=record.metadata.resource_version,
        last=entries[-1][1].after if entries else None,
        pages={number: Page(len(encode(entry)), entry.spec) for number, entry in entries},
        specs={key: len(encode(spec)) for key, spec in record.specs.items()},
    )


def entry_of(seen: Observed, decision: Decision, inputs: Inputs) -> tuple[Entry, dict[str, Any]]:
    """The decision as it is kept, and the spec that it names."""
    spec = spec_of(seen.rollout)
    key = hashlib.sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()[:12]
    entry = Entry(
        **msgspec.structs.asdict(decision),
        at=micro_timestamp(seen.now),
        revision=inputs.revision,
        generation=seen.rollout.metadata.generation,
        spec=key,
        inputs=encode(inputs).decode(),
    )
    return entry, spec


def appended(
    ledger: Ledger, seen: Observed, entry: Entry, spec: Mapping[str, Any]
) -> tuple[dict[str, Any], Ledger]:
    """The object to create, or the merge patch of the record, that adds `entry`; and what to remember once the server
    has kept it, but for the version. The newest is kept whatever its size.

    The ledger is the same as `ledger_of` the server's answer, for every write is preconditioned on the version it was
    made from; but without reading a record of up to 64 KiB again after each decision.
    """
    number = f"{max((int(key) for key in ledger.pages if key.isdecimal()), default=0) + 1:08}"
    pages = {**({} if ledger.foreign else ledger.pages), number: Page(len(encode(entry)), entry.spec)}
    sizes = {**({} if ledger.foreign else ledger.specs), entry.spec: len(encode(spec))}
    for oldest in sorted(pages)[:-1]:
        if len(pages) <= MAX_DECISIONS and _bytes(pages, sizes) <= MAX_BYTES:
            break
        del pages[oldest]
    decisions: dict[str, Any] = {key: None for key in ledger.pages if key not in pages}
    named = {page.spec for page in pages.values()}
    specs: dict[str, Any] = {key: None for key in ledger.specs if key not in named}
    if ledger.foreign or entry.spec not in ledger.specs:
        specs[entry.spec] = spec
    meta: dict[str, Any] = {"resourceVersion": ledger.version} if ledger.version else {}
    if not ledger.version or ledger.foreign:
        meta |= {"ownerReferences": [owner(seen)]}
    body = {
        "apiVersion": DECISION_RECORDS.api_version,
        "kind": DECISION_RECORDS.kind,
        "metadata": {
            "name": seen.rollout.metadata.name,
            "namespace": seen.rollout.metadata.namespace,
            **meta,
        },
        "decisions": {**decisions, number: plain(entry)},
        "specs": specs,
    }
    kept = {key: size for key, size in sizes.items() if key in named}
    return body, Ledger(last=entry.after, pages=pages, specs=kept)


def _bytes(pages: Mapping[str, Page], sizes: Mapping[str, int]) -> int:
    """The size of a record's decisions and specs as JSON, without what only older decisions name."""
    named = {page.spec for page in pages.values()}
    decisions = {number: page.size for number, page in pages.items()}
    specs = {key: sizes[key] for key in named if key in sizes}
    return _object_bytes(decisions) + _object_bytes(specs)


def _object_bytes(sizes: Mapping[str, int]) -> int:
    """The size of a JSON object of plain names, by the sizes of its values: {"name":value,"name":value}."""
    return 1 + sum(len(name) + 4 + size for name, size in sizes.items())
