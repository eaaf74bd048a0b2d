"""A Rollout's pods read from a workload: what is filled in, and what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.api.codec import view
from rollout.api.rollout import HASH_LABEL
from rollout.api.workload import ReplicaSet
from rollout.core.workload import Workload, filled, problems, ref_of, remembered, template_path, workload_of


def rollout(kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"workloadRef": {"kind": kind, "name": "web"}, **spec}}


def template(**labels: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": "web", **labels}},
        "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
    }


def workload(**more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "generation": 7, "resourceVersion": "9"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template(), **more},
    }


def fill(raw: dict[str, Any], obj: dict[str, Any]) -> dict[str, Any]:
    ref = ref_of(raw)
    assert ref is not None
    assert problems(ref, "shop", raw, obj) == []
    return filled(raw, ref, obj)["spec"]


def test_a_deployment_gives_template_and_selector_and_is_not_changed() -> None:
    raw, obj = rollout(), workload()
    spec = fill(raw, obj)
    assert spec["template"] == template()
    assert spec["selector"] == {"matchLabels": {"app": "web"}}
    assert spec["workloadRef"] == raw["spec"]["workloadRef"]
    assert (raw, obj) == (rollout(), workload())


def test_the_rollouts_own_selector_stays() -> None:
    own = {"matchLabels": {"track": "x"}}
    assert fill(rollout(selector=own), workload(template=template(track="x")))["selector"] == own


def test_a_replica_set_is_read_without_the_label_of_its_deployment() -> None:
    labels = {"app": "web", "pod-template-hash": "abc"}
    obj = workload(template=template(**labels), selector={"matchLabels": labels})
    spec = fill(rollout("ReplicaSet"), obj)
    assert spec["template"] == template()
    assert spec["selector"] == {"matchLabels": {"app": "web"}}


def test_a_pod_template_has_its_template_at_the_top_and_its_labels_select() -> None:
    spec = fill(rollout("PodTemplate"), {"metadata": {"name": "web"}, "template": template(tier="front")})
    assert spec["selector"] == {"matchLabels": {"app": "web", "tier": "front"}}
    assert template_path("PodTemplate") == "/template"


@pytest.mark.parametrize(
    ("raw", "obj", "path", "said"),
    [
        (rollout(), None, "spec.workloadRef.name", 'Deployment "shop/web" not found; create it'),
        (rollout(), {"spec": {}}, 'Deployment "shop/web": spec.template', "no pod template"),
        (rollout(), {"spec": []}, 'Deployment "shop/web": spec.template', "no pod template"),
        (
            rollout(),
            workload(template={"spec": {"containers": []}}),
            'Deployment "shop/web": spec.template.spec.containers',
            "at least one container",
        ),
        (
            rollout(selector={"matchLabels": {"app": "other"}}),
            workload(),
            'Deployment "shop/web": spec.template.metadata.labels',
            "must match spec.selector",
        ),
        (
            rollout("PodTemplate"),
            {"template": {"spec": template()["spec"]}},
            "spec.selector",
            "an empty selector matches every pod",
        ),
    ],
)
def test_what_is_wrong_is_said_with_object_and_field(
    raw: dict[str, Any], obj: dict[str, Any] | None, path: str, said: str
) -> None:
    ref = ref_of(raw)
    assert ref is not None
    (problem,) = problems(ref, "shop", raw, obj)
    assert problem.path == path
    assert said in problem.message


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"spec": None},
        {"spec": {"workloadRef": "web"}},
        {"spec": {"workloadRef": {"kind": "StatefulSet", "name": "web"}}},
        rollout(template=template()),
    ],
)
def test_no_reference_that_can_be_used_is_none(raw: dict[str, Any]) -> None:
    assert ref_of(raw) is None


def test_a_plan_sees_generation_size_and_version() -> None:
    ref = ref_of(rollout())
    assert ref is not None
    seen = workload_of(ref, workload())
    assert seen == Workload(kind="Deployment", name="web", resource_version="9", generation=7, replicas=3)
    assert workload_of(ref, {"spec": {}}).replicas == 1  # the API's default
    assert workload_of(ref, {"metadata": {"deletionTimestamp": "x"}}).deleting


def test_without_its_workload_a_rollout_remembers_what_it_wanted_last() -> None:
    last = view(
        {"metadata": {"name": "web-1"}, "spec": {"template": template(**{HASH_LABEL: "abc"})}}, ReplicaSet
    )
    spec = remembered(rollout(), last)["spec"]
    assert spec["template"] == template()
    assert spec["selector"] == {"matchLabels": {"app": "web"}}
    assert remembered(rollout(), None) == rollout()
