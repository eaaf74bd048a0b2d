"""`rollout version`."""

from __future__ import annotations

from rollout.cli.options import Output, OutputOption


def version(output: OutputOption = None) -> None:
    """Print the version of this program."""
    import platform
    from importlib import metadata

    from rollout.cli import output as out

    found = metadata.version("surefoot")
    if output in (Output.json, Output.yaml):
        out.document({"version": found, "python": platform.python_version()}, output)
    else:
        out.lines([f"rollout {found} (Surefoot, Python {platform.python_version()})"])
