"""`rollout load run` before and after the load: its plan and its verdict."""

from datetime import UTC, datetime

import pytest

from rollout.cli import loading
from rollout.cli.exits import USAGE, Failure

NOW = datetime(2026, 11, 21, tzinfo=UTC)
COUNTS = {
    "requests": 100,
    "rps": 10.0,
    "failures": 1,
    "failRatio": 0.01,
    "p50": 1.0,
    "p95": 41.26,
    "p99": 99.5,
    "max": 1234.5,
}
RESULT = COUNTS | {"perName": {"GET /": COUNTS}, "errors": [{"error": "HTTP 500, wanted 2xx", "count": 1}]}


def refused(call, *args):
    with pytest.raises(Failure) as failure:
        call(*args)
    assert failure.value.code == USAGE
    return str(failure.value)


def test_a_plan_is_a_file_with_the_fields_of_a_load_test():
    assert loading.body_in("{users: 3, duration: 1m}", "f") == {"users": 3, "duration": "1m"}
    assert loading.body_in("loadTest: {users: 3}", "f") == {"users": 3}
    assert "f: " in refused(loading.body_in, "{", "f")
    assert "expected the fields of a loadTest" in refused(loading.body_in, "[1]", "f")


def test_options_come_before_the_file_and_one_kind_of_load_displaces_the_other():
    file = {"target": {"role": "canary"}, "users": 3, "spawnRate": 1, "duration": "1m"}
    assert loading.with_options(file, {"requestsPerSecond": "20", "duration": ""}) == {
        "target": {"role": "canary"},
        "requestsPerSecond": "20",
        "duration": "1m",
    }
    opened = {"requestsPerSecond": 5, "maxUsers": 3, "duration": "1m"}
    assert loading.with_options(opened, {"users": "2"}) == {"users": "2", "duration": "1m"}


def test_the_path_of_the_target_is_what_is_asked_for():
    found = loading.with_options(
        {}, {"url": "http://x:81/api?a=1", "requestsPerSecond": "5", "duration": "1s"}
    )
    assert found["target"] == {"url": "http://x:81"}
    assert found["requests"] == [{"path": "/api?a=1"}]
    plan = loading.plan_of(found)
    assert (plan.target, plan.requests[0].path, plan.rate, plan.duration) == (
        "http://x:81",
        "/api?a=1",
        5.0,
        1.0,
    )
    kept = loading.with_options({"requests": [{"path": "/b"}]}, {"url": "http://x/base"})
    assert (kept["target"], kept["requests"]) == ({"url": "http://x/base"}, [{"path": "/b"}])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"users": 1, "duration": "1s"}, "loadTest.target: Required value"),
        ({"target": {"url": "ftp://x"}, "users": 1, "duration": "1s"}, "loadTest.target.url: Invalid value"),
        ({"target": {"role": "canary"}, "users": 1, "duration": "1s"}, "name a URL with --target"),
        (
            {
                "target": {"url": "http://x"},
                "users": 1,
                "duration": "1s",
                "locustfile": {"configMapRef": {"name": "a"}},
            },
            "put the locustfile into the plan with inline",
        ),
    ],
)
def test_what_cannot_be_done_here_is_said_before_anything_starts(body, sentence):
    assert sentence in refused(loading.plan_of, body)


def test_conditions_are_read_before_anything_starts():
    loading.conditions(["result.p95 > 300 && result.failRatio > 0.01"])
    assert "there is no variable 'x'" in refused(loading.conditions, ["x > 1"])
    assert "--fail-if" in refused(loading.conditions, ["result.p95 >"])


def test_a_condition_that_cannot_be_answered_does_not_pass():
    assert loading.judged("result.p95 > 40", RESULT, NOW) == loading.Judged("result.p95 > 40", holds=True)
    assert not loading.judged("result.p95 > 50", RESULT, NOW).holds
    broken = loading.judged("result.nothing > 1", RESULT, NOW)
    assert broken.error
    assert loading.Outcome("http://x", RESULT, {}, (broken,)).failed
    assert loading.Outcome("http://x", RESULT, {}, inconclusive="the load was not reached").failed
    assert not loading.Outcome(
        "http://x", RESULT, {}, (loading.judged("result.p95 > 50", RESULT, NOW),)
    ).failed


@pytest.mark.parametrize(("ratio", "fails"), [(1, True), (1.0, True), (0.99, False), (0, False)])
def test_where_nobody_gives_a_condition_a_run_of_which_every_request_failed_fails(ratio, fails):
    loading.conditions(loading.UNSAID)
    judged = tuple(loading.judged(one, RESULT | {"failRatio": ratio}, NOW) for one in loading.UNSAID)
    assert loading.Outcome("http://x", RESULT, {}, judged).failed is fails


def test_the_table_has_a_row_for_every_request_one_for_all_and_the_errors():
    shown = loading.table(RESULT)
    assert shown[0].split() == ["REQUEST", "COUNT", "PER", "SECOND", "FAILED", "P50", "P95", "P99", "MAX"]
    assert [line.split()[0] for line in shown[1:3]] == ["GET", "all"]
    assert "41.3 ms" in shown[1]
    assert "1235 ms" in shown[2] or "1234 ms" in shown[2]
    assert shown[-1] == "1 x HTTP 500, wanted 2xx"


def test_headers_are_written_as_curl_has_them():
    assert loading.headers_in(["Accept: text/html", "X:"]) == [
        {"key": "Accept", "value": "text/html"},
        {"key": "X", "value": ""},
    ]
    assert "--header" in refused(loading.headers_in, ["nonsense"])


def test_without_a_file_the_options_that_lack_are_named():
    given = {"url": "", "requestsPerSecond": "", "users": "", "duration": "1m"}
    assert (
        refused(loading.sufficient, given)
        == "say also --target URL, --rps N or --users N; or -f FILE with all of it"
    )
    loading.sufficient(given | {"url": "http://x", "users": "3"})


@pytest.mark.parametrize("url", ["shop", "shop:8080/a", "ftp://shop", "http:///a"])
def test_a_target_that_is_no_url_is_told_as_the_option_it_came_by(url: str):
    assert refused(loading.with_options, {}, {"url": url}).startswith(f"--target {url}: write a URL")
