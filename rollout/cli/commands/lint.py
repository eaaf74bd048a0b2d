"""`rollout lint -f FILE`: what is wrong with manifests, without a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rollout.cli.exits import FAILED
from rollout.cli.options import Output, OutputOption, help_with

if TYPE_CHECKING:
    from rollout.cli.linting import Report

EXAMPLES = help_with(
    "rollout lint -f rollout.yaml",
    "kustomize build . | rollout lint -f -",
    "rollout lint -f deploy/ -o json",
    exit_codes=True,
)


def lint(
    files: Annotated[
        list[str],
        typer.Option("--filename", "-f", metavar="FILE", help="File, directory, or - for stdin (repeat)."),
    ],
    *,
    complete: Annotated[
        bool, typer.Option("--complete", help="Everything that is named must be in the files, too.")
    ] = False,
    output: OutputOption = None,
) -> None:
    """Check Rollouts, analysis templates and chaos objects, and what they name, without a cluster."""
    from rollout.cli import output as out
    from rollout.cli.files import texts
    from rollout.cli.linting import lint as check
    from rollout.cli.manifests import read

    found = [one for name, text in texts(files) for one in read(name, text)]
    report = check(found, complete=complete)
    if output in (Output.json, Output.yaml):
        out.document(report, output)
    else:
        out.lines(str(one) for one in report.findings if one.severity == "error")
        for one in report.findings:
            if one.severity != "error":
                out.say(str(one))
        out.say(_conclusion(report))
    if report.failed:
        raise typer.Exit(FAILED)


def _conclusion(report: Report) -> str:
    errors = sum(one.severity == "error" for one in report.findings)
    if errors:
        return f"{errors} problem{'s' if errors > 1 else ''} found, {report.checked} objects checked."
    if not report.checked:
        return "Nothing to check: no Rollout, no analysis template and no chaos object in these files."
    return f"{report.checked} object{'s' if report.checked > 1 else ''} checked: no problems."
