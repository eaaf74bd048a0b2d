import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.api import codec
from rollout.errors import BadRequest, UnsupportedMediaType
from rollout.sandbox.http.body import decode_object, decode_patch, decode_yaml

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc:- ", max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)

ENVELOPE = b"k8s\0\x0a\x17\x0a\x0eexample.com/v1\x12\x05Gizmo"


def test_broken_json_is_a_bad_request_in_kubes_words():
    with pytest.raises(BadRequest) as caught:
        decode_object(b'{"kind": ', "application/json", "Pod")
    assert caught.value.message.startswith(
        "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: "
    )


@pytest.mark.parametrize("data", [b"[]", b"7", b'"text"', b""])
def test_anything_but_an_object_is_a_bad_request(data):
    with pytest.raises(BadRequest):
        decode_object(data, "application/json", "Pod")


def test_protobuf_of_an_unknown_kind_is_an_unsupported_media_type():
    with pytest.raises(
        UnsupportedMediaType, match="accepted media types include: application/json, application/yaml"
    ):
        decode_object(ENVELOPE, "application/vnd.kubernetes.protobuf", "Gizmo")


def test_broken_protobuf_is_a_bad_request():
    with pytest.raises(BadRequest, match="proto parse error"):
        decode_object(ENVELOPE[:-1], "application/vnd.kubernetes.protobuf", "Gizmo")


def test_nesting_beyond_reason_is_a_bad_request():
    with pytest.raises(BadRequest, match="exceeded max depth"):
        decode_object(b'{"a":' + b"[" * 100_000, "application/json", "Pod")


def test_yaml_dates_stay_text_and_keys_become_text():
    assert decode_yaml(b"{since: 2026-01-31, 8080: yes, true: 1.5}") == {
        "since": "2026-01-31",
        "8080": True,
        "true": 1.5,
    }


def test_yaml_aliases_that_multiply_are_refused():
    lines = [b"a0: &a0 [x]"] + [
        b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 12)
    ]
    with pytest.raises(ValueError, match="excessive aliasing"):
        decode_yaml(b"\n".join(lines))


def test_a_yaml_alias_that_contains_itself_is_refused():
    with pytest.raises(ValueError, match="max depth"):
        decode_yaml(b"a: &a [*a]")


@pytest.mark.parametrize("data", [b"a: [", b"a: .nan", b"!!python/object:os.system {}", b"? [1]\n: 2"])
def test_yaml_that_is_no_json_is_refused(data):
    with pytest.raises(ValueError):
        decode_yaml(data)


@given(JSON_VALUES)
def test_json_is_read_alike_as_json_and_as_yaml(value):
    assert decode_yaml(codec.encode({"v": value})) == {"v": value}


@given(st.binary(max_size=200))
def test_no_bytes_make_a_patch_fail_with_anything_but_bad_request(data):
    for kind in ("merge", "apply"):
        try:
            decode_patch(data, kind)
        except BadRequest:
            continue
