"""`rollout restart NAME`."""

from __future__ import annotations

from rollout.cli.options import How, Name, Target, acting, help_with

EXAMPLES = help_with("rollout restart web-frontend", "rollout restart web-frontend --wait", exit_codes=True)


@acting
def restart(name: Name, target: Target, how: How) -> None:
    """Replace all pods without a new version; disruption budgets hold."""
    from rollout.cli import verbs
    from rollout.cli.acting import act

    act(target, "restart", name, how, lambda cluster, _raw, _rollout: verbs.restart(cluster.clock.now()))
