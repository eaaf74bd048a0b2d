"""The providers web and http: what they ask, what they make of every answer, and what they never tell."""

import asyncio
import base64
import json
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.judge import judge, text
from analysis.providers.http import Http
from analysis.providers.web import Web, read
from rollout.api.analysis import Metric
from rollout.core import jsonpath
from rollout.errors import NoAnswer, ProviderError
from rollout.runtime.clock import SystemClock
from rollout.runtime.guard import GuardedFetch
from rollout.runtime.http import HttpClient, Response

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Server:
    """Answers by path, and remembers what it was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    async def __call__(self, request, *, deadline, max_bytes):
        self.asked.append((request, deadline, max_bytes))
        answer = self.answers[request.url.rpartition("/")[2].partition("?")[0]]
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Response(status=status, headers={}, body=content, elapsed_seconds=0.0125)


def metric(provider, **body):
    return Metric(name="m", provider={provider: {"url": "http://api:8080/x?y=1", **body}})


async def web(answer, secrets=None, **body):
    server = Server(x=answer)
    reading = await Web(server).measure(metric("web", **body), secrets or {}, NOW)
    return reading.value, server.asked[0]


DOCUMENT = {"data": {"ok": True, "rates": [0.5, 0.25], "items": [{"n": "a", "v": 1}, {"n": "b", "v": 2}]}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("{$.data.ok}", True),
        ("{.data.ok}", True),
        ("$.data.rates", [0.5, 0.25]),
        ("{$.data.rates[0]}", 0.5),
        ("{$.data.rates[-1]}", 0.25),
        ("{$.data.rates[*]}", [0.5, 0.25]),
        ('{$.data.items[?(@.n=="b")].v}', 2),
        ("{$..v}", [1, 2]),
        ("{$.data.none}", None),
        ("{$}", DOCUMENT),
        ("", DOCUMENT),
    ],
)
async def test_the_value_is_what_the_path_leads_to(path, value):
    assert (await web(DOCUMENT, jsonPath=path))[0] == value


async def test_an_answer_that_is_no_json_is_its_text_and_leads_nowhere_with_a_path():
    assert (await web(b"all good"))[0] == "all good"
    with pytest.raises(ProviderError, match=r"http://api:8080/x did not answer with JSON"):
        await web(b"all good", jsonPath="{$.a}")


@pytest.mark.parametrize("status", [199, 301, 404, 500])
async def test_any_status_but_2xx_is_an_error_that_repeats_nothing_of_the_answer(status):
    with pytest.raises(ProviderError) as told:
        await web((status, b"secret inside"))
    assert f"HTTP {status}" in str(told.value)
    assert "secret" not in str(told.value)
    assert "y=1" not in str(told.value)


async def test_what_is_asked_follows_the_fields():
    _, (request, deadline, _) = await web(
        {},
        secrets={"token": "t0p"},
        method="POST",
        headers=[{"key": "Authorization", "value": "Bearer {{args.token}}"}],
        jsonBody={"query": "x"},
        timeoutSeconds="3",
        insecure=True,
    )
    assert (request.method, request.body, request.verify, deadline) == ("POST", b'{"query":"x"}', False, 3.0)
    assert request.headers == {"authorization": "Bearer t0p", "content-type": "application/json"}
    assert not request.follow_redirects
    _, (request, deadline, limit) = await web({}, method="PUT", body="plain")
    assert (request.body, deadline, limit) == (b"plain", 10.0, 1 << 20)
    assert Web(Server()).asked(metric("web")) == {"url": "GET http://api:8080/x"}


async def test_oauth2_fetches_a_token_with_the_clients_secret_and_tells_neither():
    oauth = {
        "tokenUrl": "http://login/token",
        "clientId": "me",
        "clientSecret": "{{args.s}}",
        "scopes": ["a", "b"],
    }
    server = Server(x={"ok": 1}, token={"access_token": "abc"})
    body = metric("web", authentication={"oauth2": oauth})
    await Web(server).measure(body, {"s": "p&w"}, NOW)
    (token, _, _), (request, _, _) = server.asked
    assert base64.b64decode(token.headers["authorization"].removeprefix("Basic ")) == b"me:p%26w"
    assert token.body == b"grant_type=client_credentials&scope=a+b"
    assert request.headers["authorization"] == "Bearer abc"

    for bad in ((401, {"error": "p&w"}), {"access_token": 7}, b"<html>", {"access_token": "a\nb"}):
        with pytest.raises(ProviderError) as told:
            await Web(Server(x={}, token=bad)).measure(body, {"s": "p&w"}, NOW)
        assert "p&w" not in str(told.value)


async def test_a_secret_with_a_line_break_never_becomes_a_header():
    with pytest.raises(ProviderError, match="line break"):
        await web({}, secrets={"t": "a\r\nx: y"}, headers=[{"key": "k", "value": "{{args.t}}"}])


@given(st.binary(max_size=200), st.sampled_from(["", "{$.a}", "{$..a[*]}"]), st.integers(100, 599))
def test_any_answer_is_a_reading_or_a_provider_error(body, path, status):
    try:
        read(status, body, path, "http://x")
    except ProviderError:
        return
    assert 200 <= status < 300


def test_a_path_that_leads_to_too_much_is_refused_in_bounded_time():
    deep = value = {}
    for _ in range(900):
        value["a"] = {}
        value = value["a"]
    with pytest.raises(ValueError, match="too many values"):
        jsonpath.find(jsonpath.compiled("{$..a..a..a}"), deep)
    with pytest.raises(ValueError, match="more than 1000"):
        jsonpath.compiled("$" + ".a" * 600)


# --- http ---------------------------------------------------------------------------------------------


async def http(answer, **body):
    return await Http(Server(x=answer), SystemClock()).measure(metric("http", **body), {}, NOW)


async def test_a_probe_has_status_body_and_latency_and_its_record_has_no_body():
    reading = await http((503, {"reason": "password is x"}))
    assert reading.value == {
        "status": 503,
        "latencyMs": 12.5,
        "error": "",
        "body": {"reason": "password is x"},
    }
    assert (reading.phase, reading.message) == ("Failed", "HTTP 503")
    probe = Metric(name="m", success_condition="result.body.reason == 'x'")
    _, said = judge(probe, reading.value, NOW, record=reading.record)
    assert "password" not in said + text(reading.record)
    assert (await http((204, b""))).phase == "Successful"
    assert len((await http((200, b"x" * 10_000))).value["body"]) == 4096


async def test_nobody_there_is_a_sample_and_a_forbidden_address_is_an_error():
    reading = await http(NoAnswer("GET http://api: cannot connect: refused"))
    assert (reading.value["status"], reading.phase) == (0, "Failed")
    assert "refused" in reading.value["error"]
    with pytest.raises(ProviderError):
        await http(ProviderError("169.254.169.254 is a link-local address"))


def refused(request):
    raise httpx.ConnectError("refused")


def broken(request):
    raise httpx.ReadError("reset")


@pytest.mark.parametrize("transport", [refused, broken])
async def test_through_the_guard_a_broken_connection_is_a_sample(transport):
    async with HttpClient(transport=httpx.MockTransport(transport), proxies=False) as client:
        guard = GuardedFetch(client, loopback=True)
        probe = Http(guard.fetch, SystemClock())
        body = {"http": {"url": "http://127.0.0.1:9/x"}}
        reading = await probe.measure(Metric(name="m", provider=body), {}, NOW)
        assert reading.value["status"] == 0


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/x", "http://127.0.0.1:1/x", "http://[::1]/", "http://0x/"]
)
@pytest.mark.parametrize("provider", ["http", "web"])
async def test_through_the_guard_a_forbidden_address_is_an_error_of_both(provider, url):
    async with HttpClient(transport=httpx.MockTransport(refused), proxies=False) as client:
        fetch = GuardedFetch(client).fetch
        asking = Http(fetch, SystemClock()) if provider == "http" else Web(fetch)
        with pytest.raises(ProviderError) as told:
            await asking.measure(Metric(name="m", provider={provider: {"url": url}}), {}, NOW)
        assert not isinstance(told.value, NoAnswer)


async def test_a_timeout_really_stops_and_is_a_sample():
    async def silent(reader, writer):
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, HttpClient(proxies=False) as client:
        probe = Http(GuardedFetch(client, loopback=True).fetch, SystemClock())
        body = {"http": {"url": f"http://127.0.0.1:{port}/", "timeout": "100ms"}}
        reading = await probe.measure(Metric(name="m", provider=body), {}, NOW)
    assert reading.value["status"] == 0
    assert "no answer within 0.1 s" in reading.value["error"]
