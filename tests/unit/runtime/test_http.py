"""The HTTP client for everything but Kubernetes: bounded, calm, and with no secrets in its messages."""

import asyncio
import gzip
import socket

import httpx
import pytest

from rollout.errors import ProviderError
from rollout.runtime.http import HttpClient, Request
from tests.unit.runtime.server import Hangup, Seen, http, replies, serving, stream_head


async def test_any_answer_is_a_response_whatever_its_status() -> None:
    async with replies(http(503, b"busy", X_Kind="a")) as server, HttpClient() as client:
        answer = await client.fetch(
            Request(
                url=f"{server.url}/q?x=1", method="POST", headers={"A": "b"}, params={"y": "2 3"}, body=b"hi"
            )
        )
    assert (answer.status, answer.text(), answer.headers["x-kind"]) == (503, "busy", "a")
    assert answer.elapsed_seconds >= 0
    seen = server.seen[0]
    assert (seen.method, seen.target, seen.headers["a"], seen.body) == ("POST", "/q?x=1&y=2+3", "b", b"hi")


async def test_a_body_above_the_bound_is_an_error_also_when_it_was_compressed() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    async with (
        replies(http(200, b"x" * 2000), http(200, bomb, Content_Encoding="gzip")) as server,
        HttpClient() as client,
    ):
        with pytest.raises(ProviderError, match="longer than 1000 bytes"):
            await client.fetch(Request(url=server.url), max_bytes=1000)
        with pytest.raises(ProviderError, match="longer than 1048576 bytes"):
            await client.fetch(Request(url=server.url))


async def test_redirects_are_not_followed_unless_asked_for() -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, b"there") if seen.target == "/b" else http(302, b"", Location="/b"))

    async with serving(answer) as server, HttpClient() as client:
        assert (await client.fetch(Request(url=server.url))).status == 302
        assert (await client.fetch(Request(url=server.url, follow_redirects=True))).text() == "there"


async def test_silence_before_and_within_an_answer_ends_at_the_deadline() -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.target == "/started":
            writer.write(stream_head() + b"1\r\nx\r\n")

    async with serving(answer) as server, HttpClient() as client:
        for path in ("/", "/started"):
            with pytest.raises(ProviderError, match=r"no answer within 0\.05 s"):
                await client.fetch(Request(url=server.url + path), deadline=0.05)


async def test_nobody_listening_is_said() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    async with HttpClient() as client:
        with pytest.raises(ProviderError, match=f"GET {url}: cannot connect"):
            await client.fetch(Request(url=url))


async def test_a_lost_connection_and_nonsense_are_errors() -> None:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.target == "/nonsense":
            writer.write(b"hello\r\n\r\n")
        raise Hangup

    async with serving(answer) as server, HttpClient() as client:
        for path in ("/", "/nonsense"):
            with pytest.raises(ProviderError, match=f"GET {server.url}{path}: .+"):
                await client.fetch(Request(url=server.url + path))


@pytest.mark.parametrize(
    "url", ["", "prometheus:9090", "ftp://h/x", "http://", "http://[::1", "http://h:99999999"]
)
async def test_what_is_no_url_is_an_error_before_anything_is_sent(url: str) -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError("sent")

    async with HttpClient(transport=httpx.MockTransport(never)) as client:
        with pytest.raises(ProviderError):
            await client.fetch(Request(url=url))


async def test_messages_hold_no_credentials() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("reset")

    async with HttpClient(transport=httpx.MockTransport(fail)) as client:
        with pytest.raises(ProviderError) as caught:
            await client.fetch(Request(url="https://user:s3cret@h:1/path?token=s3cret#s3cret"))
    assert str(caught.value) == "GET https://h:1/path: reset"


async def test_proxies_of_the_environment_are_used_unless_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with replies(http(200, b"from the proxy")) as proxy, replies(http(200, b"direct")) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with HttpClient() as client:
            assert (
                await client.fetch(Request(url="http://prometheus.monitoring:9090/"))
            ).text() == "from the proxy"
        async with HttpClient(proxies=False) as client:
            assert (await client.fetch(Request(url=server.url))).text() == "direct"
    assert proxy.seen[0].target == "http://prometheus.monitoring:9090/"
