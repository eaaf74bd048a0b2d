"""`rollout status NAME`: where a release stands, told by text, JSON and exit code."""

from __future__ import annotations

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
) -> None:
    """Say where a Rollout stands; with --wait, when it is decided."""
    from rollout.cli import output as out
    from rollout.cli.phase import exit_code, outcome
    from rollout.cli.session import seconds, session
    from rollout.cli.summary import rollout_of, summarise

    limit = seconds(timeout, "--timeout")
    with session(target) as cluster:
        if wait:
            from rollout.cli.waiting import wait_for_outcome

            rollout = wait_for_outcome(cluster, name, limit)
        else:
            rollout = rollout_of(cluster.rollout(name))
    result = outcome(rollout)
    summary = summarise(rollout)
    if output in (Output.json, Output.yaml):
        out.document(summary, output)
    elif output is Output.name:
        out.lines([f"rollout.argoproj.io/{name}"])
    else:
        out.lines([f"{summary.phase} - {summary.message}" if summary.message else summary.phase])
    if wait and result == "progressing":
        out.say(f"Not decided after {timeout}.")
    raise typer.Exit(exit_code(result, success_on_pause=success_on_pause))
