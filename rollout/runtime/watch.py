"""List and watch as a pure state machine: what to ask for next, and what an answer means.

      ┌──────── Expired ────────┐
      v                         │
    start ──> streaming ──> watching <──┐
      │          │ refused      ^ │     │ ended, broken: from the last version
      │          v              │ └─────┘
      └─────> paging ───────────┘

`streaming`: one watch that sends the present objects first and then a bookmark (KEP-3157), where the server takes it.
`paging`: a list in pages. Either ends in one `Replaced`, so that the cache is swapped as a whole; objects that
vanished while nobody watched are then missing from it. After that come `Applied` and `Deleted`, in the server's order.
The driver (`informer.py`) does the I/O and the waiting. Contract:
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from typing import Literal

import msgspec

from rollout.api.meta import Key, key_of, metadata
from rollout.errors import ApiError, BadRequest, Expired, Internal, Invalid, NotFound, Unavailable
from rollout.runtime.kube import ListPage, Object, WatchEvent

PAGE_SIZE = 500
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
STREAM_ATTEMPTS = 2
QUICK_SECONDS = 1.0
"""A watch that the server ends sooner than this without a word counts as a failure, so that it backs off."""


class AskPage(msgspec.Struct, frozen=True):
    """List one page."""

    continue_token: str
    limit: int


class AskWatch(msgspec.Struct, frozen=True):
    """Watch from a version; or, with `initial`, get the present objects first."""

    resource_version: str
    initial: bool


class Replaced(msgspec.Struct, frozen=True):
    """All present objects; whatever else the cache holds is gone."""

    objects: list[Object]
    resource_version: str


class Applied(msgspec.Struct, frozen=True):
    object: Object


class Deleted(msgspec.Struct, frozen=True):
    """The object's last state."""

    object: Object


class Reached(msgspec.Struct, frozen=True):
    """Nothing changed up to this version (a bookmark)."""

    resource_version: str


Seen = Replaced | Applied | Deleted | Reached
State = Literal["start", "streaming", "paging", "watching"]


class Reflector:
    """The machine. `failures` counts errors in a row: the driver backs off by it."""

    def __init__(self, *, streaming: bool = True, page_size: int = PAGE_SIZE) -> None:
        self.state: State = "start"
        self.failures = 0
        self.version = ""
        self._streaming = streaming
        self._page_size = page_size
        self._stream_failures = 0
        self._token = ""
        self._buffer: dict[Key, Object] = {}
        self._spoken = False

    def ask(self) -> AskPage | AskWatch:
        """The next request. Call it again after each page, end or error."""
        self._spoken = False
        if self.state == "start":
            self._buffer = {}
            self._token = ""
            self.state = "streaming" if self._streaming else "paging"
        if self.state == "paging":
            return AskPage(self._token, self._page_size)
        if self.state == "streaming":
            return AskWatch("", initial=True)
        return AskWatch(self.version, initial=False)

    def on_page(self, page: ListPage) -> Replaced | None:
        """A page came; the whole list, if it was the last."""
        self.failures = 0
        for obj in page.items:
            self._buffer[key_of(obj)] = obj
        self._token = page.continue_token
        return None if self._token else self._complete(page.resource_version)

    def on_event(self, event: WatchEvent) -> Seen | None:
        """A line of the watch came. Raises Unavailable for one that makes no sense."""
        version = str(metadata(event.object).get("resourceVersion") or "")
        if not version:
            raise Unavailable(f"a watch event of type {event.type} carries no resourceVersion")
        self._spoken = True
        if self.state == "streaming":
            return self._initial(event, version)
        self.failures = 0
        self.version = version
        if event.type == "BOOKMARK":
            return Reached(version)
        return Deleted(event.object) if event.type == "DELETED" else Applied(event.object)

    def on_end(self, lasted: float) -> None:
        """The server ended the watch after `lasted` seconds."""
        if self.state == "streaming":
            self._stream_failed()
        elif not self._spoken and lasted < QUICK_SECONDS:
            self.failures += 1

    def on_error(self, error: ApiError) -> None:
        """A request failed, or a watch broke."""
        self.failures += 1
        if self.state == "streaming":
            # An API server on an older etcd (3.4.23, for one) answers 500: RequestWatchProgress is disabled.
            if isinstance(error, Invalid | BadRequest | Internal):
                self._streaming = False
                self.failures -= 1
            elif isinstance(error, Unavailable):
                self._stream_failed()
            self.state = "start"
        elif self.state == "paging":
            if isinstance(error, Expired):
                # The list grew too old between its pages: take it in one piece.
                self._page_size = 0
            self.state = "start"
        elif isinstance(error, Expired | NotFound):
            self.state = "start"

    def _initial(self, event: WatchEvent, version: str) -> Replaced | None:
        if event.type == "DELETED":
            self._buffer.pop(key_of(event.object), None)
        elif event.type != "BOOKMARK":
            self._buffer[key_of(event.object)] = event.object
        elif (metadata(event.object).get("annotations") or {}).get(INITIAL_EVENTS_END) == "true":
            self.failures = self._stream_failures = 0
            return self._complete(version)
        else:
            # An ordinary bookmark this early: the server knows nothing of streaming lists.
            raise BadRequest("the server does not stream lists")
        return None

    def _complete(self, version: str) -> Replaced:
        objects = list(self._buffer.values())
        self._buffer = {}
        self.version = version
        self.state = "watching"
        return Replaced(objects, version)

    def _stream_failed(self) -> None:
        self._stream_failures += 1
        if self._stream_failures >= STREAM_ATTEMPTS:
            self._streaming = False
        self.state = "start"
