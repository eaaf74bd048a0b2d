"""Installs Envoy Gateway in a test cluster, and a Gateway named `public` that takes HTTPRoutes of all namespaces.

    python -m tests.cluster.gateway.install --state FOLDER      # into the cluster that `python -m tests.cluster up` made

The chart is the one in Envoy Gateway's own Go module, which `tools/get_gateway.sh` has fetched; our helm renders it.
Nothing is downloaded. What needs images that we do not have (rate limits) or slows a start (telemetry, access logs) is
off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.ground.api import AnyCluster
from tests.cluster.ground.cluster import find
from tests.cluster.ground.commands import run
from tests.cluster.ground.needs import ROOT, built, required
from tests.cluster.ground.place import default_folder
from tests.cluster.ground.waiting import until

MODULE = ROOT / "tests/cluster/gateway"
NAMESPACE = "envoy-gateway-system"
CLASS = "envoy"
PUBLIC = "public"
IMAGES = ("envoy", "gateway")
PATIENCE = "300s"
_GATEWAY_IMAGE = "docker.io/surefoot-test/envoy-gateway:local"
_ENVOY_IMAGE = "docker.io/surefoot-test/envoy:local"


@dataclass(frozen=True)
class Public:
    """The Gateway that is installed: who refers to it, and where it listens."""

    address: str
    """Of its Service, which this machine reaches too where the cluster is our own. The port is 80."""

    @property
    def parent(self) -> dict[str, str]:
        """What stands in an HTTPRoute's `parentRefs`, with what the API would fill in."""
        named = {"name": PUBLIC, "namespace": NAMESPACE}
        return {"group": "gateway.networking.k8s.io", "kind": "Gateway", **named}


def missing() -> list[str]:
    """What is missing and how to get it, a line each."""
    found = [
        f"{what} has not been built: tools/{script}"
        for what, script in (("helm", "get_helm.sh"), ("Envoy Gateway", "get_gateway.sh"))
        if built(script) is None
    ]
    if not found and archives(IMAGES) is None:
        found.append(f"images have not been built: python -m tools.images {' '.join(IMAGES)}")
    return found


def archives(images: tuple[str, ...]) -> list[Path] | None:
    """The archives of these images of ours; None unless all are there."""
    argv = [sys.executable, "-m", "tools.images", "--if-there", *images]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    return [Path(one["archive"]) for one in json.loads(done.stdout).values()]


def chart() -> Path:
    """The chart's folder in the Go module."""
    package = "github.com/envoyproxy/gateway"
    folder = run("go", "-C", MODULE, "list", "-m", "-f", "{{.Dir}}", package).strip()
    return Path(folder) / "charts/gateway-helm"


def controller_objects() -> list[dict[str, Any]]:
    """Envoy Gateway itself, with the CRDs of the Gateway API and its own."""
    folder = chart()
    values = {
        "global": {
            "images": {"envoyGateway": {"image": _GATEWAY_IMAGE, "pullPolicy": "IfNotPresent"}},
        },
        "topologyInjector": {"enabled": False},
    }
    rendered = run(
        required("get_helm.sh"),
        *("template", "eg", folder, "--namespace", NAMESPACE, "--include-crds"),
        # Its defaults are a template, which a release of theirs fills in; what is not filled in is set here.
        *("--values", folder / "values.tmpl.yaml", "--values", "-"),
        stdin=json.dumps(values),
    )
    found = [one for one in yaml.load_all(rendered, yaml.CSafeLoader) if one]
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, *found]


def gateway_objects() -> list[dict[str, Any]]:
    """The class of our Envoy, and the Gateway `public`."""
    container = {"image": _ENVOY_IMAGE, "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}}
    pods = {"container": container, "replicas": 1}
    kubernetes = {"envoyDeployment": pods, "envoyService": {"type": "ClusterIP"}}
    return [
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyProxy",
            "metadata": {"name": CLASS, "namespace": NAMESPACE},
            "spec": {
                "provider": {"type": "Kubernetes", "kubernetes": kubernetes},
                "telemetry": {"accessLog": {"disable": True}},
                # Envoy on two shared cores: as few threads as will do.
                "concurrency": 1,
            },
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": CLASS},
            "spec": {
                "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
                "parametersRef": {
                    "group": "gateway.envoyproxy.io",
                    "kind": "EnvoyProxy",
                    "name": CLASS,
                    "namespace": NAMESPACE,
                },
            },
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": PUBLIC, "namespace": NAMESPACE},
            "spec": {
                "gatewayClassName": CLASS,
                "listeners": [
                    {
                        "name": "http",
                        "port": 80,
                        "protocol": "HTTP",
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }
                ],
            },
        },
    ]


def install(cluster: AnyCluster) -> Public:
    """Imports the images, installs all of it, and returns when the Gateway is programmed and its Envoy is Ready."""
    for archive in archives(IMAGES) or []:
        cluster.import_image(archive)
    controller = controller_objects()
    crds = [one for one in controller if one["kind"] == "CustomResourceDefinition"]
    others = [one for one in controller if one["kind"] != "CustomResourceDefinition"]
    apply = ("apply", "--server-side", "--namespace", NAMESPACE, "-f", "-")
    cluster.kubectl(*apply, stdin=crds)
    cluster.kubectl(*apply, stdin=others)
    names = [f"crd/{one['metadata']['name']}" for one in crds]
    cluster.kubectl("wait", "--for=condition=Established", *names, f"--timeout={PATIENCE}")
    cluster.kubectl(*apply, stdin=gateway_objects())
    wait = ("--namespace", NAMESPACE, f"--timeout={PATIENCE}")
    cluster.kubectl("rollout", "status", "deployment/envoy-gateway", *wait)
    cluster.kubectl("wait", "--for=condition=Programmed", f"gateway/{PUBLIC}", *wait)
    [service] = until("the Gateway has a Service", lambda: _services(cluster))
    return Public(service["spec"]["clusterIP"])


def _services(cluster: AnyCluster) -> list[dict[str, Any]]:
    owned = f"gateway.envoyproxy.io/owning-gateway-name={PUBLIC}"
    return list(cluster.get("services", "--namespace", NAMESPACE, "-l", owned)["items"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.gateway.install")
    parser.add_argument("--state", type=Path, default=default_folder(), help="the cluster's folder")
    cluster = find(parser.parse_args().state)
    lacks = (
        missing() if cluster else ["no cluster is Ready there; start one with: python -m tests.cluster up"]
    )
    if cluster is None or lacks:
        sys.stderr.write("\n".join(lacks) + "\n")
        return 1
    public = install(cluster)
    sys.stdout.write(f"the Gateway {PUBLIC} in {NAMESPACE} listens on http://{public.address}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
