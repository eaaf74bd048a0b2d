"""Whatever stands in a `loadTest`, it is judged without a crash, and what is judged right becomes a bounded plan."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.load.plan import decode, encode
from analysis.load.spec import plan_of, source_of
from rollout.core.validate_providers.load_test import (
    MAX_RATE,
    MAX_SECONDS,
    MAX_USERS,
    MAX_WORKERS,
    check_load_test,
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
numbers = (
    st.integers(-1, 60_000)
    | st.floats(0, 100_000)
    | st.sampled_from(["5", "2.5", "", "x", "1e9", "{{args.n}}"])
)
durations = st.sampled_from(["1s", "1m30s", "0s", "7h", "-1s", "1", "", "250ms"]) | anything
checks = st.fixed_dictionaries(
    {},
    optional={"status": anything | st.just([200, "3xx"]), "maxLatency": durations, "bodyContains": anything},
)
request = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=5) | anything,
        "method": st.sampled_from(["GET", "POST", "get"]) | anything,
        "path": st.sampled_from(["/", "/a?b=1", "x"]) | anything,
        "weight": numbers,
        "headers": anything | st.just([{"key": "a", "value": "b"}]),
        "body": anything,
        "jsonBody": anything,
        "checks": checks | anything,
    },
)
bodies = st.fixed_dictionaries(
    {
        "target": st.sampled_from([{"url": "http://web"}, {"role": "canary"}, {"role": "stable", "port": 80}])
        | anything,
        "duration": durations,
    },
    optional={
        "users": numbers,
        "requestsPerSecond": numbers,
        "spawnRate": numbers,
        "maxUsers": numbers,
        "thinkTime": durations,
        "timeout": durations,
        "workers": numbers,
        "headers": anything,
        "requests": st.lists(request, max_size=3) | anything,
        "locustfile": anything | st.just({"inline": "x"}) | st.just({"configMapRef": {"name": "a"}}),
        "image": anything,
        "resources": anything,
        "insecure": anything,
    },
)
right = st.fixed_dictionaries(
    {"target": st.just({"url": "http://web"}), "duration": st.sampled_from(["1s", "1m30s", "6h"])},
    optional={
        "timeout": st.sampled_from(["1s", "2m"]),
        "workers": st.integers(1, 50),
        "requests": st.lists(request, max_size=2),
    },
)
amounts = st.fixed_dictionaries({"users": numbers}, optional={"spawnRate": numbers}) | st.fixed_dictionaries(
    {"requestsPerSecond": numbers}, optional={"maxUsers": numbers}
)


@given(st.dictionaries(st.text(max_size=8), anything, max_size=4) | bodies)
@settings(max_examples=200, deadline=None)
def test_any_body_is_judged_without_a_crash(body):
    for problem in check_load_test(body, "p"):
        assert problem.path.startswith("p")


@given(right, amounts)
@settings(max_examples=300, deadline=None)
def test_what_is_judged_right_becomes_a_bounded_plan_that_survives_json(body, amount):
    body |= amount
    if list(check_load_test(body, "p")) or "{{" in json.dumps(body):
        return
    plan = plan_of(body, "http://web")
    assert 0 < plan.users <= MAX_USERS
    assert 0 <= plan.rate <= MAX_RATE
    assert plan.spawn_rate > 0
    assert 0 < plan.duration <= MAX_SECONDS
    assert 0 < plan.workers <= MAX_WORKERS
    assert plan.requests
    assert source_of(body) is None
    assert decode(encode(plan)) == plan
