"""`rollout set image NAME CONTAINER=IMAGE...`."""

from __future__ import annotations

from typing import Annotated

import typer

from rollout.cli.options import How, Name, Target, acting, help_with

EXAMPLES = help_with(
    "rollout set image web-frontend web=registry.example/web:v2",
    "rollout set image web-frontend '*=registry.example/web:v2' --wait",
    exit_codes=True,
)


@acting
def set_image(
    name: Name,
    images: Annotated[
        list[str],
        typer.Argument(metavar="CONTAINER=IMAGE...", help="New images; * means every container."),
    ],
    target: Target,
    how: How,
) -> None:
    """Give containers new images, which starts an update."""
    from rollout.cli import verbs
    from rollout.cli.acting import act

    wanted = parse(images)
    act(
        target,
        "set-image",
        name,
        how,
        lambda _cluster, raw, rollout: verbs.set_images(
            rollout, (raw.get("spec") or {}).get("template") or {}, wanted
        ),
    )


def parse(words: list[str]) -> dict[str, str]:
    """`CONTAINER=IMAGE` words; a usage error for anything else."""
    wanted: dict[str, str] = {}
    for word in words:
        container, sign, image = word.partition("=")
        if not (container and sign and image):
            raise typer.BadParameter(f"{word!r} is not CONTAINER=IMAGE, for example web=web:v2")
        if container in wanted:
            raise typer.BadParameter(f"container {container!r} is given twice")
        wanted[container] = image
    return wanted
