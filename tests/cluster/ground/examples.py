"""Pods that need no image but the one with a shell."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

from tests.cluster.ground.images import BUSYBOX

SERVE = "mkdir /tmp/www; hostname > /tmp/www/index.html; echo serving; exec httpd -f -p 8080 -h /tmp/www"


def container(script: str, **more: Any) -> dict[str, Any]:
    command = ["sh", "-c", script]
    return {"name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": command, **more}


def pod(name: str, script: str, **more: Any) -> dict[str, Any]:
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container(script, **more)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def web() -> list[dict[str, Any]]:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [container(SERVE, readinessProbe=probe)],
        },
    }
    selector = {"matchLabels": {"app": "web"}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": selector, "template": template},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    return [deployment, service]


def read(url: str) -> str:
    """Its body; empty as long as nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode()).strip()
    except (urllib.error.URLError, OSError):
        return ""
