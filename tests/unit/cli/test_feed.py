"""What a feed makes of lists, watches and lost connections; the cluster is a script of answers."""

import queue
import threading

import pytest

from rollout.api.resources import ROLLOUTS
from rollout.cli import feed as feed_module
from rollout.cli.feed import Feed, Source
from rollout.errors import Expired, Forbidden, Unavailable
from rollout.runtime.kube import ListPage, WatchEvent


def obj(name, version="1"):
    return {"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": version}}


class Cluster:
    """A session and its client: every list takes the next of `lists`, every watch yields what is put in `events`."""

    namespace = "shop"

    def __init__(self, *lists):
        self.lists = list(lists)
        self.watched_from = queue.SimpleQueue()
        self.events = queue.SimpleQueue()

    def client(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def list(self, resource, namespace, **_):
        answer = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(answer, Exception):
            raise answer
        return ListPage(answer, "10")

    def watch(self, resource, namespace, *, resource_version, **_):
        self.watched_from.put(resource_version)
        while (event := self.events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(feed_module, "RETRY_SECONDS", 0.0)


def follow(cluster):
    return Feed(cluster, [Source(ROLLOUTS)])


def names(feed):
    return sorted(one["metadata"]["name"] for one in feed.objects(ROLLOUTS))


def until(feed, condition):
    while not condition():
        assert feed.wait(30), "nothing came"


def test_a_feed_lists_then_follows_changes_from_the_version_of_the_list():
    cluster = Cluster([obj("a")])
    feed = follow(cluster)
    assert not feed.ready
    until(feed, lambda: feed.ready)
    assert names(feed) == ["a"]
    assert cluster.watched_from.get(timeout=30) == "10"

    cluster.events.put(WatchEvent("ADDED", obj("b", "11")))
    until(feed, lambda: names(feed) == ["a", "b"])
    cluster.events.put(WatchEvent("DELETED", obj("a", "12")))
    until(feed, lambda: names(feed) == ["b"])
    cluster.events.put(WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "20"}}))
    cluster.events.put(None)
    assert cluster.watched_from.get(timeout=30) == "20"
    feed.close()


def test_a_version_that_is_too_old_means_a_new_list():
    cluster = Cluster([obj("a")], [obj("b")])
    feed = follow(cluster)
    until(feed, lambda: names(feed) == ["a"])
    cluster.events.put(Expired("too old"))
    until(feed, lambda: names(feed) == ["b"])
    feed.close()


def test_a_lost_connection_is_said_once_and_heals():
    gate = threading.Event()

    class Gated(Cluster):
        def list(self, resource, namespace, **options):
            if not gate.is_set():
                raise Unavailable("refused")
            return super().list(resource, namespace, **options)

    feed = follow(Gated([obj("a")]))
    until(feed, lambda: feed.trouble is not None)
    assert feed.interruption() == "connection lost, trying again: refused"
    assert feed.interruption() == ""
    gate.set()
    until(feed, lambda: feed.ready and feed.trouble is None)
    assert names(feed) == ["a"]
    assert feed.interruption() == ""
    feed.close()


def test_what_waiting_cannot_heal_is_raised():
    feed = follow(Cluster(Forbidden("no")))
    with pytest.raises(Forbidden):
        until(feed, lambda: False)


def test_nothing_new_is_told_apart_from_something_new():
    feed = follow(Cluster([]))
    until(feed, lambda: feed.ready)
    assert feed.wait(0.01) is False
    feed.close()
