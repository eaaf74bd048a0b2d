"""One case played on one API server: sends requests and writes down what was answered.

A case is a function of a `Play`. The same function is played on several servers; what they answered is compared
after `normal.transcript` took out what no two servers have in common (uids, times, versions).
"""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from rollout.runtime.clock import SystemClock

CLOCK = SystemClock()
Json = Any
Case = Callable[["Play"], None]
JSON, MERGE, STRATEGIC, JSON_PATCH, APPLY = (
    "application/json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)
PATIENCE = 60.0
"""Seconds that a case waits for what a controller is to do, and a request for its answer."""
_KEPT_HEADERS = ("content-type", "warning", "retry-after", "location", "allow")

CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Registers a case by its function's name, which says what the server should do."""
    if function.__name__ in CASES:
        raise ValueError(f"there are two cases {function.__name__}")
    CASES[function.__name__] = function
    return function


@dataclass(frozen=True)
class Answer:
    """What one request was answered. `body` is JSON where the server said so, else text."""

    status: int
    headers: Mapping[str, str]
    body: Json

    @property
    def meta(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["metadata"]
        return found


@dataclass(frozen=True)
class Exchange:
    """One line of a transcript."""

    request: str
    status: int
    headers: Mapping[str, str]
    body: Json


@dataclass
class Play:
    """`client` speaks to the server as its administrator; `{ns}` in paths is `namespace`."""

    client: httpx.Client
    namespace: str
    transcript: list[Exchange] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        type: str = JSON,
        accept: str = JSON,
        kept: bool = True,
        headers: Mapping[str, str] | None = None,
        **query: Json,
    ) -> Answer:
        """One request. `body`: bytes as they are, anything else as JSON. `kept`: it counts in the comparison."""
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = (
            {"accept": accept} | ({"content-type": type} if sent is not None else {}) | dict(headers or {})
        )
        asked = self.client.build_request(
            method, self.path(path), params=query, content=sent, headers={k: v for k, v in given.items() if v}
        )
        got = self.client.send(asked)
        answer = Answer(got.status_code, got.headers, _decoded(got))
        if kept:
            self._note(_named(method, path, query), answer.status, got.headers, answer.body)
        return answer

    def get(self, path: str, **more: Json) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Json, **more: Json) -> Answer:
        return self.ask("POST", path, body, **more)

    def put(self, path: str, body: Json, **more: Json) -> Answer:
        return self.ask("PUT", path, body, **more)

    def patch(self, path: str, body: Json, type: str = MERGE, **more: Json) -> Answer:
        return self.ask("PATCH", path, body, type=type, **more)

    def delete(self, path: str, body: Json = None, **more: Json) -> Answer:
        return self.ask("DELETE", path, body, **more)

    def apply(self, path: str, body: Json, manager: str = "tester", **more: Json) -> Answer:
        sent = yaml.safe_dump(body).encode()
        return self.ask("PATCH", path, sent, type=APPLY, fieldManager=manager, **more)

    def make(self, path: str, *bodies: Json) -> list[Answer]:
        """Creates what a case begins with; not part of the comparison."""
        answers = [self.post(path, one, kept=False) for one in bodies]
        assert all(one.status == 201 for one in answers), [one.body for one in answers]
        return answers

    def watch(
        self, path: str, events: int, *, meanwhile: Callable[[], object] | None = None, **query: Json
    ) -> list[Json]:
        """The first `events` of a watch, or fewer when the server ends it. `meanwhile` runs once it is open."""
        seen: list[Json] = []
        params = {"watch": "1", "timeoutSeconds": "30", **query}
        accept = params.pop("accept", JSON)
        with self.client.stream("GET", self.path(path), params=params, headers={"accept": accept}) as stream:
            if meanwhile is not None:
                meanwhile()
            for line in stream.iter_lines():
                if not line:
                    continue
                one = json.loads(line)
                if one["type"] == "BOOKMARK" and "annotations" not in one["object"].get("metadata", {}):
                    continue  # those come when the server likes
                seen.append(one)
                if len(seen) == events or one["type"] == "ERROR":
                    break
            self._note(_named("WATCH", path, query), stream.status_code, stream.headers, seen)
        return seen

    def note(self, what: str, value: Json) -> None:
        """Puts a part of an answer into the comparison, where the whole cannot be the same."""
        self._note(what, 0, {}, value)

    def until(self, met: Callable[[], bool]) -> None:
        """Waits for what the server's controllers do in their own time."""
        wait_until(met)

    def until_cached(self, path: str, version: str) -> None:
        """Waits until reads that may be stale (resourceVersion 0, or any but the newest) know this version."""
        self.until(lambda: self.get(path, resourceVersion=version, kept=False).status == 200)

    def until_gone(self, path: str) -> None:
        self.until(lambda: self.get(path, kept=False).status == 404)

    def path(self, path: str) -> str:
        return path.replace("{ns}", self.namespace)

    def _note(self, request: str, status: int, headers: Mapping[str, str], body: Json) -> None:
        kept = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
        self.transcript.append(Exchange(self.path(request), status, kept, body))


def _named(method: str, path: str, query: Mapping[str, Json]) -> str:
    """The request in a transcript, without what a server gave out."""
    said = dict(query)
    if "continue" in said:
        said["continue"] = "TOKEN"
    if len(str(said.get("resourceVersion", ""))) > 1:
        said["resourceVersion"] = "VERSION"
    return f"{method} {path} {said or ''}".strip()


def _decoded(response: httpx.Response) -> Json:
    if "json" in response.headers.get("content-type", ""):
        try:
            return response.json()
        except ValueError:
            return response.text
    return response.text


def wait_until(met: Callable[[], bool]) -> None:
    """Fails after PATIENCE."""
    end = CLOCK.monotonic() + PATIENCE
    while not met():
        assert CLOCK.monotonic() < end, f"it did not come about in {PATIENCE} s"
        time.sleep(0.05)


def new_namespace(client: httpx.Client) -> str:
    """Makes a namespace that takes pods, and names it. It goes with its server: deleting it would keep that busy."""
    name = f"case-{uuid.uuid4().hex[:8]}"
    client.post("/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(lambda: client.get(account).status_code == 200)  # no pod is admitted before
    return name


def connect(kubeconfig: Path) -> httpx.Client:
    """A client of the server and user that a kubeconfig names (token or certificate)."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    trusted = ssl.create_default_context(cadata=_text(cluster, "certificate-authority"))
    headers = {"user-agent": "conformance/1"}
    if "token" in user or "tokenFile" in user:
        token = user.get("token") or Path(user["tokenFile"]).read_text().strip()
        headers["authorization"] = f"Bearer {token}"
    else:
        trusted.load_cert_chain(user["client-certificate"], user["client-key"])
    return httpx.Client(
        base_url=cluster["server"], verify=trusted, headers=headers, timeout=PATIENCE, trust_env=False
    )


def _text(holder: dict[str, Any], name: str) -> str:
    """What a kubeconfig holds itself (base64) or in a file."""
    import base64

    if f"{name}-data" in holder:
        return base64.b64decode(holder[f"{name}-data"]).decode()
    return Path(holder[name]).read_text()
