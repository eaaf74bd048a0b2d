"""The store: indexes that follow their objects, and lists that are swapped in whole."""

from typing import Any

import pytest

from rollout.api.meta import Key
from rollout.api.resources import PODS
from rollout.runtime.store import Store


def pod(
    name: str, version: int, *, namespace: str = "ns", uid: str = "", owner: str = "", **more: Any
) -> dict:
    owners = [{"uid": owner}] if owner else []
    meta = {"name": name, "namespace": namespace, "uid": uid or name, "resourceVersion": str(version)}
    return {"metadata": meta | {"ownerReferences": owners}, **more}


def names(objects: list[dict]) -> list[str]:
    return sorted(o["metadata"]["name"] for o in objects)


def test_objects_are_found_by_key_namespace_and_owner() -> None:
    store = Store(PODS)
    store.apply(pod("a", 1, owner="o"))
    store.apply(pod("b", 2, namespace="other", owner="o"))
    assert store.get(Key("ns", "a")) == pod("a", 1, owner="o")
    assert store.get(Key("ns", "b")) is None
    assert names(store.list("other")) == ["b"]
    assert names(store.owned_by("o")) == ["a", "b"]
    assert (len(store), names(list(store))) == (2, ["a", "b"])


def test_an_index_follows_a_changing_object() -> None:
    store = Store(PODS, {"app": lambda o: [o["app"]]})
    store.apply(pod("a", 1, app="x"))
    store.apply(pod("a", 2, app="y"))
    assert (store.by("app", "x"), names(store.by("app", "y"))) == ([], ["a"])
    store.delete(pod("a", 3, app="y"))
    assert store.by("app", "y") == []
    with pytest.raises(KeyError):
        store.by("undeclared", "x")


def test_an_older_state_of_an_object_is_not_taken() -> None:
    store = Store(PODS)
    store.apply(pod("a", 10))
    assert store.apply(pod("a", 9)) is None
    assert store.delete(pod("a", 9)) is None
    assert store.get(Key("ns", "a")) == pod("a", 10)
    assert store.apply(pod("a", 11)) == (pod("a", 10), pod("a", 11))


def test_a_list_swapped_in_tells_what_vanished_changed_and_came() -> None:
    store = Store(PODS)
    for obj in (pod("gone", 1), pod("same", 2), pod("changed", 3), pod("remade", 4, uid="u1")):
        store.apply(obj)
    changes = store.replace(
        [pod("same", 2), pod("changed", 9), pod("remade", 8, uid="u2"), pod("new", 7)], version=20
    )
    assert changes == [
        (pod("gone", 1), None),
        (pod("remade", 4, uid="u1"), None),
        (pod("changed", 3), pod("changed", 9)),
        (None, pod("remade", 8, uid="u2")),
        (None, pod("new", 7)),
    ]
    assert names(store.list()) == ["changed", "new", "remade", "same"]
    assert store.reached("ns") == 20


def test_replacing_one_namespace_leaves_the_others() -> None:
    store = Store(PODS)
    store.replace([pod("a", 1, namespace="x")], 5, "x")
    store.replace([pod("b", 2, namespace="y")], 7, "y")
    assert store.replace([], 9, "x") == [(pod("a", 1, namespace="x"), None)]
    assert names(store.list()) == ["b"]
    assert (store.reached("x"), store.reached("y"), store.reached("z")) == (9, 7, -1)


def test_versions_reached_never_go_back_except_by_a_new_list() -> None:
    store = Store(PODS)
    store.apply(pod("a", 10))
    store.reach(5)
    assert store.reached("ns") == 10
    store.replace([], 3)
    assert store.reached("ns") == 3
