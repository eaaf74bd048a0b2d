"""The names of the cluster: CoreDNS as a pod, where clusters have it."""

from __future__ import annotations

from typing import Any

from tests.cluster.ground.place import Place
from tests.cluster.ground.settings import CLUSTER_DOMAIN

IMAGE = "surefoot.test/coredns:1"
NAMESPACE = "kube-system"
NAME = "coredns"
LABELS = {"k8s-app": "kube-dns"}
PORT, READY_PORT = 1053, 8181
CONFIG = f"""\
.:{PORT} {{
    errors
    ready
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa
    # There is no way out: what is not of the cluster does not exist, and is said not to at once.
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""
DEPLOYMENT_PATH = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}"


def objects(place: Place) -> list[dict[str, Any]]:
    """Service account, role, configuration, Deployment and Service (`kube-dns`, at the address that pods are given)."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"system:{NAME}"}
    watched = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": watched},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": watched},
    ]
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    rbac = "rbac.authorization.k8s.io/v1"
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": PORT},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": PORT},
    ]
    service = {"clusterIP": place.dns_address, "selector": LABELS, "ports": ports}
    selector = {"matchLabels": LABELS}
    return [
        _object("v1", "ServiceAccount", NAME),
        {**_object(rbac, "ClusterRole", role["name"]), "rules": rules},
        {**_object(rbac, "ClusterRoleBinding", role["name"]), "roleRef": role, "subjects": [subject]},
        {**_object("v1", "ConfigMap", NAME), "data": {"Corefile": CONFIG}},
        {
            **_object("apps/v1", "Deployment", NAME),
            "spec": {"replicas": 1, "selector": selector, "template": _template()},
        },
        {**_object("v1", "Service", "kube-dns"), "spec": service},
    ]


def _template() -> dict[str, Any]:
    container = {
        "name": NAME,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": READY_PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    spec = {
        "serviceAccountName": NAME,
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    }
    return {"metadata": {"labels": LABELS}, "spec": spec}


def _object(version: str, kind: str, name: str) -> dict[str, Any]:
    meta = {"name": name, "labels": LABELS}
    return {"apiVersion": version, "kind": kind, "metadata": {**meta, "namespace": NAMESPACE}}
