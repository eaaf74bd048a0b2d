"""`rollout completion SHELL`: the script that lets a shell complete our commands."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rollout.cli.options import help_with

EXAMPLES = help_with(
    'eval "$(rollout completion bash)"',
    "rollout completion zsh > ~/.zfunc/_rollout",
    "rollout completion fish > ~/.config/fish/completions/rollout.fish",
)


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


def completion(
    context: typer.Context,
    shell: Annotated[
        Shell,
        typer.Argument(
            metavar="SHELL", help="Which shell: bash, zsh, fish or powershell.", show_default=False
        ),
    ],
) -> None:
    """Print a completion script for a shell."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from rollout.cli import output as out

    program = context.find_root().info_name or "rollout"
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    out.lines([get_completion_script(prog_name=program, complete_var=variable, shell=shell.value)])
