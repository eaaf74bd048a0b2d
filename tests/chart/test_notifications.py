"""What notifications get from the chart: a role in one namespace that holds just what they use, and their ConfigMap."""

import pytest

from rollout.notify.config import CONFIG_NAME, SECRET_NAME, parse
from rollout.notify.record import RECORD_NAME
from rollout.runtime.settings import ControllerConfig
from tests.chart.grants import Grant, ObedientKube, grants
from tests.chart.support import NAMESPACE, named, of_kind, rendered, template
from tests.stories import notify_world
from tests.stories.notify_world import Notifier, Services, configure
from tests.stories.test_notifications import deployed, quiet
from tests.stories.world import World, play

ON = {"notifications.enabled": True}
ROLE = "surefoot-notifications"
INFORMERS = {"rollouts", "analysisruns"}


def arguments(objects):
    return named(objects, "Deployment", "surefoot")["spec"]["template"]["spec"]["containers"][0]["args"]


def test_nothing_of_it_is_there_unless_it_is_switched_on():
    objects = rendered()
    assert ROLE not in {one["metadata"]["name"] for one in of_kind(objects, "Role", "ClusterRole")}
    assert not any("notifications" in one for one in arguments(objects))
    assert CONFIG_NAME not in {one["metadata"]["name"] for one in of_kind(objects, "ConfigMap")}


def test_the_controller_is_told_where_the_configuration_is():
    assert f"--notifications-namespace={NAMESPACE}" in arguments(rendered(more=ON))
    assert ControllerConfig().notifications_namespace == ""


def test_the_role_is_in_one_namespace_and_names_what_it_may_read():
    objects = rendered(more=ON)
    role = named(objects, "Role", ROLE)
    assert role["metadata"]["namespace"] == NAMESPACE
    for rule in role["rules"]:
        if rule["verbs"] != ["create"]:
            assert set(rule["resourceNames"]) <= {CONFIG_NAME, SECRET_NAME, RECORD_NAME}
    assert ROLE not in {one["metadata"]["name"] for one in of_kind(objects, "ClusterRole")}


def test_the_role_grants_what_is_used_and_no_more(monkeypatch):
    granted = grants(named(rendered(more=ON), "Role", ROLE)["rules"])
    others = {Grant(verb, "argoproj.io", one) for verb in ("list", "watch") for one in INFORMERS}
    asked: set[Grant] = set()

    def obedient(storage, **how):
        return ObedientKube(plain(storage, **how), granted | others, asked.add)

    plain = notify_world.StorageKube
    monkeypatch.setattr(notify_world, "StorageKube", obedient)

    async def story(world: World) -> None:
        services = Services(world)
        configure(world)
        await deployed(world, "on-rollout-updated")
        one = Notifier(world, services)
        one.lead()
        await world.clock.sleep(5.0)
        world.set_image("web", "web:v2")
        await quiet(world, services, 1)
        await one.kill()

    play(story)
    streamed = {one._replace(verb="list") for one in asked if one.verb == "watch"}
    assert granted == (asked | streamed) - others


def test_the_configuration_of_the_values_is_the_one_that_is_read():
    data = named(rendered("everything"), "ConfigMap", CONFIG_NAME)["data"]
    config, problems = parse(data)
    assert problems == []
    assert set(config.services) == {"slack"}


@pytest.mark.parametrize("config", [{"services.slack": "token: $a"}, {"service.slack": {"token": "$a"}}])
def test_the_schema_refuses_what_is_no_such_configuration(config):
    done = template(more={"notifications": {"enabled": True, "config": config}})
    assert done.returncode != 0
    assert "notifications" in done.stderr
