"""The columns that `kubectl get` prints, computed by the server (Table answers).

Built-in kinds have the columns that kubectl's users know; custom resources those of their CRD. Cells of wide
columns (priority 1) are always there: kubectl leaves them out when it is not asked for `-o wide`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rollout.core.jsonpath import compiled, find
from rollout.sandbox.schema import cells
from rollout.sandbox.schema.ages import since
from rollout.sandbox.schema.fields import compact

Object = Mapping[str, Any]
Definition = dict[str, Any]

_NAME_SAYS = "Name must be unique within a namespace."
_AGE_SAYS = "CreationTimestamp is a timestamp representing the server time when this object was created."


def table(
    api_version: str,
    kind: str,
    objects: Iterable[Object],
    now: datetime,
    columns: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[list[Definition], list[list[Any]]]:
    """(columnDefinitions, one list of cells per object).

    `columns` are a CRD version's additionalPrinterColumns; None for built-in kinds. Kinds that are neither
    have Name and Age. Ages are as of `now`. Never raises: a cell that cannot be computed is None.
    """
    built_in = None if columns else _BUILT_IN.get((api_version, kind))
    if built_in is not None:
        headers, row = built_in
        return list(headers), [row(obj, now) for obj in objects]
    wanted = list(columns) if columns else [_AGE]
    readers = [_reader(column) for column in wanted]
    rows = [[cells.name(obj), *(read(obj, now) for read in readers)] for obj in objects]
    return [_NAME, *(_custom_header(column) for column in wanted)], rows


def _header(
    name: str, type: str = "string", *, wide: bool = False, format: str = "", says: str = ""
) -> Definition:
    return {"name": name, "type": type, "format": format, "description": says, "priority": int(wide)}


_NAME = _header("Name", format="name", says=_NAME_SAYS)
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": _AGE_SAYS}


def _custom_header(column: Mapping[str, Any]) -> Definition:
    header = {key: column.get(key, "") for key in ("name", "type", "format", "description")}
    return {**header, "priority": column.get("priority") or 0}


# -- columns of custom resources -----------------------------------------------------------------

Reader = Callable[[Object, datetime], Any]


def _reader(column: Mapping[str, Any]) -> Reader:
    try:
        path = compiled(str(column.get("jsonPath", "")))
    except ValueError:
        return lambda _obj, _now: None
    kind = str(column.get("type", "string"))

    def read(obj: Object, now: datetime) -> Any:
        found = find(path, obj)
        return _cell(kind, found, now) if found else None

    return read


def _cell(kind: str, found: list[Any], now: datetime) -> Any:
    """The cell of one column; None (shown as nothing) for a value of another type."""
    value = found[0]
    match kind:
        case "string":
            return " ".join(_text(one) for one in found)
        case "date":
            return since(value, now) if isinstance(value, str) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "integer" if isinstance(value, (int, float)) and not isinstance(value, bool):
            return int(value) if abs(value) < 2**63 else None
        case "number" if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        case _:
            return None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else compact(value)


# -- columns of built-in kinds -------------------------------------------------------------------

_WORKLOAD = [_header("Containers", wide=True), _header("Images", wide=True), _header("Selector", wide=True)]
_SINCE = _header("Age", says=_AGE_SAYS)

_BUILT_IN: dict[tuple[str, str], tuple[list[Definition], Callable[[Object, datetime], list[Any]]]] = {
    ("v1", "Pod"): (
        [
            _NAME,
            _header("Ready", says="The aggregate readiness state of this pod for accepting traffic."),
            _header("Status", says="The aggregate status of the containers in this pod."),
            _header(
                "Restarts", says="How often containers of this pod were restarted, and when one last was."
            ),
            _SINCE,
            _header("IP", wide=True),
            _header("Node", wide=True),
            _header("Nominated Node", wide=True),
            _header("Readiness Gates", wide=True),
        ],
        cells.pod,
    ),
    ("v1", "Service"): (
        [
            _NAME,
            _header("Type"),
            _header("Cluster-IP"),
            _header("External-IP"),
            _header("Port(s)"),
            _SINCE,
            _header("Selector", wide=True),
        ],
        cells.service,
    ),
    ("v1", "Node"): (
        [
            _NAME,
            _header("Status"),
            _header("Roles"),
            _SINCE,
            _header("Version"),
            _header("Internal-IP", wide=True),
            _header("External-IP", wide=True),
            _header("OS-Image", wide=True),
            _header("Kernel-Version", wide=True),
            _header("Container-Runtime", wide=True),
        ],
        cells.node,
    ),
    ("v1", "Namespace"): ([_NAME, _header("Status"), _SINCE], cells.namespace),
    ("v1", "ConfigMap"): ([_NAME, _header("Data"), _SINCE], cells.config_map),
    ("v1", "Secret"): ([_NAME, _header("Type"), _header("Data"), _SINCE], cells.secret),
    ("v1", "ServiceAccount"): ([_NAME, _header("Secrets"), _SINCE], cells.service_account),
    ("v1", "Event"): (
        [
            _header("Last Seen"),
            _header("Type"),
            _header("Reason"),
            _header("Object"),
            _header("Subobject", wide=True),
            _header("Source", wide=True),
            _header("Message"),
            _header("First Seen", wide=True),
            _header("Count", wide=True),
            _header("Name", wide=True),
        ],
        cells.event,
    ),
    ("apps/v1", "ReplicaSet"): (
        [_NAME, *(_header(n, "integer") for n in ("Desired", "Current", "Ready")), _SINCE, *_WORKLOAD],
        cells.replica_set,
    ),
    ("apps/v1", "Deployment"): (
        [_NAME, *(_header(n) for n in ("Ready", "Up-to-date", "Available")), _SINCE, *_WORKLOAD],
        cells.deployment,
    ),
    ("batch/v1", "Job"): (
        [_NAME, *(_header(n) for n in ("Status", "Completions", "Duration")), _SINCE, *_WORKLOAD],
        cells.job,
    ),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): (
        [_NAME, *(_header(n) for n in ("Reference", "Targets", "MinPods", "MaxPods", "Replicas")), _SINCE],
        cells.autoscaler,
    ),
    ("policy/v1", "PodDisruptionBudget"): (
        [
            _NAME,
            _header("Min Available"),
            _header("Max Unavailable"),
            _header("Allowed Disruptions", "integer"),
            _SINCE,
        ],
        cells.disruption_budget,
    ),
    ("coordination.k8s.io/v1", "Lease"): ([_NAME, _header("Holder"), _SINCE], cells.lease),
    ("discovery.k8s.io/v1", "EndpointSlice"): (
        [_NAME, _header("AddressType"), _header("Ports"), _header("Endpoints"), _SINCE],
        cells.endpoint_slice,
    ),
    ("networking.k8s.io/v1", "Ingress"): (
        [_NAME, *(_header(n) for n in ("Class", "Hosts", "Address", "Ports")), _SINCE],
        cells.ingress,
    ),
    ("networking.k8s.io/v1", "NetworkPolicy"): (
        [_NAME, _header("Pod-Selector"), _SINCE],
        cells.network_policy,
    ),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): (
        [_NAME, {**_header("Created At", "date"), "description": _AGE_SAYS}],
        cells.definition,
    ),
}
