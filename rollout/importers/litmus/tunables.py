"""The environment of a Litmus experiment: where a value comes from, and what it means. Facts: study/chaos.md 2.1, 2.2.

Precedence, lowest first: the profile's defaults, the ChaosExperiment's env, the engine's env. The defaults of the
code and of the hub's ChaosExperiments differ, so the profile is the user's to choose.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from rollout.importers.report import Reader, Refused

Profile = Literal["litmus-hub", "litmus-code"]

_COMMON = {"PODS_AFFECTED_PERC": "", "SEQUENCE": "parallel", "RAMP_TIME": ""}
_DEFAULTS: dict[Profile, dict[str, dict[str, str]]] = {
    "litmus-hub": {
        "pod-delete": {"TOTAL_CHAOS_DURATION": "15", "CHAOS_INTERVAL": "5", "FORCE": "true"},
        "container-kill": {"TOTAL_CHAOS_DURATION": "20", "CHAOS_INTERVAL": "10", "SIGNAL": "SIGKILL"},
        "pod-network-latency": {"TOTAL_CHAOS_DURATION": "60", "NETWORK_LATENCY": "2000", "JITTER": "0"},
        "pod-network-loss": {"TOTAL_CHAOS_DURATION": "60", "NETWORK_PACKET_LOSS_PERCENTAGE": "100"},
        "pod-http-latency": {"TOTAL_CHAOS_DURATION": "60", "LATENCY": "6000", "TARGET_SERVICE_PORT": "80"},
    },
    "litmus-code": {
        "pod-delete": {"TOTAL_CHAOS_DURATION": "30", "CHAOS_INTERVAL": "10", "FORCE": "false"},
        "container-kill": {"TOTAL_CHAOS_DURATION": "20", "CHAOS_INTERVAL": "10", "SIGNAL": "SIGKILL"},
        "pod-network-latency": {"TOTAL_CHAOS_DURATION": "60", "NETWORK_LATENCY": "2000", "JITTER": "0"},
        "pod-network-loss": {"TOTAL_CHAOS_DURATION": "60", "NETWORK_PACKET_LOSS_PERCENTAGE": "100"},
        "pod-http-latency": {"TOTAL_CHAOS_DURATION": "60", "LATENCY": "6000", "TARGET_SERVICE_PORT": "80"},
    },
}
SUPPORTED = tuple(_DEFAULTS["litmus-hub"])

_NOT_NEEDED = {
    "LIB": "ours needs no chaos library",
    "LIB_IMAGE": "ours needs no helper image",
    "LIB_IMAGE_PULL_POLICY": "ours needs no helper image",
    "TC_IMAGE": "ours needs no helper image",
    "CONTAINER_RUNTIME": "ours needs no container runtime socket",
    "SOCKET_PATH": "ours needs no container runtime socket",
    "SET_HELPER_DATA": "ours has no helper pods",
    "CHAOS_NAMESPACE": "a ChaosRun lives in its own namespace",
    "INSTANCE_ID": "ours are told apart by their names",
    "STATUS_CHECK_DELAY": "recovery is watched continuously",
}


class Tunables(msgspec.Struct):
    """The values of one experiment by name, and where in the engine each stands (None: not in the engine)."""

    reader: Reader
    where: tuple[str | int, ...]
    values: dict[str, str]
    given: dict[str, tuple[str | int, ...]]
    used: set[str]

    def get(self, name: str) -> str:
        """The value, "" where there is none. It counts as used."""
        self.used.add(name)
        return self.values.get(name, "").strip()

    def path(self, name: str) -> tuple[str | int, ...]:
        return self.given.get(name, self.where)

    def whole(self, name: str, *, default: int = 0) -> int:
        """The value as a whole number. Litmus' ranges ("5-10": anything between) become their lower end."""
        text = self.get(name)
        if not text:
            return default
        if match := re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", text):
            low = min(int(match[1]), int(match[2]))
            self.reader.approximate(
                self.path(name), f'{name} is random in "{text}" for Litmus; here it is always {low}'
            )
            return low
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise self.refused(name, f'{name} is "{text}", which is no whole number')
        return int(text)

    def flag(self, name: str) -> bool:
        return self.get(name).lower() in {"true", "1", "yes"}

    def names(self, name: str) -> tuple[str, ...]:
        """A list separated by commas."""
        return tuple(part.strip() for part in self.get(name).split(",") if part.strip())

    def refused(self, name: str, message: str) -> Refused:
        return self.reader.refuse(self.path(name), message)

    def leftovers(self) -> None:
        """Say which variables of the engine have no effect."""
        for name, path in self.given.items():
            if name in self.used or not self.values.get(name):
                continue
            if name in _NOT_NEEDED:
                self.reader.info(path, f"{name}: {_NOT_NEEDED[name]}")
            else:
                self.reader.drop(*path, why=f"{name} is not known to this importer and has no effect")


def tunables(
    reader: Reader,
    experiment: str,
    where: tuple[str | int, ...],
    catalogue: dict[str, dict[str, Any]],
    profile: Profile,
) -> Tunables:
    """The values that count for one experiment of an engine. `where` is the path of its env list."""
    values = {**_COMMON, **_DEFAULTS[profile].get(experiment, {})}
    for variable in _catalogue_env(catalogue.get(experiment) or {}):
        values[str(variable.get("name"))] = _text(variable.get("value"))
    given: dict[str, tuple[str | int, ...]] = {}
    for index in reader.items(*where):
        path = (*where, index)
        name = reader.text(*path, "name")
        if reader.get(*path, "valueFrom") is not None:
            raise reader.refuse(
                (*path, "valueFrom"), f"{name} comes from another object; write its value here"
            )
        values[name] = reader.text(*path, "value")
        given[name] = path
    return Tunables(reader=reader, where=where, values=values, given=given, used=set())


def _catalogue_env(experiment: dict[str, Any]) -> list[dict[str, Any]]:
    env = ((experiment.get("spec") or {}).get("definition") or {}).get("env")
    return [one for one in env if isinstance(one, dict)] if isinstance(env, list) else []


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
