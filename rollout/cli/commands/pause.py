"""`rollout pause NAME`."""

from __future__ import annotations

from rollout.cli.options import How, Name, Target, acting, help_with

EXAMPLES = help_with("rollout pause web-frontend", exit_codes=True)


@acting
def pause(name: Name, target: Target, how: How) -> None:
    """Hold an update where it is; `rollout promote` lets it go on."""
    from rollout.cli import verbs
    from rollout.cli.acting import act

    act(target, "pause", name, how, lambda _cluster, _raw, rollout: verbs.pause(rollout), success="paused")
