"""Who is held back when Envoy refuses."""

from __future__ import annotations

from rollout.api.meta import Key
from rollout.sandbox.mesh.isolation import Isolation
from rollout.sandbox.mesh.model import Snapshot
from tests.unit.mesh.objects import Object, service, virtual_service

A, B = ("virtual_services", Key("shop", "a")), ("virtual_services", Key("shop", "b"))


def vs(name: str, version: int) -> Object:
    obj = virtual_service(name=name)
    obj["metadata"]["resourceVersion"] = str(version)
    return obj


def snapshot(*objects: Object) -> Snapshot:
    return Snapshot(services=(service("web"),), virtual_services=objects)


def test_what_changed_since_it_was_accepted_is_suspect_oldest_first():
    isolation = Isolation()
    isolation.accept(snapshot(vs("a", 1), vs("b", 2)))
    assert isolation.suspects(snapshot(vs("a", 1), vs("b", 2))) == []
    assert isolation.suspects(snapshot(vs("a", 12), vs("b", 9))) == [B, A]


def test_a_trial_has_only_the_named_changes():
    isolation = Isolation()
    isolation.accept(snapshot(vs("a", 1), vs("b", 2)))
    trial = isolation.trial(snapshot(vs("a", 5), vs("b", 6)), [B])
    assert [obj["metadata"]["resourceVersion"] for obj in trial.virtual_services] == ["1", "6"]
    assert trial.services


def test_a_held_object_keeps_its_accepted_version_until_it_changes():
    isolation = Isolation()
    isolation.accept(snapshot(vs("a", 1)))
    bad = snapshot(vs("a", 5), vs("b", 6))
    isolation.hold(bad, A, "bad regex")
    admitted = isolation.admit(bad)
    assert [obj["metadata"]["resourceVersion"] for obj in admitted.virtual_services] == ["1", "6"]
    mended = snapshot(vs("a", 7), vs("b", 6))
    assert isolation.admit(mended) == mended
    assert isolation.held == {}


def test_a_new_object_that_is_refused_is_left_out():
    isolation = Isolation()
    isolation.accept(snapshot(vs("a", 1)))
    both = snapshot(vs("a", 1), vs("b", 3))
    isolation.hold(both, B, "bad")
    assert isolation.admit(both) == snapshot(vs("a", 1))


def test_a_deleted_object_does_not_come_back():
    isolation = Isolation()
    isolation.accept(snapshot(vs("a", 1), vs("b", 2)))
    assert isolation.admit(snapshot(vs("b", 2))) == snapshot(vs("b", 2))
