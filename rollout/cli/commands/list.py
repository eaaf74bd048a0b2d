"""`rollout list`: the Rollouts of a namespace, or of all."""

from __future__ import annotations

from typing import Annotated

import typer

from rollout.cli.options import AllNamespaces, Output, OutputOption, Selector, Target, connected, help_with

EXAMPLES = help_with("rollout list -n shop", "rollout list -A -o wide", "rollout list -l team=web -o json")


@connected
def list_rollouts(
    target: Target,
    *,
    kind: Annotated[
        str, typer.Argument(metavar="[rollouts]", help="Only Rollouts can be listed.")
    ] = "rollouts",
    output: OutputOption = None,
    all_namespaces: AllNamespaces = False,
    selector: Selector = "",
) -> None:
    """List Rollouts and where they stand."""
    from rollout.api.resources import ROLLOUTS
    from rollout.cli import output as out
    from rollout.cli.render import list_lines
    from rollout.cli.session import session
    from rollout.cli.summary import rollout_of, summarise

    if kind.lower() not in {"rollouts", "rollout", "ro"}:
        raise typer.BadParameter(f"only rollouts can be listed, not {kind!r}")
    with session(target) as cluster:
        namespace = None if all_namespaces else cluster.namespace
        found = [summarise(rollout_of(raw)) for raw in cluster.all(ROLLOUTS, namespace, labels=selector)]
        now = cluster.clock.now()
    found.sort(key=lambda one: (one.namespace, one.name))
    if output is Output.name:
        out.lines(f"rollout.argoproj.io/{one.name}" for one in found)
    elif output in (Output.json, Output.yaml):
        out.document({"schemaVersion": 1, "items": found}, output)
    elif not found:
        out.say(f"No Rollouts in {'any namespace' if namespace is None else f'namespace {namespace!r}'}.")
    else:
        out.lines(list_lines(found, now, namespaces=all_namespaces, wide=output is Output.wide))
