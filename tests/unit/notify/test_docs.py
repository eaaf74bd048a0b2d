"""docs/notifications.md: its configurations are used, against a server that plays the services."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from rollout.notify.config import CONFIG_NAME, SECRET_NAME, Config, parse, references, reveal
from rollout.notify.due import Due, Seen, due
from rollout.notify.message import Sent
from rollout.notify.metrics import NotificationMetrics
from rollout.notify.occurrences import REASONS, occurrences, trigger_of
from rollout.notify.rendering import note_of
from rollout.notify.sending import send
from rollout.notify.services import TYPES
from rollout.notify.template.functions import FUNCTIONS
from rollout.runtime.guard import GuardedFetch
from rollout.runtime.http import HttpClient
from tests.pages import examples, text_of
from tests.unit.notify.objects import aborted, analysis
from tests.unit.notify.receiver import Receiver, receiving
from tests.unit.notify.test_due import NOW, subscribe

PAGE = "notifications.md"
TEXT = text_of(PAGE)
CONFIGS = [one for one in examples(PAGE) if one.object["kind"] == "ConfigMap"]


@pytest.mark.parametrize("index", range(len(CONFIGS)))
def test_a_configuration_of_the_page_has_no_problems(index: int) -> None:
    _, problems = parse(CONFIGS[index].object["data"])
    assert problems == []
    assert CONFIGS[index].name == CONFIG_NAME


def test_the_page_names_the_secret_and_every_trigger() -> None:
    assert SECRET_NAME in {one.name for one in examples(PAGE)}
    for trigger in map(trigger_of, REASONS):
        stem, _, end = trigger.rpartition("-")
        assert f"`{trigger}`" in TEXT or re.search(rf"`{stem}-[a-z]+`[^|]*`-{end}`", TEXT), trigger


def test_the_page_names_only_functions_that_there_are() -> None:
    (listed,) = re.findall(r"`eq` \.\.\. `printf`, and Sprig's for text and data\n\((.*?)\)", TEXT)
    assert set(re.findall(r"`(\w+)`", listed)) <= FUNCTIONS.keys()


def config_of(heading: str, receiver: Receiver) -> tuple[Config, Mapping[str, str]]:
    """The configuration below a heading; its Secret's values lead to the server."""
    (one,) = [one for one in CONFIGS if one.heading == heading]
    data = dict(one.object["data"])
    for key, text in list(data.items()):
        if "token:" in text and key.startswith("service.slack"):
            data[key] += f"apiURL: {receiver.url}/api\n"
        if key == "service.pagerdutyv2":
            data[key] += f"apiURL: {receiver.url}\n"
    config, problems = parse(data)
    assert problems == []
    names = {name for service in config.services.values() for name in references(service.options)}
    return config, {
        name: f"{receiver.url}/{name}" if name.endswith("url") else f"value-of-{name}" for name in names
    }


async def sent(heading: str, service: str, recipient: str = "") -> Receiver:
    """What arrives when a release is aborted."""
    async with receiving() as receiver, HttpClient(proxies=False) as client:
        config, secrets = config_of(heading, receiver)
        obj = subscribe(aborted(), "on-rollout-aborted", to=f"{service}:{recipient}")
        seen = Seen(obj, None, (analysis(),))
        messages: tuple[Due, ...] = due(occurrences(obj), seen, config, NOW).messages
        (one,) = [one for one in messages if one.trigger == "on-rollout-aborted"]
        kind, options = TYPES[config.services[service].type], config.services[service].options
        post = kind.post(note_of(one, seen, config, secrets), reveal(options, secrets), recipient, "")
        fetch = GuardedFetch(client, loopback=True).fetch
        assert isinstance(await send(post, kind, fetch, secrets.values()), Sent)
        return receiver


def only(receiver: Receiver) -> Any:
    (got,) = receiver.got
    return got


async def test_slack_by_a_token() -> None:
    got = only(await sent("Slack", "slack", "releases"))
    assert got.path == "/api/chat.postMessage"
    assert got.headers["authorization"] == "Bearer value-of-slack-token"
    assert (got.body["channel"], got.body["username"]) == ("releases", "Surefoot")


async def test_slack_by_an_incoming_webhook() -> None:
    got = only(await sent("Slack", "hooks", "releases"))
    assert got.path == "/slack-releases-url"
    assert "channel" not in got.body


async def test_pagerduty() -> None:
    got = only(await sent("PagerDuty", "pagerdutyv2", "shop"))
    assert got.path == "/v2/enqueue"
    assert got.body["routing_key"] == "value-of-pagerduty-shop"
    assert got.body["links"][0]["href"].startswith("https://prometheus.example.com/graph?g0.expr=")


async def test_teams() -> None:
    got = only(await sent("Microsoft Teams", "teams-workflows", "releases"))
    assert got.path == "/teams-releases-url"
    assert got.body["attachments"][0]["content"]["type"] == "AdaptiveCard"


async def test_a_webhook_with_a_body_of_its_own() -> None:
    got = only(await sent("Webhooks, CloudEvents, CDEvents", "ci"))
    assert got.path == "/ci-url/builds/web"
    assert got.headers["authorization"] == "Bearer value-of-ci-token"
    assert got.body == {"state": "Degraded", "value": "[0.42]"}


async def test_a_cdevent() -> None:
    got = only(await sent("Webhooks, CloudEvents, CDEvents", "events"))
    assert got.body["type"] == "dev.cdevents.incident.detected.0.3.0"
    assert got.headers["x-surefoot-signature-256"].startswith("sha256=")


def test_the_trigger_of_the_page_fires_when_a_release_is_degraded() -> None:
    (one,) = [one for one in CONFIGS if one.heading == "Templates and triggers of your own"]
    config, _ = parse(one.object["data"])
    obj = subscribe(aborted(), "on-late")
    seen = Seen(obj, None, (analysis(),))
    (message,) = due(occurrences(obj), seen, config, NOW).messages
    note = note_of(message, seen, config, {})
    assert "success-rate was [0.42] (success: result[0] >= 0.95)" in note.text
    assert note.section["attachments"].strip() == '[{"title": "web", "color": "#E01E5A"}]'


def test_the_page_names_every_metric_and_no_other() -> None:
    registry = CollectorRegistry()
    metrics = NotificationMetrics(lambda: 3)
    registry.register(metrics)
    metrics.tried("slack", "on-rollout-aborted", 0.2, good=True)
    metrics.tried("slack", "on-rollout-aborted", 0.2, good=False)
    metrics.given_up("slack", "on-rollout-aborted")
    page = TEXT.partition("## Metrics")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`[^|]*) \|", page, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    served = set(re.findall(r"^# TYPE (\w+)", generate_latest(registry).decode(), re.MULTILINE))
    assert {name for name in served if not name.endswith("_created")} == named
