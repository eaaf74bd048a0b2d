"""`rollout demo`: releases under load on this machine, or with --chaos releases in a storm."""

from __future__ import annotations

from typing import Annotated

import typer

from rollout.cli.options import help_with

EXAMPLES = help_with("rollout demo", "rollout demo --keep", "rollout demo --chaos")


def demo(
    *,
    chaos: Annotated[
        bool, typer.Option("--chaos", help="Releases gated on load and faults, a halt, a schedule.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running at the end, until Ctrl-C.")
    ] = False,
) -> None:
    """Watch three releases under load: a good one, a bad one, a blue/green one. Two minutes, no cluster."""
    if chaos:
        from rollout.cli.demo.chaos import demo as play
    else:
        from rollout.cli.demo.play import demo as play

    raise typer.Exit(play(keep=keep))
