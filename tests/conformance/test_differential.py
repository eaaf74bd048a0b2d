"""Patches and selectors that nobody thought of, sent to our API server and to a real one: both do the same."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conformance.conftest import Server
from tests.conformance.exchanges.furniture import (
    CONFIG_MAPS,
    SECRETS,
    WIDGETS,
    furnish,
    secret,
    widget,
)
from tests.conformance.exchanges.play import JSON_PATCH, MERGE, STRATEGIC, connect

Json = Any
BOUNDED = settings(
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
NAMESPACE = f"differential-{uuid.uuid4().hex[:8]}"
KEYS = ("a", "b", "c")


class Both:
    """Two servers that are asked the same; `alike` compares what they answer."""

    def __init__(self, ours: httpx.Client, real: httpx.Client) -> None:
        self._clients = (real, ours)
        self._made = 0

    def make(self, path: str, body: Json) -> str:
        """Creates the object under a name of its own, and returns its path."""
        self._made += 1
        name = f"one-{self._made}"
        for client in self._clients:
            named = {**body, "metadata": {**body.get("metadata", {}), "name": name}}
            answer = client.post(path.replace("{ns}", NAMESPACE), json=named)
            assert answer.status_code == 201, answer.text
        return f"{path.replace('{ns}', NAMESPACE)}/{name}"

    def alike(self, method: str, path: str, body: Json = None, type: str = "", **query: str) -> None:
        real, ours = (self._ask(client, method, path, body, type, query) for client in self._clients)
        assert ours == real, f"{method} {path} {query} {body}"

    @staticmethod
    def _ask(
        client: httpx.Client, method: str, path: str, body: Json, type: str, query: dict[str, str]
    ) -> tuple[int, Json]:
        content = json.dumps(body) if type else None
        headers = {"accept": "application/json"} | ({"content-type": type} if type else {})
        answer = client.request(method, path, params=query, content=content, headers=headers)
        if answer.status_code >= 400:
            return answer.status_code, ""  # the words are compared by the exchanges
        return answer.status_code, _plain(answer.json())


def _plain(value: Json) -> Json:
    """What the request says itself: no metadata but labels, annotations and generation.

    The generation of built-in kinds is left out: what is empty and stays counts as a change here.
    """
    if isinstance(value, dict):
        counted = ("generation",) if value.get("kind") == "Widget" else ()
        kept = {key: one for key, one in value.items() if key not in {"kind", "apiVersion"}}
        if "metadata" in kept and "uid" in kept["metadata"]:
            kept["metadata"] = {
                key: kept["metadata"].get(key) for key in ("name", "labels", "annotations", *counted)
            }
        elif "metadata" in kept and "resourceVersion" in kept["metadata"]:
            del kept["metadata"]
        # What is empty may be left out: `rollout sandbox gaps` says so.
        plain = {key: _plain(one) for key, one in kept.items()}
        return {key: one for key, one in plain.items() if one not in ({}, [], None)}
    return [_plain(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def both(sandbox: Server, kubernetes: Server) -> Iterator[Both]:
    with connect(sandbox.kubeconfig) as ours, connect(kubernetes.kubeconfig) as real:
        for client in (ours, real):
            furnish(client)
            client.post("/api/v1/namespaces", json={"metadata": {"name": NAMESPACE}}).raise_for_status()
        yield Both(ours, real)
        for client in (ours, real):
            client.delete(f"/api/v1/namespaces/{NAMESPACE}")


def _nested(leaves: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    below = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
        max_leaves=6,
    )
    return st.dictionaries(st.sampled_from(KEYS), below, max_size=3)


SCALARS = st.sampled_from(["", "x", "y", 0, 1, -3, True, False])
OBJECTS = _nested(SCALARS)
MERGES = _nested(SCALARS | st.none())
POINTERS = st.lists(st.sampled_from([*KEYS, "0", "1", "-", "2"]), min_size=1, max_size=3).map(
    lambda parts: "/spec/open/" + "/".join(parts)
)
_VALUED, _MOVING = ("add", "replace", "test"), ("move", "copy")
OPERATIONS = (
    st.fixed_dictionaries(
        # kube-apiserver panics at a test without a value
        {"op": st.sampled_from(_VALUED), "path": POINTERS, "value": OBJECTS | SCALARS | st.none()}
    )
    | st.fixed_dictionaries({"op": st.sampled_from(_MOVING), "path": POINTERS, "from": POINTERS})
    | st.fixed_dictionaries({"op": st.just("remove"), "path": POINTERS})
)


@BOUNDED
@given(start=OBJECTS, patch=MERGES)
def test_merge_patches_give_the_same(both: Both, start: Json, patch: Json) -> None:
    path = both.make(WIDGETS, widget(open=start))
    both.alike("PATCH", path, {"spec": {"open": patch}}, MERGE)


@BOUNDED
@given(start=OBJECTS, patch=st.lists(OPERATIONS, min_size=1, max_size=3))
def test_json_patches_give_the_same(both: Both, start: Json, patch: Json) -> None:
    path = both.make(WIDGETS, widget(open=start))
    both.alike("PATCH", path, patch, JSON_PATCH)


@BOUNDED
@given(data=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["1", ""]) | st.none(), max_size=3))
def test_strategic_patches_of_plain_maps_give_the_same(both: Both, data: Json) -> None:
    path = both.make(CONFIG_MAPS, {"data": {"a": "0", "b": "0"}})
    both.alike("PATCH", path, {"data": data, "metadata": {"labels": data}}, STRATEGIC)


WORDS = ("x", "y", "a", "1", "10", "", "in", "x.y/z", "-", "A_b", "é", "x" * 64)
TERMS = st.one_of(
    st.tuples(
        st.sampled_from(WORDS),
        st.sampled_from(["=", "==", "!=", ">", "<", " = ", "=="]),
        st.sampled_from(WORDS),
    ).map("".join),
    st.sampled_from(WORDS),
    st.sampled_from(WORDS).map(lambda word: f"!{word}"),
    st.tuples(
        st.sampled_from(WORDS),
        st.sampled_from([" in ", " notin "]),
        st.lists(st.sampled_from(WORDS), max_size=3),
    ).map(lambda parts: f"{parts[0]}{parts[1]}({','.join(parts[2])})"),
    st.text("xy=!(),<> ", max_size=8),
)


@pytest.fixture(scope="module")
def labelled(both: Both) -> Both:
    for labels in (
        {},
        {"x": "x"},
        {"x": "y"},
        {"x": "1", "a": "10"},
        {"a": "1"},
        {"x": "", "y": "x"},
        {"y": "y"},
    ):
        both.make(SECRETS, secret(labels={"set": "labelled", **labels}))
    return both


@BOUNDED
@given(terms=st.lists(TERMS, min_size=1, max_size=3))
def test_label_selectors_choose_the_same(labelled: Both, terms: list[str]) -> None:
    path = SECRETS.replace("{ns}", NAMESPACE)
    labelled.alike("GET", path, labelSelector=",".join(terms))


@BOUNDED
@given(
    terms=st.lists(
        st.tuples(
            st.sampled_from(["metadata.name", "metadata.namespace", "type", "data"]),
            st.sampled_from(["=", "==", "!=", "", "~"]),
            st.sampled_from(["one-1", "Opaque", NAMESPACE, "", "x\\,y", "a=b"]),
        ).map("".join),
        min_size=1,
        max_size=2,
    )
)
def test_field_selectors_choose_the_same(labelled: Both, terms: list[str]) -> None:
    labelled.alike("GET", SECRETS.replace("{ns}", NAMESPACE), fieldSelector=",".join(terms))
