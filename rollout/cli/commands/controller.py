"""`rollout controller run`: the controllers themselves, in or out of a cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rollout.cli.options import help_with

ABOUT = "The controllers of Rollouts and AnalysisRuns."
RUN_EXAMPLES = help_with(
    "rollout controller run --context kind-demo",
    "rollout controller run --kubeconfig ~/.kube/config --namespaces shop,web --log-format console",
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


def run(
    *,
    context: Annotated[
        str, typer.Option("--context", metavar="NAME", help="Context of the kubeconfig.", show_default=False)
    ] = "",
    kubeconfig: Annotated[
        str,
        typer.Option("--kubeconfig", metavar="FILE", help="Path of the kubeconfig file.", show_default=False),
    ] = "",
    as_user: Annotated[
        str, typer.Option("--as", metavar="USER", help="User to impersonate.", show_default=False)
    ] = "",
    namespaces: Annotated[
        str,
        typer.Option(
            "--namespaces", metavar="A,B", help="Only these namespaces; without it all.", show_default=False
        ),
    ] = "",
    instance_id: Annotated[
        str,
        typer.Option(
            "--instance-id", metavar="ID", help="Only objects labelled with this id.", show_default=False
        ),
    ] = "",
    lease_namespace: Annotated[
        str, typer.Option("--lease-namespace", metavar="NAME", help="Where the election's Lease lives.")
    ] = "default",
    leader_election: Annotated[
        bool, typer.Option("--leader-election/--no-leader-election", help="Elect one of several processes.")
    ] = True,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Start although another controller of this API seems alive.")
    ] = False,
    metrics_address: Annotated[
        str,
        typer.Option(
            "--metrics-address",
            metavar="HOST:PORT",
            help="Serve /metrics, /healthz and /readyz here.",
            show_default=False,
        ),
    ] = "",
    lease_url: Annotated[
        str,
        typer.Option(
            "--lease-url",
            metavar="URL",
            help="Where injectors of network faults reach the metrics address of this very process "
            "(or $SUREFOOT_LEASE_URL).",
            show_default=False,
        ),
    ] = "",
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=1000, help="Rollouts worked on at the same time.")
    ] = 10,
    schedule_speed: Annotated[
        float,
        typer.Option(
            "--schedule-speed",
            min=0.001,
            metavar="N",
            help="ChaosSchedules go by a clock N times as fast: for rehearsals only.",
        ),
    ] = 1.0,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="Least level that is logged.")
    ] = LogLevel.info,
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="json or console.")] = LogFormat.json,
) -> None:
    """Run the controllers until stopped (SIGTERM, Ctrl-C)."""
    from rollout.manager import ControllerConfig
    from rollout.manager import run as serve

    serve(
        ControllerConfig(
            kubeconfig=kubeconfig,
            context=context,
            as_user=as_user,
            namespaces=tuple(name for name in namespaces.split(",") if name),
            instance_id=instance_id,
            lease_namespace=lease_namespace,
            leader_election=leader_election,
            take_over=take_over,
            address=metrics_address,
            lease_url=lease_url,
            workers=workers,
            schedule_speed=schedule_speed,
            log_level=log_level.value,
            log_format=log_format.value,
        )
    )
