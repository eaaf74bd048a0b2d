import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.sandbox.http.protobuf import UnknownKindError, decode


def field(number, value):
    """One field: an int as varint, anything else with its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value % 2**64)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def body(api_version, kind, message):
    return b"k8s\0" + field(1, field(1, api_version) + field(2, kind)) + field(2, message)


META = field(1, field(1, "web") + field(7, 0) + field(8, b"") + field(11, field(1, "app") + field(2, "web")))


def test_metadata_loses_gos_zero_values_and_keeps_maps():
    found = decode(body("v1", "ConfigMap", META + field(2, field(1, "a") + field(2, "1"))))
    assert found == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "data": {"a": "1"},
    }


def test_a_pointer_to_zero_stays_and_a_plain_zero_goes():
    spec = field(2, field(1, 0) + field(5, 0))
    assert decode(body("apps/v1", "Deployment", spec))["spec"] == {"replicas": 0}


@pytest.mark.parametrize(
    ("value", "found"),
    [(field(1, 0) + field(2, 8080) + field(3, ""), 8080), (field(1, 1) + field(3, "http"), "http")],
)
def test_an_int_or_string_is_one_or_the_other(value, found):
    port = field(4, value) + field(3, 80)
    assert decode(body("v1", "Service", field(2, field(1, port))))["spec"]["ports"] == [
        {"port": 80, "targetPort": found}
    ]


def test_an_inlined_struct_has_its_fields_in_its_parent():
    probe = field(1, field(2, field(1, "/ready"))) + field(2, 5)
    container = field(1, "web") + field(11, probe)
    spec = decode(body("v1", "Pod", field(2, field(2, container))))["spec"]
    assert spec["containers"] == [
        {"name": "web", "readinessProbe": {"httpGet": {"path": "/ready"}, "initialDelaySeconds": 5}}
    ]


def test_numbers_may_be_negative():
    assert decode(body("v1", "Pod", field(2, field(25, -7))))["spec"]["priority"] == -7


def test_bytes_are_base64_and_times_are_text():
    secret = decode(body("v1", "Secret", field(2, field(1, "key") + field(2, b"\xff"))))
    assert secret["data"] == {"key": "/w=="}
    lease = field(2, field(4, field(1, 1_769_860_800) + field(2, 250_000_000)))
    found = decode(body("coordination.k8s.io/v1", "Lease", lease))
    assert found["spec"] == {"renewTime": "2026-01-31T12:00:00.250000Z"}


def test_fields_of_a_newer_release_are_passed_over():
    assert decode(body("v1", "ConfigMap", META + field(4000, "new"))) == decode(body("v1", "ConfigMap", META))


def test_a_custom_kind_is_not_known():
    with pytest.raises(UnknownKindError):
        decode(body("example.com/v1", "Gizmo", b""))


@given(st.binary(max_size=120), st.sampled_from(["Pod", "Secret", "Service", "Event"]))
def test_no_bytes_raise_anything_but_value_error(data, kind):
    for whole in (data, b"k8s\0" + data, body("v1", kind, data)):
        try:
            decode(whole)
        except ValueError:
            continue
