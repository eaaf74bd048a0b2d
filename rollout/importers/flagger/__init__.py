"""Flagger's Canary, MetricTemplate and AlertProvider (flagger.app/v1beta1) -> ours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollout.api.meta import key_of
from rollout.importers.checked import checked
from rollout.importers.flagger import canary
from rollout.importers.flagger.canary import JOB_IMAGE, Options
from rollout.importers.report import Imported, Note, Reader, Refused, leave_alone, nothing_of

GROUP = "flagger.app/"
__all__ = ["JOB_IMAGE", "Options", "convert"]


def convert(documents: Sequence[dict[str, Any]], options: Options) -> Imported:
    """All objects for the Canaries of the documents. MetricTemplates and Deployments are read with them."""
    templates = {_place(one): one for one in documents if _is(one, "MetricTemplate")}
    deployments = {_place(one): one for one in documents if one.get("kind") == "Deployment"}
    objects: list[dict[str, Any]] = []
    notes: list[Note] = []
    for one in documents:
        reader = Reader(one)
        if _is(one, "Canary"):
            try:
                objects += checked(reader, canary.convert(reader, one, templates, deployments, options))
                reader.leftovers("spec")
            except Refused:
                pass
        elif _is(one, "AlertProvider"):
            reader.drop(
                "spec", why="subscribe the Rollout to notifications instead; secrets are never copied"
            )
        elif not _is(one, "MetricTemplate") and one.get("kind") != "Deployment":
            leave_alone(reader, one, "flagger")
        notes += reader.notes
    if not any(_is(one, "Canary") for one in documents):
        notes.append(nothing_of("flagger", "Canary"))
    return Imported(objects=tuple(objects), notes=tuple(notes))


def _place(obj: dict[str, Any]) -> tuple[str, str]:
    key = key_of(obj)
    return key.namespace or "default", key.name


def _is(obj: dict[str, Any], kind: str) -> bool:
    return str(obj.get("apiVersion", "")).startswith(GROUP) and obj.get("kind") == kind
