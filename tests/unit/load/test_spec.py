"""The body of a `loadTest`: what is wrong with it, and the plan that it means."""

from datetime import UTC, datetime

import pytest

from analysis.load.plan import Checks, Request
from analysis.load.spec import Source, deadline_seconds, plan_of, source_of
from rollout.core.validate_analysis import validate_run_spec, validate_template
from rollout.core.validate_providers.load_test import check_load_test
from rollout.importers.flagger.load import hey

OPEN = {"target": {"url": "http://web.shop"}, "requestsPerSecond": 200, "duration": "1m"}
CLOSED = {"target": {"role": "canary"}, "users": 20, "duration": "30s"}
FULL = {
    "target": {"role": "stable", "port": "http"},
    "users": 20,
    "spawnRate": 5,
    "thinkTime": "250ms",
    "duration": "1m30s",
    "timeout": "5s",
    "workers": 2,
    "insecure": True,
    "image": "registry.example/surefoot/load:1",
    "resources": {"limits": {"cpu": "1"}},
    "headers": [{"key": "X-Test", "value": "yes"}],
    "requests": [
        {"name": "home", "weight": 9},
        {
            "method": "POST",
            "path": "/api/orders?x=1",
            "jsonBody": {"item": 7},
            "checks": {"status": [201, "4xx"], "maxLatency": "300ms", "bodyContains": "id"},
        },
    ],
}


def problems(body):
    return [str(problem) for problem in check_load_test(body, "p")]


@pytest.mark.parametrize(
    "body", [OPEN, CLOSED, FULL, OPEN | {"maxUsers": 9}, OPEN | {"requestsPerSecond": "12.5"}]
)
def test_a_right_body_has_no_problems(body):
    assert problems(body) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rps": 1}, "p.rps: Invalid value: 1: there is no such field; known: duration, headers, image"),
        ({"target": None}, "p.target: Required value: what is tested; write url: http://web.shop, or role"),
        ({"target": {}}, "p.target: Invalid value: []: must have either url or role"),
        ({"target": {"url": "ftp://x"}}, "p.target.url: Invalid value"),
        ({"target": {"url": "http://u:p@x"}}, "without user name or password"),
        ({"target": {"url": "http://x", "port": 1}}, "p.target.port: Invalid value: 1: belongs to a role"),
        ({"target": {"role": "baseline"}}, "is no role; use one of: canary, stable, preview"),
        ({"target": {"role": "canary", "port": 70000}}, "p.target.port"),
        ({"users": 5}, "p.users: Invalid value: 5: cannot stand beside requestsPerSecond"),
        (
            {"requestsPerSecond": 0},
            "p.requestsPerSecond: Invalid value: 0: must be a number per second, more than 0",
        ),
        ({"requestsPerSecond": 50_001}, "at most 50000"),
        ({"requestsPerSecond": True}, "p.requestsPerSecond"),
        ({"maxUsers": 10_001}, "p.maxUsers: Invalid value: 10001: must be a whole number, 1 to 10000"),
        ({"spawnRate": 1}, "p.spawnRate: Invalid value: 1: belongs to users"),
        ({"duration": None}, 'p.duration: Required value: how long; write for example "1m"'),
        ({"duration": "7h"}, 'p.duration: Invalid value: "7h": is longer than 21600 s'),
        ({"duration": "soon"}, "p.duration: Invalid value"),
        ({"duration": "0s"}, "must be longer than nothing"),
        ({"timeout": "10m"}, 'p.timeout: Invalid value: "10m": is longer than 120 s'),
        ({"workers": 51}, "p.workers: Invalid value: 51: must be a whole number, 1 to 50"),
        ({"headers": {"a": "b"}}, "p.headers: Invalid value"),
        ({"insecure": "yes"}, "p.insecure"),
        ({"image": "a b"}, "p.image"),
        ({"resources": {"limits": 1}}, "p.resources"),
        ({"requests": []}, "p.requests: Invalid value: []: must be a list of 1 to 50 requests"),
        ({"requests": [{"url": "/"}]}, "p.requests[0].url: Invalid value"),
        ({"requests": [{"path": "home"}]}, 'p.requests[0].path: Invalid value: "home": must begin with /'),
        ({"requests": [{"path": "/a b"}]}, "encode what needs it: %20"),
        ({"requests": [{"method": "get"}]}, 'p.requests[0].method: Invalid value: "get": is no method'),
        ({"requests": [{"weight": 0}]}, "p.requests[0].weight"),
        (
            {"requests": [{}, {"path": "/"}]},
            'p.requests[1].name: Invalid value: "GET /": two requests have this',
        ),
        ({"requests": [{"body": "x", "jsonBody": 1}]}, "p.requests[0].body"),
        ({"requests": [{"checks": {"status": [600]}}]}, "p.requests[0].checks.status"),
        ({"requests": [{"checks": {"maxLatency": 5}}]}, "p.requests[0].checks.maxLatency"),
        ({"requests": [{"checks": {"latency": "5s"}}]}, "p.requests[0].checks.latency: Invalid value"),
        ({"requests": [{"body": "x" * 70_000}]}, "is larger than 65536 bytes"),
        ({"requests": [{"jsonBody": {"a": '"' * 15_000}}]}, "is larger than 65536 bytes"),
        (
            {"locustfile": {"inline": "x"}},
            "p.requestsPerSecond: Invalid value: 200: has no effect on a locustfile",
        ),
        ({"locustfile": {}}, "p.locustfile: Invalid value"),
        ({"locustfile": {"configMapRef": {"key": "a"}}}, "p.locustfile.configMapRef.name: Required value"),
    ],
)
def test_what_is_wrong_is_said_with_path_value_and_fix(changes, sentence):
    body = {key: value for key, value in (OPEN | changes).items() if value is not None}
    found = problems(body)
    assert any(sentence in one for one in found), found


def test_the_amount_of_load_must_be_said():
    del (body := dict(OPEN))["requestsPerSecond"]
    assert "write requestsPerSecond: 200" in problems(body)[0]


def test_every_worker_needs_a_user():
    assert "is more than the 2 users" in problems(CLOSED | {"users": 2, "workers": 3})[0]


def test_arguments_may_stand_anywhere_and_secrets_in_headers_only():
    body = OPEN | {
        "target": {"url": "http://{{args.host}}"},
        "requestsPerSecond": "{{args.rps}}",
        "duration": "{{args.duration}}",
        "headers": [{"key": "authorization", "value": "Bearer {{args.token}}"}],
    }
    args = [{"name": "host"}, {"name": "rps"}, {"name": "duration"}]
    secret = {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    metric = {"name": "load", "provider": {"loadTest": body}, "successCondition": "result.p95 < 300"}
    spec = {"args": [*args, secret], "metrics": [metric]}
    assert validate_template({"spec": spec}) == []
    values = {"host": "web", "rps": "0", "duration": "1m"}
    run = spec | {"args": [{"name": name, "value": value} for name, value in values.items()] + [secret]}
    assert ["requestsPerSecond" in str(one) for one in validate_run_spec(run)] == [True]
    metric["provider"]["loadTest"]["requests"] = [{"path": "/{{args.token}}"}]
    assert any("would be readable here" in str(one) for one in validate_template({"spec": spec}))


def test_the_same_body_is_reachable_as_a_plugin():
    provider = {"plugin": {"surefoot/loadTest": OPEN | {"duration": "9h"}}}
    spec = {"metrics": [{"name": "load", "provider": provider}]}
    assert 'plugin["surefoot/loadTest"].duration' in str(validate_template({"spec": spec})[0])


def test_an_open_load_needs_no_more_than_its_rate():
    start = datetime(2026, 11, 21, 12, tzinfo=UTC)
    plan = plan_of(OPEN, "http://web.shop/", start)
    assert (plan.model, plan.rate, plan.duration, plan.target) == ("open", 200.0, 60.0, "http://web.shop")
    assert plan.users == 2000
    assert plan.requests == (Request(name="GET /"),)
    assert plan.start_at == start.timestamp()
    assert plan_of(OPEN | {"maxUsers": "50", "requestsPerSecond": "12.5"}, "x").users == 50


def test_a_closed_load_starts_its_users_at_a_bounded_rate():
    plan = plan_of(CLOSED, "http://x")
    assert (plan.model, plan.users, plan.spawn_rate, plan.rate) == ("closed", 20, 20.0, 0.0)
    assert plan_of(CLOSED | {"users": 5000}, "http://x").spawn_rate == 100.0


def test_all_that_is_said_is_in_the_plan():
    plan = plan_of(FULL, "http://x")
    assert (plan.spawn_rate, plan.think_time, plan.timeout, plan.workers, plan.insecure) == (
        5,
        0.25,
        5.0,
        2,
        True,
    )
    assert plan.headers == {"x-test": "yes"}
    assert plan.requests[0] == Request(name="home", weight=9)
    assert plan.requests[1] == Request(
        name="POST /api/orders?x=1",
        method="POST",
        path="/api/orders?x=1",
        headers={"content-type": "application/json"},
        body='{"item": 7}',
        checks=Checks(status=("201", "4xx"), max_latency_ms=300.0, body_contains="id"),
    )
    assert deadline_seconds(plan) == 110


def test_a_locustfile_is_in_line_or_in_a_config_map():
    body = CLOSED | {"locustfile": {"inline": "import locust"}}
    assert problems(body) == []
    assert source_of(body) == Source(inline="import locust")
    assert plan_of(body, "http://x").requests == ()
    ref = {"locustfile": {"configMapRef": {"name": "mine"}}}
    assert source_of(CLOSED | ref) == Source(config_map="mine", key="locustfile.py")
    assert source_of(CLOSED) is None


@pytest.mark.parametrize(
    "command",
    [
        "hey -z 1m -q 10 -c 2 -H 'A: b' http://shop.prod:80/",
        "hey -z 30s -m POST -d '{}' -T application/json http://shop/x?y=1",
    ],
)
def test_what_the_importer_makes_of_hey_is_a_load_test(command):
    assert problems(hey(command)[0]) == []
