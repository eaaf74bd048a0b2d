"""Watches: what they begin with, what they tell, and how they end."""

from __future__ import annotations

from tests.conformance.exchanges.furniture import (
    METADATA,
    SECRETS,
    TABLE,
    WIDGETS,
    meta,
    secret,
    widget,
)
from tests.conformance.exchanges.play import Play, case

LIST = {"resourceVersionMatch": "NotOlderThan", "sendInitialEvents": "true", "allowWatchBookmarks": "true"}


def version(play: Play, path: str = SECRETS) -> str:
    found: str = play.get(path, kept=False).meta["resourceVersion"]
    return found


@case
def a_watch_from_a_version_tells_what_came_after_it(play: Play) -> None:
    play.make(SECRETS, secret("before"))
    start = version(play)
    play.make(SECRETS, secret("after"))
    play.patch(f"{SECRETS}/after", {"data": {"b": "MQ=="}}, kept=False)
    play.delete(f"{SECRETS}/before", kept=False)
    play.watch(SECRETS, 3, resourceVersion=start)


@case
def a_watch_from_nowhere_begins_with_what_is_there(play: Play) -> None:
    play.make(SECRETS, secret("one"), secret("two"))
    play.watch(SECRETS, 2)
    play.watch(SECRETS, 3, resourceVersion="0", meanwhile=lambda: play.make(SECRETS, secret("three")))


@case
def a_watch_that_lists_marks_the_end_of_the_list(play: Play) -> None:
    play.make(SECRETS, secret("one"), secret("two"))
    play.watch(SECRETS, 3, **LIST)
    start = version(play)
    play.watch(SECRETS, 3, resourceVersion=start, **LIST)
    play.watch(WIDGETS, 1, **LIST)


@case
def a_watch_with_a_selector_tells_of_coming_and_going(play: Play) -> None:
    start = version(play)
    play.make(SECRETS, secret("a"))
    play.patch(f"{SECRETS}/a", {"metadata": {"labels": {"x": "1"}}}, kept=False)
    play.patch(f"{SECRETS}/a", {"metadata": {"labels": {"y": "1"}}}, kept=False)
    play.patch(f"{SECRETS}/a", {"metadata": {"labels": {"x": "2"}}}, kept=False)
    play.watch(SECRETS, 3, resourceVersion=start, labelSelector="x=1")


@case
def a_watch_of_one_object_by_its_name(play: Play) -> None:
    start = version(play)
    play.make(SECRETS, secret("a"), secret("b"))
    play.delete(f"{SECRETS}/b", kept=False)
    play.watch(SECRETS, 2, resourceVersion=start, fieldSelector="metadata.name=b")


@case
def a_watch_of_custom_resources_by_a_field_that_they_declare(play: Play) -> None:
    start = version(play, WIDGETS)
    play.make(WIDGETS, widget("a"), widget("b", color="green"))
    play.patch(f"{WIDGETS}/a", {"spec": {"color": "green"}}, kept=False)
    play.watch(WIDGETS, 2, resourceVersion=start, fieldSelector="spec.color=green")


@case
def a_watch_shows_the_object_as_it_is_held_and_as_it_goes(play: Play) -> None:
    start = version(play)
    play.make(SECRETS, meta("held", finalizers=["example.com/hold"]))
    play.delete(f"{SECRETS}/held", kept=False)
    play.patch(f"{SECRETS}/held", {"metadata": {"finalizers": None}}, kept=False)
    play.watch(SECRETS, 3, resourceVersion=start)


@case
def a_watch_ends_after_its_time(play: Play) -> None:
    play.make(SECRETS, secret())
    play.watch(SECRETS, 100, resourceVersion="0", timeoutSeconds="2")


@case
def a_watch_as_table_or_as_metadata(play: Play) -> None:
    start = version(play, WIDGETS)
    play.make(WIDGETS, widget("a"), widget("b"))
    play.watch(WIDGETS, 2, resourceVersion=start, accept=TABLE)
    play.watch(WIDGETS, 2, resourceVersion=start, accept=METADATA)


@case
def watches_that_make_no_sense_are_refused(play: Play) -> None:
    play.get(SECRETS, watch="1", resourceVersion="x")
    play.get(SECRETS, watch="1", sendInitialEvents="true")
    play.get(SECRETS, watch="1", resourceVersionMatch="NotOlderThan")
    play.get(SECRETS, watch="1", resourceVersionMatch="Exact", sendInitialEvents="true")
    play.get(SECRETS, sendInitialEvents="true")
    play.get(SECRETS, watch="1", fieldSelector="data=x")
    play.get(SECRETS, watch="1", labelSelector="a b")
