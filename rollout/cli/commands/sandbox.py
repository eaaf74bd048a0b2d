"""`rollout sandbox up | down | status | gaps`: a cluster on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.cli.options import Output, OutputOption, help_with

if TYPE_CHECKING:
    from rollout.sandbox.supervisor import SandboxStatus

DEFAULT_NAME = "default"
ABOUT = "A small cluster on this machine: no root, no Docker, no account."
UP_EXAMPLES = help_with(
    "rollout sandbox up",
    'eval "$(rollout sandbox up)" && kubectl get nodes',
    "rollout sandbox up --data ~/.local/share/my-sandbox --images images.yaml",
)
DOWN_EXAMPLES = help_with("rollout sandbox down")
STATUS_EXAMPLES = help_with("rollout sandbox status", "rollout sandbox status -o json")
GAPS_EXAMPLES = help_with("rollout sandbox gaps", "rollout sandbox gaps -o json")

Name = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Which sandbox; each has a state of its own.")
]
State = Annotated[
    str, typer.Option("--state", metavar="DIR", help="Directory of its state.", show_default=False)
]


def up(
    *,
    name: Name = DEFAULT_NAME,
    state: State = "",
    port: Annotated[
        int, typer.Option("--port", max=65535, min=0, help="Port of the API server; 0 takes a free one.")
    ] = 0,
    mesh_port: Annotated[
        int, typer.Option("--mesh-port", max=65535, min=0, help="Port of the mesh's proxy.")
    ] = 0,
    gateway_port: Annotated[
        int, typer.Option("--gateway-port", max=65535, min=0, help="Port of the gateway.")
    ] = 0,
    prometheus_port: Annotated[
        int, typer.Option("--prometheus-port", max=65535, min=0, help="Port of Prometheus.")
    ] = 0,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="DIR", help="Keep all objects here, over restarts.", show_default=False
        ),
    ] = "",
    images: Annotated[
        str,
        typer.Option("--images", metavar="FILE", help="Which image means which command.", show_default=False),
    ] = "",
    strict_images: Annotated[
        bool, typer.Option("--strict-images", help="Unknown images fail instead of running the demo app.")
    ] = False,
    crds: Annotated[
        list[str] | None,
        typer.Option("--crds", metavar="DIR", help="More CRDs (repeat).", show_default=False),
    ] = None,
    controller: Annotated[
        bool, typer.Option("--controller/--no-controller", help="Run Surefoot's controllers in it, too.")
    ] = True,
    schedule_speed: Annotated[
        float,
        typer.Option(
            "--schedule-speed", metavar="N", help="ChaosSchedules go by a clock N times as fast: a rehearsal."
        ),
    ] = 1.0,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and stop everything on Ctrl-C.")
    ] = False,
) -> None:
    """Start the sandbox, or say that it is up already."""
    from rollout.cli import output as out
    from rollout.cli.sandbox_parts import controller_command, our_crds
    from rollout.sandbox.config import SandboxConfig
    from rollout.sandbox.supervisor import Sandbox, run_foreground
    from rollout.sandbox.supervisor import up as start

    config = SandboxConfig(
        name=name,
        state=state,
        api_port=port,
        mesh_port=mesh_port,
        gateway_port=gateway_port,
        prometheus_port=prometheus_port,
        data=data,
        images=images,
        strict_images=strict_images,
        crds=(str(our_crds()), *(crds or ())),
        commands=(controller_command(*_speed(schedule_speed)),) if controller else (),
    )

    def tell(found: Sandbox) -> None:
        out.say(f"Sandbox {found.name} is {'up already' if found.already else 'up'}:")
        out.say(f"  API server  {found.api}")
        out.say(f"  gateway     {found.gateway}   (any Service or host by its Host header)")
        out.say(f"  mesh proxy  {found.mesh_proxy}")
        out.say(f"  Prometheus  {found.prometheus}")
        out.say("To use it with kubectl and rollout:")
        out.lines([found.export_line])

    if foreground:
        run_foreground(config, out.say, tell)
    else:
        tell(start(config, out.say))


def _speed(factor: float) -> tuple[str, ...]:
    return () if factor == 1 else ("--schedule-speed", f"{factor:g}")


def down(*, name: Name = DEFAULT_NAME, state: State = "") -> None:
    """Stop the sandbox and every process it started."""
    from pathlib import Path

    from rollout.cli import output as out
    from rollout.sandbox.supervisor import down as stop
    from rollout.sandbox.supervisor import state_directory

    result = stop(state_directory(name, Path(state) if state else None))
    if not result.was_running:
        out.say(f"Sandbox {name} was not up.")
    elif result.killed:
        out.say(
            f"Sandbox {name} is down; these processes had to be killed: {', '.join(map(str, result.killed))}"
        )
    else:
        out.say(f"Sandbox {name} is down.")


def status(*, name: Name = DEFAULT_NAME, state: State = "", output: OutputOption = None) -> None:
    """Say what of the sandbox is up. Exit code 0: up and ready; 4: starting; 6: not up."""
    from pathlib import Path

    from rollout.cli import output as out
    from rollout.cli.exits import NOT_FOUND, OK, TIMEOUT
    from rollout.cli.text import columns
    from rollout.sandbox.supervisor import state_directory
    from rollout.sandbox.supervisor import status as look

    found = look(state_directory(name, Path(state) if state else None))
    code = NOT_FOUND if not found.running else OK if found.ready else TIMEOUT
    if output in (Output.json, Output.yaml):
        out.document(_json(found), output)
    elif output is Output.name:
        out.lines([found.name])
    elif not found.running:
        out.lines([f"not up{f' ({found.ended})' if found.ended else ''}"])
        out.say("Start it: rollout sandbox up")
    else:
        out.lines([f"{'ready' if found.ready else 'starting'} since {found.started}, process {found.pid}"])
        rows = [("PART", "STATE", "PID", "RESTARTS", "ADDRESS", "VERSION")]
        rows += [
            (
                one.name,
                one.state,
                str(one.pid or "-"),
                str(one.restarts),
                one.address or "-",
                one.version or "-",
            )
            for one in found.parts
        ]
        out.lines(columns(rows))
        out.lines([f"{one.name}: {one.message}" for one in found.parts if one.message])
        out.lines([f"kubeconfig: {found.kubeconfig}"])
    raise typer.Exit(code)


def _json(found: SandboxStatus) -> dict[str, Any]:
    """The documented JSON of `sandbox status`."""
    return {
        "schemaVersion": 1,
        "name": found.name,
        "running": found.running,
        "ready": found.ready,
        "ended": found.ended,
        "started": found.started,
        "pid": found.pid,
        "state": found.state,
        "kubeconfig": found.kubeconfig,
        "gateway": found.gateway,
        "meshProxy": found.mesh_proxy,
        "prometheus": found.prometheus,
        "parts": [
            {
                "name": one.name,
                "state": one.state,
                "pid": one.pid,
                "restarts": one.restarts,
                "address": one.address,
                "version": one.version,
                "since": one.since,
                "message": one.message,
            }
            for one in found.parts
        ],
    }


def gaps(*, output: OutputOption = None) -> None:
    """Say where the sandbox differs from a cluster."""
    import textwrap

    from rollout.cli import output as out
    from rollout.sandbox.gaps import gaps as known

    found = known()
    if output in (Output.json, Output.yaml):
        rows = [{"area": one.area, "difference": one.difference, "instead": one.instead} for one in found]
        out.document({"schemaVersion": 1, "gaps": rows}, output)
        return
    area = ""
    for one in found:
        if one.area != area:
            out.lines(([""] if area else []) + [one.area])
            area = one.area
        out.lines(textwrap.wrap(one.difference, 76, initial_indent="- ", subsequent_indent="  "))
        out.lines(textwrap.wrap(one.instead, 76, initial_indent="  ", subsequent_indent="  "))
