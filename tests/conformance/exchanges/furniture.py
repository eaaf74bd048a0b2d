"""What the cases find on a server: paths, small objects, and a custom resource of their own."""

from __future__ import annotations

from typing import Any

import httpx

from tests.conformance.exchanges.play import wait_until

Object = dict[str, Any]

NS = "/api/v1/namespaces/{ns}"
CONFIG_MAPS = f"{NS}/configmaps"
SECRETS = f"{NS}/secrets"
PODS = f"{NS}/pods"
SERVICES = f"{NS}/services"
EVENTS = f"{NS}/events"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{ns}/deployments"
REPLICA_SETS = "/apis/apps/v1/namespaces/{ns}/replicasets"
JOBS = "/apis/batch/v1/namespaces/{ns}/jobs"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"
BUDGETS = "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets"
SCALERS = "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "conformance.surefoot.dev"
WIDGETS = f"/apis/{GROUP}/v1/namespaces/{{ns}}/widgets"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def meta(name: str, **more: Any) -> Object:
    return {"metadata": {"name": name, **more}}


def secret(name: str = "settings", *, labels: dict[str, str] | None = None, **data: str) -> Object:
    """A Secret: no controller makes any in a new namespace."""
    return meta(name, **({"labels": labels} if labels else {})) | {"stringData": data or {"a": "1"}}


def config_map(name: str = "settings", **data: str) -> Object:
    return meta(name) | {"data": data or {"a": "1"}}


def pod_spec(image: str = "web:1", **more: Any) -> Object:
    """The spec of a pod that says itself what a cluster's admission plugins would add to it."""
    ports = [{"containerPort": 80}]
    leaving = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    return {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "serviceAccountName": "default",
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "tolerations": [
            {"key": "node.kubernetes.io/not-ready", **leaving},
            {"key": "node.kubernetes.io/unreachable", **leaving},
        ],
        "containers": [{"name": "web", "image": image, "ports": ports}],
        **more,
    }


def pod(name: str = "web", *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    return meta(name, labels=labels or {"app": "web"}) | {"spec": pod_spec(**spec)}


def deployment(name: str = "web", *, replicas: int = 2, image: str = "web:1") -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod_spec(image)}
    return meta(name) | {
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    }


def replica_set(name: str = "web", *, replicas: int = 0) -> Object:
    return deployment(name, replicas=replicas)


def service(name: str = "web", **spec: Any) -> Object:
    return meta(name) | {"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec}}


def budget(name: str = "web", **spec: Any) -> Object:
    return meta(name) | {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}, **spec}}


def lease(name: str = "turn", **spec: Any) -> Object:
    return meta(name) | {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, **spec}}


def widget(name: str = "first", **spec: Any) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Widget", **meta(name), "spec": {"size": 3, **spec}}


def owned(obj: Object, kind: str, api_version: str, name: str, uid: str, **more: Any) -> Object:
    reference = {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, **more}
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}


def definition() -> Object:
    """Widgets: one of each keyword that a structural schema may have."""
    steps = {
        "type": "array",
        "maxItems": 3,
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 8},
                "weight": {"type": "integer", "default": 10, "maximum": 100, "minimum": 0},
                "pause": {"type": "object", "properties": {"seconds": {"x-kubernetes-int-or-string": True}}},
            },
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
    }
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 9},
            "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
            "code": {"type": "string", "pattern": "^[a-z]{2}$", "maxLength": 8},
            "ratio": {"type": "number", "exclusiveMinimum": True, "minimum": 0, "multipleOf": 0.5},
            "on": {"type": "boolean"},
            "when": {"type": "string", "format": "date-time"},
            "maybe": {"type": "string", "nullable": True},
            "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "plain": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
            "steps": steps,
            "labels": {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "string"}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "amount": {"x-kubernetes-int-or-string": True},
            "fixed": {
                "type": "string",
                "maxLength": 8,
                "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed stays as it is"}],
            },
            "oneOf": {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
            },
        },
        "x-kubernetes-validations": [
            {
                "rule": "!has(self.code) || self.size > 1",
                "messageExpression": "'the code ' + self.code + ' needs more room'",
                "reason": "FieldValueForbidden",
                "fieldPath": ".size",
            }
        ],
    }
    status = {
        "type": "object",
        "properties": {
            "phase": {"type": "string"},
            "replicas": {"type": "integer"},
            "selector": {"type": "string"},
        },
    }
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec, "status": status}}
    scale = {
        "specReplicasPath": ".spec.size",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        **meta(f"widgets.{GROUP}"),
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "plural": "widgets",
                "singular": "widget",
                "kind": "Widget",
                "shortNames": ["wd"],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}, "scale": scale},
                    "selectableFields": [{"jsonPath": ".spec.color"}],
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                }
            ],
        },
    }


def furnish(client: httpx.Client) -> None:
    """Defines Widgets, and waits until they are served, and named by discovery: both come a moment later."""
    made = client.post(DEFINITIONS, json=definition())
    assert made.status_code in {201, 409}, made.text
    for path, accept, shown in (
        (f"/apis/{GROUP}/v1/widgets", "application/json", "items"),
        (f"/apis/{GROUP}", "application/json", "preferredVersion"),
        (f"/apis/{GROUP}/v1", "application/json", "widgets/scale"),
        ("/apis", AGGREGATED, GROUP),
    ):
        wait_until(lambda path=path, accept=accept, shown=shown: _shows(client, path, accept, shown))


def _shows(client: httpx.Client, path: str, accept: str, words: str) -> bool:
    answer = client.get(path, headers={"accept": accept})
    return answer.status_code == 200 and words in answer.text
