"""HttpKube and SyncKube: the same requests and errors on both, against a scripted server."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rollout import errors
from rollout.api.resources import NAMESPACES, PODS, ROLLOUTS
from rollout.runtime.client import HttpKube
from rollout.runtime.config import Connection
from rollout.runtime.kube import WatchEvent
from rollout.runtime.sync import SyncKube
from tests.unit.runtime.server import Hangup, Seen, Server, chunk, http, replies, serving, status, stream_head

POD = {"metadata": {"name": "a", "resourceVersion": "7"}}


class InThread:
    """SyncKube with the shape of HttpKube: each call in a thread, because the server lives in our loop."""

    def __init__(self, kube: SyncKube) -> None:
        self._kube = kube

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(getattr(self._kube, name), *args, **kwargs)

        return call

    async def watch(self, *args: Any, **kwargs: Any) -> AsyncIterator[WatchEvent]:
        events: Iterator[WatchEvent] = self._kube.watch(*args, **kwargs)
        while (event := await asyncio.to_thread(next, events, None)) is not None:
            yield event


@pytest.fixture(params=["http", "sync"])
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    @asynccontextmanager
    async def client(
        url: str, *, connection: dict[str, Any] | None = None, **settings: Any
    ) -> AsyncIterator[Any]:
        given = Connection(server=url, source="a test", **(connection or {}))
        if request.param == "http":
            kube = HttpKube(given, **settings)
            try:
                yield kube
            finally:
                await kube.close()
        else:
            settings.pop("in_flight", None)
            with SyncKube(given, **settings) as blocking:
                yield InThread(blocking)

    return client


async def test_get_asks_for_the_path_and_names_the_object(make: Any) -> None:
    async with replies(http(200, POD)) as server, make(server.url) as kube:
        found = await kube.get(PODS, "ns", "a")
    assert found == {"apiVersion": "v1", "kind": "Pod", **POD}
    assert (server.seen[0].method, server.seen[0].target) == ("GET", "/api/v1/namespaces/ns/pods/a")
    assert server.seen[0].headers["user-agent"] == "surefoot"


async def test_list_pages_carry_items_with_kind_and_the_token_of_the_next(make: Any) -> None:
    page = {"metadata": {"resourceVersion": "9", "continue": "x/y="}, "items": [POD]}
    async with replies(http(200, page)) as server, make(server.url) as kube:
        first = await kube.list(PODS, None, labels="app=a,b in (c)", fields="spec.x=1", limit=500)
        await kube.list(PODS, "ns", limit=500, continue_token=first.continue_token, resource_version="9")
        await kube.list(ROLLOUTS, "ns", resource_version="9", limit=1)
    assert (first.resource_version, first.continue_token) == ("9", "x/y=")
    assert first.items[0]["kind"] == "Pod"
    assert [seen.target for seen in server.seen] == [
        "/api/v1/pods?labelSelector=app%3Da%2Cb+in+%28c%29&fieldSelector=spec.x%3D1&limit=500",
        "/api/v1/namespaces/ns/pods?limit=500&continue=x%2Fy%3D",
        "/apis/argoproj.io/v1alpha1/namespaces/ns/rollouts?limit=1&resourceVersion=9&resourceVersionMatch=NotOlderThan",
    ]


async def test_writes_carry_field_manager_media_type_and_preconditions(make: Any) -> None:
    async with replies(http(200, POD)) as server, make(server.url, field_manager="me") as kube:
        await kube.create(PODS, "ns", {"x": 1}, dry_run=True)
        await kube.replace(PODS, "ns", "a", {"x": 2}, subresource="status")
        await kube.patch(PODS, "ns", "a", {"x": 3})
        await kube.patch(PODS, "ns", "a", [{"op": "test"}], type="json", subresource="scale")
        await kube.patch(PODS, "ns", "a", {"x": 4}, type="apply", force=True)
        await kube.delete(
            NAMESPACES, None, "n", uid="u", resource_version="7", propagation="Foreground", grace_seconds=0
        )
    assert [(s.method, s.target, s.headers["content-type"], json.loads(s.body)) for s in server.seen] == [
        ("POST", "/api/v1/namespaces/ns/pods?fieldManager=me&dryRun=All", "application/json", {"x": 1}),
        ("PUT", "/api/v1/namespaces/ns/pods/a/status?fieldManager=me", "application/json", {"x": 2}),
        ("PATCH", "/api/v1/namespaces/ns/pods/a?fieldManager=me", "application/merge-patch+json", {"x": 3}),
        (
            "PATCH",
            "/api/v1/namespaces/ns/pods/a/scale?fieldManager=me",
            "application/json-patch+json",
            [{"op": "test"}],
        ),
        (
            "PATCH",
            "/api/v1/namespaces/ns/pods/a?fieldManager=me&force=true",
            "application/apply-patch+yaml",
            {"x": 4},
        ),
        (
            "DELETE",
            "/api/v1/namespaces/n",
            "application/json",
            {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "preconditions": {"uid": "u", "resourceVersion": "7"},
                "gracePeriodSeconds": 0,
                "propagationPolicy": "Foreground",
            },
        ),
    ]


async def test_token_and_impersonation_are_sent(make: Any) -> None:
    who = {"token": "t0", "impersonate": "jane", "impersonate_groups": ("dev", "ops")}
    async with replies(http(200, POD)) as server, make(server.url, connection=who) as kube:
        await kube.get(PODS, "ns", "a")
    headers = server.seen[0].headers
    assert headers["authorization"] == "Bearer t0"
    assert headers["impersonate-user"] == "jane"
    assert headers["impersonate-group"] == "ops"  # the last of two headers of that name


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (404, "NotFound", errors.NotFound),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Expired),
        (422, "Invalid", errors.Invalid),
        (403, "Forbidden", errors.Forbidden),
        (413, "RequestEntityTooLarge", errors.TooLarge),
        (500, "InternalError", errors.Unavailable),
        (504, "Timeout", errors.Timeout),
    ],
)
async def test_status_bodies_become_the_errors_they_name(
    make: Any, code: int, reason: str, kind: type
) -> None:
    async with replies(http(code, status(code, reason, "pods is sad"))) as server, make(server.url) as kube:
        with pytest.raises(kind, match="pods is sad"):
            await kube.patch(PODS, "ns", "a", {})
    assert len(server.seen) == 1


async def test_a_failure_that_is_no_status_is_told_with_what_was_said(make: Any) -> None:
    async with replies(http(502, b"<html>bad\n gateway</html>")) as server, make(server.url) as kube:
        with pytest.raises(errors.Unavailable, match=r"HTTP 502 .*<html>bad gateway"):
            await kube.get(PODS, "ns", "a")
    assert len(server.seen) == 1


async def test_a_throttled_read_is_repeated(make: Any) -> None:
    busy = http(429, status(429, "TooManyRequests"), Retry_After="0")
    async with replies(busy, busy, http(200, POD)) as server, make(server.url) as kube:
        assert (await kube.get(PODS, "ns", "a"))["kind"] == "Pod"
    assert len(server.seen) == 3


async def test_a_read_that_stays_throttled_ends_in_an_error(make: Any) -> None:
    busy = http(429, status(429, "TooManyRequests"), Retry_After="0")
    async with replies(busy) as server, make(server.url) as kube:
        with pytest.raises(errors.Throttled):
            await kube.get(PODS, "ns", "a")
    assert len(server.seen) == 4


async def test_a_throttled_write_is_never_repeated_and_says_when(make: Any) -> None:
    async with (
        replies(http(429, status(429, "TooManyRequests"), Retry_After="17")) as server,
        make(server.url) as kube,
    ):
        with pytest.raises(errors.Throttled) as caught:
            await kube.create(PODS, "ns", {})
    assert caught.value.after == 17
    assert len(server.seen) == 1


async def test_nobody_listening_means_not_sent(make: Any) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    async with make(url) as kube:
        with pytest.raises(errors.Unavailable, match="cannot connect") as caught:
            await kube.create(PODS, "ns", {})
    assert caught.value.sent is False


async def test_a_connection_lost_after_sending_may_have_had_an_effect_and_is_not_repeated(make: Any) -> None:
    async with replies(b"") as server, make(server.url) as kube:
        for _ in range(2):
            with pytest.raises(errors.Unavailable, match="connection broke") as caught:
                await kube.delete(PODS, "ns", "a")
            assert caught.value.sent is True
    assert len(server.seen) == 2


async def test_a_write_on_a_kept_connection_that_breaks_is_not_sent_twice(make: Any) -> None:
    async with replies(http(200, POD), b"") as server, make(server.url) as kube:
        await kube.get(PODS, "ns", "a")
        with pytest.raises(errors.Unavailable) as caught:
            await kube.replace(PODS, "ns", "a", {})
        assert caught.value.sent is True
    assert [seen.method for seen in server.seen] == ["GET", "PUT"]


async def test_an_answer_cut_short_may_have_had_an_effect(make: Any) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, POD)[:-4])
        raise Hangup

    async with serving(answer) as server, make(server.url) as kube:
        with pytest.raises(errors.Unavailable) as caught:
            await kube.patch(PODS, "ns", "a", {})
    assert caught.value.sent is True


async def test_silence_ends_at_the_deadline(make: Any) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        pass

    async with serving(answer) as server, make(server.url, deadline=0.5) as kube:
        with pytest.raises(errors.Timeout, match=r"no answer within 0\.5 s") as caught:
            await kube.create(PODS, "ns", {})
    assert caught.value.sent is True


async def test_a_body_above_the_servers_limit_is_not_sent(make: Any) -> None:
    async with replies(http(200, POD)) as server, make(server.url) as kube:
        with pytest.raises(errors.TooLarge, match="3145728"):
            await kube.create(PODS, "ns", {"data": "x" * (3 * 1024 * 1024)})
    assert server.seen == []


async def test_names_cannot_climb_out_of_their_path(make: Any) -> None:
    async with replies(http(200, POD)) as server, make(server.url) as kube:
        with pytest.raises(errors.BadRequest):
            await kube.get(PODS, "..", "a")
        await kube.get(PODS, "ns", "../../x?y")
    assert [seen.target for seen in server.seen] == ["/api/v1/namespaces/ns/pods/..%2F..%2Fx%3Fy"]


async def test_a_rotated_token_is_read_again_after_a_401(make: Any, tmp_path: Any) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.headers["authorization"] == "Bearer old":
            token.write_text("new\n")
            writer.write(http(401, status(401, "Unauthorized")))
        else:
            writer.write(http(200, POD))

    async with serving(answer) as server, make(server.url, connection={"token_file": str(token)}) as kube:
        await kube.create(PODS, "ns", {})
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer old", "Bearer new"]


async def test_a_refused_literal_token_is_an_error_at_once(make: Any) -> None:
    async with (
        replies(http(401, status(401, "Unauthorized"))) as server,
        make(server.url, connection={"token": "x"}) as kube,
    ):
        with pytest.raises(errors.Unauthorized):
            await kube.get(PODS, "ns", "a")
    assert len(server.seen) == 1


async def test_logs_are_text(make: Any) -> None:
    async with replies(http(200, b"one\ntwo \xff\n")) as server, make(server.url) as kube:
        assert await kube.log("ns", "a", container="c", tail=2) == "one\ntwo \ufffd\n"
    assert server.seen[0].target == "/api/v1/namespaces/ns/pods/a/log?container=c&tailLines=2"


# --- watches ----------------------------------------------------------------------------------------


def event(kind: str, version: str, **more: Any) -> bytes:
    return json.dumps(
        {"type": kind, "object": {"metadata": {"name": "a", "resourceVersion": version}, **more}}
    ).encode()


@asynccontextmanager
async def watched(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> AsyncIterator[Server]:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(stream_head() + b"".join(chunk(c) for c in chunks) + end)
        if not end:
            raise Hangup

    async with serving(answer) as server:
        yield server


async def collect(kube: Any, **options: Any) -> list[tuple[str, str]]:
    return [
        (e.type, e.object["metadata"]["resourceVersion"]) async for e in kube.watch(PODS, "ns", **options)
    ]


async def test_a_watch_yields_events_and_ends_quietly(make: Any) -> None:
    lines = event("ADDED", "1") + b"\n" + event("BOOKMARK", "2") + b"\n\n" + event("DELETED", "3") + b"\n"
    async with watched(lines[:30], lines[30:31], lines[31:]) as server, make(server.url) as kube:
        assert await collect(kube, resource_version="0", timeout_seconds=300) == [
            ("ADDED", "1"),
            ("BOOKMARK", "2"),
            ("DELETED", "3"),
        ]
    assert server.seen[0].target == (
        "/api/v1/namespaces/ns/pods?watch=1&allowWatchBookmarks=true&resourceVersion=0&timeoutSeconds=300"
    )


async def test_lines_of_more_than_a_mebibyte_are_whole(make: Any) -> None:
    long = event("ADDED", "1", data="x" * 3_000_000) + b"\n"
    async with (
        watched(*(long[i : i + 65536] for i in range(0, len(long), 65536))) as server,
        make(server.url) as kube,
    ):
        assert await collect(kube) == [("ADDED", "1")]


async def test_an_error_event_of_410_is_expired(make: Any) -> None:
    line = json.dumps(
        {"type": "ERROR", "object": status(410, "Expired", "too old resource version")}
    ).encode()
    async with watched(event("ADDED", "1") + b"\n" + line + b"\n") as server, make(server.url) as kube:
        with pytest.raises(errors.Expired, match="too old"):
            await collect(kube)


async def test_a_refused_watch_raises_the_status(make: Any) -> None:
    async with replies(http(410, status(410, "Expired"))) as server, make(server.url) as kube:
        with pytest.raises(errors.Expired):
            await collect(kube)


async def test_a_watch_cut_inside_a_line_yields_the_whole_lines_then_fails(make: Any) -> None:
    seen: list[str] = []

    async def read(kube: Any) -> None:
        async for e in kube.watch(PODS, "ns"):
            seen.append(e.object["metadata"]["resourceVersion"])  # noqa: PERF401 - kept when it fails

    async with (
        watched(event("ADDED", "1") + b"\n" + event("ADDED", "2")[:20]) as server,
        make(server.url) as kube,
    ):
        with pytest.raises(errors.Unavailable, match="cut short"):
            await read(kube)
    assert seen == ["1"]


async def test_a_broken_watch_is_unavailable(make: Any) -> None:
    async with watched(event("ADDED", "1") + b"\n", end=b"") as server, make(server.url) as kube:
        with pytest.raises(errors.Unavailable):
            await collect(kube)


async def test_a_silent_watch_is_told(make: Any) -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(stream_head() + chunk(event("ADDED", "1") + b"\n"))

    async with serving(answer) as server, make(server.url, watch_silence=0.05) as kube:
        with pytest.raises(errors.Timeout):
            await collect(kube)


# --- HttpKube alone ---------------------------------------------------------------------------------


async def test_streaming_lists_are_asked_for_as_the_api_wants() -> None:
    async with watched() as server:
        kube = HttpKube(Connection(server=server.url, source="a test"))
        assert [e async for e in kube.watch(ROLLOUTS, None, send_initial_events=True)] == []
        await kube.close()
    assert server.seen[0].target.endswith(
        "?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    )


async def test_no_more_than_the_bound_are_in_flight_and_requests_are_counted() -> None:
    now, most = 0, 0

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(20):
            await asyncio.sleep(0)
        now -= 1
        writer.write(http(200, POD))

    async with serving(answer) as server:
        kube = HttpKube(Connection(server=server.url, source="a test"), in_flight=5)
        await asyncio.gather(*(kube.get(PODS, "ns", "a") for _ in range(30)))
        assert kube.requests == {("get", "pods", "200"): 30}
        await kube.close()
    assert most == 5


async def test_waiting_for_a_place_past_the_deadline_was_not_sent() -> None:
    arrived = asyncio.Event()

    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        arrived.set()

    async with serving(answer) as server:
        kube = HttpKube(Connection(server=server.url, source="a test"), in_flight=1)
        first = asyncio.create_task(kube.create(PODS, "ns", {}))
        await arrived.wait()
        kube._deadline = 0.05
        with pytest.raises(errors.Timeout) as caught:
            await kube.create(PODS, "ns", {})
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await kube.close()
    assert caught.value.sent is False
    assert len(server.seen) == 1


async def test_eviction_forbidden_by_a_budget_is_throttled() -> None:
    busy = http(429, status(429, "TooManyRequests", "Cannot evict pod", details={"retryAfterSeconds": 10}))
    async with replies(busy) as server:
        kube = HttpKube(Connection(server=server.url, source="a test"))
        with pytest.raises(errors.Throttled) as caught:
            await kube.evict("ns", "a", uid="u", grace_seconds=1)
        assert kube.requests == {("create", "pods/eviction", "429"): 1}
        await kube.close()
    assert caught.value.after == 10
    assert json.loads(server.seen[0].body)["deleteOptions"]["preconditions"] == {"uid": "u"}
