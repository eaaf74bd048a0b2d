"""Manifests of Litmus and Flagger that use every field the importers read, by a short name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
EXAMPLES = Path(__file__).parents[3] / "examples"


def _load(text: str) -> Json:
    return dict(yaml.safe_load(text))


def _engine(name: str, experiment: str, env: dict[str, str], probes: str = "[]", more: str = "") -> Json:
    obj = _load(f"""
apiVersion: litmuschaos.io/v1alpha1
kind: ChaosEngine
metadata: {{name: {name}, namespace: shop, labels: {{team: web}}}}
spec:
  engineState: active
  appinfo: {{appns: shop, applabel: app=web, appkind: deployment}}
  experiments:
  - name: {experiment}
    spec: {{components: {{}}}}
{more}
""")
    inner = obj["spec"]["experiments"][0]["spec"]
    inner["components"]["env"] = [{"name": key, "value": value} for key, value in env.items()]
    inner["probe"] = yaml.safe_load(probes)
    return obj


_PROBES = """
- name: post-it
  type: httpProbe
  mode: OnChaos
  runProperties: {probeTimeout: 500ms, attempt: 2, probePollingInterval: 1s, initialDelay: 2s, stopOnFailure: true}
  httpProbe/inputs:
    url: https://web.shop/order?x=1
    insecureSkipTLS: true
    method: {post: {criteria: between, responseCode: "200,299", contentType: application/json, body: '{"a": 1}'}}
- name: version
  type: cmdProbe
  mode: EOT
  runProperties: {probeTimeout: 10, retry: 3, interval: 5}
  cmdProbe/inputs:
    command: curl -s http://web/api/info | jq -r .version
    source: {image: "tools:1"}
    comparator: {type: string, criteria: matches, value: "^[0-9.]+$"}
- name: count
  type: cmdProbe
  mode: Edge
  runProperties: {probeTimeout: 10s, attempt: 3, interval: 5s}
  cmdProbe/inputs:
    command: wc -l /etc/hosts
    comparator: {type: int, criteria: between, value: "[1, 5]"}
- name: pods
  type: k8sProbe
  mode: SOT
  runProperties: {probeTimeout: 5s, interval: 1s, attempt: 1}
  k8sProbe/inputs: {group: apps, version: v1, resource: deployments, namespace: shop, labelSelector: app=web, operation: present}
- name: none
  type: k8sProbe
  mode: EOT
  runProperties: {probeTimeout: 5s, interval: 1s, attempt: 1}
  k8sProbe/inputs: {group: acme.io, version: v1beta1, resource: widgets, namespace: shop, resourceNames: w, operation: absent}
- name: errors
  type: promProbe
  mode: Continuous
  runProperties: {probeTimeout: 5s, interval: 1s, attempt: 1, probePollingInterval: 5s}
  promProbe/inputs:
    endpoint: http://prometheus.monitoring:9090
    query: sum(rate(errors[1m]))
    comparator: {type: float, criteria: "<", value: "0.5"}
"""
_SCHEDULE = """
apiVersion: litmuschaos.io/v1alpha1
kind: ChaosSchedule
metadata: {name: weekly, namespace: shop}
spec:
  schedule:
    repeat:
      timeRange: {startTime: "2026-11-01T00:00:00Z", endTime: "2026-12-01T00:00:00Z"}
      properties: {minChaosInterval: {hour: {everyNthHour: 2, minuteOfTheHour: 15}}}
      workHours: {includedHours: 9-17}
      workDays: {includedDays: "Mon,Tue"}
"""
_ONE_PROBE = yaml.safe_dump([yaml.safe_load(_PROBES)[0]])


def _schedule(when: Json | None = None) -> Json:
    obj = _load(_SCHEDULE)
    obj["spec"]["engineTemplateSpec"] = _engine("x", "pod-delete", {"CHAOS_INTERVAL": "7"}, _ONE_PROBE)[
        "spec"
    ]
    if when is not None:
        obj["spec"]["schedule"] = when
    return obj


_USERS = list(yaml.safe_load_all((EXAMPLES / "litmus-chaosengines.yaml").read_text(encoding="utf-8")))
LITMUS: dict[str, Json] = {
    "users-pod-delete": _USERS[0],
    "users-latency": _USERS[1],
    "probes": _engine("probes", "pod-delete", {"FORCE": "true", "SEQUENCE": "serial"}, _PROBES),
    "kill": _engine(
        "kill", "container-kill", {"TARGET_CONTAINER": "app", "SIGNAL": "SIGTERM", "RAMP_TIME": "3"}
    ),
    "loss": _engine(
        "loss",
        "pod-network-loss",
        {"NETWORK_PACKET_LOSS_PERCENTAGE": "20", "PODS_AFFECTED_PERC": "50", "NETWORK_INTERFACE": "eth0"},
    ),
    "latency": _engine(
        "latency",
        "pod-network-latency",
        {"NETWORK_LATENCY": "100", "JITTER": "10", "CORRELATION": "20", "PODS_AFFECTED_PERC": "100"},
    ),
    "http": _engine(
        "http",
        "pod-http-latency",
        {"LATENCY": "300", "TARGET_SERVICE_PORT": "8080", "DEFAULT_HEALTH_CHECK": "true"},
    ),
    "selectors": _engine(
        "selectors",
        "pod-delete",
        {"PODS_AFFECTED_PERC": "30"},
        more="""
  selectors:
    workloads:
    - {kind: deployment, namespace: shop, names: "web,api"}
    - {kind: statefulset, namespace: other, labels: app=db}
    pods:
    - {namespace: shop, names: web-0}
""",
    ),
    "schedule": _schedule(),
    "once": _schedule({"once": {"executionTime": "2026-12-01T10:00:00Z"}}),
    "now": _schedule({"now": True}),
}

_CANARY = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: shop, namespace: prod}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  autoscalerRef: {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, name: shop}
  progressDeadlineSeconds: 60
  metricsServer: http://prom.monitoring:9090
  service:
    name: shop-front
    port: 80
    targetPort: http
    portName: http
    appProtocol: http
    gateways: [gate, mesh]
    hosts: [shop.example.com]
    timeout: 5s
    retries: {attempts: 3}
    apex: {labels: {a: b}, annotations: {c: d}}
    canary: {labels: {a: b}}
  analysis:
    interval: 1m
    threshold: 5
    stepWeights: [5, 20, 50]
    metrics:
    - {name: request-success-rate, thresholdRange: {min: 99}, interval: 1m}
    - {name: request-duration, thresholdRange: {max: 500}, interval: 30s}
    - {name: errors, templateRef: {name: errors}, templateVariables: {app: shop}, thresholdRange: {max: 0.5}}
    - {name: own, query: "sum(up)", thresholdRange: {min: 1, max: 10}}
    webhooks:
    - {name: load, url: "http://tester/", metadata: {cmd: "hey -z 1m -q 10 -c 2 -m POST -d x http://a.prod:80/p?q=1"}}
    - {name: it, url: "http://tester/", timeout: 30s, metadata: {type: bash, cmd: "curl -s http://a/ | grep x"}}
    - {name: other, url: "http://tester/", metadata: {cmd: "wrk http://a/"}}
    - {name: gate, type: pre-rollout, url: "http://t/gate", timeout: 15s, metadata: {a: b, quoted: '"'}}
    - {name: back, type: rollback, url: "http://t/back"}
    - {name: ok, type: confirm-rollout, url: "http://t/ok"}
    - {name: go, type: confirm-promotion, url: "http://t/go"}
    - {name: told, type: event, url: "http://t/told"}
"""
_BLUE_GREEN = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: shop, namespace: prod}
spec:
  provider: kubernetes
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}
  service: {port: 80, targetPort: 8080}
  analysis:
    interval: 30s
    threshold: 2
    iterations: 5
    metrics:
    - {name: errors, templateRef: {name: errors, namespace: prod}, templateVariables: {app: shop}, thresholdRange: {max: 1}}
    webhooks:
    - {name: check, url: "http://t/check"}
"""
FLAGGER: dict[str, Json] = {
    "users-canary": _load((EXAMPLES / "flagger-canary.yaml").read_text(encoding="utf-8")),
    "templates": _load(_CANARY),
    "blue-green": _load(_BLUE_GREEN),
}
REST_OF_FLAGGER: tuple[Json, ...] = (
    _load("""
apiVersion: flagger.app/v1beta1
kind: MetricTemplate
metadata: {name: errors, namespace: prod}
spec:
  provider: {type: prometheus, address: "http://prom:9090"}
  query: 'sum(rate(errors{ns="{{ namespace }}",app="{{ variables.app }}"}[{{ interval }}]))'
"""),
    _load("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: prod}
spec: {replicas: 6, selector: {matchLabels: {app.kubernetes.io/name: shop}}}
"""),
)
