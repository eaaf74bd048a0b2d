"""Plans: who sends which arrival, which request is next, what a success is."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.load.plan import (
    Checks,
    Plan,
    Request,
    arguments,
    arrivals,
    decode,
    draw,
    encode,
    revealed,
    users_for,
)

PLAN = Plan(
    target="http://web.shop",
    model="open",
    duration=60.0,
    users=400,
    rate=200.0,
    headers={"authorization": "Bearer {{args.token}}"},
    requests=(
        Request(name="home", weight=3),
        Request(
            name="buy",
            method="POST",
            path="/buy",
            body="{}",
            checks=Checks(status=("201",), max_latency_ms=300),
        ),
    ),
)


def test_a_plan_survives_its_way_through_json():
    assert decode(encode(PLAN)) == PLAN


def test_a_plan_with_unknown_fields_is_refused_and_not_half_obeyed():
    with pytest.raises(msgspec.ValidationError, match="pacing"):
        decode(encode(PLAN).replace('"rate"', '"pacing"'))


@given(st.floats(0.1, 5000), st.floats(1, 60), st.integers(1, 10))
def test_workers_share_all_arrivals_and_send_none_twice(rate, duration, count):
    shares = [arrivals(rate, duration, index, count) for index in range(count)]
    assert sum(map(len, shares)) == max(1, round(rate * duration))
    if rate * duration < 5000:
        assert sorted(n for share in shares for n in share) == list(range(max(1, round(rate * duration))))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_requests_are_drawn_by_their_weights(weights):
    requests = tuple(Request(name=str(n), weight=weight) for n, weight in enumerate(weights))
    points = 50 * sum(weights)
    found = Counter(draw(requests, (n + 0.5) / points).name for n in range(points))
    assert found == {str(n): 50 * weight for n, weight in enumerate(weights)}


def test_the_last_request_is_drawn_at_the_very_end():
    assert draw(PLAN.requests, 0.9999999999999999).name == "buy"
    assert draw(PLAN.requests, 1.0).name == "buy"


@pytest.mark.parametrize(
    ("checks", "status", "milliseconds", "body", "reason"),
    [
        (Checks(), 200, 1.0, "", ""),
        (Checks(), 302, 1.0, "", ""),
        (Checks(), 404, 1.0, "", "HTTP 404, wanted 2xx or 3xx"),
        (Checks(status=("404",)), 404, 1.0, "", ""),
        (Checks(status=("201", "4xx")), 200, 1.0, "", "HTTP 200, wanted 201 or 4xx"),
        (Checks(max_latency_ms=250), 200, 250.0, "", ""),
        (Checks(max_latency_ms=250), 200, 250.1, "", "slower than 250 ms"),
        (Checks(body_contains="ok"), 200, 1.0, '{"ok": 1}', ""),
        (Checks(body_contains="ok"), 200, 1.0, "no", "the body does not contain the wanted text"),
        (Checks(status=("200",), max_latency_ms=1), 500, 9.0, "", "HTTP 500, wanted 200"),
    ],
)
def test_what_makes_an_answer_a_failure(checks, status, milliseconds, body, reason):
    assert checks.failed(status, milliseconds, body) == reason


def test_as_many_users_as_may_wait_for_an_answer_at_one_time_and_never_more_than_the_bound():
    assert (users_for(200, 10), users_for(0.1, 1), users_for(50_000, 10)) == (2000, 1, 10_000)


def test_secret_arguments_are_put_into_headers_and_nowhere_else():
    found = revealed(PLAN, {"token": "s3cret"})
    assert found.headers == {"authorization": "Bearer s3cret"}
    assert "s3cret" not in encode(PLAN)
    assert revealed(PLAN, {}) is PLAN


def test_an_open_load_has_one_pacing_user_per_worker_and_a_closed_one_its_users():
    shared = arguments(msgspec.structs.replace(PLAN, workers=3))
    assert shared[shared.index("--users") + 1] == "3"
    alone = arguments(msgspec.structs.replace(PLAN, model="closed", users=40, spawn_rate=8.0))
    assert alone[alone.index("--users") + 1 : alone.index("--users") + 4] == ["40", "--spawn-rate", "8"]
