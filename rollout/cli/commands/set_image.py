"""`rollout set image NAME CONTAINER=IMAGE...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.cli.options import How, Name, Target, acting, help_with

if TYPE_CHECKING:
    from rollout.api.rollout import Rollout
    from rollout.cli.session import Session
    from rollout.cli.verbs import Plan

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
    from rollout.cli.place import place_of

    wanted = parse(images)

    def decide(cluster: Session, raw: dict[str, Any], rollout: Rollout) -> Plan:
        template, place = place_of(cluster, raw, rollout)
        return verbs.set_images(rollout, template, wanted, place)

    act(target, "set-image", name, how, decide)


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
