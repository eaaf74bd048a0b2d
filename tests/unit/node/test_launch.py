from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.sandbox.node.images import Program
from rollout.sandbox.node.launch import (
    ContainerConfigError,
    Launch,
    Lookups,
    Node,
    container_ports,
    expand,
    field_value,
    launch,
    main_port,
    quantity,
    references,
)

NODE = Node("sandbox", "127.7.0.1", {"cpu": "2", "memory": "4Gi"})


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}},
        "spec": {"containers": list(containers), "nodeName": "sandbox"},
        "status": {"podIP": "127.7.0.9"},
    }


def run(container: dict[str, Any], program: Program | None = None, **lookups: Any) -> Launch:
    return launch(
        pod(container),
        container,
        program or Program(("app", "$POD_IP:$PORT"), {"LEVEL": "image", "COLOR": "red"}),
        base={"PATH": "/bin", "LEVEL": "base"},
        ports={},
        node=NODE,
        lookups=Lookups(**lookups),
    )


def test_a_plain_container_runs_the_images_command_with_its_address() -> None:
    found = run({"name": "web", "ports": [{"containerPort": 9000}]})
    assert found.argv == ("app", "127.7.0.9:9000")
    assert found.env == {
        "PATH": "/bin",
        "LEVEL": "image",
        "COLOR": "red",
        "POD_IP": "127.7.0.9",
        "POD_NAME": "web-1",
        "POD_NAMESPACE": "shop",
        "HOSTNAME": "web-1",
        "PORT": "9000",
    }


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({"command": ["run"]}, ("run",)),
        ({"args": ["-v"]}, ("app", "127.7.0.9:8080", "-v")),
        ({"command": ["run"], "args": ["$(WHO)", "$WHO"]}, ("run", "me", "$WHO")),
    ],
)
def test_command_replaces_the_images_command_and_args_follow(
    container: dict[str, Any], argv: tuple[str, ...]
) -> None:
    assert run({"name": "web", "env": [{"name": "WHO", "value": "me"}], **container}).argv == argv


def test_the_containers_env_wins_over_env_from_and_the_image() -> None:
    container = {
        "name": "web",
        "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "P_"}, {"secretRef": {"name": "s"}}],
        "env": [{"name": "LEVEL", "value": "pod"}, {"name": "BOTH", "value": "$(LEVEL)/$(P_a)/$(LATER)"}],
    }
    env = run(container, config_maps={"m": {"a": "1"}}, secrets={"s": {"LEVEL": "secret", "T": "2"}}).env
    assert (env["LEVEL"], env["P_a"], env["T"], env["BOTH"]) == ("pod", "1", "2", "pod/1/$(LATER)")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "m", "key": "a"}}, 'configmap "m" not found'),
        ({"secretKeyRef": {"name": "s", "key": "a"}}, 'secret "s" not found'),
        ({"configMapKeyRef": {"name": "there", "key": "a"}}, "couldn't find key a in ConfigMap shop/there"),
        ({"fieldRef": {"fieldPath": "status.phase"}}, "status.phase"),
        ({"resourceFieldRef": {"resource": "cpu"}}, "limits.cpu"),
        ({}, "fieldRef"),
        ({"vault": {}}, "no source"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told(source: dict[str, Any], message: str) -> None:
    container = {"name": "web", "env": [{"name": "A", "valueFrom": source or {"other": 1}}]}
    with pytest.raises(ContainerConfigError, match=message.replace("$", r"\$")):
        run(container, config_maps={"there": {}})


def test_optional_references_may_be_missing() -> None:
    container = {
        "name": "web",
        "envFrom": [{"configMapRef": {"name": "no", "optional": True}}],
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k", "optional": True}}}],
    }
    assert "A" not in run(container).env


def test_missing_env_from_is_an_error() -> None:
    with pytest.raises(ContainerConfigError, match='secret "no" not found'):
        run({"name": "web", "envFrom": [{"secretRef": {"name": "no"}}]})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("status.podIP", "127.7.0.9"),
        ("status.hostIP", "127.7.0.1"),
        ("spec.serviceAccountName", "default"),
    ],
)
def test_fields_of_the_downward_api(path: str, value: str) -> None:
    assert field_value(pod(), path, NODE) == value


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", "1", "1"),
        ("limits.cpu", "1m", "500"),
        ("limits.memory", "1Mi", "4096"),
        ("requests.memory", "1", "0"),
        ("requests.cpu", "1m", "250"),
    ],
)
def test_resource_fields_are_rounded_up_and_default_to_the_node(
    resource: str, divisor: str, value: str
) -> None:
    reference = {"resource": resource, "divisor": divisor}
    container = {
        "name": "web",
        "resources": {"limits": {"cpu": "500m"}, "requests": {"cpu": "250m"}},
        "env": [{"name": "A", "valueFrom": {"resourceFieldRef": reference}}],
    }
    assert run(container).env["A"] == value


def test_containers_without_ports_get_different_ones_and_mapped_ports_are_told() -> None:
    both = pod({"name": "a"}, {"name": "b"}, {"name": "c", "ports": [{"containerPort": 80}]})
    first, second, third = both["spec"]["containers"]
    assert [main_port(both, item, {80: 5000}) for item in (first, second, third)] == [8080, 8081, 5000]
    assert container_ports(both) == [8080, 8081, 80]


def test_references_name_all_config_maps_and_secrets() -> None:
    container = {
        "name": "a",
        "envFrom": [{"configMapRef": {"name": "m1"}}, {"secretRef": {"name": "s1"}}],
        "env": [
            {"name": "x", "valueFrom": {"configMapKeyRef": {"name": "m2", "key": "k"}}},
            {"name": "y", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k"}}},
            {"name": "z", "value": "plain"},
        ],
    }
    assert references(pod(container)) == ({"m1", "m2"}, {"s1", "s2"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$(B)", "$(B)"),
        ("a$$b", "a$b"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("$(A)$(A)", "11"),
    ],
)
def test_expansion_follows_kubernetes(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


@given(st.text(alphabet="ab()", max_size=20))
def test_text_without_a_dollar_is_never_changed(text: str) -> None:
    assert expand(text, {"a": "x", "b": "y"}) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", Fraction(1, 10)),
        ("128Mi", 128 * 1024**2),
        ("1.5G", 1_500_000_000),
        ("1e3", 1000),
        ("2", 2),
        (".5", Fraction(1, 2)),
        ("3E", 3 * 10**18),
    ],
)
def test_quantities(text: str, value: Fraction | int) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize("text", ["", "1Q", "Mi", "1 Gi", "--1", "1e9999"])
def test_malformed_quantities_are_refused(text: str) -> None:
    with pytest.raises(ContainerConfigError):
        quantity(text)
