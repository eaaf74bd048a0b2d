"""`rollout promote NAME`."""

from __future__ import annotations

from typing import Annotated

import typer

from rollout.cli.options import How, Name, Target, acting, help_with

EXAMPLES = help_with(
    "rollout promote web-frontend -n shop",
    "rollout promote web-frontend --wait --timeout 15m",
    "rollout promote web-frontend --full",
    exit_codes=True,
)


@acting
def promote(
    name: Name,
    target: Target,
    how: How,
    *,
    full: Annotated[
        bool, typer.Option("--full", help="Skip all steps, pauses and analyses that are left.")
    ] = False,
    skip_step: Annotated[
        bool, typer.Option("--skip-step", help="End the current step though it is not finished.")
    ] = False,
) -> None:
    """Let a paused release go on."""
    if full and skip_step:
        raise typer.BadParameter("--full and --skip-step exclude each other")
    from rollout.cli import verbs
    from rollout.cli.acting import act

    act(
        target,
        "promote",
        name,
        how,
        lambda _cluster, _raw, rollout: verbs.promote(rollout, full=full, skip_step=skip_step),
    )
