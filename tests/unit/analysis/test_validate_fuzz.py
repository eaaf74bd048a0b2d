"""Whatever stands in a template or a run: a list of problems, never an exception, and what is accepted can be used."""

from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.controller import resolved
from analysis.plan import settings as settings_of
from rollout.core.validate_analysis import validate_run_spec, validate_template

SCALAR = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=6)
TEXTS = st.sampled_from(
    [
        "",
        "5m",
        "5x",
        "0s",
        "-1",
        "3",
        "{{args.a}}",
        "{{args.s}}",
        "{{args.zz}}",
        "result[0] > 1",
        "result >",
        "http://p",
    ]
)
JSON = st.recursive(
    SCALAR | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["key", "value", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


def wild(good):
    """Mostly `good`, sometimes anything."""
    return st.one_of(good, good, good, JSON)


PROMETHEUS = st.dictionaries(
    st.sampled_from(
        ["address", "query", "timeout", "insecure", "headers", "authentication", "rangeQuery", "caCert", "x"]
    ),
    wild(TEXTS | st.fixed_dictionaries({"basicAuth": JSON, "start": JSON, "end": JSON, "step": TEXTS})),
)
METRIC = st.fixed_dictionaries(
    {
        "name": wild(st.sampled_from(["a", "b"])),
        "provider": wild(
            st.fixed_dictionaries({"prometheus": wild(PROMETHEUS)})
            | st.fixed_dictionaries({"plugin": wild(st.fixed_dictionaries({"surefoot/cmd": JSON}))})
        ),
    },
    optional={
        field: wild(TEXTS | st.integers(-2, 5))
        for field in (
            "interval",
            "initialDelay",
            "count",
            "failureLimit",
            "inconclusiveLimit",
            "consecutiveErrorLimit",
            "consecutiveSuccessLimit",
            "successCondition",
            "failureCondition",
            "startGroup",
        )
    }
    | {
        "comparator": wild(
            st.fixed_dictionaries({name: wild(TEXTS) for name in ("type", "operator", "value")})
            | st.just({"type": "int", "operator": "between", "value": "2,1"})
        )
    },
)
ARG = st.sampled_from(
    [
        {"name": "a", "value": "3"},
        {"name": "a"},
        {"name": "s", "valueFrom": {"secretKeyRef": {"name": "n", "key": "k"}}},
        {"name": "f", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
        {},
    ]
)
SPEC = st.fixed_dictionaries(
    {"metrics": wild(st.lists(wild(METRIC), max_size=2))},
    optional={
        "args": wild(st.lists(wild(ARG), max_size=2)),
        "dryRun": wild(st.lists(wild(st.fixed_dictionaries({"metricName": TEXTS})), max_size=1)),
        "measurementRetention": wild(
            st.lists(wild(st.fixed_dictionaries({"metricName": TEXTS, "limit": st.integers()})), max_size=1)
        ),
        "templates": JSON,
        "terminate": JSON,
        "ttlStrategy": JSON,
    },
)


@given(wild(st.fixed_dictionaries({"spec": wild(SPEC)}).map(lambda obj: {"kind": "AnalysisTemplate"} | obj)))
@settings(max_examples=300, deadline=None)
def test_any_template_has_a_list_of_problems(obj):
    if isinstance(obj, dict):
        assert all(str(problem) for problem in validate_template(obj))


@given(SPEC)
@settings(max_examples=300, deadline=None)
def test_any_run_has_a_list_of_problems(spec):
    assert all(str(problem) for problem in validate_run_spec(spec))


# Runs that are right or nearly so.
NUMBER = st.integers(-1, 4) | st.sampled_from(["3", "{{args.a}}"])
NEARLY = st.fixed_dictionaries(
    {"name": st.just("m"), "provider": st.just({"prometheus": {"query": "up{a='{{args.a}}'}"}})},
    optional={
        "interval": st.sampled_from(["1m", "5s", "{{args.a}}s", "0s"]),
        "initialDelay": st.sampled_from(["0s", "1h", "x"]),
        "count": NUMBER,
        "failureLimit": NUMBER,
        "inconclusiveLimit": NUMBER,
        "consecutiveErrorLimit": NUMBER,
        "consecutiveSuccessLimit": NUMBER,
        "successCondition": st.sampled_from(["", "result[0] > {{args.a}}", "result["]),
    },
)


@given(NEARLY)
@settings(max_examples=300, deadline=None)
def test_what_is_accepted_can_be_carried_out(metric):
    spec = {"metrics": [metric], "args": [{"name": "a", "value": "2"}]}
    if not validate_run_spec(spec):
        (usable,) = resolved(spec)
        numbers = settings_of(usable)
        assert numbers.count >= 0
        assert numbers.interval is None or numbers.interval > 0
        assert "{{" not in str(usable)


def test_a_plain_run_is_accepted():
    good = {"metrics": [{"name": "a", "provider": {"prometheus": {"query": "up"}}}]}
    assert validate_run_spec(good) == []
