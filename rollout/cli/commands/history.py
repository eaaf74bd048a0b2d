"""`rollout history NAME`: what was decided for a Rollout, when and why."""

from __future__ import annotations

from typing import Annotated

import typer

from rollout.cli.options import Name, Output, OutputOption, Target, connected, help_with

EXAMPLES = help_with(
    "rollout history web-frontend -n shop",
    "rollout history web-frontend --replay",
    "rollout history web-frontend -o json",
)


@connected
def history(
    name: Name,
    target: Target,
    *,
    output: OutputOption = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Decide again from the recorded inputs, and compare.")
    ] = False,
) -> None:
    """Show the decisions about a Rollout: when each was made, why, and from what."""
    from rollout.api.resources import DECISION_RECORDS
    from rollout.cli import output as out
    from rollout.cli.exits import FAILED, Failure
    from rollout.cli.history import DIFFERENT, UNREADABLE, lines, told
    from rollout.cli.session import session
    from rollout.errors import NotFound

    with session(target) as cluster:
        cluster.rollout(name)
        try:
            decisions = told(cluster.kube.get(DECISION_RECORDS, cluster.namespace, name), replaying=replay)
        except NotFound:
            decisions = []
        now = cluster.clock.now()
        namespace = cluster.namespace
    if output in (Output.json, Output.yaml):
        found = {"schemaVersion": 1, "namespace": namespace, "name": name, "decisions": decisions}
        out.document(found, output)
    elif output is Output.name:
        out.lines(f"decisionrecord.surefoot.dev/{name}" for _ in decisions[:1])
    elif not decisions:
        out.say(f'Nothing was decided for Rollout "{name}" yet, or the cluster keeps no DecisionRecords.')
    else:
        out.lines(lines(decisions, now))
    if wrong := [one.number for one in decisions if one.replay in (DIFFERENT, UNREADABLE)]:
        numbers = ", ".join(map(str, wrong))
        raise Failure(FAILED, f"decided otherwise when replayed (by another version of Surefoot?): {numbers}")
