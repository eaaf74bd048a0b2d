"""The configuration of the controller: a YAML file, options of the command line over it, and what of it can change live.

    logLevel: info
    features: [core, decisions, istio, events]
    analysis:
      providers: [prometheus, web]
      namespaces: {ci: [prometheus, web, job]}

An unknown field, a value of another type or out of its bounds is an error: nothing is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from rollout.api.features import FEATURES, PROVIDERS, Feature, Provider
from rollout.errors import ConfigError
from rollout.runtime.logs import Level

MAX_BYTES = 1 << 20
MEASUREMENTS = 64
"""At one time, over all runs."""
MAX_OBJECTS = 2000
"""Of a kind, with series of their own."""
Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class AnalysisSettings(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """What analyses may do. `namespaces` replaces `providers` for the namespaces that it names.

    `measurements` is how many are taken at the same time over all runs. With `labelled_secrets` only Secrets with the
    label surefoot.dev/analysis-secret=true are read.
    """

    providers: tuple[Provider, ...] = PROVIDERS
    namespaces: dict[str, tuple[Provider, ...]] = {}
    measurements: Count = MEASUREMENTS
    labelled_secrets: bool = False


class MetricsSettings(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """`max_objects` is how many objects of a kind have series of their own; all others share one, named "other"."""

    max_objects: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = MAX_OBJECTS


class ControllerConfig(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """What `rollout controller run` is told. `namespaces` empty = all; `address` "" = serve no metrics.

    `lease_namespace` is where the election's Lease lives. `take_over` starts beside another live controller
    of the same API, or takes a lease that is still held. `lease_url` is where the injectors of network faults reach
    `address` of this very process (or $SUREFOOT_LEASE_URL; "" = they have their deadline alone). ChaosSchedules go by a
    clock `schedule_speed` times as fast. `notifications_namespace` is where the ConfigMap and the Secret of notifications
    are (docs/notifications.md); "" = nobody is notified.
    """

    kubeconfig: str = ""
    context: str = ""
    as_user: str = ""
    namespaces: tuple[str, ...] = ()
    instance_id: str = ""
    features: tuple[Feature, ...] = FEATURES
    lease_namespace: str = "default"
    leader_election: bool = True
    take_over: bool = False
    address: str = msgspec.field(default="", name="metricsAddress")
    lease_url: str = ""
    notifications_namespace: str = ""
    workers: Count = 10
    schedule_speed: Annotated[float, msgspec.Meta(ge=0.001)] = 1.0
    log_level: Level = "info"
    log_format: Literal["json", "console"] = "json"
    analysis: AnalysisSettings = AnalysisSettings()
    metrics: MetricsSettings = MetricsSettings()


LIVE = frozenset({"workers", "log_level", "analysis", "metrics"})
"""The fields that take effect while the controller runs; the others, when it starts."""


def load(path: str, given: Mapping[str, Any] | None = None) -> ControllerConfig:
    """The configuration of a file ("" = none) with the `given` fields over it. ConfigError when it cannot be used."""
    return parse(read(path), given, path) if path else parse(b"", given)


def read(path: str) -> bytes:
    """The file as it is now. ConfigError when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            found = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    if len(found) > MAX_BYTES:
        raise ConfigError(f"the configuration {path} is larger than {MAX_BYTES} bytes")
    return found


def parse(content: bytes, given: Mapping[str, Any] | None = None, path: str = "") -> ControllerConfig:
    """The configuration in `content` with the `given` fields (by their names here) over it."""
    where = f"the configuration {path}" if path else "the configuration"
    try:
        found = yaml.load(content, _Loader) if content.strip() else {}  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
    if found is None:
        found = {}
    if not isinstance(found, dict):
        raise ConfigError(f"{where} must be a map of fields, not {type(found).__name__}")
    names = {field.name: field.encode_name for field in msgspec.structs.fields(ControllerConfig)}
    over = {names[name]: value for name, value in (given or {}).items()}
    try:
        config = msgspec.convert({**found, **over}, ControllerConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from error
    if "chaosNetwork" in config.features and "chaos" not in config.features:
        raise ConfigError(f"{where}: the feature chaosNetwork needs the feature chaos")
    return config


def changed(old: ControllerConfig, new: ControllerConfig) -> tuple[str, ...]:
    """The fields that differ, as they are called in the file."""
    fields = msgspec.structs.fields(ControllerConfig)
    return tuple(one.encode_name for one in fields if getattr(old, one.name) != getattr(new, one.name))


def live(old: ControllerConfig, new: ControllerConfig) -> tuple[ControllerConfig, tuple[str, ...]]:
    """`old` with what can change live from `new`, and the fields (of the file) that would need a restart."""
    after = msgspec.structs.replace(old, **{name: getattr(new, name) for name in LIVE})
    return after, changed(after, new)


class _Loader(yaml.CSafeLoader):
    """A key that is there twice is an error, not a choice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = [key for index, key in enumerate(keys) if key in keys[:index]]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the field {twice[0]!r} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)
