"""Remembered pod specs: the answer is that of a spec seen for the first time."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.api import codec
from rollout.api.resources import PODS
from rollout.errors import BadRequest
from rollout.sandbox.storage import Options, Storage
from rollout.sandbox.storage.admission import (
    admit_shape,
    check_types,
    schema_of,
    shape_errors,
    with_known_parts,
)
from rollout.sandbox.storage.registry import Served, builtins

PODS_SERVED = next(served for served in builtins() if served.resource == PODS)

VALUES = st.sampled_from(
    [None, 0, 1, 1.0, True, "", "a", "web:v1", "Always", [], {}, [{}], ["a"], {"a": "1"}]
)
CONTAINERS = st.fixed_dictionaries(
    {"name": st.sampled_from(["c", "d", "Not", ""]), "image": st.sampled_from(["web:v1", "web", ""])},
    optional={
        "ports": st.lists(
            st.fixed_dictionaries({"containerPort": st.sampled_from([80, 0, 99999])}), max_size=2
        ),
        "resources": st.sampled_from(
            [{}, {"limits": {"cpu": "1"}}, {"limits": {"cpu": 1}}, {"limits": {"cpu": "x"}}]
        ),
        "command": VALUES,
        "unknown": VALUES,
    },
)
SPECS = st.fixed_dictionaries(
    {"containers": st.lists(CONTAINERS, max_size=2)},
    optional={
        "restartPolicy": VALUES,
        "terminationGracePeriodSeconds": VALUES,
        "nodeSelector": VALUES,
        "hostNetwork": VALUES,
        "unknown": VALUES,
    },
)


def outcome(served: Served, pod: dict[str, Any], *, remember: bool) -> Any:
    """(complete pod, errors, warnings), or how it was refused."""
    warnings: list[str] = []
    options = Options(field_validation="Warn", warn=warnings.append)
    known: dict[str, Any] = {}
    if remember:
        pod, known = with_known_parts(served, pod)
    try:
        check_types(served, pod, known)
    except BadRequest as error:
        return str(error)
    shaped = admit_shape(served, pod, None, options, known)
    return codec.encode(shaped), shape_errors(served, shaped, known or None), warnings


@given(spec=SPECS)
@settings(max_examples=300, deadline=None)
def test_a_remembered_spec_changes_no_answer(spec: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec}
    assert schema_of(PODS_SERVED) is not None
    fresh = outcome(PODS_SERVED, pod, remember=False)
    assert outcome(PODS_SERVED, pod, remember=True) == fresh
    assert outcome(PODS_SERVED, pod, remember=True) == fresh


def test_pods_of_one_template_share_their_spec_and_nothing_else(storage: Storage) -> None:
    spec = {"containers": [{"name": "c", "image": "web:v1"}]}
    one, two = (
        storage.create(PODS, "default", {"metadata": {"name": name}, "spec": dict(spec)})
        for name in ("a", "b")
    )
    assert one["spec"] is two["spec"]
    storage.bind("default", "a", "n1")
    assert storage.get(PODS, "default", "a")["spec"]["nodeName"] == "n1"
    assert "nodeName" not in storage.get(PODS, "default", "b")["spec"]
