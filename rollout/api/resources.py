"""The API resources that any part of Surefoot names, as the server addresses them.

Third resources found by discovery are made with `Resource(...)` in the same way.
"""

from __future__ import annotations

import msgspec


class Resource(msgspec.Struct, frozen=True, order=True):
    """One resource of the Kubernetes API. `group` is "" for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def gvk(self) -> tuple[str, str]:
        """(apiVersion, kind), as an object of this resource states them."""
        return self.api_version, self.kind

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, the object, or one of its subresources."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "/".join(part for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}" + (f"/{tail}" if tail else "")

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
POD_TEMPLATES = Resource("", "v1", "podtemplates", "PodTemplate")
EVENTS = Resource("", "v1", "events", "Event")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
JOBS = Resource("batch", "v1", "jobs", "Job")
HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
PDBS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
INGRESSES = Resource("networking.k8s.io", "v1", "ingresses", "Ingress")
CRDS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
)

ROLLOUTS = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
ANALYSIS_TEMPLATES = Resource("argoproj.io", "v1alpha1", "analysistemplates", "AnalysisTemplate")
CLUSTER_ANALYSIS_TEMPLATES = Resource(
    "argoproj.io",
    "v1alpha1",
    "clusteranalysistemplates",
    "ClusterAnalysisTemplate",
    namespaced=False,
)
ANALYSIS_RUNS = Resource("argoproj.io", "v1alpha1", "analysisruns", "AnalysisRun")
EXPERIMENTS = Resource("argoproj.io", "v1alpha1", "experiments", "Experiment")

VIRTUAL_SERVICES = Resource("networking.istio.io", "v1", "virtualservices", "VirtualService")
DESTINATION_RULES = Resource("networking.istio.io", "v1", "destinationrules", "DestinationRule")
HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
ENVOY_FILTERS = Resource("networking.istio.io", "v1alpha3", "envoyfilters", "EnvoyFilter")
BACKEND_TRAFFIC_POLICIES = Resource(
    "gateway.envoyproxy.io", "v1alpha1", "backendtrafficpolicies", "BackendTrafficPolicy"
)
"""Envoy Gateway's."""
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")

DECISION_RECORDS = Resource("surefoot.dev", "v1alpha1", "decisionrecords", "DecisionRecord")
CHAOS_RUNS = Resource("surefoot.dev", "v1alpha1", "chaosruns", "ChaosRun")
CHAOS_TEMPLATES = Resource("surefoot.dev", "v1alpha1", "chaostemplates", "ChaosTemplate")
CHAOS_SCHEDULES = Resource("surefoot.dev", "v1alpha1", "chaosschedules", "ChaosSchedule")
CHAOS_SWITCHES = Resource("surefoot.dev", "v1alpha1", "chaosswitches", "ChaosSwitch", namespaced=False)
