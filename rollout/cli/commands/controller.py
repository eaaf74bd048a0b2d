"""`rollout controller run`: the controllers themselves, in or out of a cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from rollout.cli.options import help_with

ABOUT = "The controllers of Rollouts and AnalysisRuns."
RUN_EXAMPLES = help_with(
    "rollout controller run --context kind-demo",
    "rollout controller run --kubeconfig ~/.kube/config --namespaces shop,web --log-format console",
    "rollout controller run --context kind-demo --features core,decisions,events,istio   # no chaos, no Jobs",
    "rollout controller run --config /etc/surefoot/config.yaml   # read again when it changes (docs/install.md)",
    "rollout controller run --metrics-address :8090   # in a cluster: nothing else to say",
)


class LogLevel(StrEnum):
    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class LogFormat(StrEnum):
    json = "json"
    console = "console"


def _option(name: str, metavar: str, text: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False, **more)


def run(
    *,
    config: Annotated[
        str,
        _option("--config", "FILE", "Configuration (YAML, docs/install.md); the options here win over it."),
    ] = "",
    context: Annotated[str | None, _option("--context", "NAME", "Context of the kubeconfig.")] = None,
    kubeconfig: Annotated[str | None, _option("--kubeconfig", "FILE", "Path of the kubeconfig file.")] = None,
    as_user: Annotated[str | None, _option("--as", "USER", "User to impersonate.")] = None,
    namespaces: Annotated[
        str | None, _option("--namespaces", "A,B", "Only these namespaces; without it all.")
    ] = None,
    features: Annotated[
        str | None,
        _option(
            "--features",
            "A,B",
            "Only these: decisions, workloadRef, istio, gateway, events, jobs, secrets, loadTest, chaos, "
            "chaosNetwork (and core, which is always on); without it all.",
        ),
    ] = None,
    instance_id: Annotated[
        str | None, _option("--instance-id", "ID", "Only objects labelled with this id.")
    ] = None,
    lease_namespace: Annotated[
        str | None,
        _option("--lease-namespace", "NAME", "Where the election's Lease lives. [default: default]"),
    ] = None,
    leader_election: Annotated[
        bool | None,
        typer.Option(
            "--leader-election/--no-leader-election",
            help="Elect one of several processes. [default: leader-election]",
            show_default=False,
        ),
    ] = None,
    take_over: Annotated[
        bool | None,
        typer.Option(
            "--take-over",
            help="Start although another controller of this API seems alive.",
            show_default=False,
        ),
    ] = None,
    metrics_address: Annotated[
        str | None, _option("--metrics-address", "HOST:PORT", "Serve /metrics, /healthz and /readyz here.")
    ] = None,
    lease_url: Annotated[
        str | None,
        _option(
            "--lease-url",
            "URL",
            "Where injectors of network faults reach the metrics address of this very process "
            "(or $SUREFOOT_LEASE_URL).",
        ),
    ] = None,
    notifications_namespace: Annotated[
        str | None,
        _option(
            "--notifications-namespace",
            "NAME",
            "Send notifications, by the ConfigMap and the Secret in this namespace (docs/notifications.md).",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        _option("--workers", "N", "Rollouts worked on at the same time. [default: 10]", min=1, max=1000),
    ] = None,
    schedule_speed: Annotated[
        float | None,
        _option(
            "--schedule-speed",
            "N",
            "ChaosSchedules go by a clock N times as fast: for rehearsals only.",
            min=0.001,
        ),
    ] = None,
    log_level: Annotated[
        LogLevel | None,
        _option(
            "--log-level", "LEVEL", "Least level that is logged: debug, info, warning, error. [default: info]"
        ),
    ] = None,
    log_format: Annotated[
        LogFormat | None, _option("--log-format", "FORMAT", "json or console. [default: json]")
    ] = None,
) -> None:
    """Run the controllers until stopped (SIGTERM, Ctrl-C)."""
    from rollout.manager import run as serve

    said = {
        "context": context,
        "kubeconfig": kubeconfig,
        "as_user": as_user,
        "namespaces": _names(namespaces),
        "features": _names(features),
        "instance_id": instance_id,
        "lease_namespace": lease_namespace,
        "leader_election": leader_election,
        "take_over": take_over,
        "address": metrics_address,
        "lease_url": lease_url,
        "notifications_namespace": notifications_namespace,
        "workers": workers,
        "schedule_speed": schedule_speed,
        "log_level": log_level.value if log_level is not None else None,
        "log_format": log_format.value if log_format is not None else None,
    }
    serve(config, {name: value for name, value in said.items() if value is not None})


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
