"""How messages look on the wire, what answers mean, and that nothing confidential is told."""

from __future__ import annotations

import hashlib
import hmac
import sys
from typing import Any

import pytest

from rollout.errors import NoAnswer, ProviderError
from rollout.notify.due import Seen, due
from rollout.notify.message import Note, Post, Refused, Sent
from rollout.notify.occurrences import occurrences
from rollout.notify.rendering import note_of
from rollout.notify.sending import send
from rollout.notify.services import TYPES
from rollout.notify.services.base import Unusable
from rollout.notify.services.cdevents import purl
from rollout.notify.services.webhook import cloudevent
from rollout.runtime.guard import GuardedFetch
from rollout.runtime.http import HttpClient, Request, Response
from tests.unit.notify.objects import aborted, analysis, completed
from tests.unit.notify.receiver import receiving
from tests.unit.notify.test_due import NOW, config, subscribe

KEY = {"serviceKeys": {"shop": "R0UTE"}}


def note(obj: dict[str, Any] | None = None, reason: str = "RolloutAborted", **section: Any) -> Note:
    from msgspec.structs import replace

    obj = subscribe(obj or aborted(), "on-rollout-aborted", "on-rollout-completed", "on-rollout-updated",
                    "on-rollout-rolled-back", "on-rollout-paused")  # fmt: skip
    cfg, seen = config(), Seen(obj, None, (analysis(),))
    found = due(occurrences(obj), seen, cfg, NOW).messages
    one = next(one for one in found if one.occurrence.reason == reason)
    return replace(note_of(one, seen, cfg, {}), section=section)


def body(
    type: str, options: dict[str, Any], recipient: str = "", one: Note | None = None, thread: str = ""
) -> Any:
    from rollout.api.codec import decode

    return decode(TYPES[type].post(one or note(), options, recipient, thread).body)


# --- Slack --------------------------------------------------------------------------------------------


def test_slack_gets_text_facts_and_evidence() -> None:
    post = TYPES["slack"].post(note(), {"token": "T", "username": "S", "icon": ":ship:"}, "releases", "")
    assert (post.url, post.headers["authorization"]) == ("https://slack.com/api/chat.postMessage", "Bearer T")
    said = body("slack", {"token": "T", "username": "S", "icon": ":ship:"}, "releases")
    assert (said["channel"], said["username"], said["icon_emoji"]) == ("releases", "S", ":ship:")
    (attachment,) = said["attachments"]
    assert attachment["title"] == "Rollout prod/web: aborted"
    assert "success-rate: Failed, value [0.42], success: result[0] >= 0.95" in attachment["text"]


def test_slack_joins_the_thread_in_its_channel_by_id() -> None:
    said = body("slack", {"token": "T"}, "releases", note(notifyBroadcast="true"), "C9 12.5")
    assert (said["channel"], said["thread_ts"], said["reply_broadcast"]) == ("C9", "12.5", True)


def test_slack_takes_the_templates_json_and_refuses_what_is_none() -> None:
    assert body("slack", {"token": "T"}, "r", note(blocks='[{"type": "divider"}]'))["blocks"] == [
        {"type": "divider"}
    ]
    for wrong in ({"blocks": "{"}, {"attachments": "{}"}, {"deliveryPolicy": "Update"}):
        with pytest.raises(Unusable):
            body("slack", {"token": "T"}, "r", note(**wrong))


@pytest.mark.parametrize(
    ("status", "answer", "meant"),
    [
        (200, b'{"ok":true,"channel":"C1","ts":"1.2"}', Sent("C1 1.2")),
        (200, b"ok", Sent()),
        (200, b'{"ok":false,"error":"channel_not_found"}', Refused("Slack says channel_not_found")),
        (200, b'{"ok":false,"error":"ratelimited"}', Refused("Slack says ratelimited", again=True)),
        (429, b"", Refused("HTTP 429", again=True, after=7.0)),
        (403, b"", Refused("HTTP 403")),
    ],
)
def test_slacks_answers(status: int, answer: bytes, meant: Any) -> None:
    assert TYPES["slack"].read(status, {"retry-after": "7"}, answer) == meant


def test_retry_after_may_be_a_date() -> None:
    headers = {"retry-after": "Mon, 05 Jan 2026 09:00:20 GMT", "date": "Mon, 05 Jan 2026 09:00:00 GMT"}
    assert TYPES["webhook"].read(503, headers, b"") == Refused("HTTP 503", again=True, after=20.0)


# --- PagerDuty ----------------------------------------------------------------------------------------


def test_an_abort_opens_an_incident_with_the_evidence() -> None:
    said = body("pagerdutyv2", KEY, "shop")
    assert (said["event_action"], said["routing_key"], said["dedup_key"]) == (
        "trigger",
        "R0UTE",
        "surefoot/u-1",
    )
    payload = said["payload"]
    assert (payload["severity"], payload["source"], payload["class"]) == (
        "critical",
        "prod/web",
        "RolloutAborted",
    )
    (evidence,) = payload["custom_details"]["evidence"]
    assert evidence["value"] == "[0.42]"
    assert evidence["rule"] == "success: result[0] >= 0.95"
    assert evidence["query"].startswith("sum(rate(")
    assert said["links"] == [{"href": evidence["graph"], "text": "Graph of success-rate"}]


def test_a_success_resolves_the_same_incident() -> None:
    said = body("pagerdutyv2", KEY, "shop", note(completed(), "RolloutCompleted"))
    assert said == {"routing_key": "R0UTE", "event_action": "resolve", "dedup_key": "surefoot/u-1"}


def test_the_template_can_acknowledge_and_choose_the_key() -> None:
    said = body("pagerdutyv2", KEY, "shop", note(eventAction="acknowledge", dedupKey="mine"))
    assert (said["event_action"], said["dedup_key"]) == ("acknowledge", "mine")
    with pytest.raises(Unusable):
        body("pagerdutyv2", KEY, "shop", note(eventAction="shout"))


def test_what_is_no_trouble_is_a_change_event() -> None:
    from tests.unit.notify.objects import rollout

    post = TYPES["pagerdutyv2"].post(note(rollout(), "RolloutUpdated"), KEY, "shop", "")
    assert post.url == "https://events.pagerduty.com/v2/change/enqueue"


# --- Teams, webhooks ----------------------------------------------------------------------------------


def test_teams_gets_an_adaptive_card() -> None:
    said = body("teams-workflows", {"recipientUrls": {"r": "https://t"}}, "r")
    (attachment,) = said["attachments"]
    card = attachment["content"]
    assert (said["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert card["body"][0]["text"] == "Rollout prod/web: aborted"
    assert {"title": "Revision", "value": "2"} in card["body"][2]["facts"]
    assert card["actions"][0]["url"].startswith("http://prometheus.monitoring:9090/graph")
    own = body(
        "teams", {"recipientUrls": {"r": "https://t"}}, "r", note(adaptiveCard='{"type": "AdaptiveCard"}')
    )
    assert own["attachments"][0]["content"] == {"type": "AdaptiveCard"}


def test_a_structured_cloudevent_has_the_required_attributes() -> None:
    post = TYPES["webhook"].post(note(), {"url": "https://h/x", "format": "cloudevents"}, "", "")
    said = body("webhook", {"url": "https://h/x", "format": "cloudevents"})
    assert post.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert (said["specversion"], said["type"]) == ("1.0", "dev.surefoot.rollout.rolloutaborted.v1")
    assert said["source"] == "/apis/argoproj.io/v1alpha1/namespaces/prod/rollouts"
    assert said["id"] == note().id
    assert said["data"]["evidence"][0]["value"] == "[0.42]"


def test_a_binary_cloudevent_has_them_in_headers() -> None:
    post = TYPES["webhook"].post(note(), {"url": "https://h", "format": "cloudevents-binary"}, "", "")
    assert post.headers["ce-id"] == note().id
    assert post.headers["content-type"] == "application/json"
    assert all(value.isascii() for value in post.headers.values())


@pytest.mark.parametrize(
    ("reason", "obj", "type"),
    [
        ("RolloutAborted", aborted(), "dev.cdevents.incident.detected.0.3.0"),
        ("RolloutRolledBack", aborted(), "dev.cdevents.service.rolledback.0.3.0"),
        ("RolloutCompleted", completed(), "dev.cdevents.service.upgraded.0.3.0"),
    ],
)
def test_a_cdevent_where_there_is_one(reason: str, obj: dict[str, Any], type: str) -> None:
    attributes, data = cloudevent(note(obj, reason), cd=True)
    assert attributes["type"] == data["context"]["type"] == type
    assert data["context"]["id"] == attributes["id"]
    content = data["subject"]["content"]
    assert content["environment"]["id"] == "prod"
    assert content["artifactId"] == "pkg:oci/web?repository_url=registry.io/shop/web&tag=v2"


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("web", "pkg:oci/web"),
        ("r.io:5000/a/Web:1", "pkg:oci/web?repository_url=r.io%3A5000/a/Web&tag=1"),
        ("r.io/web@sha256:ab", "pkg:oci/web@sha256%3Aab?repository_url=r.io/web"),
    ],
)
def test_the_package_url_of_an_image(image: str, url: str) -> None:
    assert purl(image) == url


def test_a_webhook_is_signed_and_carries_its_headers() -> None:
    options = {
        "url": "https://h/base/", "hmacSecret": "K", "headers": [{"name": "X-A", "value": "1"}],
        "basicAuth": {"username": "u", "password": "p"},
    }  # fmt: skip
    post = TYPES["webhook"].post(note(path="/sub", method="put", body="{}"), options, "", "")
    assert (post.method, post.url, post.body) == ("PUT", "https://h/base/sub", b"{}")
    assert (
        post.headers["x-surefoot-signature-256"]
        == f"sha256={hmac.new(b'K', b'{}', hashlib.sha256).hexdigest()}"
    )
    assert post.headers["x-a"] == "1"
    assert post.headers["authorization"] == "Basic dTpw"


def test_a_header_that_would_break_out_is_refused() -> None:
    for options in ({"url": "https://h", "headers": [{"name": "a", "value": "1\r\nb: 2"}]},):
        with pytest.raises(Unusable):
            TYPES["webhook"].post(note(), options, "", "")
    with pytest.raises(Unusable):
        TYPES["slack"].post(note(), {"token": "a\nb"}, "r", "")


@pytest.mark.parametrize("type", ["pagerdutyv2", "teams-workflows", "apprise"])
def test_a_recipient_that_is_not_configured_is_said(type: str) -> None:
    with pytest.raises(Unusable, match="'nobody'"):
        TYPES[type].post(note(), {"serviceKeys": {}, "recipientUrls": {}, "urls": {}}, "nobody", "")


# --- sending ------------------------------------------------------------------------------------------


class Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def fetch(self, request: Request, *, deadline: float, max_bytes: int) -> Response:
        raise self._error


async def test_an_error_names_the_host_and_neither_path_nor_secret() -> None:
    post = Post("https://hooks.example:8443/services/T0/SECRET-PATH?sig=SECRET-SIG", b"{}")
    error = NoAnswer("POST https://hooks.example:8443/services/T0/SECRET-PATH: cannot connect with xoxb-1")
    answer = await send(post, TYPES["slack"], Failing(error).fetch, ["xoxb-1", "SECRET-SIG"])
    assert answer == Refused("POST https://hooks.example:8443: cannot connect with ***", again=True)


async def test_a_forbidden_host_is_not_tried_again() -> None:
    async with HttpClient(proxies=False) as client:
        post = Post("http://169.254.169.254/latest", b"{}")
        answer = await send(post, TYPES["webhook"], GuardedFetch(client).fetch, [])
    assert isinstance(answer, Refused)
    assert not answer.again
    assert isinstance(ProviderError("x"), Exception)


async def test_a_message_arrives_over_real_http() -> None:
    async with receiving() as receiver, HttpClient(proxies=False) as client:
        fetch = GuardedFetch(client, loopback=True).fetch
        post = TYPES["slack"].post(note(), {"token": "T", "apiURL": f"{receiver.url}/api"}, "releases", "")
        assert await send(post, TYPES["slack"], fetch, ["T"]) == Sent("C1 1.5")
        (got,) = receiver.got
    assert got.body["channel"] == "releases"
    assert got.headers["authorization"] == "Bearer T"


async def test_a_message_arrives_by_apprise() -> None:
    async with receiving() as receiver:
        url = receiver.url.replace("http://", "json://")
        post = TYPES["apprise"].post(note(), {"urls": {"a": f"{url}/hook"}}, "a", "")
        answer = await send(post, TYPES["apprise"], Failing(NoAnswer("unused")).fetch, [])
        (got,) = receiver.got
    assert isinstance(answer, Sent)
    assert got.path == "/hook"
    assert got.body["title"]
    assert got.body["message"]


async def test_a_url_that_apprise_cannot_read_is_said_and_not_shown() -> None:
    post = TYPES["apprise"].post(note(), {"urls": {"a": "nope://secret-thing"}}, "a", "")
    answer = await send(post, TYPES["apprise"], Failing(NoAnswer("unused")).fetch, [])
    assert isinstance(answer, Refused)
    assert "cannot read the URL" in answer.why
    assert "secret-thing" not in answer.why


async def test_apprise_says_when_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    post = TYPES["apprise"].post(note(), {"urls": {"a": "json://127.0.0.1:1/"}}, "a", "")
    answer = await send(post, TYPES["apprise"], Failing(NoAnswer("unused")).fetch, [])
    assert isinstance(answer, Refused)
    assert "surefoot[notify]" in answer.why
