"""Pruning, unknown fields, defaulting and validation; expected words are kube-apiserver's."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.sandbox.schema.fields import FieldError, invalid_object, quoted
from rollout.sandbox.schema.structural import default, prune, unknown_fields, validate

STRING = {"type": "string"}
INTEGER = {"type": "integer"}
SCHEMA = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
                "replicas": {"type": "integer", "format": "int32", "minimum": 0, "default": 1},
                "weight": {"type": "number", "maximum": 100, "exclusiveMaximum": True},
                "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
                "port": {"x-kubernetes-int-or-string": True},
                "at": {"type": "string", "format": "date-time"},
                "note": {"type": "string", "nullable": True, "default": "n"},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "labels": {"type": "object", "additionalProperties": STRING, "maxProperties": 2},
                "template": {"type": "object", "x-kubernetes-embedded-resource": True},
                "steps": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 3,
                    "items": {
                        "type": "object",
                        "properties": {"setWeight": INTEGER, "pause": {"type": "object"}},
                    },
                },
                "tags": {"type": "array", "items": STRING, "x-kubernetes-list-type": "set"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port"],
                    "items": {"type": "object", "properties": {"port": INTEGER, "name": STRING}},
                },
                "choice": {
                    "type": "object",
                    "properties": {"x": INTEGER, "y": INTEGER},
                    "oneOf": [{"required": ["x"]}, {"required": ["y"]}],
                },
            },
        }
    },
}


def spec(**values):
    return {"spec": {"name": "web", **values}}


def errors_of(obj, schema=SCHEMA, old=None):
    return [str(error) for error in validate(obj, schema, old)]


VALIDATION_CASES = [
    (spec(), []),
    ({}, ["spec: Required value"]),
    ({"spec": {}}, ["spec.name: Required value"]),
    (
        spec(replicas="string"),
        ['spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"'],
    ),
    (
        {"spec": []},
        ['spec: Invalid value: "array": spec in body must be of type object: "array"'],
    ),
    (spec(replicas=1.0), []),
    (
        spec(replicas=1.5),
        ['spec.replicas: Invalid value: "number": spec.replicas in body must be of type integer: "number"'],
    ),
    (
        spec(replicas=True),
        ['spec.replicas: Invalid value: "boolean": spec.replicas in body must be of type integer: "boolean"'],
    ),
    (
        spec(replicas=-1),
        ["spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0"],
    ),
    (
        spec(replicas=2**31),
        [
            (
                "spec.replicas: Invalid value: 2147483648: "
                "Checked value must be of type integer with format int32 in spec.replicas"
            )
        ],
    ),
    (spec(weight=100), ["spec.weight: Invalid value: 100: spec.weight in body should be less than 100"]),
    (spec(mode="x"), ['spec.mode: Unsupported value: "x": supported values: "a", "b"']),
    (
        {"spec": {"name": "a"}},
        ['spec.name: Invalid value: "a": spec.name in body should be at least 2 chars long'],
    ),
    ({"spec": {"name": "abcdef"}}, ["spec.name: Too long: may not be more than 5 bytes"]),
    (
        {"spec": {"name": "A1"}},
        ["spec.name: Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'"],
    ),
    (
        {"spec": {"name": "web\n"}},
        ["spec.name: Invalid value: \"web\\n\": spec.name in body should match '^[a-z]+$'"],
    ),
    (spec(port="http"), []),
    (spec(port=80), []),
    (
        spec(port=True),
        ['spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"'],
    ),
    (
        spec(at="yesterday"),
        ['spec.at: Invalid value: "yesterday": spec.at in body must be of type date-time: "yesterday"'],
    ),
    (spec(at="2024-01-01T10:00:00.123456789Z"), []),
    (spec(note=None), []),
    (
        spec(mode=None),
        ['spec.mode: Invalid value: "null": spec.mode in body must be of type string: "null"'],
    ),
    (
        spec(labels={"a": 1}),
        ['spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer"'],
    ),
    (spec(labels={"a": "", "b": "", "c": ""}), ["spec.labels: Too many: 3: must have at most 2 items"]),
    (spec(steps=[]), ["spec.steps: Invalid value: 0: spec.steps in body should have at least 1 items"]),
    (spec(steps=[{}] * 4), ["spec.steps: Too many: 4: must have at most 3 items"]),
    (
        spec(steps=[{"setWeight": "a"}]),
        [
            (
                'spec.steps[0].setWeight: Invalid value: "string": '
                'spec.steps[0].setWeight in body must be of type integer: "string"'
            )
        ],
    ),
    (spec(tags=["a", "b", "a"]), ['spec.tags[2]: Duplicate value: "a"']),
    (spec(ports=[{"port": 1}, {"port": 1}]), ['spec.ports[1]: Duplicate value: {"port":1}']),
    (spec(choice={"x": 1}), []),
    (
        spec(choice={}),
        [
            '<nil>: Invalid value: "": "spec.choice" must validate one and only one schema (oneOf). Found none valid',
            "spec.choice.x: Required value",
        ],
    ),
    (
        spec(choice={"x": 1, "y": 2}),
        [
            (
                '<nil>: Invalid value: "": "spec.choice" must validate one and only one schema (oneOf). '
                "Found 2 valid alternatives"
            )
        ],
    ),
]


@pytest.mark.parametrize(("obj", "expected"), VALIDATION_CASES)
def test_validation_says_what_kube_apiserver_says(obj, expected):
    assert errors_of(obj) == expected


def test_unchanged_parts_of_an_update_are_not_judged_again():
    old = spec(mode="gone", replicas=1)
    assert errors_of(spec(mode="gone", replicas=2), old=old) == []
    assert len(errors_of(spec(mode="other", replicas=2), old=old)) == 1
    assert len(errors_of(spec(mode="gone", replicas=True), old=old)) == 1


PRUNE_CASES = [
    (spec(x=1), spec()),
    ({**spec(), "status": {}}, spec()),
    (spec(open={"x": {"y": 1}}), spec(open={"x": {"y": 1}})),
    (spec(steps=[{"x": 1, "setWeight": 1}, {}]), spec(steps=[{"setWeight": 1}, {}])),
    (spec(labels={"any": "x"}), spec(labels={"any": "x"})),
    (
        {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "bogus": 1}, **spec()},
        {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, **spec()},
    ),
    (
        spec(template={"apiVersion": "v1", "kind": "K", "metadata": {"labels": {}, "q": 1}, "z": 1}),
        spec(template={"apiVersion": "v1", "kind": "K", "metadata": {"labels": {}}}),
    ),
]


@pytest.mark.parametrize(("obj", "expected"), PRUNE_CASES)
def test_prune_drops_what_the_schema_does_not_name(obj, expected):
    before = copy.deepcopy(obj)
    assert prune(obj, SCHEMA) == expected
    assert obj == before


def test_prune_returns_the_object_itself_when_there_is_nothing_to_drop():
    obj = spec(steps=[{"setWeight": 1}])
    assert prune(obj, SCHEMA) is obj


def test_unknown_fields_are_told_with_their_paths():
    obj = {"metadata": {"bogus": 1}, **spec(foo=1, steps=[{}, {"x": 1}], open={"x": 1})}
    assert unknown_fields(obj, SCHEMA) == [
        'unknown field "metadata.bogus"',
        'unknown field "spec.foo"',
        'unknown field "spec.steps[1].x"',
    ]


def test_defaults_fill_what_is_absent_and_drop_nulls_that_are_not_allowed():
    obj = spec(replicas=None, weight=None, note=None, labels={"a": None})
    assert default(obj, SCHEMA) == spec(replicas=1, note=None, mode="a", labels={})
    assert obj["spec"]["replicas"] is None


def test_defaults_inside_defaults_are_filled_too():
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 3}}}
        },
    }
    assert default({}, schema) == {"a": {"b": 3}}
    assert default(default({}, schema), schema) == {"a": {"b": 3}}


def rule(text, **more):
    return {"rule": text, **more}


def with_rules(*rules, **more):
    return {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "min": INTEGER,
                    "max": INTEGER,
                    "share": {"type": "number"},
                    "x-y": INTEGER,
                    "namespace": STRING,
                    "list": {"type": "array", "items": INTEGER},
                },
                "x-kubernetes-validations": list(rules),
                **more,
            }
        },
    }


RULE_CASES = [
    (
        rule("self.min <= self.max"),
        {"min": 2, "max": 1},
        'spec: Invalid value: "object": failed rule: self.min <= self.max',
    ),
    (rule("self.min <= self.max"), {"min": 1, "max": 1}, None),
    (rule("self.min > 1", message="too small"), {"min": 1}, 'spec: Invalid value: "object": too small'),
    (
        rule("self.min > 1", messageExpression="'got %d'.format([self.min])"),
        {"min": 1},
        'spec: Invalid value: "object": got 1',
    ),
    (
        rule("self.min > 1", messageExpression="self.nope", message="plain"),
        {"min": 1},
        'spec: Invalid value: "object": plain',
    ),
    (
        rule("has(self.max)", reason="FieldValueRequired", fieldPath=".max", message="max it is"),
        {},
        "spec.max: Required value: max it is",
    ),
    (rule("false", reason="FieldValueForbidden", message="no"), {}, "spec: Forbidden: no"),
    (
        rule("self.share * 2.0 < 1.0"),
        {"share": 1},
        'spec: Invalid value: "object": failed rule: self.share * 2.0 < 1.0',
    ),
    (rule("self.x__dash__y == 1 && self.__namespace__ == 'n'"), {"x-y": 1, "namespace": "n"}, None),
    (rule("self.list.isSorted() && self.list.sum() == 3"), {"list": [1, 2]}, None),
    (
        rule("self.max > 0"),
        {},
        'spec: Invalid value: "object": no such key: max evaluating rule: self.max > 0',
    ),
    (
        rule("self.min > 'a'"),
        {"min": 1},
        (
            "spec: Invalid value: \"object\": 'no such overload': call arguments did not match a supported "
            "operator, function or macro signature for rule: self.min > 'a'"
        ),
    ),
]


@pytest.mark.parametrize(("one", "value", "expected"), RULE_CASES)
def test_cel_rules(one, value, expected):
    assert errors_of({"spec": value}, with_rules(one)) == ([expected] if expected else [])


def test_a_rule_that_does_not_compile_refuses_the_object():
    (error,) = errors_of({"spec": {}}, with_rules(rule("self.")))
    assert error.startswith('spec: Invalid value: "object": rule compile error: ')


def test_transition_rules_run_on_updates_only():
    schema = with_rules(rule("self.min == oldSelf.min", message="min is immutable"))
    assert errors_of({"spec": {"min": 1}}, schema) == []
    assert errors_of({"spec": {"min": 1}}, schema, {"spec": {"min": 1}}) == []
    assert errors_of({"spec": {"min": 1}}, schema, {"spec": {"min": 2}}) == [
        'spec: Invalid value: "object": min is immutable'
    ]
    assert errors_of({"spec": {"min": 1}}, schema, {}) == []


def test_optional_old_self_runs_on_creation_too():
    schema = with_rules(
        rule("oldSelf.hasValue() || self.min == 0", optionalOldSelf=True, message="starts at 0")
    )
    assert errors_of({"spec": {"min": 1}}, schema) == ['spec: Invalid value: "object": starts at 0']
    assert errors_of({"spec": {"min": 1}}, schema, {"spec": {"min": 0}}) == []


def test_rules_are_not_run_on_an_object_that_is_wrong_otherwise():
    schema = with_rules(rule("false"))
    assert errors_of({"spec": {"min": "x"}}, schema)[1:] == [
        (
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
            "correct the existing errors to complete validation"
        )
    ]


def test_the_answer_names_the_object_and_lists_every_cause():
    errors = [FieldError("FieldValueRequired", "spec.a", "Required value"), FieldError("X", "spec.b", "bad")]
    error = invalid_object("Rollout", "argoproj.io", "web", errors)
    assert error.message == 'Rollout.argoproj.io "web" is invalid: [spec.a: Required value, spec.b: bad]'
    assert error.details == {
        "name": "web",
        "group": "argoproj.io",
        "kind": "Rollout",
        "causes": [
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.a"},
            {"reason": "X", "message": "bad", "field": "spec.b"},
        ],
    }
    assert invalid_object("Pod", "", "p", errors[:1]).message == 'Pod "p" is invalid: spec.a: Required value'


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", '"a"'), ('a"\\', '"a\\"\\\\"'), ("\n\x01", '"\\n\\x01"'), ("é\u2028", '"é\\u2028"')],
)
def test_strings_are_quoted_as_go_does(text, expected):
    assert quoted(text) == expected


LEAN = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SPEC_KEYS = st.sampled_from(
    [*SCHEMA["properties"]["spec"]["properties"], "zzz", "setWeight", "port", "min", ""]
)
SCALARS = st.sampled_from([None, True, False, 0, -1, 2**80, 1e308, 0.5, "", "a", "web", "\ud800", "é\x00\n"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SPEC_KEYS, inner, max_size=4),
    max_leaves=8,
)
OBJECTS = VALUES | st.fixed_dictionaries({"spec": st.dictionaries(SPEC_KEYS, VALUES, max_size=8)})
RULED = with_rules(rule("self.min <= self.max || self.list.all(x, x > 0)"), rule("self == oldSelf"))


@LEAN
@given(OBJECTS, st.none() | OBJECTS)
def test_validation_never_raises(obj, old):
    for schema in (SCHEMA, RULED):
        assert all(isinstance(error, FieldError) for error in validate(obj, schema, old))


@LEAN
@given(OBJECTS)
def test_prune_is_idempotent_and_leaves_nothing_unknown(obj):
    once = prune(obj, SCHEMA)
    assert prune(once, SCHEMA) is once
    assert unknown_fields(once, SCHEMA) == []


@LEAN
@given(OBJECTS)
def test_default_is_idempotent(obj):
    once = default(obj, SCHEMA)
    assert default(once, SCHEMA) is once


def test_an_object_nested_too_deeply_is_an_error_not_a_crash():
    deep: dict = {}
    for _ in range(100_000):
        deep = {"x": deep}
    other: dict = {}
    for _ in range(100_000):
        other = {"x": other}
    assert errors_of(spec(open=deep), old=spec(open=other)) == [
        '<nil>: Invalid value: "": the object is nested too deeply'
    ]
