"""Rules of pod specs that their schema cannot say, in kube-apiserver's words: those that users meet."""

from __future__ import annotations

from typing import Any

from rollout.sandbox.schema import names
from rollout.sandbox.schema.checks import (
    PROTOCOLS,
    Errors,
    Object,
    each,
    items,
    mapping,
    natural,
    one_of,
    port_number,
    port_or_name,
    whole,
)
from rollout.sandbox.schema.fields import FieldError, duplicate, forbidden, invalid, required
from rollout.sandbox.schema.quantity import parse

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def pod_spec(spec: Object, path: str) -> Errors:
    """What is wrong with a pod spec (also that of a template)."""
    volumes = set[str]()
    for place, volume in items(spec, "volumes", path):
        name = volume.get("name")
        if not name:
            yield required(f"{place}.name")
        elif str(name) in volumes:
            yield duplicate(f"{place}.name", name)
        else:
            yield from each(name, names.dns_label, f"{place}.name")
        volumes.add(str(name))
        sources = sorted(volume.keys() - {"name"})
        yield from (
            forbidden(f"{place}.{source}", "may not specify more than 1 volume type")
            for source in sources[1:]
        )
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    taken = set[str]()
    for key in ("initContainers", "containers"):
        for place, container in items(spec, key, path):
            yield from _container(container, place, volumes, taken, initial=key == "initContainers")
    others = set(taken)
    for place, container in items(spec, "ephemeralContainers", path):
        yield from _ephemeral(container, place, volumes, taken, others)
    yield from one_of(spec.get("restartPolicy"), ("Always", "Never", "OnFailure"), f"{path}.restartPolicy")
    yield from one_of(
        spec.get("dnsPolicy"),
        ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
        f"{path}.dnsPolicy",
    )
    yield from natural(spec, path, "terminationGracePeriodSeconds")
    if whole(limit := spec.get("activeDeadlineSeconds")) and not 1 <= limit < 2**31:
        yield invalid(f"{path}.activeDeadlineSeconds", limit, "must be between 1 and 2147483647, inclusive")
    yield from each(spec.get("serviceAccountName") or None, names.dns_subdomain, f"{path}.serviceAccountName")
    yield from names.labels(spec.get("nodeSelector"), f"{path}.nodeSelector")


def _container(container: Object, path: str, volumes: set[str], taken: set[str], *, initial: bool) -> Errors:
    name = container.get("name")
    if not name:
        yield required(f"{path}.name")
    elif str(name) in taken:
        yield duplicate(f"{path}.name", name)
    else:
        yield from each(name, names.dns_label, f"{path}.name")
    taken.add(str(name))
    image = container.get("image")
    if not image:
        yield required(f"{path}.image")
    elif isinstance(image, str) and image.strip() != image:
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(container.get("imagePullPolicy"), _PULL_POLICIES, f"{path}.imagePullPolicy")
    yield from one_of(
        container.get("terminationMessagePolicy"),
        ("FallbackToLogsOnError", "File"),
        f"{path}.terminationMessagePolicy",
    )
    yield from _container_ports(container, path)
    for place, variable in items(container, "env", path):
        yield from _variable(variable, place)
    yield from _mounts(container, path, volumes)
    yield from _resources(mapping(container, "resources"), f"{path}.resources")
    sidecar = container.get("restartPolicy") == "Always"
    if not initial and container.get("restartPolicy") is not None:
        yield forbidden(f"{path}.restartPolicy", "may not be set for non-init containers")
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(key)) is None:
            continue
        if initial and not sidecar:
            yield forbidden(
                f"{path}.{key}", "may not be set for init containers without restartPolicy=Always"
            )
        elif isinstance(probe, dict):
            yield from _probe(probe, f"{path}.{key}", single=key != "readinessProbe")
    for key, hook in mapping(container, "lifecycle").items():
        if isinstance(hook, dict):
            yield from _handler(hook, f"{path}.lifecycle.{key}", ("exec", "httpGet", "sleep", "tcpSocket"))


_NOT_EPHEMERAL = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)


def _ephemeral(container: Object, path: str, volumes: set[str], taken: set[str], others: set[str]) -> Errors:
    """`others`: the containers that are not ephemeral."""
    yield from _container({k: v for k, v in container.items() if k not in _NOT_EPHEMERAL}, path, volumes, taken,
                          initial=False)  # fmt: skip
    target = container.get("targetContainerName")
    if target and str(target) not in others:
        yield FieldError("FieldValueNotFound", f"{path}.targetContainerName", f'Not found: "{target}"')
    for field in _NOT_EPHEMERAL:
        if container.get(field):
            yield forbidden(f"{path}.{field}", "cannot be set for an Ephemeral Container")
    for place, mount in items(container, "volumeMounts", path):
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                yield forbidden(f"{place}.{field}", "cannot be set for an Ephemeral Container")


def _container_ports(container: Object, path: str) -> Errors:
    taken = set[str]()
    for place, port in items(container, "ports", path):
        if name := port.get("name"):
            yield from each(name, names.port_name, f"{place}.name")
            if str(name) in taken:
                yield duplicate(f"{place}.name", name)
            taken.add(str(name))
        if not port.get("containerPort"):
            yield required(f"{place}.containerPort")
        else:
            yield from port_number(port["containerPort"], f"{place}.containerPort")
        if port.get("hostPort"):
            yield from port_number(port["hostPort"], f"{place}.hostPort")
        yield from one_of(port.get("protocol"), PROTOCOLS, f"{place}.protocol")


def _variable(variable: Object, path: str) -> Errors:
    name = variable.get("name")
    if not name:
        yield required(f"{path}.name")
    elif isinstance(name, str) and not all(" " <= char <= "~" and char != "=" for char in name):
        yield invalid(
            f"{path}.name",
            name,
            "a valid environment variable name must consist only of printable ASCII characters other than '='",
        )
    source = variable.get("valueFrom")
    if isinstance(source, dict):
        if variable.get("value"):
            yield invalid(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
        if not source:
            yield invalid(
                f"{path}.valueFrom",
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            )
        elif len(source) > 1:
            yield invalid(f"{path}.valueFrom", "", "may not have more than one field specified at a time")


def _mounts(container: Object, path: str, volumes: set[str]) -> Errors:
    taken = set[str]()
    for place, mount in items(container, "volumeMounts", path):
        name, where = mount.get("name"), mount.get("mountPath")
        if not name:
            yield required(f"{place}.name")
        elif str(name) not in volumes:
            yield FieldError("FieldValueNotFound", f"{place}.name", f'Not found: "{name}"')
        if not where:
            yield required(f"{place}.mountPath")
        elif str(where) in taken:
            yield invalid(f"{place}.mountPath", where, "must be unique")
        taken.add(str(where))


def _resources(resources: Object, path: str) -> Errors:
    limits = mapping(resources, "limits")
    for kind in ("limits", "requests"):
        for name, amount in mapping(resources, kind).items():
            place = f"{path}.{kind}[{name}]"
            try:
                value = parse(str(amount))
            except ValueError as error:
                yield invalid(place, amount, str(error))
                continue
            if value < 0:
                yield invalid(place, amount, "must be greater than or equal to 0")
            elif kind == "requests" and _exceeds(value, limits.get(name)):
                detail = f"must be less than or equal to {name} limit of {limits[name]}"
                yield invalid(f"{path}.requests", amount, detail)


def _exceeds(value: Any, limit: Any) -> bool:
    try:
        return limit is not None and bool(value > parse(str(limit)))
    except ValueError:
        return False


_PROBES = ("exec", "grpc", "httpGet", "tcpSocket")


def _probe(probe: Object, path: str, *, single: bool) -> Errors:
    yield from _handler(probe, path, _PROBES)
    yield from natural(
        probe,
        path,
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    )
    if single and probe.get("successThreshold") not in (1, None):
        yield invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _handler(handler: Object, path: str, kinds: tuple[str, ...]) -> Errors:
    given = [kind for kind in kinds if handler.get(kind) is not None]
    if not given:
        yield required(path, "must specify a handler type")
    yield from (forbidden(f"{path}.{kind}", "may not specify more than 1 handler type") for kind in given[1:])
    get, socket = mapping(handler, "httpGet"), mapping(handler, "tcpSocket")
    if get:
        if not get.get("path"):
            yield required(f"{path}.httpGet.path")
        yield from port_or_name(get.get("port"), f"{path}.httpGet.port")
        yield from one_of(get.get("scheme"), ("HTTP", "HTTPS"), f"{path}.httpGet.scheme")
    if socket:
        yield from port_or_name(socket.get("port"), f"{path}.tcpSocket.port")
    if "exec" in given and not mapping(handler, "exec").get("command"):
        yield required(f"{path}.exec.command")
