"""`rollout status NAME`: where a release stands, told by text, JSON and exit code."""

from __future__ import annotations

from typing import Annotated

import typer

from rollout.cli.options import (
    Name,
    Output,
    OutputOption,
    SuccessOnPause,
    Target,
    Timeout,
    Wait,
    connected,
    help_with,
)

EXAMPLES = help_with(
    "rollout status web-frontend",
    "rollout status web-frontend --wait --timeout 15m",
    "rollout status web-frontend --wait -o json > result.json",
    'rollout status web-frontend --wait --junit gates.xml --summary "$GITHUB_STEP_SUMMARY"',
    exit_codes=True,
)


@connected
def status(
    name: Name,
    target: Target,
    *,
    output: OutputOption = None,
    wait: Wait = False,
    timeout: Timeout = "10m",
    success_on_pause: SuccessOnPause = False,
    junit: Annotated[
        str, typer.Option("--junit", metavar="FILE", help="Write the gates as JUnit.", show_default=False)
    ] = "",
    summary: Annotated[
        str,
        typer.Option("--summary", metavar="FILE", help="Append the gates as Markdown.", show_default=False),
    ] = "",
    annotations: Annotated[
        str,
        typer.Option(
            "--annotations",
            metavar="FILE",
            help="Write what was no pass as workflow commands of GitHub.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Say where a Rollout stands; with --wait, when it is decided."""
    from rollout.cli import output as out
    from rollout.cli.filed import Files
    from rollout.cli.phase import exit_code, outcome
    from rollout.cli.session import seconds, session
    from rollout.cli.summary import rollout_of, summarise

    limit = seconds(timeout, "--timeout")
    files = Files(junit, summary, annotations)
    files.check()
    with session(target) as cluster:
        if wait:
            from rollout.cli.waiting import wait_for_outcome

            rollout = wait_for_outcome(cluster, name, limit)
        else:
            rollout = rollout_of(cluster.rollout(name))
        result = outcome(rollout)
        files.write(cluster, rollout, result)
    shown = summarise(rollout)
    if output in (Output.json, Output.yaml):
        out.document(shown, output)
    elif output is Output.name:
        out.lines([f"rollout.argoproj.io/{name}"])
    else:
        out.lines([f"{shown.phase} - {shown.message}" if shown.message else shown.phase])
    if wait and result == "progressing":
        out.say(f"Not decided after {timeout}.")
    raise typer.Exit(exit_code(result, success_on_pause=success_on_pause))
