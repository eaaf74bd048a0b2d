"""Real controllers, real measurements, real HTTP: an abort opens an incident with the evidence, a good release ends it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from rollout.api.meta import metadata
from rollout.api.resources import CONFIG_MAPS, SECRETS
from rollout.notify.config import CONFIG_NAME, SECRET_NAME
from rollout.notify.record import RECORD_NAME
from rollout.runtime.client import HttpKube
from rollout.runtime.config import load
from tests.sandbox.release_support import GATE, Ground, canary, template, world_in
from tests.unit.notify.receiver import Got, Receiver, receiving

pytestmark = [pytest.mark.sandbox]
SPACE = "default"
PATIENCE = 120.0
SUBSCRIBE = "notifications.argoproj.io/subscribe"
SECRET = {"slack-token": "xoxb-very-secret", "pagerduty-shop": "key-very-secret"}


async def configure(kube: HttpKube, url: str) -> None:
    """The services of this test in the namespace that the sandbox's controller reads."""
    data = {
        "service.slack": f"token: $slack-token\napiURL: {url}/api",
        "service.pagerdutyv2": f"serviceKeys: {{shop: $pagerduty-shop}}\napiURL: {url}",
        "service.teams-workflows": "recipientUrls: {releases: $teams-url}",
        "service.webhook.events": f"url: {url}/events\nformat: cdevents",
    }
    secret = {**SECRET, "teams-url": f"{url}/teams"}
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in secret.items()}
    await kube.create(SECRETS, SPACE, {"metadata": {"name": SECRET_NAME}, "data": encoded})
    await kube.create(CONFIG_MAPS, SPACE, {"metadata": {"name": CONFIG_NAME}, "data": data})


async def record(kube: HttpKube) -> dict[str, str]:
    """What was told, once there is a record: from then on transitions count."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await kube.list(CONFIG_MAPS, SPACE, fields=f"metadata.name={RECORD_NAME}")
            if found.items:
                return dict(found.items[0].get("data") or {})
            await asyncio.sleep(0.1)


async def arrived(receiver: Receiver, path: str, count: int) -> list[Got]:
    async with asyncio.timeout(PATIENCE):
        while len(receiver.of(path)) < count:
            await asyncio.sleep(0.05)
    return receiver.of(path)


def subscribed(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    notes = {
        f"{SUBSCRIBE}.on-rollout-aborted.pagerdutyv2": "shop",
        f"{SUBSCRIBE}.on-rollout-updated.slack": "releases",
        f"{SUBSCRIBE}.on-rollout-aborted.slack": "releases",
        f"{SUBSCRIBE}.on-rollout-aborted.teams-workflows": "releases",
        f"{SUBSCRIBE}.on-rollout-completed.events": "",
    }
    for one in objects:
        if one["kind"] == "Rollout":
            one["metadata"]["annotations"] = notes
    return objects


async def test_an_aborted_release_opens_an_incident_with_its_evidence_and_the_next_good_one_resolves_it(
    ground: Ground,
) -> None:
    kube = HttpKube(load(kubeconfig=ground.sandbox.kubeconfig))
    async with receiving() as receiver, world_in(ground, "told") as world:
        try:
            await configure(kube, receiver.url)
            await record(kube)
            bad = template("vector(0)")
            await world.apply(bad, *subscribed(canary({"setWeight": 20}, {"analysis": GATE})))
            await world.phase("Healthy")
            await world.set_image("v2")
            await world.phase("Degraded")
            (opened,) = await arrived(receiver, "/v2/enqueue", 1)
            assert opened.body["event_action"] == "trigger"
            assert opened.body["routing_key"] == "key-very-secret"
            details = opened.body["payload"]["custom_details"]
            (evidence,) = details["evidence"]
            assert evidence["query"] == "vector(0)"
            assert evidence["value"] == "[0]"
            assert evidence["rule"] == f"success: {rule_of(bad)}"
            assert "/graph?g0.expr=vector%280%29" in evidence["graph"]
            assert opened.body["links"][0]["href"] == evidence["graph"]

            deployed, begun, given_up = await arrived(receiver, "/api/chat.postMessage", 3)
            assert deployed.body["channel"] == begun.body["channel"] == "releases"
            assert "thread_ts" not in begun.body, "another release, another thread"
            assert given_up.body["thread_ts"]
            (card,) = await arrived(receiver, "/teams", 1)
            assert card.body["attachments"][0]["content"]["type"] == "AdaptiveCard"

            await world.apply(template("vector(1)"))
            await world.set_image("v3")
            await world.phase("Healthy")
            _, resolved = await arrived(receiver, "/v2/enqueue", 2)
            assert resolved.body["event_action"] == "resolve"
            assert resolved.body["dedup_key"] == opened.body["dedup_key"]
            events = await arrived(receiver, "/events", 2)
            assert {one.body["type"] for one in events} == {"dev.cdevents.service.upgraded.0.3.0"}

            async with asyncio.timeout(PATIENCE):
                while any(name.startswith("open-") for name in await record(kube)):
                    await asyncio.sleep(0.1)
            log = ground.log("controller")
            assert "very-secret" not in log
            assert receiver.url + "/teams" not in log
        finally:
            for resource, name in ((CONFIG_MAPS, CONFIG_NAME), (SECRETS, SECRET_NAME)):
                await kube.delete(resource, SPACE, name)
            await kube.close()


def rule_of(obj: dict[str, Any]) -> str:
    assert metadata(obj)["name"]
    return str(obj["spec"]["metrics"][0]["successCondition"])
