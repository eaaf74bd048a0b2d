"""`rollout abort NAME`."""

from __future__ import annotations

from rollout.cli.options import How, Name, Target, acting, help_with

EXAMPLES = help_with(
    "rollout abort web-frontend -n shop", "rollout abort web-frontend --wait", exit_codes=True
)


@acting
def abort(name: Name, target: Target, how: How) -> None:
    """Stop an update and go back to the stable version."""
    from rollout.cli import verbs
    from rollout.cli.acting import act
    from rollout.cli.phase import outcome_of_abort

    act(
        target,
        "abort",
        name,
        how,
        lambda _cluster, _raw, rollout: verbs.abort(rollout),
        success="failed",
        judge=outcome_of_abort,
    )
