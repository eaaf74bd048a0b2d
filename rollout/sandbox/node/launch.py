"""From a container's spec to what is run: argv and environment. Pure.

Contract: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
and the downward API's list of fields.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgspec

from rollout.api.meta import Object, metadata
from rollout.errors import SurefootError
from rollout.sandbox.node.images import Program

DEFAULT_PORT = 8080
TARGET_PID = "SUREFOOT_TARGET_PID"
"""Environment of an ephemeral container with targetContainerName. In a cluster the two share a process namespace,
where the target's main process is 1; here there are no such namespaces."""


class ContainerConfigError(SurefootError):
    """A container cannot be made of its spec yet: status.waiting.reason CreateContainerConfigError."""


class Node(msgspec.Struct, frozen=True):
    """What pods may learn about their node."""

    name: str
    ip: str
    capacity: Mapping[str, str]


class Lookups(msgspec.Struct, frozen=True):
    """The data of the ConfigMaps and Secrets (already decoded) that a pod refers to, by name."""

    config_maps: Mapping[str, Mapping[str, str]] = {}
    secrets: Mapping[str, Mapping[str, str]] = {}


class Launch(msgspec.Struct, frozen=True):
    argv: tuple[str, ...]
    env: dict[str, str]


def launch(
    pod: Object,
    container: Mapping[str, Any],
    program: Program,
    *,
    base: Mapping[str, str],
    ports: Mapping[int, int],
    node: Node,
    lookups: Lookups,
    target_pid: int | None = None,
) -> Launch:
    """What to run for `container`. `target_pid`: the main process of an ephemeral container's target.

    Later wins: `base` (the sandbox's own; its values may say $(POD_NAMESPACE) and the like), POD_* and
    PORT, the image's env, envFrom, env. `ports` says which local port stands for which container port.
    ContainerConfigError if a reference leads nowhere.
    """
    meta = metadata(pod)
    pods_own = {
        "POD_IP": (pod.get("status") or {}).get("podIP", ""),
        "POD_NAME": meta["name"],
        "POD_NAMESPACE": meta.get("namespace", ""),
        "HOSTNAME": meta["name"],
        "PORT": str(main_port(pod, container, ports)),
    }
    if target_pid is not None:
        pods_own[TARGET_PID] = str(target_pid)
    sandbox = {name: expand(value, pods_own) for name, value in base.items()}
    given = {**sandbox, **pods_own, **program.env}
    own = _environment(pod, container, node, lookups)
    env = {**given, **own}
    command = [expand(part, env) for part in container.get("command") or ()]
    if not command:
        command = [string.Template(part).safe_substitute(env) for part in program.command]
    args = [expand(part, env) for part in container.get("args") or ()]
    return Launch((*command, *args), env)


def main_port(pod: Object, container: Mapping[str, Any], ports: Mapping[int, int]) -> int:
    """The local port of the container's first containerPort.

    A container that declares none gets 8080 and upwards by its place in the pod, as containers of one
    pod share an address.
    """
    if wanted := container.get("targetContainerName"):
        ordinary = (pod.get("spec") or {}).get("containers") or ()
        container = next((one for one in ordinary if one["name"] == wanted), container)
    declared = container.get("ports") or ()
    if declared:
        number = int(declared[0]["containerPort"])
        return ports.get(number, number)
    names = [item["name"] for item in (pod.get("spec") or {}).get("containers") or ()]
    place = names.index(container["name"]) if container["name"] in names else 0
    return ports.get(DEFAULT_PORT + place, DEFAULT_PORT + place)


def container_ports(pod: Object) -> list[int]:
    """All ports the pod's containers listen on, as `main_port` and their specs say."""
    found: list[int] = []
    for container in (pod.get("spec") or {}).get("containers") or ():
        found += [int(port["containerPort"]) for port in container.get("ports") or ()]
        found.append(main_port(pod, container, {}))
    return list(dict.fromkeys(found))


def references(pod: Object) -> tuple[set[str], set[str]]:
    """Names of the ConfigMaps and of the Secrets that the pod's environment needs or may need."""
    maps: set[str] = set()
    secrets: set[str] = set()
    spec = pod.get("spec") or {}
    fields = ("initContainers", "containers", "ephemeralContainers")
    for container in (one for field in fields for one in spec.get(field) or ()):
        for source in container.get("envFrom") or ():
            maps |= _named(source.get("configMapRef"))
            secrets |= _named(source.get("secretRef"))
        for variable in container.get("env") or ():
            source = variable.get("valueFrom") or {}
            maps |= _named(source.get("configMapKeyRef"))
            secrets |= _named(source.get("secretKeyRef"))
    return maps, secrets


def _named(reference: Mapping[str, Any] | None) -> set[str]:
    return {reference["name"]} if reference and reference.get("name") else set()


def _environment(pod: Object, container: Mapping[str, Any], node: Node, lookups: Lookups) -> dict[str, str]:
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for reference, kind, found in (
            (source.get("configMapRef"), "configmap", lookups.config_maps),
            (source.get("secretRef"), "secret", lookups.secrets),
        ):
            if reference:
                data = found.get(reference["name"])
                if data is None and not reference.get("optional"):
                    raise ContainerConfigError(f'{kind} "{reference["name"]}" not found')
                env.update({prefix + name: value for name, value in (data or {}).items()})
    for variable in container.get("env") or ():
        source = variable.get("valueFrom")
        value = (
            _value(pod, container, source, node, lookups)
            if source
            else expand(variable.get("value") or "", env)
        )
        if value is not None:
            env[variable["name"]] = value
    return env


def _value(
    pod: Object, container: Mapping[str, Any], source: Mapping[str, Any], node: Node, lookups: Lookups
) -> str | None:
    if field := source.get("fieldRef"):
        return field_value(pod, field["fieldPath"], node)
    if resource := source.get("resourceFieldRef"):
        return _resource(pod, container, resource, node)
    for name, kind, found in (
        ("configMapKeyRef", "configmap", lookups.config_maps),
        ("secretKeyRef", "secret", lookups.secrets),
    ):
        if reference := source.get(name):
            data = found.get(reference["name"])
            if data is not None and reference["key"] in data:
                return data[reference["key"]]
            if reference.get("optional"):
                return None
            if data is None:
                raise ContainerConfigError(f'{kind} "{reference["name"]}" not found')
            place = f"{metadata(pod).get('namespace', '')}/{reference['name']}"
            what = "ConfigMap" if kind == "configmap" else "Secret"
            raise ContainerConfigError(f"couldn't find key {reference['key']} in {what} {place}")
    raise ContainerConfigError("env.valueFrom names no source that the sandbox knows; use one of fieldRef,"
                      " resourceFieldRef, configMapKeyRef, secretKeyRef")  # fmt: skip


_ITEM = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def field_value(pod: Object, path: str, node: Node) -> str:
    """The downward API's value of a field of the pod. ContainerConfigError for a field it does not offer."""
    meta, spec, status = metadata(pod), pod.get("spec") or {}, pod.get("status") or {}
    if item := _ITEM.fullmatch(path):
        return str((meta.get(item[1]) or {}).get(item[2], ""))
    plain = {
        "metadata.name": meta.get("name"),
        "metadata.namespace": meta.get("namespace"),
        "metadata.uid": meta.get("uid"),
        "spec.nodeName": spec.get("nodeName") or node.name,
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "status.podIP": status.get("podIP"),
        "status.podIPs": status.get("podIP"),
        "status.hostIP": node.ip,
        "status.hostIPs": node.ip,
    }
    if path not in plain:
        raise ContainerConfigError(f"fieldRef.fieldPath {path!r} is not a field the downward API offers")
    return str(plain[path] or "")


def _resource(pod: Object, container: Mapping[str, Any], source: Mapping[str, Any], node: Node) -> str:
    wanted = source.get("containerName")
    if wanted:
        all_containers = (pod.get("spec") or {}).get("containers") or ()
        container = next((item for item in all_containers if item["name"] == wanted), container)
    what, _, name = str(source.get("resource", "")).partition(".")
    if what not in {"limits", "requests"} or not name:
        raise ContainerConfigError(
            f'resourceFieldRef.resource {source.get("resource")!r} is not like "limits.cpu"'
        )
    declared = (container.get("resources") or {}).get(what) or {}
    # A limit that is not set is what the node can give, as in Kubernetes; a request is nothing.
    value = declared.get(name) or (node.capacity.get(name, "0") if what == "limits" else "0")
    divisor = quantity(source.get("divisor") or "1") or Fraction(1)
    return str(math.ceil(quantity(value) / divisor))


_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{unit: Fraction(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Fraction(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}
_QUANTITY = re.compile(
    r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?"
)


def quantity(value: str | float) -> Fraction:
    """A resource quantity ("100m", "128Mi", "1e3") as a number. ContainerConfigError if malformed."""
    found = _QUANTITY.fullmatch(str(value))
    if not found:
        raise ContainerConfigError(f'{value!r} is not a quantity; write for example "100m" or "128Mi"')
    number, suffix, exponent = found.groups()
    return Fraction(number) * _SUFFIXES[suffix or ""] * Fraction(10) ** int(exponent or 0)


_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")


def expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by its value; `$$` is one dollar; an unknown name stays as it is written."""

    def replace(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return env.get(found[1], found[0])

    return _REFERENCE.sub(replace, text)
