"""`rollout demo`: three releases under load on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from rollout.cli.options import help_with

EXAMPLES = help_with("rollout demo", "rollout demo --keep")


def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything running at the end, until Ctrl-C.")
    ] = False,
) -> None:
    """Watch three releases under load: a good one, a bad one, a blue/green one. Two minutes, no cluster."""
    from rollout.cli.demo.play import demo as play

    raise typer.Exit(play(keep=keep))
