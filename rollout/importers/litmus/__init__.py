"""Litmus' ChaosEngine, ChaosExperiment and ChaosSchedule (litmuschaos.io/v1alpha1) -> ours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollout.importers.checked import checked
from rollout.importers.litmus import schedule
from rollout.importers.litmus.engine import CMD_IMAGE, Options, runs
from rollout.importers.report import Imported, Note, Reader, Refused, leave_alone, nothing_of

GROUP = "litmuschaos.io/"
__all__ = ["CMD_IMAGE", "Options", "convert"]


def convert(documents: Sequence[dict[str, Any]], options: Options) -> Imported:
    """All objects of the documents. ChaosExperiments are not converted: their env is what engines start from."""
    catalogue = {str(one["metadata"].get("name")): one for one in documents if _is(one, "ChaosExperiment")}
    objects: list[dict[str, Any]] = []
    notes: list[Note] = []
    for one in documents:
        if _is(one, "ChaosExperiment"):
            continue
        reader = Reader(one)
        try:
            if _is(one, "ChaosEngine"):
                objects += checked(reader, runs(reader, one, catalogue, options))
            elif _is(one, "ChaosSchedule"):
                objects += checked(reader, schedule.convert(reader, one, catalogue, options))
            elif _is(one, "ChaosResult"):
                raise reader.refuse((), "a result is of a run that is over: nothing to convert")
            elif _is(one, ""):
                raise reader.refuse((), f"the kind {one.get('kind')} cannot be converted")
            else:
                leave_alone(reader, one, "litmus")
                continue
            reader.get("status")
            reader.leftovers("spec")
        except Refused:
            pass
        finally:
            notes += reader.notes
    if not any(_is(one, "") for one in documents):
        notes.append(nothing_of("litmus", "ChaosEngine and no ChaosSchedule"))
    return Imported(objects=tuple(objects), notes=tuple(notes))


def _is(obj: dict[str, Any], kind: str) -> bool:
    """Whether it is of Litmus, and of this kind ("" = any)."""
    return str(obj.get("apiVersion", "")).startswith(GROUP) and kind in {"", obj.get("kind")}
