"""`rollout retry NAME`."""

from __future__ import annotations

from rollout.cli.options import How, Name, Target, acting, help_with

EXAMPLES = help_with(
    "rollout retry web-frontend", "rollout retry web-frontend --wait --timeout 15m", exit_codes=True
)


@acting
def retry(name: Name, target: Target, how: How) -> None:
    """Start an aborted update again, from its first step."""
    from rollout.cli import verbs
    from rollout.cli.acting import act

    act(target, "retry", name, how, lambda _cluster, _raw, rollout: verbs.retry(rollout))
