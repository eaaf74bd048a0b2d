"""The configuration of notifications: a ConfigMap in the format that users of Argo Rollouts have.

Keys: `service.<type>[.<name>]`, `template.<name>`, `trigger.<name>`, `defaultTriggers[.<service>]`, `subscriptions`,
`context`. What is wrong with one key is a problem and takes nothing else away; triggers and templates of ours are
there without being written down (`builtin`), and one of the same name replaces ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from rollout.core import expr
from rollout.core.problem import Problem, invalid, required, unsupported
from rollout.notify import builtin
from rollout.notify.services import TYPES, UNSUPPORTED
from rollout.notify.subscriptions import Destination, Subscription, selector_of, split_recipients
from rollout.notify.template import TemplateError
from rollout.notify.template import compile as compile_template

CONFIG_NAME = "argo-rollouts-notification-configmap"
SECRET_NAME = "argo-rollouts-notification-secret"  # noqa: S105 - a Secret's name
VARIABLES = (
    "rollout", "analysisRuns", "analysisRun", "chaosRun", "chaosSchedule", "chaosSwitch", "object", "event",
    "evidence", "context", "secrets", "serviceType", "recipient",
)  # fmt: skip
"""What conditions and templates may name."""
MAX_DEPTH = 30
NOT_TOLD = frozenset(
    f"on-{name}"
    for name in (
        "scaling-replica-set", "new-replica-set-created", "rollout-added-to-informer", "rollout-not-completed",
        "switch-service", "traffic-weight-updated", "traffic-routing-error", "skip-steps", "rollout-deleted",
        "experiment-created", "reconciliation-error", "weight-verify-error",
    )
)  # fmt: skip
"""Triggers that the format has for Events which are no transitions of a release; `kubectl get events` shows them."""
_REFERENCE = re.compile(r"\$([A-Za-z0-9][-A-Za-z0-9_.]*)")


class Condition(msgspec.Struct, frozen=True):
    """`when` "" is always. `once_per` is an expression: once for each of its values ("": once per occurrence)."""

    when: str
    send: tuple[str, ...]
    once_per: str = ""


class TemplateSpec(msgspec.Struct, frozen=True):
    """`message` for every service, and what is only for one type of service. Strings are Go templates."""

    message: str = ""
    sections: Mapping[str, Any] = {}


class Service(msgspec.Struct, frozen=True):
    """`options` as they were written: secrets are still references (`$name`)."""

    type: str
    name: str
    options: Mapping[str, Any] = {}


class Config(msgspec.Struct, frozen=True):
    """All that was readable."""

    services: Mapping[str, Service] = {}
    templates: Mapping[str, TemplateSpec] = {}
    triggers: Mapping[str, tuple[Condition, ...]] = {}
    default_triggers: Mapping[str, tuple[str, ...]] = {}
    """By service name; "" for all."""
    subscriptions: tuple[Subscription, ...] = ()
    context: Mapping[str, str] = {}

    def defaults_of(self, service: str) -> tuple[str, ...]:
        return self.default_triggers.get(service) or self.default_triggers.get("", ())


BARE = Config(templates=builtin.templates(TemplateSpec), triggers=builtin.triggers(Condition))
"""Without a ConfigMap: our triggers and templates, and nobody to tell."""


def parse(data: Mapping[str, str]) -> tuple[Config, list[Problem]]:
    """The configuration in a ConfigMap's `data`, and what is wrong with it. Paths of problems are keys of it."""
    reader = _Reader()
    for key, text in sorted(data.items()):
        reader.key(key, str(text))
    return reader.done()


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._services: dict[str, Service] = {}
        self._templates: dict[str, TemplateSpec] = dict(BARE.templates)
        self._triggers: dict[str, tuple[Condition, ...]] = dict(BARE.triggers)
        self._defaults: dict[str, tuple[str, ...]] = {}
        self._subscriptions: list[Subscription] = []
        self._context: dict[str, str] = {}
        self._sends: list[tuple[str, str]] = []

    def key(self, key: str, text: str) -> None:
        head, _, rest = key.partition(".")
        read = {
            "service": self._service,
            "template": self._template,
            "trigger": self._trigger,
            "defaultTriggers": self._default,
        }.get(head)
        if read is None and key not in {"subscriptions", "context"}:
            self.problems.append(
                invalid(key, key, "no such key", "write service.*, template.*, trigger.*, subscriptions, "
                        "defaultTriggers or context")
            )  # fmt: skip
            return
        try:
            value = yaml.load(text, yaml.CSafeLoader)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            where = getattr(error, "problem_mark", None)
            line = f" in line {where.line + 1}" if where is not None else ""
            self.problems.append(Problem(key, f"cannot be read as YAML{line}"))
            return
        if read is not None:
            read(key, rest, value)
        elif key == "subscriptions":
            self._subscribe(key, value)
        elif isinstance(value, Mapping):
            self._context = {str(name): str(one) for name, one in value.items()}
        else:
            self.problems.append(invalid(key, value, "must be a map of strings"))

    def done(self) -> tuple[Config, list[Problem]]:
        config = Config(
            self._services,
            self._templates,
            self._triggers,
            self._defaults,
            tuple(self._subscriptions),
            self._context,
        )
        self.problems += _crossed(config, self._sends)
        return config, self.problems

    # --- keys -------------------------------------------------------------------------------------

    def _service(self, key: str, rest: str, value: Any) -> None:
        type_, _, name = rest.partition(".")
        if type_ in UNSUPPORTED:
            self.problems.append(unsupported(key, *UNSUPPORTED[type_]))
        elif type_ not in TYPES:
            known = ", ".join(sorted(TYPES))
            self.problems.append(invalid(key, type_, f"no such service; there are {known}"))
        elif value is not None and not isinstance(value, Mapping):
            self.problems.append(invalid(key, type(value).__name__, "must be a map"))
        else:
            service = Service(type_, name or type_, value or {})
            wrong = [
                Problem(f"{key}.{path}" if path else key, said)
                for path, said in TYPES[type_].check(service.options)
            ]
            self.problems += wrong
            if not wrong:
                self._services[service.name] = service

    def _template(self, key: str, name: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            self.problems.append(invalid(key, type(value).__name__, "must be a map with `message`"))
            return
        wrong = list(_unreadable(value, key))
        self.problems += wrong
        if not wrong:
            sections = {str(one): part for one, part in value.items() if one != "message"}
            self.problems += _unknown_fields(key, sections)
            self._templates[name] = TemplateSpec(str(value.get("message") or ""), sections)

    def _trigger(self, key: str, name: str, value: Any) -> None:
        items = value if isinstance(value, list) else [value]
        found: list[Condition] = []
        wrong: list[Problem] = []
        for index, item in enumerate(items):
            path = f"{key}[{index}]"
            if not isinstance(item, Mapping):
                wrong.append(invalid(path, item, "must be a map with `send`"))
                continue
            send = item.get("send")
            if not isinstance(send, list) or not send:
                wrong.append(
                    required(f"{path}.send", "the names of templates", "for example send: [my-template]")
                )
                continue
            for field in ("when", "oncePer"):
                wrong += _wrong_expression(item.get(field), f"{path}.{field}")
            self._sends += [(f"{path}.send", str(one)) for one in send]
            found.append(
                Condition(str(item.get("when") or ""), tuple(map(str, send)), str(item.get("oncePer") or ""))
            )
        if name in NOT_TOLD:
            wrong.append(
                unsupported(key, "this is not told", f"there are {', '.join(sorted(BARE.triggers))}")
            )
        elif name not in BARE.triggers and any(not one.when for one in found):
            wrong.append(
                required(
                    f"{key}.when",
                    "a trigger of your own says when",
                    "for example when: rollout.status.abort == true",
                )
            )
        self.problems += wrong
        if not wrong:
            self._triggers[name] = tuple(found)

    def _default(self, key: str, service: str, value: Any) -> None:
        if isinstance(value, list):
            self._defaults[service] = tuple(map(str, value))
        else:
            self.problems.append(invalid(key, value, "must be a list of triggers"))

    def _subscribe(self, key: str, value: Any) -> None:
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            path = f"{key}[{index}]"
            if not isinstance(item, Mapping) or not isinstance(item.get("recipients"), list):
                self.problems.append(
                    required(f"{path}.recipients", "a list", "for example recipients: [slack:releases]")
                )
                continue
            try:
                selector = selector_of(str(item.get("selector") or ""))
            except ValueError as error:
                self.problems.append(invalid(f"{path}.selector", item.get("selector"), str(error)))
                continue
            destinations = tuple(
                Destination(service.strip(), recipient.strip())
                for one in item["recipients"]
                for service, _, recipient in [str(one).partition(":")]
            )
            triggers = item.get("triggers")
            names = (
                tuple(map(str, triggers))
                if isinstance(triggers, list)
                else split_recipients(str(triggers or ""))
            )
            self._subscriptions.append(Subscription(destinations, names, selector))


def _crossed(config: Config, sends: list[tuple[str, str]]) -> Iterator[Problem]:
    """Names that lead nowhere."""
    for path, name in sends:
        if name not in config.templates:
            yield invalid(path, name, "no such template")
    for index, one in enumerate(config.subscriptions):
        for destination in one.destinations:
            if destination.service not in config.services:
                yield invalid(f"subscriptions[{index}].recipients", str(destination), "no such service")
        for name in one.triggers:
            if name not in config.triggers:
                yield invalid(f"subscriptions[{index}].triggers", name, "no such trigger")
    for service, names in config.default_triggers.items():
        for name in names:
            if name not in config.triggers:
                key = f"defaultTriggers.{service}" if service else "defaultTriggers"
                yield invalid(key, name, "no such trigger")


def _unreadable(value: Any, path: str, depth: int = 0) -> Iterator[Problem]:
    if depth > MAX_DEPTH:
        yield Problem(path, f"nests deeper than {MAX_DEPTH}")
    elif isinstance(value, str):
        try:
            compile_template(value)
        except TemplateError as error:
            yield Problem(path, f"the template cannot be used: {error}")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _unreadable(one, f"{path}.{name}", depth + 1)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _unreadable(one, f"{path}[{index}]", depth + 1)


def _unknown_fields(key: str, sections: Mapping[str, Any]) -> Iterator[Problem]:
    """What a template says to a service and the service will not read. Services that are not ours are not looked at."""
    for name, part in sections.items():
        known = TYPES[name].fields if name in TYPES else frozenset()
        for field in part if isinstance(part, Mapping) and known else ():
            if field not in known:
                yield unsupported(
                    f"{key}.{name}.{field}", "this is left out", f"there are {', '.join(sorted(known))}"
                )


def _wrong_expression(source: Any, path: str) -> Iterator[Problem]:
    if not source:
        return
    try:
        program = expr.compile(str(source))
    except expr.ExprError as error:
        yield invalid(path, source, error.sentence)
        return
    for name in expr.unknown_names(program, VARIABLES):
        yield invalid(path, source, f"there is no variable {name}", f"there are {', '.join(VARIABLES)}")


# --- secrets ------------------------------------------------------------------------------------------


def references(value: Any) -> frozenset[str]:
    """The names of the secrets that options refer to (`$name`)."""
    match value:
        case str():
            return frozenset(_REFERENCE.findall(value))
        case Mapping():
            return frozenset().union(*map(references, value.values()))
        case list():
            return frozenset().union(*map(references, value))
        case _:
            return frozenset()


def reveal(value: Any, secrets: Mapping[str, str]) -> Any:
    """Options with the secrets put in. KeyError with the name of one that the Secret does not have."""
    match value:
        case str():
            return _REFERENCE.sub(lambda match: secrets[match[1]], value)
        case Mapping():
            return {key: reveal(one, secrets) for key, one in value.items()}
        case list():
            return [reveal(one, secrets) for one in value]
        case _:
            return value
