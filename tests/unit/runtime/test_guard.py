"""Addresses that metrics may not ask are refused before anything is sent, whatever they are called."""

import asyncio
import contextlib

import pytest

from rollout.errors import ProviderError
from rollout.runtime.guard import GuardedFetch
from rollout.runtime.http import HttpClient, Request

HTML = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\nconnection: close\r\n\r\n<a/>"


@contextlib.asynccontextmanager
async def server(answer=HTML, host="127.0.0.1"):
    """A server that reads one request, remembers it and answers; gives its port and the list of requests."""
    seen = []

    async def talk(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
            for piece in answer if isinstance(answer, list) else [answer]:
                writer.write(piece)
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(talk, host, 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1], seen


@contextlib.asynccontextmanager
async def guard(**how):
    async with HttpClient() as client:
        yield GuardedFetch(client, **how)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/", "a link-local or metadata address"),
        ("http://[fd00:ec2::254]/", "a link-local or metadata address"),
        ("http://[::ffff:169.254.169.254]/", "a link-local or metadata address"),
        ("http://[64:ff9b::a9fe:a9fe]/", "a link-local or metadata address"),
        ("http://[fe80::1]/", "a link-local or metadata address"),
        ("http://100.100.100.200/", "a link-local or metadata address"),
        ("http://2852039166/", "a link-local or metadata address"),
        ("http://0xa9fea9fe/", "a link-local or metadata address"),
        ("http://127.0.0.1/", "a loopback address"),
        ("http://127.8.8.8/", "a loopback address"),
        ("http://localhost/", "a loopback address"),
        ("http://localhost./", "a loopback address"),
        ("http://[::1]/", "a loopback address"),
        ("http://127.1/", "a loopback address"),
        ("http://0.0.0.0/", "no address of a single host"),
        ("http://224.0.0.1/", "no address of a single host"),
        ("http://10.96.0.1/", "the address of the API server|may not be asked"),
        ("https://kubernetes.default.svc/api", "may not be asked"),
        ("https://KUBERNETES.default.svc./api", "may not be asked"),
        ("http:///x", "without a host"),
        ("http://[::1", "malformed"),
    ],
)
async def test_forbidden_addresses_are_refused(url, reason):
    async with guard(denied=["10.96.0.1", "kubernetes.default.svc"]) as guarded:
        with pytest.raises(ProviderError, match=reason):
            await guarded.fetch(Request(url=url), deadline=5.0)


async def test_loopback_can_be_allowed_and_the_host_header_stays_the_names():
    async with server() as (port, seen), guard(loopback=True) as guarded:
        answer = await guarded.fetch(Request(url=f"http://localhost:{port}/x"), deadline=5.0)

        assert (answer.status, answer.text()) == (200, "<a/>")
        assert f"host: localhost:{port}" in seen[0].lower()

        with pytest.raises(ProviderError, match="metadata"):
            await guarded.fetch(Request(url="http://169.254.169.254/"), deadline=5.0)


async def test_an_unknown_name_is_a_provider_error():
    async with guard() as guarded:
        with pytest.raises(ProviderError, match="cannot be resolved"):
            await guarded.fetch(Request(url="http://no-such-host.invalid/"), deadline=5.0)


async def test_redirects_are_never_followed():
    moved = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
    async with server(moved) as (port, seen), guard(loopback=True) as guarded:
        answer = await guarded.fetch(Request(url=f"http://127.0.0.1:{port}/"), deadline=5.0)
        assert (answer.status, len(seen)) == (302, 1)
        with pytest.raises(ProviderError, match="redirects"):
            await guarded.fetch(Request(url=f"http://127.0.0.1:{port}/", follow_redirects=True), deadline=5.0)


async def test_a_long_answer_and_a_slow_one_are_errors():
    endless = [b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 65536] * 20]
    async with server(endless) as (port, _), guard(loopback=True) as guarded:
        with pytest.raises(ProviderError, match="longer than 100000 bytes"):
            await guarded.fetch(Request(url=f"http://127.0.0.1:{port}/"), deadline=5.0, max_bytes=100_000)
    async with server([]) as (port, _), guard(loopback=True) as guarded:
        with pytest.raises(ProviderError):
            await guarded.fetch(Request(url=f"http://127.0.0.1:{port}/"), deadline=5.0)


async def test_names_behind_a_proxy_are_the_proxys_to_resolve(monkeypatch):
    async with server() as (port, seen):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        async with guard() as guarded:
            answer = await guarded.fetch(Request(url="http://prometheus.monitoring:9090/q"), deadline=5.0)
            assert answer.status == 200
            assert seen[0].startswith("GET http://prometheus.monitoring:9090/q")
            with pytest.raises(ProviderError, match="metadata"):
                await guarded.fetch(Request(url="http://169.254.169.254/"), deadline=5.0)


async def test_a_client_that_ignores_the_proxy_is_guarded_as_without_one(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with HttpClient(proxies=False) as client:
        with pytest.raises(ProviderError, match="a loopback address"):
            await GuardedFetch(client).fetch(Request(url="http://localhost/"), deadline=5.0)
