"""What is wrong with the notifications in manifests: their ConfigMap, and the subscriptions of objects. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollout.api.meta import metadata
from rollout.core.problem import Problem
from rollout.notify.config import BARE, CONFIG_NAME, Config, parse
from rollout.notify.subscriptions import LIST, SUBSCRIBE, annotated, problems_of, subscribed

Object = Mapping[str, Any]


def is_config(obj: Any) -> bool:
    """Whether an object is the ConfigMap of notifications."""
    if not isinstance(obj, Mapping) or obj.get("kind") != "ConfigMap":
        return False
    meta = metadata(obj)
    return isinstance(meta, Mapping) and meta.get("name") == CONFIG_NAME


def config_of(objects: Sequence[Any]) -> Config | None:
    """The configuration in the files, if there is one."""
    found = next((one for one in objects if is_config(one)), None)
    return parse(texts_in(found, "data"))[0] if found is not None else None


def look(obj: Object) -> list[Problem]:
    """The problems of the ConfigMap."""
    return [one.below("data") for one in parse(texts_in(obj, "data"))[1]]


def subscriptions(obj: Any, config: Config | None) -> list[Problem]:
    """What of an object's subscriptions leads nowhere, as far as the files tell."""
    if not isinstance(obj, Mapping) or not isinstance(metadata(obj), Mapping) or not annotated(obj):
        return []
    known = config or BARE
    found = subscribed([obj], (), known.defaults_of, known.services)
    said = problems_of(found, known.triggers, known.services)
    if config is None:
        said = [one for one in said if "trigger" in one]  # services are in a ConfigMap that is not here
    return [Problem("metadata.annotations", f"{SUBSCRIBE}* or {LIST}: {one}") for one in said]


def texts_in(obj: Object, field: str) -> dict[str, str]:
    """A field of an object that should be a map of texts; empty where it is something else."""
    found = obj.get(field)
    return {str(key): str(text) for key, text in found.items()} if isinstance(found, Mapping) else {}
