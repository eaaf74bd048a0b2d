"""The metric providers of this release, by the name that stands in a metric's `provider`."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.providers.base import Providers
from analysis.providers.chaos import Chaos
from analysis.providers.cmd import Cmd
from analysis.providers.http import Http
from analysis.providers.job import JobMetric
from analysis.providers.kubernetes import Kubernetes
from analysis.providers.load_test import DEFAULT_IMAGE, IMAGE_VARIABLE, LoadTest
from analysis.providers.prometheus import Prometheus
from analysis.providers.web import Web
from rollout.runtime.clock import Clock, SystemClock
from rollout.runtime.guard import GuardedFetch
from rollout.runtime.http import HttpClient
from rollout.runtime.kube import Kube

ADDRESS_VARIABLES = ("SUREFOOT_PROMETHEUS_ADDRESS", "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS")
"""Where a metric that names no address finds Prometheus; the first that is set counts."""
LOOPBACK_VARIABLE = "SUREFOOT_METRICS_ON_LOOPBACK"
""""true" lets metrics ask loopback addresses: on one machine, where everything is there."""
_API_SERVER = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


def providers(
    client: HttpClient,
    environment: Mapping[str, str],
    *,
    clock: Clock | None = None,
    loopback: bool = False,
) -> Providers:
    """Those that ask over HTTP: through `client`, never the API server, metadata services or (unless allowed) loopback.

    `environment` is the process's (os.environ).
    """
    guard = guarded(client, environment, loopback=loopback)
    address = next((environment[name] for name in ADDRESS_VARIABLES if environment.get(name)), "")
    return {
        "http": Http(guard.fetch, clock or SystemClock()),
        "prometheus": Prometheus(guard.fetch, default_address=address),
        "web": Web(guard.fetch),
    }


def guarded(client: HttpClient, environment: Mapping[str, str], *, loopback: bool = False) -> GuardedFetch:
    """`client` for addresses that users wrote: never the API server, metadata services or (unless allowed) loopback."""
    return GuardedFetch(
        client,
        loopback=loopback or environment.get(LOOPBACK_VARIABLE, "").lower() == "true",
        denied=[*_API_SERVER, *filter(None, [environment.get("KUBERNETES_SERVICE_HOST")])],
    )


def lasting_providers(kube: Kube, clock: Clock, environment: Mapping[str, str]) -> Providers:
    """Those that measure by something that exists in the API meanwhile, and the one that looks into it."""
    return {
        "chaos": Chaos(kube),
        "cmd": Cmd(kube),
        "job": JobMetric(kube),
        "kubernetes": Kubernetes(kube),
        "loadTest": LoadTest(kube, clock, image=environment.get(IMAGE_VARIABLE) or DEFAULT_IMAGE),
    }
