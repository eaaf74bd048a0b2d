"""`rollout crds`: the CustomResourceDefinitions of our API."""

from __future__ import annotations

from rollout.cli.options import help_with

EXAMPLES = help_with("rollout crds | kubectl apply --server-side -f -")


def crds() -> None:
    """Print the CustomResourceDefinitions of Rollouts and analyses as YAML."""
    from rollout.api.crds import crds as definitions
    from rollout.api.crds import yaml_of
    from rollout.cli import output as out

    out.lines(f"---\n{yaml_of(one).rstrip()}" for one in definitions())
