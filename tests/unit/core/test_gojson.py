"""Pod templates as Go writes them, and the hashes made of that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollout.core.gojson import plain, pod_template
from rollout.core.quantity import canonical
from rollout.core.template import equivalent, template_hash

PAIRS = json.loads((Path(__file__).parent / "podhash.json").read_text())


def pod(**container: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", **container}]}}


def test_hashes_are_those_of_kubernetes_own_types() -> None:
    """The pairs were made by tools/podhash/compare.py --fixture."""
    assert len(PAIRS) > 80
    found = [template_hash(pair["template"], pair["collisionCount"]) for pair in PAIRS]
    assert found == [pair["hash"] for pair in PAIRS]


def test_fields_come_in_the_order_of_their_declaration_and_structs_are_always_there() -> None:
    given = {
        "spec": {
            "restartPolicy": "Always",
            "containers": [{"image": "web:v1", "command": [], "name": "web"}],
        },
        "metadata": {"labels": {"b": "<", "a": "1"}, "creationTimestamp": None},
    }
    assert pod_template(given).decode() == (
        r'{"metadata":{"labels":{"a":"1","b":"\u003c"}},'
        '"spec":{"containers":[{"name":"web","image":"web:v1","resources":{}}],"restartPolicy":"Always"}}'
    )


def test_a_field_that_the_types_do_not_know_counts() -> None:
    known, newer = pod(), pod(fieldOfTheNextRelease={"deep": [1, 2]})
    assert pod_template(newer).startswith(pod_template(known))
    hashes = {template_hash(one) for one in (known, newer, pod(fieldOfTheNextRelease={"deep": [1, 3]}))}
    assert len(hashes) == 3


@pytest.mark.parametrize(
    "container",
    [
        {"stdin": "yes"},
        {"args": ["a", 1]},
        {"ports": {"containerPort": 80}},
        {"ports": [{"containerPort": 2**40}]},
        {"resources": {"limits": {"cpu": "lots"}}},
        {"env": [{"name": True}]},
        {"livenessProbe": "none"},
    ],
)
def test_a_value_of_the_wrong_type_counts_too(container: dict[str, Any]) -> None:
    assert template_hash(pod(**container)) != template_hash(pod())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0.5", "500m"),
        ("1.500", "1.500"),  # near enough to be kept
        ("1024Mi", "1Gi"),
        ("1500Mi", "1500Mi"),
        ("0.5Gi", "512Mi"),
        ("0.1Ki", "102400m"),
        ("1e3", "1e3"),
        ("1000e3", "1e6"),
        ("000", "0"),
        ("0.0000000001", "1n"),
        ("-2048Ki", "-2Mi"),
        ("99999999999999999999Ei", "9223372036854775807"),
        (" 1 ", "1"),
        ("one", None),
        ("", None),
        ("1 Gi", None),
    ],
)
def test_quantities_are_canonical(written: str, read: str | None) -> None:
    assert canonical(written) == read


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.25, "0.25"), (1e20, "100000000000000000000"), (1e21, "1e+21"), (1e-7, "1e-7")],
)
def test_plain_numbers_are_written_as_go_writes_them(value: float, text: str) -> None:
    assert plain(value) == text


def test_the_api_servers_defaults_change_the_hash_but_not_the_revision() -> None:
    """Argo hashes the Rollout's template as it stands; which set belongs to it is asked by equivalence."""
    written, live = pod(image="web:v1"), pod(image="web:v1", imagePullPolicy="IfNotPresent")
    assert template_hash(written) != template_hash(live)
    assert equivalent(written, live)
