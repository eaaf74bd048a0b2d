"""Watches and logs over real HTTPS."""

import asyncio

from rollout.api.resources import CONFIG_MAPS as RESOURCE
from rollout.sandbox.http import streams
from tests.unit.http.conftest import CONFIG_MAPS, PODS, TABLE, config_map
from tests.unit.http.test_server import pod


async def until(condition):
    """Waits for what another task brings about."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_watch_sends_what_is_there_and_then_what_happens(api):
    await api.http.post(CONFIG_MAPS, json=config_map("first"))
    async with api.watch(CONFIG_MAPS) as events:
        assert [(kind, obj["metadata"]["name"]) async for kind, obj in take(events, 1)] == [
            ("ADDED", "first")
        ]
        await api.http.post(CONFIG_MAPS, json=config_map("second"))
        await api.http.delete(f"{CONFIG_MAPS}/first")
        seen = [(kind, obj["metadata"]["name"]) async for kind, obj in take(events, 2)]
        assert seen == [("ADDED", "second"), ("DELETED", "first")]


async def take(events, count):
    for _ in range(count):
        yield await anext(events)


async def test_a_watch_from_a_version_sends_only_what_came_later(api):
    created = (await api.http.post(CONFIG_MAPS, json=config_map("first"))).json()
    await api.http.post(CONFIG_MAPS, json=config_map("second"))
    version = created["metadata"]["resourceVersion"]
    async with api.watch(CONFIG_MAPS, resourceVersion=version) as events:
        assert (await anext(events))[1]["metadata"]["name"] == "second"


async def test_a_watch_list_marks_the_end_of_what_was_there(api):
    await api.http.post(CONFIG_MAPS, json=config_map("first"))
    params = {
        "sendInitialEvents": "true",
        "allowWatchBookmarks": "true",
        "resourceVersionMatch": "NotOlderThan",
    }
    async with api.watch(CONFIG_MAPS, **params) as events:
        assert (await anext(events))[0] == "ADDED"
        kind, bookmark = await anext(events)
        assert kind == "BOOKMARK"
        assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_ends_by_itself_after_its_timeout_with_a_bookmark(api):
    async with api.watch(CONFIG_MAPS, timeoutSeconds="1", allowWatchBookmarks="true") as events:
        assert [kind async for kind, _ in events] == ["BOOKMARK"]


async def test_bookmarks_come_from_time_to_time(api, monkeypatch):
    monkeypatch.setattr(streams, "BOOKMARK_SECONDS", 0.01)
    async with api.watch(CONFIG_MAPS, allowWatchBookmarks="true") as events:
        assert (await anext(events))[1]["metadata"]["resourceVersion"] == api.storage.resource_version
    async with api.watch(CONFIG_MAPS, timeoutSeconds="1") as events:
        assert [kind async for kind, _ in events] == []


async def test_a_version_that_was_forgotten_is_a_gone_event_in_the_stream(api, monkeypatch):
    version = (await api.http.post(CONFIG_MAPS, json=config_map())).json()["metadata"]["resourceVersion"]
    for number in range(4100):
        api.storage.patch(RESOURCE, "default", "settings", {"data": {"n": str(number)}})
    async with api.watch(CONFIG_MAPS, resourceVersion=version) as events:
        kind, status = await anext(events)
        assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
        assert [event async for event in events] == []


async def test_a_watch_that_makes_no_sense_is_refused_before_it_starts(api):
    params = {"watch": "true", "labelSelector": "a in ("}
    assert (await api.http.get(CONFIG_MAPS, params=params)).status_code == 400
    assert api.server.open_streams == 0


async def test_a_client_that_goes_away_frees_its_watch(api):
    async with api.watch(CONFIG_MAPS):
        await until(lambda: api.server.open_streams == 1)
    await until(lambda: api.server.open_streams == 0)


async def test_a_watch_as_table_names_its_columns_once(api):
    await api.http.post(PODS, json=pod("first"))
    async with api.http.stream("GET", PODS, params={"watch": "true"}, headers={"accept": TABLE}) as response:
        lines = response.aiter_lines()
        first = await anext(lines)
        await api.http.post(PODS, json=pod("second"))
        second = await anext(lines)
    assert '"columnDefinitions":[{' in first
    assert '"columnDefinitions":[{' not in second
    assert '"second"' in second


async def test_many_events_that_are_ready_come_in_few_chunks(api):
    for number in range(200):
        api.storage.create(RESOURCE, "default", config_map(f"cm-{number}"))
    async with api.http.stream(
        "GET", CONFIG_MAPS, params={"watch": "true", "timeoutSeconds": "1"}
    ) as response:
        chunks = [chunk async for chunk in response.aiter_raw()]
    assert sum(chunk.count(b"\n") for chunk in chunks) == 200
    assert len(chunks) < 50


async def test_a_stopping_server_ends_its_watches(api):
    async with api.watch(CONFIG_MAPS) as events:
        await until(lambda: api.server.open_streams == 1)
        await api.server.stop()
        assert [event async for event in events] == []


async def test_a_log_is_asked_for_with_its_container_and_options(api):
    await api.http.post(PODS, json=pod())
    answer = await api.http.get(f"{PODS}/web/log", params={"tailLines": "5"})
    assert (answer.status_code, answer.text) == (200, "web tail=5\n")
    cut = await api.http.get(f"{PODS}/web/log", params={"limitBytes": "3"})
    assert cut.text == "web"


async def test_a_log_of_an_unknown_container_or_pod_is_refused(api):
    await api.http.post(PODS, json=pod())
    wrong = await api.http.get(f"{PODS}/web/log", params={"container": "other"})
    assert (wrong.status_code, wrong.json()["message"]) == (400, "container other is not valid for pod web")
    assert (await api.http.get(f"{PODS}/nobody/log")).status_code == 404
    assert (await api.http.get(f"{PODS}/web/log", params={"tailLines": "-1"})).status_code == 422


async def test_a_followed_log_ends_with_its_reader(api):
    await api.http.post(PODS, json=pod())
    async with api.http.stream("GET", f"{PODS}/web/log", params={"follow": "true"}) as response:
        lines = response.aiter_lines()
        assert [await anext(lines), await anext(lines)] == ["web tail=None", "following"]
        assert api.server.open_streams == 1
    await until(lambda: api.server.open_streams == 0)
