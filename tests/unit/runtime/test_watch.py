"""The list+watch machine by hand: what it asks for after each answer."""

import pytest

from rollout.errors import BadRequest, Expired, Invalid, NotFound, Unavailable, api_error
from rollout.runtime.kube import ListPage, WatchEvent
from rollout.runtime.watch import Applied, AskPage, AskWatch, Deleted, Reached, Reflector, Replaced

NO_PROGRESS = api_error(
    500,
    {
        "kind": "Status",
        "status": "Failure",
        "message": "a watch stream was requested by the client but the required storage feature "
        "RequestWatchProgress is disabled",
        "reason": "InternalError",
        "code": 500,
    },
)
"""What kube-apiserver 1.34 on etcd 3.4.23 says to every streaming list, in an ERROR event."""


def obj(name: str, version: str) -> dict:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": version}}


def bookmark(version: str, *, end: bool = False) -> WatchEvent:
    notes = {"annotations": {"k8s.io/initial-events-end": "true"}} if end else {}
    return WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": version, **notes}})


def watching(version: str = "5") -> Reflector:
    machine = Reflector()
    machine.ask()
    assert machine.on_event(bookmark(version, end=True)) == Replaced([], version)
    return machine


def test_a_streamed_list_ends_in_one_replacement_and_the_watch_goes_on() -> None:
    machine = Reflector()
    assert machine.ask() == AskWatch("", initial=True)
    assert machine.on_event(WatchEvent("ADDED", obj("a", "1"))) is None
    assert machine.on_event(WatchEvent("ADDED", obj("b", "2"))) is None
    assert machine.on_event(WatchEvent("MODIFIED", obj("a", "3"))) is None
    assert machine.on_event(WatchEvent("DELETED", obj("b", "4"))) is None
    assert machine.on_event(bookmark("4", end=True)) == Replaced([obj("a", "3")], "4")
    assert machine.on_event(WatchEvent("ADDED", obj("c", "6"))) == Applied(obj("c", "6"))
    assert machine.on_event(WatchEvent("DELETED", obj("c", "7"))) == Deleted(obj("c", "7"))
    assert machine.on_event(bookmark("9")) == Reached("9")
    machine.on_end(400)
    assert machine.ask() == AskWatch("9", initial=False)


@pytest.mark.parametrize("refusal", [Invalid("forbidden"), BadRequest("unknown"), NO_PROGRESS])
def test_a_server_that_refuses_streams_is_paged_at_once(refusal: Exception) -> None:
    machine = Reflector(page_size=2)
    machine.ask()
    machine.on_error(refusal)
    assert (machine.ask(), machine.failures) == (AskPage("", 2), 0)
    assert machine.on_page(ListPage([obj("a", "1")], "5", "t")) is None
    assert machine.ask() == AskPage("t", 2)
    assert machine.on_page(ListPage([obj("b", "2")], "5")) == Replaced([obj("a", "1"), obj("b", "2")], "5")
    assert machine.ask() == AskWatch("5", initial=False)
    machine.on_error(Expired("old"))
    assert machine.ask() == AskPage("", 2)


def test_a_server_that_ignores_the_streaming_flag_is_paged() -> None:
    machine = Reflector()
    machine.ask()
    machine.on_event(WatchEvent("ADDED", obj("a", "1")))
    with pytest.raises(BadRequest) as caught:
        machine.on_event(bookmark("3"))
    machine.on_error(caught.value)
    assert machine.ask() == AskPage("", 500)


def test_streams_that_keep_breaking_before_their_end_give_way_to_pages() -> None:
    machine = Reflector()
    assert machine.ask() == AskWatch("", initial=True)
    machine.on_event(WatchEvent("ADDED", obj("stale", "1")))
    machine.on_error(Unavailable("cut"))
    assert machine.ask() == AskWatch("", initial=True)
    machine.on_end(1)
    assert machine.ask() == AskPage("", 500)
    assert machine.on_page(ListPage([], "7")) == Replaced([], "7")


def test_a_broken_watch_goes_on_from_the_last_version() -> None:
    machine = watching("5")
    machine.on_event(WatchEvent("ADDED", obj("a", "8")))
    machine.on_error(Unavailable("reset"))
    assert (machine.ask(), machine.failures) == (AskWatch("8", initial=False), 1)
    machine.on_error(Unavailable("reset"))
    assert machine.failures == 2
    machine.ask()
    machine.on_event(bookmark("9"))
    assert machine.failures == 0


def test_an_expired_version_lists_again() -> None:
    machine = watching()
    machine.on_error(Expired("410"))
    assert machine.ask() == AskWatch("", initial=True)


def test_a_resource_that_was_taken_away_is_listed_again_when_it_returns() -> None:
    machine = watching()
    machine.on_error(NotFound("the CRD was deleted"))
    assert machine.ask() == AskWatch("", initial=True)


def test_a_list_that_expires_between_pages_is_taken_in_one_piece() -> None:
    machine = Reflector(streaming=False, page_size=2)
    machine.ask()
    machine.on_page(ListPage([obj("stale", "1")], "5", "t"))
    machine.ask()
    machine.on_error(Expired("continue token"))
    assert machine.ask() == AskPage("", 0)
    assert machine.on_page(ListPage([obj("a", "1")], "9")) == Replaced([obj("a", "1")], "9")


def test_a_watch_that_ends_at_once_and_says_nothing_counts_as_a_failure() -> None:
    machine = watching()
    machine.ask()
    machine.on_end(0.1)
    assert machine.failures == 1
    machine.ask()
    machine.on_end(300)
    assert machine.failures == 1
    machine.ask()
    machine.on_event(bookmark("9"))
    machine.on_end(0.1)
    assert machine.failures == 0


def test_an_event_without_a_version_is_refused() -> None:
    machine = watching()
    with pytest.raises(Unavailable, match="carries no resourceVersion"):
        machine.on_event(WatchEvent("ADDED", {"metadata": {"name": "a"}}))
