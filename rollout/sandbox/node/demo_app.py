"""The application that pods run when the sandbox knows no other command for their image.

A plain script (`python -I -S demo_app.py`) with few imports: it starts in about 30 ms, and one process
answers some thousand requests per second, because two cores may run a whole sandbox of them. One
thread, one selector, HTTP/1.1 with keep-alive. What it does is set by its environment:

| variable | meaning | default |
|---|---|---|
| POD_IP, PORT | where it listens | 127.0.0.1, 8080 |
| VERSION | told in the header `x-version` and the body | unknown |
| ERROR_RATE | share of requests answered with 500, 0..1, spread evenly, the same for every pod of a name | 0 |
| LATENCY_MS | mean latency; at least 70 % of it, with an exponential tail above | 0 |
| START_DELAY | seconds before it listens | 0 |
| READY_DELAY | seconds from start until /ready says 200 | 0 |
| CRASH | `SECONDS` or `SECONDS:EXIT_CODE`: ends itself after that time | never |
| DRAIN_SECONDS | after SIGTERM it goes on serving that long (clients are told to close), then finishes | 1 |

Paths: `/`, `/api/...` (with errors and latency), `/health`, `/ready`, `/metrics` (Prometheus text).
Exit codes: 0 after SIGTERM, CRASH's own (1 if not given), 2 for an environment it does not understand.
"""

# A standalone script beside the package: it cannot use the package's clock.
# ruff: noqa: TID251

from __future__ import annotations

import heapq
import math
import os
import selectors
import signal
import socket
import sys
import time
import zlib
from types import FrameType

MAX_HEAD = 65_536
MAX_BODY = 10_485_760
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    411: "Length Required",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Settings:
    """The environment, understood. ValueError says which variable is wrong."""

    def __init__(self, env: dict[str, str]) -> None:
        self.host = env.get("POD_IP") or "127.0.0.1"
        self.port = int(_number(env, "PORT", 8080))
        self.version = env.get("VERSION") or "unknown"
        self.pod = env.get("POD_NAME") or "local"
        self.error_rate = _number(env, "ERROR_RATE", 0)
        if not 0 <= self.error_rate <= 1:
            raise ValueError(f"ERROR_RATE={self.error_rate} is not between 0 and 1")
        self.latency = _number(env, "LATENCY_MS", 0) / 1000
        self.start_delay = _number(env, "START_DELAY", 0)
        self.ready_delay = _number(env, "READY_DELAY", 0)
        self.drain = _number(env, "DRAIN_SECONDS", 1)
        seconds, _, code = env.get("CRASH", "").partition(":")
        self.crash_after = _number({"CRASH": seconds}, "CRASH", -1)
        self.crash_code = int(_number({"CRASH": code}, "CRASH", 1))


def _number(env: dict[str, str], name: str, default: float) -> float:
    text = env.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a number") from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}={text!r} is not a number from 0 upwards")
    return value


class Behaviour:
    """Which request fails and how long it takes: a fixed sequence for a pod's name."""

    def __init__(self, settings: Settings) -> None:
        self._rate = settings.error_rate
        self._latency = settings.latency
        self._state = zlib.crc32(settings.pod.encode())
        self._owed = self._draw()

    def _draw(self) -> float:
        # A linear congruential generator (Numerical Recipes' constants): `random` costs 8 ms to import.
        self._state = (self._state * 1664525 + 1013904223) & 0xFFFFFFFF
        return self._state / 2**32

    def fails(self) -> bool:
        """True for exactly `ERROR_RATE` of the calls in the long run, evenly spread."""
        self._owed += self._rate
        if self._owed < 1:
            return False
        self._owed -= 1
        return True

    def seconds(self) -> float:
        """A latency whose mean is LATENCY_MS: 70 % of it always, an exponential tail above."""
        if not self._latency:
            return 0.0
        return self._latency * (0.7 - 0.3 * math.log(1 - self._draw()))


class Metrics:
    """http_requests_total and http_request_duration_seconds in Prometheus' text format."""

    def __init__(self) -> None:
        self._requests: dict[tuple[int, str], int] = {}
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0

    def observe(self, code: int, method: str, seconds: float) -> None:
        self._requests[code, method] = self._requests.get((code, method), 0) + 1
        index = next((i for i, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self._buckets[index] += 1
        self._sum += seconds

    def text(self) -> str:
        lines = ["# HELP http_requests_total Requests answered.", "# TYPE http_requests_total counter"]
        lines += [
            f'http_requests_total{{code="{code}",method="{method}"}} {count}'
            for (code, method), count in sorted(self._requests.items())
        ]
        name = "http_request_duration_seconds"
        lines += [f"# HELP {name} Time to answer.", f"# TYPE {name} histogram"]
        total = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self._buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        lines += [f"{name}_sum {self._sum:.6f}", f"{name}_count {total}", ""]
        return "\n".join(lines)


class Refused(Exception):
    """A request that cannot be read; answered with `code`, then the connection is closed."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def parse(buffer: bytes) -> tuple[str, str, bool, int] | None:
    """(method, path, keep alive, length of the request) at the start of `buffer`; None if incomplete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > MAX_HEAD:
            raise Refused(431)
        return None
    head = buffer[:end].decode("latin-1").split("\r\n")
    words = head[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[0].isalpha():
        raise Refused(400)
    headers: dict[str, str] = {}
    for line in head[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise Refused(400)
        headers[name.lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise Refused(411)
    length = headers.get("content-length", "0")
    if not length.isdigit():
        raise Refused(400)
    if int(length) > MAX_BODY:
        raise Refused(413)
    total = end + 4 + int(length)
    if len(buffer) < total:
        return None
    connection = headers.get("connection", "").lower()
    keep = connection != "close" if words[2] == "HTTP/1.1" else connection == "keep-alive"
    return words[0], words[1].partition("?")[0], keep, total


class Connection:
    """One client. `busy` while a request of it is being answered."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.incoming = b""
        self.outgoing = b""
        self.busy = False
        self.closing = False


class Server:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.monotonic()
        self._behaviour = Behaviour(settings)
        self._metrics = Metrics()
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._timers: list[tuple[float, int, Connection, int, str, bytes, bool, float]] = []
        self._order = 0
        self._drain_until: float | None = None

    def listen(self) -> None:
        """Binds and listens. OSError if the address is taken."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self._settings.host, self._settings.port))
        self._listener.listen(1024)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)

    def run(self) -> int:
        """Serves until SIGTERM or CRASH; the exit code."""
        wake, alarm = socket.socketpair()
        alarm.setblocking(False)
        signal.set_wakeup_fd(alarm.fileno())
        signal.signal(signal.SIGTERM, self._drain)
        signal.signal(signal.SIGINT, self._drain)
        self._selector.register(wake, selectors.EVENT_READ, wake)
        while True:
            now = time.monotonic()
            if 0 <= self._settings.crash_after <= now - self._started:
                _say(f"crashing as told, exit code {self._settings.crash_code}")
                return self._settings.crash_code
            if self._drain_until is not None and now >= self._drain_until:
                self._stop_accepting()
                if not self._connections:
                    return 0
            self._answer_due(now)
            for key, events in self._selector.select(self._patience()):
                if key.data is None:
                    self._accept()
                elif isinstance(key.data, Connection):
                    self._serve(key.data, events)
                else:
                    key.data.recv(64)

    def _drain(self, _number: int, _frame: FrameType | None) -> None:
        if self._drain_until is None:
            self._drain_until = time.monotonic() + self._settings.drain

    def _patience(self) -> float | None:
        """Seconds until the next thing that happens by itself."""
        moments = [self._timers[0][0]] if self._timers else []
        if self._settings.crash_after >= 0:
            moments.append(self._started + self._settings.crash_after)
        if self._drain_until is not None:
            moments.append(max(self._drain_until, time.monotonic() + 0.01))
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _stop_accepting(self) -> None:
        """After the drain time: no new connections, idle ones closed; requests in flight are finished."""
        if self._listener.fileno() >= 0:
            _say("draining is over: no new connections")
            self._selector.unregister(self._listener)
            self._listener.close()
        for connection in [item for item in self._connections if not item.busy and not item.incoming]:
            self._close(connection)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock)
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _serve(self, connection: Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                data = connection.sock.recv(65_536)
                if not data:
                    self._close(connection)
                    return
                connection.incoming += data
            elif events & selectors.EVENT_WRITE:
                self._flush(connection)
            self._pump(connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _pump(self, connection: Connection) -> None:
        """Answers what has arrived, one request after the other, until one takes its time."""
        while not connection.busy and not connection.closing and connection.incoming:
            before = len(connection.incoming)
            self._next(connection)
            if len(connection.incoming) == before:
                return

    def _next(self, connection: Connection) -> None:
        """Starts to answer the next request, if a whole one is there."""
        try:
            request = parse(connection.incoming)
        except Refused as refused:
            connection.busy = True
            self._send(connection, refused.code, "GET", _body(REASONS[refused.code]), keep=False)
            return
        if request is None:
            return
        method, path, keep, length = request
        connection.incoming = connection.incoming[length:]
        connection.busy = True
        keep = keep and self._drain_until is None
        self._answer(connection, method, path, keep)

    def _answer(self, connection: Connection, method: str, path: str, keep: bool) -> None:
        if path == "/metrics":
            self._send(
                connection,
                200,
                method,
                self._metrics.text().encode(),
                keep=keep,
                content_type="text/plain; version=0.0.4",
            )
        elif path == "/health":
            self._send(connection, 200, method, _body("healthy"), keep=keep)
        elif path == "/ready":
            waited = time.monotonic() - self._started
            ready = waited >= self._settings.ready_delay and self._drain_until is None
            self._send(
                connection, 200 if ready else 503, method, _body("ready" if ready else "not ready"), keep=keep
            )
        else:
            code = (
                404
                if path != "/" and not path.startswith("/api")
                else 500
                if self._behaviour.fails()
                else 200
            )
            now, wait = time.monotonic(), self._behaviour.seconds()
            body = self._page(code, path)
            if wait:
                self._order += 1
                due = (now + wait, self._order, connection, code, method, body, keep, now)
                heapq.heappush(self._timers, due)
            else:
                self._metrics.observe(code, method, time.monotonic() - now)
                self._send(connection, code, method, body, keep=keep)

    def _page(self, code: int, path: str) -> bytes:
        page = f'"version":"{_quote(self._settings.version)}","pod":"{_quote(self._settings.pod)}","status":{code}'
        return f'{{{page},"path":"{_quote(path)}"}}\n'.encode()

    def _answer_due(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            _, _, connection, code, method, body, keep, began = heapq.heappop(self._timers)
            self._metrics.observe(code, method, now - began)
            if connection in self._connections:
                try:
                    self._send(connection, code, method, body, keep=keep)
                    self._pump(connection)
                except OSError:
                    self._close(connection)

    def _send(
        self,
        connection: Connection,
        code: int,
        method: str,
        body: bytes,
        *,
        keep: bool,
        content_type: str = "application/json",
    ) -> None:
        head = (
            f"HTTP/1.1 {code} {REASONS[code]}\r\ncontent-type: {content_type}\r\n"
            f"content-length: {len(body)}\r\nx-version: {self._settings.version}\r\n"
            f"{'' if keep else 'connection: close' + chr(13) + chr(10)}\r\n"
        )
        connection.closing = not keep
        connection.outgoing += head.encode("latin-1", "replace") + (b"" if method == "HEAD" else body)
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        try:
            sent = connection.sock.send(connection.outgoing)
        except BlockingIOError:
            sent = 0
        connection.outgoing = connection.outgoing[sent:]
        if connection.outgoing:
            self._selector.modify(connection.sock, selectors.EVENT_WRITE, connection)
            return
        if self._selector.get_key(connection.sock).events != selectors.EVENT_READ:
            self._selector.modify(connection.sock, selectors.EVENT_READ, connection)
        connection.busy = False
        if connection.closing:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._selector.unregister(connection.sock)
            connection.sock.close()


def _quote(text: str) -> str:
    safe = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(char if char >= " " else f"\\u{ord(char):04x}" for char in safe)


def _body(message: str) -> bytes:
    return f'{{"message":"{_quote(message)}"}}\n'.encode()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    try:
        settings = Settings(dict(os.environ))
    except ValueError as error:
        sys.stderr.write(f"{error}; correct it in the pod's env or in images.yaml\n")
        return 2
    if "\r" in settings.version or "\n" in settings.version:
        sys.stderr.write("VERSION has a line break; correct it in the pod's env or in images.yaml\n")
        return 2
    server = Server(settings)
    time.sleep(settings.start_delay)
    server.listen()
    _say(f"version {settings.version} listening on {settings.host}:{settings.port}")
    return server.run()


if __name__ == "__main__":
    sys.exit(main())
