"""Server-side apply and managedFields: owners, conflicts, removal, order, algebra."""

import copy
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.errors import BadRequest, Conflict
from rollout.sandbox.schema.apply import LAST_APPLIED, apply, track
from rollout.sandbox.schema.fields import compact
from rollout.sandbox.schema.fieldsets import difference, intersection, paths, union
from rollout.sandbox.schema.kinds import schema_of

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
DEPLOYMENT = schema_of("apps/v1", "Deployment")
POD = schema_of("v1", "Pod")


def deployment(**spec):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def configmap(data, **meta):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **meta}, "data": data}


def template(*containers, **labels):
    return {"metadata": {"labels": labels}, "spec": {"containers": list(containers)}}


def ssa(live, applied, manager="one", *, force=False, schema=None, now=NOW, subresource=""):
    before = copy.deepcopy((live, applied))
    result = apply(
        live, applied, manager=manager, force=force, schema=schema, now=now, subresource=subresource
    )
    assert (live, applied) == before
    return result


def put(live, new, manager="editor", *, schema=None, now=NOW, subresource=""):
    before = copy.deepcopy((live, new))
    result = track(live, new, manager=manager, schema=schema, now=now, subresource=subresource)
    assert (live, new) == before
    return result


def entries(obj):
    return obj["metadata"].get("managedFields", [])


def owners(obj):
    return {entry["manager"]: sorted(paths(entry["fieldsV1"])) for entry in entries(obj)}


def without_owners(obj):
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}


def test_creation_by_apply_owns_exactly_what_was_applied():
    obj = ssa(
        None,
        deployment(replicas=2, template=template({"name": "app", "image": "a"}, app="web")),
        schema=DEPLOYMENT,
    )
    assert entries(obj) == [
        {
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": "2024-05-01T12:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:spec": {
                    "f:replicas": {},
                    "f:template": {
                        "f:metadata": {"f:labels": {"f:app": {}}},
                        "f:spec": {
                            "f:containers": {'k:{"name":"app"}': {".": {}, "f:name": {}, "f:image": {}}}
                        },
                    },
                }
            },
        }
    ]


def test_creation_by_update_is_recorded_as_kube_apiserver_does():
    # The fieldsV1 of `kubectl create deployment` on a real server, defaults taken away.
    new = deployment(
        replicas=1,
        selector={"matchLabels": {"app": "nginx"}},
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
        template=template({"name": "nginx", "image": "nginx", "resources": {}}, app="nginx"),
    )
    new["metadata"]["labels"] = {"app": "nginx"}
    new["status"] = {}
    (entry,) = entries(put(None, new, "kubectl-create", schema=DEPLOYMENT))
    assert entry["operation"] == "Update"
    assert entry["fieldsV1"] == {
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"nginx"}': {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}
                    }
                },
            },
        },
    }


def test_ports_are_keyed_by_number_and_protocol_with_its_default():
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}]}]},
    }
    obj = ssa(None, pod, schema=POD)
    assert '.spec.containers[name="a"].ports[containerPort=80,protocol="TCP"]' in owners(obj)["one"]


def test_status_is_tracked_as_its_own_manager_entry():
    live = put(None, deployment(replicas=1), "m", schema=DEPLOYMENT)
    new = {**live, "status": {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]}}
    obj = put(live, new, "m", schema=DEPLOYMENT, subresource="status", now=LATER)
    assert [(e["manager"], e.get("subresource"), e["time"]) for e in entries(obj)] == [
        ("m", None, "2024-05-01T12:00:00Z"),
        ("m", "status", "2024-05-01T12:05:00Z"),
    ]
    assert entries(obj)[1]["fieldsV1"] == {
        "f:status": {
            "f:conditions": {
                ".": {},
                'k:{"type":"Available"}': {".": {}, "f:status": {}, "f:type": {}},
            },
            "f:replicas": {},
        }
    }


def test_a_change_moves_the_field_to_who_changed_it():
    live = put(None, configmap({"a": "1", "b": "1"}), "first")
    obj = put(live, {**live, "data": {"a": "2", "b": "1"}}, "second", now=LATER)
    assert owners(obj) == {"first": [".data", ".data.b"], "second": [".data.a"]}


def test_a_write_that_changes_nothing_changes_no_entry():
    live = put(None, configmap({"a": "1"}), "first")
    assert put(live, dict(live), "second", now=LATER) == live


def test_removed_fields_belong_to_nobody():
    live = put(None, configmap({"a": "1", "b": "1"}), "first")
    obj = put(live, {**live, "data": {"a": "1"}}, "second", now=LATER)
    assert owners(obj) == {"first": [".data", ".data.a"]}
    assert entries(obj)[0]["time"] == "2024-05-01T12:00:00Z"


def test_clients_that_do_not_send_managed_fields_do_not_delete_them():
    live = put(None, configmap({"a": "1"}), "first")
    obj = put(live, configmap({"a": "2"}), "second")
    assert owners(obj) == {"first": [".data"], "second": [".data.a"]}


@pytest.mark.parametrize("empty", [[], [{}]])
def test_empty_managed_fields_clear_and_stay_cleared_until_the_next_apply(empty):
    live = put(None, configmap({"a": "1"}), "first")
    cleared = put(live, configmap({"a": "2"}, managedFields=empty), "second")
    assert entries(cleared) == []
    assert entries(put(cleared, configmap({"a": "3"}), "third")) == []
    obj = ssa(cleared, configmap({"b": "1"}))
    assert owners(obj) == {"before-first-apply": [".data", ".data.a"], "one": [".data", ".data.b"]}


def test_managed_fields_may_be_edited_by_hand():
    live = put(None, configmap({"a": "1"}), "first")
    edited = copy.deepcopy(live)
    edited["metadata"]["managedFields"][0]["manager"] = "renamed"
    assert owners(put(live, edited, "second")) == {"renamed": [".data", ".data.a"]}
    edited["metadata"]["managedFields"][0]["fieldsType"] = "nonsense"
    assert put(live, edited, "second") == live


def test_apply_conflicts_are_worded_as_kube_apiserver_words_them():
    live = put(None, deployment(replicas=1), "kubectl-client-side-apply", schema=DEPLOYMENT)
    with pytest.raises(Conflict) as caught:
        ssa(live, deployment(replicas=2), schema=DEPLOYMENT)
    assert caught.value.message == (
        "Apply failed with 1 conflict: "
        'conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    assert caught.value.details == {
        "causes": [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
                "field": ".spec.replicas",
            }
        ]
    }


def test_several_conflicts_are_listed_by_manager():
    live = ssa(None, configmap({"a": "1", "b": "1"}), "x")
    live = put(live, {**live, "status": {"s": 1}}, "y", subresource="status")
    with pytest.raises(Conflict) as caught:
        ssa(live, {**configmap({"a": "2", "b": "2"}), "status": {"s": 2}}, "z")
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "x":\n- .data.a\n- .data.b\n'
        'conflicts with "y" with subresource "status" using v1:\n- .status.s'
    )


def test_force_takes_the_fields_over():
    live = ssa(None, configmap({"a": "1", "b": "1"}), "x")
    obj = ssa(live, configmap({"a": "2"}), "y", force=True)
    assert obj["data"] == {"a": "2", "b": "1"}
    assert owners(obj) == {"x": [".data", ".data.b"], "y": [".data", ".data.a"]}


def test_equal_values_are_owned_together():
    obj = ssa(ssa(None, configmap({"a": "1"}), "x"), configmap({"a": "1"}), "y", now=LATER)
    assert owners(obj) == {"x": [".data", ".data.a"], "y": [".data", ".data.a"]}
    gone = ssa(obj, configmap({}), "x")
    assert gone["data"] == {"a": "1"}
    assert owners(gone) == {"x": [".data"], "y": [".data", ".data.a"]}


def test_fields_no_longer_applied_are_removed_with_their_empty_structures():
    applied = deployment(replicas=2, template=template({"name": "a", "image": "1"}, app="web"))
    live = ssa(None, applied, schema=DEPLOYMENT)
    obj = ssa(live, deployment(replicas=2), schema=DEPLOYMENT)
    assert obj["spec"] == {"replicas": 2}


def test_fields_of_others_survive_next_to_removed_ones():
    live = ssa(None, deployment(template=template({"name": "a", "image": "1"})), schema=DEPLOYMENT)
    obj = ssa(live, deployment(template=template({"name": "b", "image": "1"})), "two", schema=DEPLOYMENT)
    names = [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]]
    assert names == ["a", "b"]
    obj = ssa(obj, deployment(replicas=1), schema=DEPLOYMENT)
    assert obj["spec"]["template"]["spec"]["containers"] == [{"name": "b", "image": "1"}]


def test_items_keep_the_applied_order_and_others_their_neighbours():
    live = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": template(*({"name": n} for n in "abcd"))},
    }
    obj = ssa(live, deployment(template=template({"name": "d"}, {"name": "b"})), schema=DEPLOYMENT)
    order = "".join(c["name"] for c in obj["spec"]["template"]["spec"]["containers"])
    assert order.index("d") < order.index("b")
    assert order.index("a") < order.index("c")


def test_atomic_parts_are_replaced_as_a_whole():
    live = ssa(None, deployment(selector={"matchLabels": {"a": "1", "b": "1"}}), schema=DEPLOYMENT)
    obj = ssa(live, deployment(selector={"matchLabels": {"a": "1"}}), schema=DEPLOYMENT)
    assert obj["spec"]["selector"] == {"matchLabels": {"a": "1"}}
    assert owners(obj) == {"one": [".spec.selector"]}


def test_without_a_schema_objects_merge_and_lists_are_replaced():
    live = ssa(None, configmap({"l": [1, 2], "m": {"x": 1}}), "x")
    obj = ssa(live, configmap({"l": [1, 2], "m": {"y": 1}}), "y")
    assert obj["data"] == {"l": [1, 2], "m": {"x": 1, "y": 1}}
    with pytest.raises(Conflict, match=r"\.data\.l$"):
        ssa(live, configmap({"l": [3]}), "y")


def test_finalizers_are_a_set_also_without_a_schema():
    live = put(None, configmap({}, finalizers=["a/x"]), "x")
    obj = ssa(live, configmap({}, finalizers=["b/y"]), "y")
    assert sorted(obj["metadata"]["finalizers"]) == ["a/x", "b/y"]
    assert '.metadata.finalizers[="b/y"]' in owners(obj)["y"]


def test_applying_the_same_again_returns_the_object_itself():
    applied = deployment(replicas=2, template=template({"name": "a", "image": "1"}, app="web"))
    live = ssa(None, applied, schema=DEPLOYMENT)
    assert ssa(live, applied, schema=DEPLOYMENT, now=LATER) is live


def test_kubectl_takes_over_what_client_side_apply_wrote():
    old = configmap(
        {"a": "1"}, annotations={LAST_APPLIED: '{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1"}}'}
    )
    live = put(None, old, "kubectl-client-side-apply")
    obj = ssa(live, configmap({"a": "2"}), "kubectl")
    assert obj["data"] == {"a": "2"}
    assert '"a":"2"' in obj["metadata"]["annotations"][LAST_APPLIED]
    with pytest.raises(Conflict):
        ssa(live, configmap({"a": "2"}), "somebody-else")
    changed = put(live, {**live, "data": {"a": "3"}}, "editor")
    with pytest.raises(Conflict):
        ssa(changed, configmap({"a": "2"}), "kubectl")


@pytest.mark.parametrize(
    ("applied", "words"),
    [
        (configmap({}, managedFields=[]), "metadata.managedFields must be nil"),
        ({**configmap({}), "apiVersion": "v2"}, "Incorrect version specified in apply patch"),
    ],
)
def test_configurations_that_cannot_be_applied_are_bad_requests(applied, words):
    with pytest.raises(BadRequest, match=words):
        ssa(put(None, configmap({"a": "1"})), applied)


def test_items_that_cannot_be_told_apart_are_refused():
    twice = deployment(template=template({"name": "a"}, {"name": "a"}))
    with pytest.raises(BadRequest, match=r'containers: duplicate entries for key \[name="a"\]'):
        ssa(None, twice, schema=DEPLOYMENT)
    with pytest.raises(BadRequest, match="omits key field"):
        ssa(None, deployment(template=template({"image": "a"})), schema=DEPLOYMENT)


def test_updaters_beyond_ten_are_merged_into_one():
    obj = put(None, configmap({"k0": ""}), "m0")
    for number in range(1, 15):
        new = {**obj, "data": {**obj["data"], f"k{number}": ""}}
        obj = put(obj, new, f"m{number}", now=NOW + timedelta(seconds=number))
    names = [entry["manager"] for entry in entries(obj)]
    assert len(names) == 10
    assert names[0] == "ancient-changes"
    assert owners(obj)["ancient-changes"] == [".data", *(f".data.k{n}" for n in range(6))]
    assert sum(len(fields) for fields in owners(obj).values()) == 16


LEAN = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
VALUES = st.recursive(
    st.sampled_from(["", "x", 1, True, None]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
DATA = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
LIST_SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "items": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object"},
                },
                "tags": {"type": "array", "x-kubernetes-list-type": "set"},
            },
        }
    },
}
ITEMS = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("pqrs")}, optional={"v": st.integers(0, 2)}),
    unique_by=lambda item: item["name"],
    max_size=4,
)
SPECS = st.fixed_dictionaries(
    {}, optional={"items": ITEMS, "tags": st.lists(st.sampled_from("xyz"), unique=True), "open": DATA}
)


def custom(spec):
    return {"apiVersion": "e.com/v1", "kind": "E", "metadata": {"name": "e"}, "spec": spec}


@LEAN
@given(SPECS, SPECS, SPECS)
def test_applying_twice_is_applying_once(first, second, third):
    live = ssa(
        put(None, custom(first), schema=LIST_SCHEMA), custom(second), "b", force=True, schema=LIST_SCHEMA
    )
    once = ssa(live, custom(third), "a", force=True, schema=LIST_SCHEMA)
    assert ssa(once, custom(third), "a", force=True, schema=LIST_SCHEMA, now=LATER) is once


@LEAN
@given(SPECS, SPECS)
def test_what_one_manager_applied_is_all_there_is(first, second):
    """But for empty values: whether one is still there does not only depend on who applied it last."""
    kept = {"kept": 1}  # an object of nothing but empty lists has no owner
    first, second = first | kept, second | kept
    live = ssa(None, custom(first), schema=LIST_SCHEMA)
    obj = ssa(live, custom(second), schema=LIST_SCHEMA)
    fresh = ssa(None, custom(second), schema=LIST_SCHEMA)
    assert owners(obj) == owners(fresh)
    assert _full(obj["spec"]) == _full(second)


def _full(value):
    """`value` without what is empty, lists in one order."""
    if isinstance(value, dict):
        return {key: full for key, inner in value.items() if (full := _full(inner)) not in ({}, [])}
    return sorted(map(_full, value), key=compact) if isinstance(value, list) else value


def test_metadata_is_never_pruned_whole():
    live = ssa(None, configmap({}) | {"metadata": {"name": "c", "namespace": "n", "labels": {"a": "1"}}})
    obj = ssa(live, configmap({}) | {"metadata": {"name": "c", "namespace": "n"}})
    assert (obj["metadata"]["name"], obj["metadata"]["namespace"]) == ("c", "n")
    assert not obj["metadata"].get("labels")


def test_what_loses_its_last_field_goes_with_it():
    """As structured-merge-diff has it; compared by tools/ssadiff."""
    live = ssa(None, configmap({"a": "1"}))
    assert "data" not in ssa(live, configmap({}))


@LEAN
@given(SPECS, SPECS, SPECS)
def test_every_changed_field_has_exactly_one_updating_owner(first, second, third):
    obj = put(None, custom(first), "a", schema=LIST_SCHEMA)
    obj = put(obj, custom(second), "b", schema=LIST_SCHEMA)
    obj = put(obj, custom(third), "c", schema=LIST_SCHEMA)
    owned = [path for held in owners(obj).values() for path in held]
    assert len(owned) == len(set(owned))


@LEAN
@given(DATA, DATA)
def test_conflicts_arise_exactly_where_an_applied_value_differs(first, second):
    live = put(None, custom({"open": first}))
    try:
        obj = ssa(live, custom({"open": second}))
    except Conflict:
        forced = ssa(live, custom({"open": second}), force=True)
        assert without_owners(forced) != without_owners(live)
    else:
        assert set(obj["spec"]["open"]) == set(first) | set(second)


TREES = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(st.sampled_from([".", "f:a", "f:b", "v:1"]), inner, max_size=3).map(
        lambda node: {key: ({} if key == "." else value) for key, value in node.items()}
    ),
    max_leaves=8,
).map(lambda node: {key: value for key, value in node.items() if key != "."})


@LEAN
@given(TREES, TREES)
def test_sets_of_fields_behave_as_sets_of_paths(a, b):
    pa, pb = set(paths(a)), set(paths(b))
    assert set(paths(union(a, b))) == pa | pb
    assert set(paths(difference(a, b))) == pa - pb
    assert set(paths(intersection(a, b))) == pa & pb
