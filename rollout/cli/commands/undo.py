"""`rollout undo NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.cli.options import How, Name, Target, acting, help_with

if TYPE_CHECKING:
    from rollout.api.rollout import Rollout
    from rollout.cli.session import Session
    from rollout.cli.verbs import Plan

EXAMPLES = help_with(
    "rollout undo web-frontend", "rollout undo web-frontend --to-revision 3 --wait", exit_codes=True
)


@acting
def undo(
    name: Name,
    target: Target,
    how: How,
    *,
    to_revision: Annotated[
        int, typer.Option("--to-revision", min=0, metavar="NUMBER", help="0 means the one before.")
    ] = 0,
) -> None:
    """Go back to the pods of an earlier revision, as a new update."""
    from rollout.api.resources import REPLICA_SETS
    from rollout.cli import verbs
    from rollout.cli.acting import act
    from rollout.cli.place import place_of
    from rollout.cli.session import FAMILY_LABELS
    from rollout.cli.tree import owned

    def decide(cluster: Session, raw: dict[str, Any], rollout: Rollout) -> Plan:
        sets = cluster.all(REPLICA_SETS, cluster.namespace, labels=FAMILY_LABELS)
        template, place = place_of(cluster, raw, rollout)
        return verbs.undo(rollout, template, owned(sets, rollout.metadata.uid), to_revision, place)

    act(target, "undo", name, how, decide)
