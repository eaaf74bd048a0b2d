"""Patches: values in, values out; the algebra by property."""

import contextlib
import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.api.codec import merge_diff
from rollout.errors import BadRequest, Invalid, Unclassified
from rollout.sandbox.schema.patches import json_patch, merge_patch, strategic_merge

# RFC 7386, appendix A.
MERGE_CASES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("obj", "patch", "expected"), MERGE_CASES)
def test_merge_patch_gives_the_results_of_the_rfc(obj, patch, expected):
    before = copy.deepcopy((obj, patch))
    assert merge_patch(obj, patch) == expected
    assert (obj, patch) == before


# (document, operations, result), most from RFC 6902, appendix A.
JSON_CASES = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x", "b"]}),
    ({"baz": 1, "foo": 2}, [{"op": "remove", "path": "/baz"}], {"foo": 2}),
    ({"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}], {"foo": [1, 3]}),
    ({"baz": 1}, [{"op": "replace", "path": "/baz", "value": 2}], {"baz": 2}),
    (
        {"foo": {"bar": 1, "waldo": 2}, "qux": {"corge": 3}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": 1}, "qux": {"corge": 3, "thud": 2}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "qux"}], {"baz": "qux"}),
    ({"foo": "bar"}, [{"op": "add", "path": "", "value": [1]}], [1]),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": [2]}], {"a": [1, [2]]}),
    ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
    ({}, [{"op": "test", "path": "/x", "value": None}], {}),
    ({}, [{"op": "replace", "path": "/x", "value": 1}], {"x": 1}),
    ({}, [{"op": "add", "path": "/n"}], {"n": None}),
    ({}, [{"op": "copy", "from": "/x", "path": "/y"}], {"y": None}),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
]


@pytest.mark.parametrize(("obj", "ops", "expected"), JSON_CASES)
def test_json_patch_gives_the_results_of_the_rfc_and_of_kube_apiserver(obj, ops, expected):
    before = copy.deepcopy((obj, ops))
    assert json_patch(obj, ops) == expected
    assert (obj, ops) == before


@pytest.mark.parametrize(
    "op",
    [
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/b", "value": 1},
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/b/c", "value": 1},
        {"op": "replace", "path": "/l/1", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/3", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "move", "from": "/l", "path": "/l/0"},
        {"op": "frobnicate", "path": "/a"},
    ],
)
def test_json_patch_that_does_not_fit_is_unprocessable_and_notes_which_operation(op):
    with pytest.raises(Invalid) as caught:
        json_patch({"a": 1, "l": [1]}, [op])
    assert caught.value.message == "the server rejected our request due to an error in our request"
    assert caught.value.details == {}  # as kube-apiserver has it
    assert caught.value.__notes__[0].startswith(f"{op['op']} operation at")


@pytest.mark.parametrize("ops", [{}, "x", [1], None])
def test_malformed_json_patch_is_a_bad_request(ops):
    with pytest.raises(BadRequest):
        json_patch({}, ops)


LIST = {"type": "array", "x-kubernetes-patch-strategy": "merge"}
SCHEMA = {
    "properties": {
        "containers": {
            **LIST,
            "x-kubernetes-patch-merge-key": "name",
            "items": {
                "properties": {
                    "ports": {**LIST, "x-kubernetes-patch-merge-key": "containerPort", "items": {}},
                    "args": {"type": "array", "items": {"type": "string"}},
                }
            },
        },
        "finalizers": {**LIST, "items": {"type": "string"}},
        "strategy": {"x-kubernetes-patch-strategy": "retainKeys", "properties": {}},
        "volumes": {
            "type": "array",
            "x-kubernetes-patch-strategy": "merge,retainKeys",
            "x-kubernetes-patch-merge-key": "name",
            "items": {},
        },
    }
}
A, B, C = {"name": "a", "image": "1"}, {"name": "b", "image": "1"}, {"name": "c", "image": "1"}

STRATEGIC_CASES = {
    "items merge by key and keep their place": (
        {"containers": [A, B]},
        {"containers": [{"name": "b", "image": "2"}]},
        {"containers": [A, {"name": "b", "image": "2"}]},
    ),
    "new items go before those that the patch does not name": (
        {"containers": [A]},
        {"containers": [B]},
        {"containers": [B, A]},
    ),
    "null deletes": ({"containers": [A], "x": 1}, {"x": None}, {"containers": [A]}),
    "$patch delete removes the item": (
        {"containers": [A, B]},
        {"containers": [{"name": "a", "$patch": "delete"}]},
        {"containers": [B]},
    ),
    "$patch replace in a list replaces the list": (
        {"containers": [A, B]},
        {"containers": [{"$patch": "replace"}, C]},
        {"containers": [C]},
    ),
    "$patch replace in a map replaces the map": (
        {"m": {"a": 1}},
        {"m": {"$patch": "replace", "b": 2}},
        {"m": {"b": 2}},
    ),
    "$patch delete in a map empties it": ({"m": {"a": 1}}, {"m": {"$patch": "delete"}}, {"m": {}}),
    "a directive about a map that is not there does nothing": (
        {"n": 1},
        {"m": {"$patch": "replace", "b": 2}},
        {"n": 1},
    ),
    "$patch replace in any item replaces the list by the other items": (
        {"containers": [A, B]},
        {"containers": [{"name": "a", "command": ["x"], "$patch": "replace"}, C]},
        {"containers": [C]},
    ),
    "atomic lists are replaced": (
        {"containers": [{"name": "a", "args": ["1"]}]},
        {"containers": [{"name": "a", "args": ["2", "3"]}]},
        {"containers": [{"name": "a", "args": ["2", "3"]}]},
    ),
    "primitive lists are united": (
        {"finalizers": ["a", "b"]},
        {"finalizers": ["c", "b"]},
        {"finalizers": ["c", "a", "b"]},
    ),
    "$deleteFromPrimitiveList": (
        {"finalizers": ["a", "b", "c"]},
        {"$deleteFromPrimitiveList/finalizers": ["b"]},
        {"finalizers": ["a", "c"]},
    ),
    "$setElementOrder orders": (
        {"containers": [A, B, C]},
        {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}]},
        {"containers": [C, A, B]},
    ),
    "$setElementOrder keeps what others added": (
        {"containers": [A, B, C]},
        {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [{"name": "c", "image": "2"}],
        },
        {"containers": [B, {"name": "c", "image": "2"}, A]},
    ),
    "$retainKeys drops the others": (
        {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
        {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
        {"strategy": {"type": "Recreate"}},
    ),
    "$retainKeys inside a merged list": (
        {"volumes": [{"name": "v", "emptyDir": {}}]},
        {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]},
        {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]},
    ),
    "ports merge by number": (
        {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]},
        {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "y"}, {"containerPort": 81}]}]},
        {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "y"}, {"containerPort": 81}]}]},
    ),
    "unknown maps merge": ({"m": {"a": {"b": 1}}}, {"m": {"a": {"c": 2}}}, {"m": {"a": {"b": 1, "c": 2}}}),
}


@pytest.mark.parametrize("name", STRATEGIC_CASES)
def test_strategic_merge(name):
    obj, patch, expected = STRATEGIC_CASES[name]
    before = copy.deepcopy((obj, patch))
    assert strategic_merge(obj, patch, SCHEMA) == expected
    assert (obj, patch) == before


@pytest.mark.parametrize(
    "patch",
    [
        {"containers": [{"image": "x"}]},
        {"containers": ["x"]},
        {"m": {"$patch": "explode"}},
        {"m": {"$patch": {}}},
        {"strategy": {"$retainKeys": ["a"], "b": 1}},
        {"strategy": {"$retainKeys": 3}},
        {"finalizers": ["a"], "$setElementOrder/finalizers": 1},
        [],
        None,
    ],
)
def test_malformed_strategic_merge_is_refused(patch):
    with pytest.raises((BadRequest, Unclassified)):
        strategic_merge({"m": {}, "strategy": {}}, patch, SCHEMA)


LEAN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEYS = st.sampled_from(["a", "b", "ab", "$x"])
SCALARS = st.sampled_from([True, False, 0, 1, -1, 1.0, 2.5, "", "a", "/a/b", None])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
NULL_FREE = st.recursive(
    SCALARS.filter(lambda value: value is not None),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(KEYS, NULL_FREE, max_size=4)
OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
    optional={
        "path": st.sampled_from(["", "/a", "/a/b", "/0", "/a/-", "/b/1", "b"]),
        "from": st.just("/a"),
        "value": JSON,
    },
)


@LEAN
@given(OBJECT, OBJECT)
def test_the_merge_patch_between_two_objects_turns_one_into_the_other(a, b):
    assert merge_patch(a, merge_diff(a, b)) == b


DELETING = st.recursive(
    SCALARS | st.lists(NULL_FREE, max_size=3),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
"""What a null in a list becomes depends on what was there before, in kube-apiserver, too."""


@LEAN
@given(OBJECT, st.dictionaries(KEYS, DELETING, max_size=4))
def test_merge_patch_applied_twice_is_applied_once(a, patch):
    once = merge_patch(a, patch)
    assert merge_patch(once, patch) == once


@LEAN
@given(OBJECT, OBJECT)
def test_strategic_merge_without_a_schema_is_a_merge_patch(a, patch):
    assert strategic_merge(a, patch, {}) == merge_patch(a, patch)


@LEAN
@given(JSON, st.lists(OPERATION | JSON, max_size=3))
def test_json_patch_raises_nothing_but_api_errors(obj, ops):
    with contextlib.suppress(BadRequest, Invalid):
        json_patch(obj, ops)
