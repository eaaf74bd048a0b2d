"""The Prometheus provider: what it asks, and what it makes of every kind of answer."""

import base64
import json
import math
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.providers.base import provider_of
from analysis.providers.prometheus import Prometheus, read
from rollout.api.analysis import Metric
from rollout.errors import InvalidSpec, ProviderError
from rollout.runtime.http import Response

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
STAMP = NOW.timestamp()
BODY = {"address": "http://prometheus:9090/", "query": " up{job='web'}\n"}


class Web:
    """Answers every request alike and remembers it."""

    def __init__(self, body=b"", status=200):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.reply = Response(status=status, headers={}, body=content, elapsed_seconds=0.0)
        self.asked = []

    async def __call__(self, request, *, deadline, max_bytes):
        self.asked.append((request, deadline, max_bytes))
        return self.reply


def success(kind, result, **more):
    return {"status": "success", "data": {"resultType": kind, "result": result}, **more}


def vector(*values, at=STAMP):
    return success("vector", [{"metric": {"n": str(n)}, "value": [at, v]} for n, v in enumerate(values)])


async def measured(answer, body=BODY, secrets=None, status=200, default=""):
    web = Web(answer, status)
    metric = Metric(name="m", provider={"prometheus": body})
    reading = await Prometheus(web, default_address=default).measure(metric, secrets or {}, NOW)
    return reading, web.asked[0]


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (vector("0.99"), [0.99]),
        (vector("1", "2.5", "+Inf"), [1.0, 2.5, math.inf]),
        (vector(), []),
        (success("scalar", [STAMP, "0.5"]), 0.5),
        (success("string", [STAMP, "v2"]), "v2"),
        (success("matrix", [{"values": [[1, "1"], [2, "2"]]}, {"values": [[1, "3"]]}]), [1.0, 2.0, 3.0]),
    ],
)
async def test_each_result_type_keeps_its_shape(answer, value):
    reading, _ = await measured(answer)

    assert reading.value == value
    assert reading.metadata["resultType"] == answer["data"]["resultType"]


async def test_nan_stays_nan_for_the_judge_to_see():
    reading, _ = await measured(vector("NaN"))

    assert math.isnan(reading.value[0])


async def test_an_instant_query_is_posted_with_its_deadline():
    _, (request, deadline, max_bytes) = await measured(
        vector("1"), {**BODY, "timeout": "7", "insecure": True}
    )

    assert (request.method, request.url) == ("POST", "http://prometheus:9090/api/v1/query")
    assert parse_qs(request.body.decode()) == {"query": ["up{job='web'}"], "timeout": ["7s"]}
    assert (deadline, request.verify, max_bytes) == (7.0, False, 1 << 20)
    assert not request.follow_redirects


async def test_a_range_query_has_its_times_from_expressions():
    span = {"start": "now() - duration('5m')", "end": "now()", "step": "1m30s"}
    _, (request, deadline, _) = await measured(success("matrix", []), {**BODY, "rangeQuery": span})

    assert request.url == "http://prometheus:9090/api/v1/query_range"
    form = parse_qs(request.body.decode())
    assert (float(form["start"][0]), float(form["end"][0]), form["step"]) == (STAMP - 300, STAMP, ["90"])
    assert deadline == 30.0


async def test_secrets_go_into_headers_only():
    body = {
        **BODY,
        "query": "{{args.token}}",
        "headers": [
            {"key": "X-Scope-OrgID", "value": "a"},
            {"key": "Authorization", "value": "Bearer {{args.token}}"},
        ],
    }
    _, (request, _, _) = await measured(vector("1"), body, {"token": "s3cret"})

    assert request.headers["authorization"] == "Bearer s3cret"
    assert request.headers["x-scope-orgid"] == "a"
    assert b"s3cret" not in request.body


async def test_basic_authentication_is_a_header():
    body = {**BODY, "authentication": {"basicAuth": {"username": "{{ args.u }}", "password": "{{ args.p }}"}}}
    _, (request, _, _) = await measured(vector("1"), body, {"u": "me", "p": "x:y"})

    assert base64.b64decode(request.headers["authorization"].split()[1]) == b"me:x:y"


async def test_a_secret_with_a_line_break_sends_nothing():
    body = {**BODY, "headers": [{"key": "A", "value": "{{args.t}}"}]}

    with pytest.raises(ProviderError, match="line break") as caught:
        await measured(vector("1"), body, {"t": "x\r\nHost: evil"})
    assert "evil" not in str(caught.value)


async def test_the_default_address_is_used_when_the_metric_names_none():
    _, (request, _, _) = await measured(vector("1"), {"query": "up"}, default="http://default:9090")
    assert request.url == "http://default:9090/api/v1/query"

    with pytest.raises(ProviderError, match="ARGO_ROLLOUTS_PROMETHEUS_ADDRESS"):
        await measured(vector("1"), {"query": "up"})


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        ({"start": "now()", "end": "now() - duration('1m')", "step": "1m"}, "is before the start"),
        ({"start": "5", "end": "now()", "step": "1m"}, "`5` is not a time"),
        ({"start": "now() - 5", "end": "now()", "step": "1m"}, "cannot take a date"),
    ],
)
async def test_a_range_that_makes_no_sense_is_an_error(span, reason):
    with pytest.raises(ProviderError, match=reason):
        await measured(success("matrix", []), {**BODY, "rangeQuery": span})


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (500, b"boom", "answered HTTP 500 without an answer"),
        (503, vector("1"), "answered HTTP 503"),
        (200, b"<html>please log in</html>", "does the address name a Prometheus"),
        (200, b"", "does the address name a Prometheus"),
        (200, b'{"status":"succ', "does the address name a Prometheus"),
        (302, b"", "a redirect; give the address"),
        (
            400,
            {"status": "error", "errorType": "bad_data", "error": "1:3: parse error"},
            "bad_data: 1:3: parse error",
        ),
        (
            422,
            {"status": "error", "errorType": "execution", "error": "many-to-many"},
            "execution: many-to-many",
        ),
        (
            200,
            {"status": "error", "errorType": "timeout", "error": "query timed out"},
            "timeout: query timed out",
        ),
        (200, {"status": "success"}, "not one of the Prometheus query API"),
        (200, success("vector", None), "not one of the Prometheus query API"),
        (200, success("vector", [{"metric": {}, "histogram": [STAMP, {}]}]), "not one of"),
        (200, success("scalar", [STAMP, 1.5]), "not one of"),
        (200, success("streams", []), "not one of"),
        (200, success("vector", [{"value": [STAMP, "a lot"]}]), "not one of"),
        (200, vector("1", at=STAMP - 3600), "1:00:00 old by our clock"),
        (200, vector("1", at=STAMP + 3600), "1:00:00 ahead by our clock"),
        (200, vector("1", at=None), "not one of"),
    ],
)
async def test_whatever_is_not_a_trustworthy_answer_is_an_error(status, answer, reason):
    with pytest.raises(ProviderError, match=reason):
        await measured(answer, status=status)


async def test_foreign_text_does_not_reach_the_message():
    with pytest.raises(ProviderError) as caught:
        await measured({"AccessKeyId": "AKIA", "error": "leak"}, status=403)
    assert "AKIA" not in str(caught.value)
    assert "leak" not in str(caught.value)


async def test_warnings_and_infos_are_kept():
    reading, _ = await measured(vector("1") | {"warnings": ["shard away"], "infos": ["not a counter"]})

    assert reading.warnings == ("shard away",)
    assert reading.metadata["infos"] == "not a counter"


def test_what_is_asked_is_told_for_the_record():
    metric = Metric(name="m", provider={"prometheus": BODY})

    assert Prometheus(Web()).asked(metric) == {
        "ResolvedPrometheusQuery": "up{job='web'}",
        "address": "http://prometheus:9090/",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "values", "metric", "histogram", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
KINDS = st.sampled_from(["vector", "scalar", "matrix", "string", "x", None])


@given(KINDS, JSON, st.integers(200, 599), JSON)
def test_any_answer_is_a_value_or_a_provider_error(kind, result, status, warnings):
    body = json.dumps(success(kind, result, warnings=warnings)).encode()
    try:
        reading = read(status if status % 2 else 200, body, "http://p", NOW)
    except ProviderError:
        return
    assert isinstance(reading.value, list | float | str)


@given(st.binary(max_size=50))
def test_any_bytes_are_a_provider_error(body):
    with pytest.raises(ProviderError):
        read(200, body, "http://p", NOW)


@pytest.mark.parametrize("name", ["web", "datadog", "job"])
def test_a_provider_that_is_not_there_is_an_invalid_spec(name):
    with pytest.raises(InvalidSpec, match=f"provider.{name}: not supported yet: .*use one of: prometheus"):
        provider_of(Metric(name="m", provider={name: {}}), {"prometheus": Prometheus(Web())})
