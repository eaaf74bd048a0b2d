"""People are told of every transition once: through crashes, restarts, other leaders, and services that fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import pytest

from rollout.api.meta import metadata
from rollout.api.resources import CONFIG_MAPS, ROLLOUTS, SECRETS, Resource
from rollout.errors import NoAnswer
from rollout.notify.config import CONFIG_NAME, SECRET_NAME
from rollout.notify.controller import ATTEMPTS
from rollout.notify.record import RECORD_NAME
from rollout.runtime.kube import Object
from tests.stories.faults import Faults, Kind
from tests.stories.notify_world import (
    HOOK,
    PAGER,
    SECRET_VALUES,
    SLACK,
    Notifier,
    Services,
    configure,
    record,
    response,
    subscribed,
)
from tests.stories.objects import analysis, canary, rollout, template
from tests.stories.world import NAMESPACE, World, play

EVERYTHING = (
    "on-rollout-updated", "on-rollout-step-completed", "on-rollout-paused", "on-rollout-waiting-for-approval",
    "on-rollout-resumed", "on-rollout-aborted", "on-rollout-rolled-back", "on-rollout-retry", "on-rollout-completed",
    "on-analysis-run-running", "on-analysis-run-successful", "on-analysis-run-failed", "on-gate-passed",
    "on-invalid-spec",
)  # fmt: skip
STEPS = (
    {"setWeight": 20},
    {"pause": {}},
    {"analysis": analysis()},
    {"setWeight": 60},
    {"pause": {"duration": 2}},
)
RELEASE = [
    "RolloutUpdated", "RolloutStepCompleted", "RolloutPaused", "RolloutWaitingForApproval", "RolloutResumed",
    "RolloutStepCompleted", "AnalysisRunRunning", "AnalysisRunSuccessful", "GatePassed", "RolloutStepCompleted", "RolloutStepCompleted",
    "RolloutPaused", "RolloutStepCompleted", "RolloutResumed", "RolloutCompleted",
]  # fmt: skip
Story = Callable[[World, Services], Awaitable[None]]


def told(story: Story, **more: Any) -> Services:
    found: list[Services] = []

    async def main(world: World) -> None:
        found.append(Services(world))
        await story(world, found[0])

    play(main, **more)
    return found[0]


async def deployed(world: World, *triggers: str, to: tuple[str, ...] = ("ci:",), steps: Any = STEPS) -> None:
    """v1 is there, and its owner wants to be told."""
    world.apply(template())
    world.apply(subscribed(rollout(canary(*steps)), *triggers, to=to))
    await world.phase("web", "Healthy")
    await world.clock.sleep(10.0)


async def telling(world: World, services: Services, *triggers: str, **more: Any) -> Notifier:
    """The notifier that leads; v1 is there, and its owner wants to be told."""
    configure(world)
    await deployed(world, *triggers, **more)
    one = Notifier(world, services)
    one.lead()
    await world.clock.sleep(5.0)
    return one


async def begun(world: World, services: Services, *triggers: str, **more: Any) -> Notifier:
    """The notifier that leads, with v2 at its first pause."""
    one = await telling(world, services, *triggers, **more)
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")
    return one


async def release(world: World) -> None:
    """v2 through all steps."""
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")
    await world.clock.sleep(5.0)
    world.promote("web")
    await world.phase("web", "Healthy")


async def quiet(world: World, services: Services, wanted: int = 0) -> None:
    """Until nothing is told any more."""
    await world.until("all told", lambda: len(services.asked) >= wanted, within=900)
    await world.clock.sleep(30.0)


def test_a_release_is_told_step_by_step_each_once_and_then_nobody_writes() -> None:
    async def story(world: World, services: Services) -> None:
        configure(world)
        await deployed(world, *EVERYTHING)
        await world.clock.sleep(60.0)
        one = Notifier(world, services)
        one.lead()
        await world.clock.sleep(5.0)
        await release(world)
        await quiet(world, services, len(RELEASE))
        before = len(services.asked)
        assert await world.rest(300.0) == 0
        assert len(services.asked) == before
        assert one.events.told == []
        await one.kill()

    services = told(story)
    assert sorted(services.told()) == sorted(RELEASE)
    assert services.told()[0] == "RolloutUpdated"
    assert services.told()[-1] in {"RolloutCompleted", "RolloutResumed"}
    assert set(services.ids().values()) == {1}


def test_without_subscriptions_nothing_is_asked_and_nothing_written_but_the_records_beginning() -> None:
    written: list[tuple[Resource, str]] = []

    async def story(world: World, services: Services) -> None:
        def note(_: str, resource: Resource, old: Object | None, new: Object | None) -> None:
            if resource in (CONFIG_MAPS, SECRETS) or resource.plural == "events":
                written.append((resource, metadata(new or old or {})["name"]))

        await deployed(world)
        one = Notifier(world, services)
        one.lead()
        await world.clock.sleep(5.0)
        world.storage.on_write(note)
        await release(world)
        await world.clock.sleep(60.0)
        assert written == [], "no configuration: no request at all"
        configure(world)
        await world.clock.sleep(60.0)
        del written[:2]  # the configuration itself
        world.set_image("web", "web:v3")
        await world.phase("web", "Paused")
        await one.kill()

    assert told(story).asked == []
    assert len(written) == 1, "since when we tell"


def aborting(world: World) -> None:
    world.judge.verdicts["web-"] = "Failed"


def test_an_aborted_release_opens_an_incident_and_the_next_good_one_resolves_it() -> None:
    async def story(world: World, services: Services) -> None:
        one = await telling(world, services, "on-rollout-aborted", to=("pagerdutyv2:shop",), steps=STEPS[2:3])
        world.set_image("web", "web:good")
        await world.phase("web", "Healthy")
        await world.clock.sleep(10.0)
        assert services.asked == [], "nothing is open, so nothing is resolved"
        aborting(world)
        world.set_image("web", "web:bad")
        await world.phase("web", "Degraded")
        await quiet(world, services, 1)
        await one.kill()
        world.judge.verdicts.clear()
        two = Notifier(world, services)  # another process: what is open is on record
        two.lead()
        world.set_image("web", "web:better")
        await world.phase("web", "Healthy")
        await quiet(world, services, 2)
        await two.kill()
        assert not any(name.startswith("open-") for name in record(world))

    opened, resolved = (one.body for one in told(story).of(PAGER))
    assert (opened["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == resolved["dedup_key"]
    assert opened["payload"]["severity"] == "critical"
    (evidence,) = opened["payload"]["custom_details"]["evidence"]
    assert evidence["phase"] == "Failed"


def test_messages_of_one_release_are_one_thread_also_for_the_next_process() -> None:
    async def story(world: World, services: Services) -> None:
        one = await begun(
            world,
            services,
            "on-rollout-updated",
            "on-rollout-paused",
            "on-rollout-completed",
            to=("slack:releases",),
        )
        await quiet(world, services, 2)
        await one.stop()
        two = Notifier(world, services)
        two.lead()
        world.promote("web")
        await world.phase("web", "Healthy")
        await quiet(world, services, 3)
        await two.kill()

    first, *rest = [one.body for one in told(story).of(SLACK)]
    assert first["channel"] == "releases"
    assert "thread_ts" not in first
    assert {(one["channel"], one["thread_ts"]) for one in rest} == {("C1", "1.5")}


# --- crashes, leaders ---------------------------------------------------------------------------------


async def eventful(world: World, services: Services, faults: Faults) -> None:
    """A release that is given up, tried again and completed, told by notifiers that crash as planned."""
    configure(world)
    await deployed(world, *EVERYTHING, steps=STEPS[:3])
    one = Notifier(world, services, faults=faults)
    one.lead()

    async def reborn() -> None:
        nonlocal one
        if one.crashed.is_set():
            await one.kill()
            one = Notifier(world, services, faults=faults)
            one.lead()

    async def through(seconds: float) -> None:
        for _ in range(int(seconds)):
            await world.clock.sleep(1.0)
            await reborn()

    await through(5)
    aborting(world)
    world.set_image("web", "web:v2")
    await world.phase("web", "Paused")
    await through(5)
    world.promote("web")
    await world.phase("web", "Degraded")
    await through(5)
    world.judge.verdicts.clear()
    world.command("web", {"abort": False})
    await world.phase("web", "Paused")
    await through(5)
    world.promote("web")
    await world.phase("web", "Healthy")
    await through(120)
    await one.kill()


WITHOUT = Faults()


def test_crash_points_are_counted() -> None:
    services = told(lambda world, services: eventful(world, services, WITHOUT))
    assert set(services.ids().values()) == {1}
    assert {"RolloutAborted", "RolloutRolledBack", "RolloutRetry", "RolloutCompleted"} <= set(services.told())
    assert 5 <= WITHOUT.count <= 40


@cache
def undisturbed() -> Services:
    return told(lambda world, services: eventful(world, services, Faults()))


@pytest.mark.parametrize("kind", ["crash-before", "crash-after", "lost-reply", "unavailable", "throttled"])
def test_whatever_happens_to_a_write_of_the_record_everything_is_told_and_doubled_only_by_a_crash_before_it(
    kind: Kind,
) -> None:
    clean = undisturbed()
    for number in (1, 2, 4, 5, 7, 8) if "crash" in kind else (3,):
        faults = Faults({number: kind})
        services = told(lambda world, services, faults=faults: eventful(world, services, faults))
        missing = set(clean.told()) - set(services.told())
        # What only a change tells of is lost with the process that saw it: "resumed", "retry", the last step.
        assert missing <= ({"RolloutResumed", "RolloutRetry"} if "crash" in kind else set()), (
            number,
            missing,
        )
        doubled = sum(count - 1 for count in services.ids().values())
        assert doubled <= (6 if kind == "crash-before" else 0), number
        if kind == "crash-before":
            assert max(services.ids().values()) <= 2, number


def test_a_standby_goes_on_where_the_leader_was_killed_and_loses_nothing_that_only_a_change_tells() -> None:
    async def story(world: World, services: Services) -> None:
        configure(world)
        await deployed(world, *EVERYTHING)
        one, two = Notifier(world, services), Notifier(world, services)
        one.lead()
        await world.clock.sleep(5.0)
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        await world.clock.sleep(5.0)
        await one.kill()
        world.promote("web")
        await world.phase("web", "Healthy")  # nobody leads meanwhile
        await world.clock.sleep(10.0)
        assert "RolloutResumed" not in services.told()
        two.lead()
        await quiet(world, services, len(RELEASE))
        await two.kill()

    services = told(story)
    assert sorted(services.told()) == sorted(RELEASE)
    assert set(services.ids().values()) == {1}


def test_who_does_not_lead_sends_nothing() -> None:
    async def story(world: World, services: Services) -> None:
        configure(world)
        await deployed(world, "on-rollout-updated")
        leads: list[bool] = []
        one = Notifier(world, services, leading=lambda: bool(leads))
        one.lead()
        await world.clock.sleep(5.0)
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        await world.clock.sleep(30.0)
        assert services.asked == []
        leads.append(True)
        await quiet(world, services, 1)
        await one.kill()

    assert told(story).told() == ["RolloutUpdated"]


# --- services that fail -------------------------------------------------------------------------------


def test_a_slow_service_delays_neither_the_release_nor_another_service() -> None:
    took: list[float] = []

    async def story(world: World, services: Services) -> None:
        services.seconds[SLACK] = 60.0  # beyond every deadline
        one = await telling(world, services, "on-rollout-updated", to=("slack:releases", "ci:"))
        since = world.clock.monotonic()
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        await quiet(world, services, 1)
        took.append(services.of(HOOK)[0].at - since)
        await one.kill()

    assert told(story).of(SLACK) == []
    assert took[0] < 5.0


def test_a_service_that_is_away_for_a_while_is_told_later_in_order_and_retry_after_is_kept() -> None:
    waited: list[float] = []

    async def story(world: World, services: Services) -> None:
        services.answers[HOOK] = [NoAnswer("away"), response(503), response(429, retry_after="20")]
        one = await telling(world, services, "on-rollout-updated", "on-rollout-paused")
        since = world.clock.monotonic()
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        await quiet(world, services, 2)
        waited.append(services.asked[0].at - since)
        await one.kill()

    services = told(story)
    assert services.told() == ["RolloutUpdated", "RolloutPaused"]
    assert waited[0] >= 23.0


def test_a_service_that_never_takes_it_is_given_up_said_once_and_not_tried_by_the_next_process() -> None:
    tries: list[int] = []

    async def story(world: World, services: Services) -> None:
        services.answers[HOOK] = [response(500)] * 100
        one = await begun(world, services, "on-rollout-updated")
        await world.clock.sleep(1200.0)
        tries.append(100 - len(services.answers[HOOK]))
        ((reason, message),) = one.events.told
        assert (reason, message) == (
            "NotificationFailed",
            "on-rollout-updated could not be sent to ci: HTTP 500",
        )
        await one.kill()
        two = Notifier(world, services)
        two.lead()
        await world.clock.sleep(1200.0)
        tries.append(100 - len(services.answers[HOOK]))
        await two.kill()

    told(story)
    assert tries == [ATTEMPTS, ATTEMPTS]


def test_what_a_service_refuses_for_good_is_not_tried_again() -> None:
    async def story(world: World, services: Services) -> None:
        answer = response(404, b"gone")
        services.answers[SLACK] = [answer, answer]
        one = await begun(world, services, "on-rollout-updated", to=("slack:nowhere",))
        await world.clock.sleep(300.0)
        assert services.answers[SLACK] == [answer]
        assert [reason for reason, _ in one.events.told] == ["NotificationFailed"]
        await one.kill()

    told(story)


def test_no_secret_is_in_an_event_or_the_record_whatever_goes_wrong() -> None:
    said: list[str] = []

    async def story(world: World, services: Services) -> None:
        for host in (SLACK, PAGER, HOOK):
            leaky = NoAnswer(
                f"POST https://{host}/hook: cannot connect with {' '.join(SECRET_VALUES.values())}"
            )
            services.answers[host] = [leaky] * 50
        one = await begun(world, services, "on-rollout-updated", to=("slack:a", "pagerdutyv2:shop", "ci:"))
        await world.clock.sleep(1200.0)
        assert len(one.events.told) == 3
        said.extend([*map(str, one.events.told), str(record(world))])
        await one.kill()

    told(story)
    assert "very-secret" not in "".join(said)


# --- configuration ------------------------------------------------------------------------------------


def test_a_trigger_that_does_not_exist_is_said_once() -> None:
    async def story(world: World, services: Services) -> None:
        configure(world)
        one = Notifier(world, services)
        one.lead()
        await world.clock.sleep(5.0)
        await deployed(world, "on-nope", "on-rollout-completed")
        await release(world)
        await quiet(world, services, 2)
        assert one.events.told == [("NotificationNotPossible", "there is no trigger on-nope")]
        await one.kill()

    assert set(told(story).told()) == {"RolloutCompleted"}


def test_what_is_wrong_with_the_configuration_is_said_once_and_the_rest_is_used() -> None:
    async def story(world: World, services: Services) -> None:
        configure(world, service__email="host: smtp.example")
        await deployed(world, "on-rollout-updated")
        one = Notifier(world, services)
        one.lead()
        await world.clock.sleep(5.0)
        world.patch(CONFIG_MAPS, CONFIG_NAME, {"data": {"context": "env: eu"}})
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        await quiet(world, services, 1)
        ((reason, message),) = one.events.told
        assert reason == "NotificationConfigInvalid"
        assert message.startswith("service.email: not supported yet: email")
        await one.kill()

    assert told(story).told() == ["RolloutUpdated"]


def test_a_record_that_somebody_has_deleted_is_begun_anew_and_nothing_is_told_again() -> None:
    async def story(world: World, services: Services) -> None:
        one = await begun(world, services, *EVERYTHING)
        await quiet(world, services, 4)
        world.storage.delete(CONFIG_MAPS, NAMESPACE, RECORD_NAME)
        await world.clock.sleep(10.0)
        world.promote("web")
        await world.phase("web", "Healthy")
        await quiet(world, services, len(RELEASE))
        await one.kill()

    services = told(story)
    assert sorted(services.told()) == sorted(RELEASE)
    assert set(services.ids().values()) == {1}


def test_a_new_subscription_tells_what_happens_from_now_on() -> None:
    async def story(world: World, services: Services) -> None:
        configure(world)
        one = Notifier(world, services)
        one.lead()
        await world.clock.sleep(5.0)
        await deployed(world)
        subscribe: Object = {"metadata": {"annotations": {}}}
        subscribed(subscribe, *EVERYTHING)
        world.patch(ROLLOUTS, "web", subscribe)
        default = "- recipients: ['ci:']\n  triggers: [on-rollout-completed]"
        world.patch(CONFIG_MAPS, CONFIG_NAME, {"data": {"subscriptions": default}})
        await world.clock.sleep(60.0)
        assert services.asked == []
        await one.kill()
        two = Notifier(world, services)
        two.lead()
        await world.clock.sleep(60.0)
        assert services.asked == [], "nor does another process"
        await release(world)
        await quiet(world, services, len(RELEASE))
        await two.kill()

    assert sorted(told(story).told()) == sorted(RELEASE)


def test_what_is_not_granted_is_said_with_its_role_holds_up_only_the_telling_and_heals_by_itself() -> None:
    async def story(world: World, services: Services) -> None:
        faults = Faults()
        faults.denied.add(CONFIG_MAPS)
        configure(world)
        await deployed(world, "on-rollout-updated")
        one = Notifier(world, services, faults=faults)
        one.lead()
        await world.clock.sleep(60.0)
        assert len(one.controller.lacks()) == len(one.controller.informers)
        for said in one.controller.lacks():
            assert "the controller may not watch configmaps" in said
            assert "the Role 'notifications' grants it" in said
        faults.denied.clear()
        await world.until("nothing lacks", lambda: one.controller.lacks() == [], within=120.0)
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        await quiet(world, services, 1)
        await one.kill()

    assert told(story).told() == ["RolloutUpdated"]


def test_a_secret_that_comes_later_is_waited_for() -> None:
    async def story(world: World, services: Services) -> None:
        configure(world)
        world.storage.delete(SECRETS, NAMESPACE, SECRET_NAME)
        await deployed(world, "on-rollout-updated")
        one = Notifier(world, services)
        one.lead()
        await world.clock.sleep(5.0)
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        await world.clock.sleep(2.0)
        assert services.asked == []
        configure(world)
        await quiet(world, services, 1)
        await one.kill()

    assert told(story).told() == ["RolloutUpdated"]


def test_the_signature_is_of_the_body() -> None:
    import hashlib
    import hmac

    from rollout.api.codec import encode

    async def story(world: World, services: Services) -> None:
        one = await begun(world, services, "on-rollout-updated")
        await quiet(world, services, 1)
        await one.kill()

    (asked,) = told(story).of(HOOK)
    digest = hmac.new(SECRET_VALUES["hmac"].encode(), encode(asked.body), hashlib.sha256).hexdigest()
    assert asked.headers["x-surefoot-signature-256"] == f"sha256={digest}"
