"""`rollout get NAME`: one Rollout as a tree, once or live."""

from __future__ import annotations

from typing import Annotated

import typer

from rollout.cli.options import Output, OutputOption, Target, connected, help_with

EXAMPLES = help_with(
    "rollout get web-frontend -n shop",
    "rollout get web-frontend -w",
    "rollout get web-frontend -o json",
)
_KINDS = {"rollout", "rollouts", "ro", "rollouts.argoproj.io", "rollout.argoproj.io"}


@connected
def get(
    words: Annotated[list[str], typer.Argument(metavar="[rollout] NAME", help="The Rollout.")],
    target: Target,
    *,
    output: OutputOption = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it until Ctrl-C.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours (as NO_COLOR=1).")] = False,
) -> None:
    """Show a Rollout with its revisions, ReplicaSets, pods and analysis runs."""
    from rollout.cli import output as out
    from rollout.cli.render import tree_text
    from rollout.cli.session import FAMILY, FAMILY_LABELS, session
    from rollout.cli.summary import rollout_of
    from rollout.cli.text import plain
    from rollout.cli.tree import tree

    name = name_in(words)
    if watch and output not in (None, Output.wide):
        raise typer.BadParameter(f"--watch draws a tree; it cannot be combined with -o {output}")
    paint = plain if no_color else out.painter()
    with session(target) as cluster:
        raw = cluster.rollout(name)
        if watch:
            from rollout.cli.live import show

            show(cluster, name, paint)
            return
        if output is Output.name:
            out.lines([f"rollout.argoproj.io/{name}"])
            return
        family = [cluster.all(resource, cluster.namespace, labels=FAMILY_LABELS) for resource in FAMILY]
        now = cluster.clock.now()
    shown = tree(rollout_of(raw), family[0], family[1], family[2], now)
    if output in (Output.json, Output.yaml):
        out.document(shown, output)
    else:
        out.lines(tree_text(shown, now, paint=paint))


def name_in(words: list[str]) -> str:
    """The name in `NAME`, `rollout NAME` or `rollout/NAME`."""
    if len(words) == 2 and words[0].lower() in _KINDS:
        return words[1]
    if len(words) == 1:
        kind, slash, name = words[0].partition("/")
        return name if slash and kind.lower() in _KINDS else words[0]
    raise typer.BadParameter(f"expected the name of a Rollout, got {' '.join(words)!r}")
