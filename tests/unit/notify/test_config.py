"""The ConfigMap, and who is subscribed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.notify.config import BARE, parse, references, reveal
from rollout.notify.occurrences import REASONS, trigger_of
from rollout.notify.services import TYPES
from rollout.notify.subscriptions import Destination, problems_of, selector_of, subscribed
from tests.unit.notify.objects import rollout

SLACK = {"service.slack": "token: $slack-token"}
GOOD = {
    **SLACK,
    "service.webhook.ci": "url: https://ci.example/hook\nheaders: [{name: authorization, value: Bearer $ci}]",
    "service.pagerdutyv2": "serviceKeys: {shop: $pd-shop}",
    "service.teams-workflows": "recipientUrls: {releases: $teams-url}",
    "template.mine": "message: |\n  {{.rollout.metadata.name}} is {{.rollout.status.phase}}\nslack: {blocks: '[]'}",
    "trigger.on-mine": "- when: rollout.status.phase == 'Degraded'\n  oncePer: rollout.status.abortedAt\n  send: [mine]",
    "defaultTriggers": "[on-rollout-aborted]",
    "subscriptions": "- recipients: ['slack:releases', 'webhook.ci']\n  triggers: [on-mine]\n  selector: app=web",
    "context": "prometheusUrl: https://prometheus.example",
}


def test_the_format_of_argo_rollouts_is_read() -> None:
    config, problems = parse({**GOOD, "subscriptions": GOOD["subscriptions"].replace("webhook.ci", "ci")})
    assert problems == []
    assert set(config.services) == {"slack", "ci", "pagerdutyv2", "teams-workflows"}
    assert config.triggers["on-mine"][0].once_per == "rollout.status.abortedAt"
    assert config.subscriptions[0].destinations == (Destination("slack", "releases"), Destination("ci"))
    assert config.context == {"prometheusUrl": "https://prometheus.example"}


def test_every_reason_has_a_trigger_and_a_template_without_any_configuration() -> None:
    for reason in REASONS:
        for condition in BARE.triggers[trigger_of(reason)]:
            assert all(name in BARE.templates for name in condition.send)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("service.slack", "token: xoxb-1234", "is confidential"),
        ("service.slack", "{}", "exactly one of token"),
        ("service.slack", "token: $t\nsigningSecretz: x", "not supported"),
        ("service.email", "host: smtp", "not supported yet: email; write service.apprise"),
        ("service.pagerduty", "token: $t", "write service.pagerdutyv2"),
        ("service.nope", "a: 1", "no such service"),
        ("service.webhook.x", "url: ftp://x", "must be an http(s) URL"),
        ("service.webhook.x", "url: http://x\nformat: xml", "must be one of"),
        ("service.webhook.x", "url: http://x\nhmacSecret: plain", "is confidential"),
        ("service.pagerdutyv2", "serviceKeys: {a: plain}", "serviceKeys.a: is confidential"),
        ("service.teams", "recipientUrls: {a: 'https://x'}", "is confidential"),
        ("template.x", "message: '{{ nope }}'", "no such function"),
        ("template.x", "slack: {attachments: '{{ if }}'}", "template.x.slack.attachments"),
        ("template.x", "message: a\nslack: {color: red}", "template.x.slack.color"),
        ("template.x", "just text", "must be a map"),
        ("trigger.x", "- when: 'rollout.status.phase =='\n  send: [rollout-aborted]", "trigger.x[0].when"),
        ("trigger.x", "- when: app.status == 1\n  send: [rollout-aborted]", "there is no variable app"),
        ("trigger.x", "- when: 'true'\n  send: [nope]", "no such template"),
        ("trigger.x", "- send: [rollout-aborted]", "a trigger of your own says when"),
        ("trigger.x", "- when: 'true'", "the names of templates"),
        ("trigger.on-scaling-replica-set", "- send: [rollout-updated]", "this is not told"),
        ("subscriptions", "- recipients: ['slac:x']\n  triggers: [on-rollout-aborted]", "no such service"),
        ("subscriptions", "- recipients: ['slack:x']\n  triggers: [on-nope]", "no such trigger"),
        ("subscriptions", "- recipients: ['slack:x']\n  selector: 'a in b'", "must be a label selector"),
        ("subscriptions", "- triggers: [on-rollout-aborted]", "recipients"),
        ("defaultTriggers", "[on-nope]", "no such trigger"),
        ("context", "[1]", "must be a map"),
        ("nonsense", "1", "no such key"),
        ("service.slack", "a: [1", "cannot be read as YAML in line"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_and_the_rest_is_used(key: str, text: str, said: str) -> None:
    config, problems = parse({**SLACK, "service.webhook.ok": "url: https://ok.example", key: text})
    assert any(said in str(problem) for problem in problems), problems
    assert "ok" in config.services
    assert "xoxb-1234" not in "".join(map(str, problems))


@given(st.dictionaries(st.sampled_from([*GOOD, "service.x", "template.y"]), st.text(max_size=40)))
def test_whatever_is_written_is_a_configuration_or_problems(data: dict[str, str]) -> None:
    config, _ = parse(data)
    assert config.triggers.keys() >= BARE.triggers.keys()


def test_secrets_are_put_in_where_they_are_named() -> None:
    options = {"token": "$a-b", "headers": [{"value": "Bearer $c.d"}], "n": 1}
    assert references(options) == {"a-b", "c.d"}
    assert reveal(options, {"a-b": "1", "c.d": "2"}) == {
        "token": "1",
        "headers": [{"value": "Bearer 2"}],
        "n": 1,
    }
    with pytest.raises(KeyError):
        reveal(options, {"a-b": "1"})


# --- subscriptions ------------------------------------------------------------------------------------


def wanted(annotations: dict[str, str], data: dict[str, str] | None = None) -> dict[str, set[str]]:
    config, _ = parse({**SLACK, "service.webhook.ci.eu": "url: https://ci.example", **(data or {})})
    obj = rollout(
        annotations={f"notifications.argoproj.io/{name}": value for name, value in annotations.items()}
    )
    found = subscribed([obj], config.subscriptions, config.defaults_of, config.services)
    return {trigger: set(map(str, destinations)) for trigger, destinations in found.items()}


def test_annotations_subscribe_recipients() -> None:
    assert wanted({"subscribe.on-rollout-aborted.slack": "a; b;"}) == {
        "on-rollout-aborted": {"slack:a", "slack:b"}
    }
    assert wanted({"subscribe.on-rollout-aborted.ci.eu": ""}) == {"on-rollout-aborted": {"ci.eu"}}


def test_an_annotation_without_a_trigger_subscribes_to_the_default_ones() -> None:
    data = {"defaultTriggers": "[on-rollout-aborted]", "defaultTriggers.slack": "[on-rollout-completed]"}
    assert wanted({"subscribe.slack": "a"}, data) == {"on-rollout-completed": {"slack:a"}}
    assert wanted({"subscribe.ci.eu": ""}, data) == {"on-rollout-aborted": {"ci.eu"}}


def test_one_annotation_can_list_all() -> None:
    text = "- trigger: [on-rollout-aborted, on-rollout-paused]\n  destinations:\n  - service: slack\n    recipients: [a, b]\n"
    both = {"slack:a", "slack:b"}
    assert wanted({"subscriptions": text}) == {"on-rollout-aborted": both, "on-rollout-paused": both}


def test_default_subscriptions_are_for_what_the_selector_matches() -> None:
    data = {
        "subscriptions": "- recipients: ['slack:x']\n  triggers: [on-rollout-aborted]\n  selector: app in (web)"
    }
    assert wanted({}, data) == {"on-rollout-aborted": {"slack:x"}}
    assert wanted({}, {"subscriptions": data["subscriptions"].replace("(web)", "(db)")}) == {}


def test_names_that_lead_nowhere_are_said() -> None:
    found = {"on-nope": {Destination("slack", "a")}, "on-rollout-aborted": {Destination("slak", "a")}}
    assert problems_of(found, BARE.triggers, ["slack"]) == [
        "there is no trigger on-nope",
        "there is no notification service slak",
    ]


@pytest.mark.parametrize(
    ("text", "holds"),
    [("", True), ("app=web", True), ("app==web,tier!=db", True), ("app", True), ("!app", False), ("tier", False),
     ("!tier", True), ("app in (db, web)", True), ("app notin (web)", False), ("app=web, app!=db", True)],
)  # fmt: skip
def test_a_selector_is_read_as_kubectl_does(text: str, *, holds: bool) -> None:
    assert selector_of(text).matches({"app": "web"}) is holds


@pytest.mark.parametrize("text", ["a b", "=x", "a in (x", "(a)", "a,,b", "!a=b"])
def test_a_selector_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="label selector"):
        selector_of(text)


def test_every_type_refuses_options_that_it_does_not_know() -> None:
    for service in TYPES.values():
        assert any("not supported" in said for _, said in service.check({"surprise": 1}))
