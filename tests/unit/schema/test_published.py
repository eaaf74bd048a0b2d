"""Schemas of CRDs: structural or refused, in kube-apiserver's words."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.sandbox.schema.published import complete, schema_errors
from rollout.sandbox.schema.structural import prune

AT = "spec.versions[0].schema.openAPIV3Schema"
STRING = {"type": "string"}


def of(root=None, **spec):
    schema = {"type": "object", "properties": {"spec": {"type": "object", **spec}}} if root is None else root
    return [str(error).replace(AT, "AT") for error in schema_errors(schema, AT)]


LIST = {"type": "array", "x-kubernetes-list-type": "map"}
ITEM = {"type": "object", "properties": {"name": STRING}, "required": ["name"]}
SPEC = "AT.properties[spec]"

CASES = [
    ({"properties": {"a": STRING}}, []),
    (
        {"properties": {"a": {}}},
        [f"{SPEC}.properties[a].type: Required value: must not be empty for specified object fields"],
    ),
    ({"properties": {"a": {"x-kubernetes-int-or-string": True}}}, []),
    ({"properties": {"a": {"x-kubernetes-preserve-unknown-fields": True}}}, []),
    (
        {"properties": {"a": {"type": "array"}}},
        [f"{SPEC}.properties[a].items: Required value: must be specified"],
    ),
    (
        {"properties": {"a": {"type": "array", "items": {}}}},
        [f"{SPEC}.properties[a].items.type: Required value: must not be empty for specified array items"],
    ),
    (
        {"properties": {"a": {"type": "text"}}},
        [
            (
                f'{SPEC}.properties[a].type: Unsupported value: "text": supported values: '
                '"array", "boolean", "integer", "number", "object", "string"'
            )
        ],
    ),
    (
        {"properties": {"a": STRING}, "additionalProperties": STRING},
        [f"{SPEC}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    ),
    (
        {"properties": {"a": {**STRING, "$ref": "#/x"}}},
        [f"{SPEC}.properties[a].$ref: Forbidden: $ref is not supported"],
    ),
    ({"properties": {"a": {**LIST, "x-kubernetes-list-map-keys": ["name"], "items": ITEM}}}, []),
    (
        {"properties": {"a": {**LIST, "items": ITEM}}},
        [
            (
                f"{SPEC}.properties[a].x-kubernetes-list-map-keys: Required value: "
                "must not be empty if x-kubernetes-list-type is map"
            )
        ],
    ),
    (
        {"properties": {"a": {**LIST, "x-kubernetes-list-map-keys": ["id"], "items": ITEM}}},
        [
            (
                f'{SPEC}.properties[a].x-kubernetes-list-map-keys: Invalid value: ["id"]: '
                "entries must all be names of item properties"
            )
        ],
    ),
    ({"oneOf": [{"required": ["a"]}, {"properties": {"b": {"enum": ["x"]}}}]}, []),
    (
        {"anyOf": [{"properties": {"b": STRING}}]},
        [f"{SPEC}.anyOf[0].properties[b].type: Forbidden: must be empty to be structural"],
    ),
    (
        {"properties": {"a": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, STRING]}}},
        [],
    ),
    ({"properties": {"a": {**STRING, "default": "x"}}}, []),
    (
        {"properties": {"a": {**STRING, "default": 3}}},
        [
            (
                f'{SPEC}.properties[a].default: Invalid value: "integer": '
                'default in body must be of type string: "integer"'
            )
        ],
    ),
    (
        {"properties": {"a": {"type": "object", "default": {"x": 1}}}},
        [f'{SPEC}.properties[a].default: Invalid value: {{"x":1}}: must not have unknown fields'],
    ),
    ({"x-kubernetes-validations": [{"rule": "self.a > 1"}]}, []),
    (
        {"x-kubernetes-validations": [{"rule": ""}]},
        [f"{SPEC}.x-kubernetes-validations[0].rule: Required value: rule is not specified"],
    ),
    (
        {"x-kubernetes-validations": [{"rule": "true", "reason": "Because"}]},
        [
            (
                f'{SPEC}.x-kubernetes-validations[0].reason: Unsupported value: "Because": supported values: '
                '"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"'
            )
        ],
    ),
]


@pytest.mark.parametrize(("spec", "expected"), CASES)
def test_schema_errors(spec, expected):
    assert of(**spec) == expected


def test_rules_and_patterns_must_compile():
    (error,) = of(**{"x-kubernetes-validations": [{"rule": "self.("}]})
    assert error.startswith(f"{SPEC}.x-kubernetes-validations[0].rule: Invalid value: ")
    assert "compilation failed" in error
    (error,) = of(properties={"a": {**STRING, "pattern": "("}})
    assert error.startswith(
        f'{SPEC}.properties[a].pattern: Invalid value: "(": must be a valid regular expression'
    )


def test_the_root_is_an_object():
    assert of({}) == ["AT.type: Required value: must not be empty at the root"]
    assert of(STRING) == ['AT.type: Invalid value: "string": must be object at the root']
    assert of(3) == ["AT: Required value: schemas are required"]


def test_complete_schemas_describe_metadata():
    schema = complete({"type": "object", "properties": {"spec": {"type": "object"}}})
    assert schema["properties"].keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert schema["properties"]["metadata"]["properties"]["finalizers"]["x-kubernetes-list-type"] == "set"
    obj = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {}}
    assert prune(obj, schema) is obj


KEYS = st.sampled_from(
    [
        "type",
        "properties",
        "items",
        "additionalProperties",
        "default",
        "oneOf",
        "not",
        "required",
        "pattern",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-validations",
        "rule",
        "enum",
        "a",
    ]
)
VALUES = st.recursive(
    st.sampled_from([None, 0, True, "object", "array", "string", "map", "(", "self.a > 1", "\ud800"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_any_json_is_judged(schema):
    assert isinstance(schema_errors(schema, AT), list)
