"""The lines that a load test prints, proxies, and the Service behind a role."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.load import lines
from analysis.load.proxy import Proxy, proxy_for
from analysis.load.targets import service_of, url_of
from rollout.errors import ProviderError

PROGRESS = {
    "seconds": 42,
    "of": 60,
    "users": 9,
    "rps": 198.2,
    "p95": 41.26,
    "requests": 8000,
    "failRatio": 0.003,
}
RESULT = {
    "reached": True, "model": "open", "rps": 198.0, "achievedRps": 198.0, "wantedRps": 200.0, "requests": 11_880,
    "duration": 60.0, "failRatio": 0.0, "p50": 8.0, "p95": 41.0, "p99": 120.0, "dropped": 0, "users": 4,
}  # fmt: skip


def test_the_latest_of_each_kind_counts_and_other_lines_are_kept_apart():
    said = lines.read(
        [
            "Starting Locust",
            lines.line("progress", PROGRESS | {"seconds": 1}),
            lines.line("progress", PROGRESS),
            '{"surefoot":"progress","seconds":43,',
            '{"surefoot":"else"}',
            lines.line("timeline", {"rows": []}),
            lines.line("result", RESULT),
        ]
    )
    assert said.progress == PROGRESS
    assert said.timeline == {"rows": []}
    assert said.result == RESULT
    assert said.other == ("Starting Locust", '{"surefoot":"progress","seconds":43,', '{"surefoot":"else"}')
    assert (
        lines.read([lines.line("failed", {"reason": "one worker was lost"})]).failed == "one worker was lost"
    )


@given(st.lists(st.text()))
def test_whatever_a_pod_prints_can_be_read(texts):
    said = lines.read(texts)
    assert not said.result or any('"surefoot"' in text for text in texts)


def test_progress_is_a_sentence_for_people():
    assert lines.progress_text(PROGRESS) == "42 s of 60 s, 198 requests/s, 0.3 % failed, p95 41.3 ms"


def test_a_result_is_a_sentence_for_people():
    assert lines.summary_text(RESULT) == (
        "11880 requests in 60 s, 198/s (wanted 200), 0 % failed, p50 8 ms, p95 41 ms, p99 120 ms"
    )


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.003, "0.3 %"),
        (0.000001, "<0.01 %"),
        (0.999999, ">99.99 %"),
        (0.1234, "12.34 %"),
    ],
)
def test_a_ratio_never_looks_like_none_or_all_when_it_is_not(ratio, text):
    assert lines.percent(ratio) == text


def test_a_load_that_was_not_there_decides_nothing_and_says_why():
    assert lines.undecided(RESULT) == ""
    short = RESULT | {"reached": False, "achievedRps": 120.0, "dropped": 12}
    assert lines.undecided(short) == (
        "the load was not reached: 120 of 200 requests/s, 12 found no free user; add workers, or ask for less"
    )
    closed = RESULT | {"reached": False, "model": "closed", "wantedRps": None}
    assert "only 4 users were started" in lines.undecided(closed)
    assert "no request was made" in lines.undecided(closed | {"requests": 0})


ENVIRONMENT = {
    "HTTP_PROXY": "http://shop:mesh@127.0.0.1:15001",
    "http_proxy": "http://shop:mesh@127.0.0.1:15001",
    "NO_PROXY": "localhost,127.0.0.1,127.0.0.0/8,.corp.example",
}


def test_services_are_reached_through_the_mesh_and_addresses_directly():
    assert proxy_for("http://web.shop:80", ENVIRONMENT) == Proxy("127.0.0.1", 15001, "shop", "mesh")
    for direct in ("http://127.0.0.1:80", "http://127.3.0.9", "http://localhost:1", "http://a.corp.example"):
        assert proxy_for(direct, ENVIRONMENT) is None
    assert proxy_for("https://web.shop", ENVIRONMENT) is None
    assert proxy_for("http://mycorp.example", ENVIRONMENT) is not None
    assert proxy_for("http://web", {}) is None
    assert proxy_for("http://web", {"HTTP_PROXY": "proxy:3128"}) == Proxy("proxy", 3128)
    assert proxy_for("http://web", ENVIRONMENT | {"no_proxy": "*"}) is None


CANARY = {"spec": {"strategy": {"canary": {"canaryService": "web-canary", "stableService": "web"}}}}
GREEN = {"spec": {"strategy": {"blueGreen": {"activeService": "web", "previewService": "web-preview"}}}}


@pytest.mark.parametrize(
    ("rollout", "role", "name"),
    [
        (CANARY, "canary", "web-canary"),
        (CANARY, "stable", "web"),
        (GREEN, "preview", "web-preview"),
        (GREEN, "stable", "web"),
    ],
)
def test_a_role_is_a_service_of_the_rollout(rollout, role, name):
    assert service_of(rollout, role) == name


@pytest.mark.parametrize(
    ("rollout", "role", "sentence"),
    [
        (CANARY, "preview", "a canary Rollout has no preview; use one of: canary, stable"),
        (GREEN, "canary", "a blueGreen Rollout has no canary; use one of: preview, stable"),
        (
            {"spec": {"strategy": {"canary": {}}}},
            "canary",
            "names no Service in spec.strategy.canary.canaryService",
        ),
    ],
)
def test_a_role_without_a_service_is_said(rollout, role, sentence):
    with pytest.raises(ProviderError, match=sentence):
        service_of(rollout, role)


def service(*ports):
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": list(ports)}}


WEB, ADMIN, TLS = (
    {"name": "http", "port": 80},
    {"name": "admin", "port": 9000},
    {"name": "https-web", "port": 8443},
)
UDP = {"name": "dns", "port": 53, "protocol": "UDP"}


def test_the_port_of_a_service():
    assert url_of(service(ADMIN)) == "http://web.shop.svc:9000"
    assert url_of(service(WEB, ADMIN)) == "http://web.shop.svc:80"
    assert (
        url_of(service(WEB, ADMIN), "admin")
        == url_of(service(WEB, ADMIN), "9000")
        == "http://web.shop.svc:9000"
    )
    assert url_of(service(TLS, UDP)) == "https://web.shop.svc:8443"
    for ports, port in (((WEB, TLS), None), ((ADMIN, {"port": 1}), None), ((WEB,), 81), ((), None)):
        with pytest.raises(ProviderError, match='ports of Service "web"'):
            url_of(service(*ports), port)
