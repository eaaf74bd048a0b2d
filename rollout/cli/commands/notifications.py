"""`rollout notifications`: look at triggers and templates, and try a message before it is trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollout.cli.exits import FAILED, USAGE, Failure
from rollout.cli.options import Output, OutputOption, Target, connected, help_with

if TYPE_CHECKING:
    from rollout.cli.session import Session
    from rollout.notify.config import Config
    from rollout.notify.due import Seen
    from rollout.notify.message import Answer, Post

ABOUT = "Notifications: look at triggers and templates, and try a message before it is trusted."
TEMPLATE_ABOUT = "Templates: what is said."
TRIGGER_ABOUT = "Triggers: when it is said."
TEMPLATE_GET_EXAMPLES = help_with(
    "rollout notifications template get",
    "rollout notifications template get rollout-aborted --config-map notifications.yaml -o yaml",
)
NOTIFY_EXAMPLES = help_with(
    "rollout notifications template notify rollout-aborted web --recipient slack:releases --dry-run",
    "rollout notifications template notify rollout-aborted web --recipient pagerdutyv2:shop",
    "rollout notifications template notify mine --object rollout.yaml --config-map cm.yaml --recipient ci --dry-run",
    exit_codes=True,
)
TRIGGER_GET_EXAMPLES = help_with(
    "rollout notifications trigger get", "rollout notifications trigger get -o json"
)
RUN_EXAMPLES = help_with(
    "rollout notifications trigger run on-rollout-aborted web",
    "rollout notifications trigger run on-mine --object rollout.yaml --config-map notifications.yaml",
)
SPACE = "surefoot-system"

ConfigMapFile = Annotated[
    str, typer.Option("--config-map", metavar="FILE", help="The ConfigMap, instead of the cluster's.")
]
SecretFile = Annotated[
    str, typer.Option("--secret", metavar="FILE", help="The Secret, instead of the cluster's.")
]
Where = Annotated[
    str,
    typer.Option("--notifications-namespace", metavar="NAME", help="Where the ConfigMap and the Secret are."),
]
ObjectFile = Annotated[
    str,
    typer.Option(
        "--object", metavar="FILE", help="The object (of any kind that is told of), instead of NAME."
    ),
]
NameOrNone = Annotated[str, typer.Argument(metavar="[NAME]", help="Name of the Rollout.", show_default=False)]
One = Annotated[str, typer.Argument(metavar="[NAME]", help="Only this one, in full.", show_default=False)]


@connected
def template_get(
    target: Target,
    name: One = "",
    *,
    config_map: ConfigMapFile = "",
    where: Where = SPACE,
    output: OutputOption = None,
) -> None:
    """List the templates, or show one."""
    from rollout.cli.notifying import template_of

    config = _config(target, config_map, where)
    found = {name: template_of(config, name)} if name else dict(sorted(config.templates.items()))
    _print(
        "templates", {one: {"message": spec.message, **spec.sections} for one, spec in found.items()}, output
    )


@connected
def trigger_get(
    target: Target,
    name: One = "",
    *,
    config_map: ConfigMapFile = "",
    where: Where = SPACE,
    output: OutputOption = None,
) -> None:
    """List the triggers, or show one."""
    config = _config(target, config_map, where)
    if name and name not in config.triggers:
        raise Failure(USAGE, f"there is no trigger {name!r}")
    found = {one: config.triggers[one] for one in ([name] if name else sorted(config.triggers))}
    plain = {
        one: [
            {"send": list(each.send)}
            | ({"when": each.when} if each.when else {})
            | ({"oncePer": each.once_per} if each.once_per else {})
            for each in conditions
        ]
        for one, conditions in found.items()
    }
    _print("triggers", plain, output)


@connected
def notify(
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", help="Name of the template.")],
    target: Target,
    name: NameOrNone = "",
    *,
    recipient: Annotated[
        str, typer.Option("--recipient", metavar="SERVICE[:RECIPIENT]", help="Who is told.")
    ],
    object_file: ObjectFile = "",
    config_map: ConfigMapFile = "",
    secret: SecretFile = "",
    where: Where = SPACE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the request, and send nothing.")] = False,
    output: OutputOption = None,
) -> None:
    """Send a template's message about an object, for real; or show it (--dry-run)."""
    from rollout.cli import output as out
    from rollout.cli.notifying import destination_of, hidden, message, shown
    from rollout.notify.message import Refused
    from rollout.runtime.clock import SystemClock

    now = SystemClock().now()
    config = _config(target, config_map, where)
    destination, service = destination_of(config, recipient)
    seen = _seen(target, name, object_file)
    if dry_run:
        request = shown(
            message(config, template, destination, seen, secrets=hidden(config), now=now),
            service,
            destination.recipient,
        )
        out.document(request, output if output in (Output.json, Output.yaml) else Output.yaml)
        return
    secrets = _secrets(target, secret, where)
    answer = _send(
        message(config, template, destination, seen, secrets=secrets, now=now), service.type, secrets
    )
    if isinstance(answer, Refused):
        raise Failure(FAILED, f"{destination} did not take it: {answer.why}")
    if output in (Output.json, Output.yaml):
        out.document({"schemaVersion": 1, "recipient": str(destination), "sent": True}, output)
    else:
        out.say(f"{destination} has taken it.")


@connected
def trigger_run(
    trigger: Annotated[str, typer.Argument(metavar="TRIGGER", help="Name of the trigger.")],
    target: Target,
    name: NameOrNone = "",
    *,
    object_file: ObjectFile = "",
    config_map: ConfigMapFile = "",
    where: Where = SPACE,
    output: OutputOption = None,
) -> None:
    """Say whether a trigger would be sent about an object as it is now. Nothing is sent."""
    from rollout.cli import output as out
    from rollout.cli.notifying import fired, fired_lines
    from rollout.notify.occurrences import occurrences
    from rollout.runtime.clock import SystemClock

    config, seen = _config(target, config_map, where), _seen(target, name, object_file)
    found, problems = fired(config, trigger, seen, SystemClock().now())
    if output in (Output.json, Output.yaml):
        out.document({"schemaVersion": 1, "trigger": trigger, "fired": found, "problems": problems}, output)
    else:
        out.lines(fired_lines(trigger, found, occurrences(seen.object)))
        for problem in problems:
            out.say(f"warning: {problem}")


# --- reading ------------------------------------------------------------------------------------------


def _config(target: Target, file: str, where: str) -> Config:
    """The configuration of a file or of the cluster. What is wrong with it is said, and the rest is used."""
    from rollout.api.resources import CONFIG_MAPS
    from rollout.cli import output as out
    from rollout.cli.lint_notify import texts_in
    from rollout.cli.session import session
    from rollout.errors import NotFound
    from rollout.notify.config import CONFIG_NAME, parse

    if file:
        found = _document(file, "ConfigMap")
    else:
        with session(target) as cluster:
            try:
                found = cluster.kube.get(CONFIG_MAPS, where, CONFIG_NAME)
            except NotFound:
                out.say(
                    f"There is no ConfigMap {CONFIG_NAME} in namespace {where}: only what is built in is shown."
                )
                found = {}
    config, problems = parse(texts_in(found, "data"))
    for problem in problems:
        out.say(f"warning: {problem}")
    return config


def _secrets(target: Target, file: str, where: str) -> dict[str, str]:
    from rollout.api.resources import SECRETS
    from rollout.cli.lint_notify import texts_in
    from rollout.cli.session import session
    from rollout.errors import NotFound
    from rollout.notify.config import SECRET_NAME
    from rollout.notify.secrets import texts

    if file:
        found = _document(file, "Secret")
    else:
        with session(target) as cluster:
            try:
                found = cluster.kube.get(SECRETS, where, SECRET_NAME)
            except NotFound:
                found = {}
    return texts(texts_in(found, "data")) | texts_in(found, "stringData")


def _seen(target: Target, name: str, file: str) -> Seen:
    """The object, with what belongs to it in the cluster."""
    from rollout.cli.session import session
    from rollout.notify.due import Seen

    if file:
        return Seen(_document(file, ""))
    if not name:
        raise Failure(USAGE, "name a Rollout, or give an object with --object FILE")
    with session(target) as cluster:
        found = cluster.rollout(name)
        return Seen(found, None, tuple(_runs(cluster, found)))


def _runs(cluster: Session, rollout: dict[str, Any]) -> list[dict[str, Any]]:
    from rollout.api.meta import metadata
    from rollout.api.resources import ANALYSIS_RUNS

    uid = metadata(rollout).get("uid")
    return [
        run
        for run in cluster.all(ANALYSIS_RUNS, cluster.namespace)
        if any(ref.get("uid") == uid for ref in metadata(run).get("ownerReferences") or ())
    ]


def _document(file: str, kind: str) -> dict[str, Any]:
    """The first document of that kind ("" = any) in a file."""
    from collections.abc import Mapping

    from rollout.cli.files import documents

    for one in documents([file]):
        if not isinstance(one.object, Mapping) or kind not in ("", one.object.get("kind")):
            continue
        for field in ("metadata", "data", "stringData") if kind else ("metadata", "spec", "status"):
            if not isinstance(one.object.get(field) or {}, Mapping):
                raise Failure(USAGE, f"{one.file}:{one.line_of(field)}: {field} must be a map")
        return dict(one.object)
    raise Failure(USAGE, f"{file} has no {kind or 'object'} in it")


def _print(what: str, found: dict[str, Any], output: Output | None) -> None:
    from rollout.cli import output as out

    if output in (Output.json, Output.yaml):
        out.document({"schemaVersion": 1, what: found}, output)
    elif len(found) == 1 and output is not Output.name:
        out.document(found, Output.yaml)
    else:
        out.lines(found)


def _send(post: Post, type: str, secrets: dict[str, str]) -> Answer:
    """Send it once, now."""
    import asyncio
    import os

    from analysis.providers.registry import guarded
    from rollout.notify.sending import send
    from rollout.notify.services import TYPES
    from rollout.runtime.http import HttpClient

    async def main() -> Answer:
        async with HttpClient() as client:
            fetch = guarded(client, os.environ, loopback=True).fetch
            return await send(post, TYPES[type], fetch, secrets.values())

    return asyncio.run(main())
