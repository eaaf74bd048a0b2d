"""The identity of a revision: a defaulted template is the one the user wrote, and a changed one is not."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.core.template import equivalent, fnv32a, hash_of, safe_encode, template_hash
from rollout.sandbox.schema.kinds import defaults

names = st.sampled_from(["a", "b", "protocol", "scheme"])
quantities = st.sampled_from(["100m", "0.5", "1", "2", "128Mi", "1Gi", "1024Mi", "0.25"])
resources = st.fixed_dictionaries(
    {},
    optional={
        "limits": st.dictionaries(st.sampled_from(["cpu", "memory"]), quantities),
        "requests": st.dictionaries(st.sampled_from(["cpu", "memory"]), quantities),
    },
)
probes = st.one_of(
    st.fixed_dictionaries(
        {"httpGet": st.fixed_dictionaries({"port": st.integers(1, 9)}, optional={"path": st.just("/ok")})},
        optional={"periodSeconds": st.integers(1, 20)},
    ),
    st.just({"tcpSocket": {"port": 80}}),
)
containers = st.fixed_dictionaries(
    {"name": st.just("web"), "image": st.sampled_from(["web", "web:v1", "web:latest", "x/web@sha256:0"])},
    optional={
        "resources": resources,
        "readinessProbe": probes,
        "livenessProbe": probes,
        "ports": st.lists(st.fixed_dictionaries({"containerPort": st.integers(1, 9)}), max_size=2),
        "env": st.lists(
            st.fixed_dictionaries({"name": names, "value": st.sampled_from(["", "x"])}), max_size=2
        ),
        "imagePullPolicy": st.sampled_from(["Always", "IfNotPresent", "Never"]),
    },
)
specs = st.fixed_dictionaries(
    {"containers": st.lists(containers, min_size=1, max_size=2)},
    optional={
        "serviceAccountName": st.just("robot"),
        "hostNetwork": st.booleans(),
        "terminationGracePeriodSeconds": st.integers(0, 60),
        "volumes": st.lists(
            st.sampled_from(
                [
                    {"name": "a", "emptyDir": {}},
                    {"name": "b", "configMap": {"name": "c"}},
                    {"name": "d", "secret": {"secretName": "s"}},
                    {"name": "e", "emptyDir": {"sizeLimit": "1Gi"}},
                ]
            ),
            max_size=2,
        ),
    },
)
templates = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"labels": st.dictionaries(names, st.just("TCP"), min_size=1)}),
        "spec": specs,
    }
)


def stored(template: dict[str, Any]) -> dict[str, Any]:
    """The template of a ReplicaSet as the API server keeps it, with our own label."""
    labels = {**template["metadata"]["labels"], "rollouts-pod-template-hash": "abc"}
    obj = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web"},
        "spec": {"template": {**template, "metadata": {"labels": labels}}},
    }
    found: dict[str, Any] = defaults(copy.deepcopy(obj))["spec"]["template"]
    return found


@settings(max_examples=150, deadline=None)
@given(templates)
def test_a_defaulted_template_is_the_one_that_was_written(template: dict[str, Any]) -> None:
    assert equivalent(template, stored(template))


@settings(max_examples=150, deadline=None)
@given(templates, templates)
def test_templates_that_the_server_keeps_differently_are_not_the_same(one: Any, other: Any) -> None:
    assert equivalent(one, stored(other)) == (_canonical(one) == _canonical(other))


def _canonical(template: dict[str, Any]) -> Any:
    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: bare(member) for key, member in value.items()}
            return {key: member for key, member in kept.items() if member not in (None, "", [], {})}
        return [bare(one) for one in value] if isinstance(value, list) else value

    return bare(stored(template))


def test_a_label_that_is_called_like_a_field_has_no_default() -> None:
    with_label = {"metadata": {"labels": {"app": "x", "protocol": "TCP"}}, "spec": {}}
    without = {"metadata": {"labels": {"app": "x"}}, "spec": {}}
    assert not equivalent(without, with_label)


def test_our_own_label_is_no_part_of_a_revision() -> None:
    written = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": []}}
    live = {
        "metadata": {"labels": {"app": "x", "rollouts-pod-template-hash": "abc"}},
        "spec": {"containers": []},
    }
    assert equivalent(written, live)
    assert template_hash(written) == template_hash(live)


def test_the_hash_is_fnv_1a_in_letters_that_make_no_words() -> None:
    assert fnv32a(b"") == 0x811C9DC5
    assert fnv32a(b"foobar") == 0xBF9CF968
    assert set(safe_encode("0123456789")) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_key_order_and_empty_fields_do_not_change_a_hash_and_a_collision_does() -> None:
    assert hash_of({"a": 1, "b": None}) == hash_of({"b": {}, "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 1}, 1)
