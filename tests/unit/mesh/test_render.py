"""The rendering as values: objects in, Envoy's resources out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.sandbox.mesh.envoy import files_in
from rollout.sandbox.mesh.model import Snapshot, World, workload_of
from rollout.sandbox.mesh.names import Host, caller_token, cluster_name, proxy_url, service_host
from rollout.sandbox.mesh.protobuf import seconds
from rollout.sandbox.mesh.render import Rendered, render
from tests.unit.mesh.objects import (
    Object,
    destination_rule,
    endpoint_slice,
    meta,
    pod,
    service,
    to,
    virtual_service,
)

WEB = "web.shop.svc.cluster.local"
SUBSETS = destination_rule("web", ("stable", {"hash": "a"}), ("canary", {"hash": "b"}))
PODS = (pod("web-1", owner="web-a", hash="a"), pod("web-2", owner="web-b", hash="b"))


def rendered(**parts: Any) -> Rendered:
    parts.setdefault("services", (service("web"),))
    return render(Snapshot(**parts))


def vhost(result: Rendered, domain: str, config: str = "mesh") -> Object:
    hosts = result.routes[config]["virtual_hosts"]
    return next(host for host in hosts if domain in host["domains"])


def first(result: Rendered, domain: str = "web.shop", config: str = "mesh") -> Object:
    return vhost(result, domain, config)["routes"][0]


def addresses(result: Rendered, cluster: str) -> list[tuple[str, int]]:
    found = result.clusters[cluster].resource["load_assignment"]["endpoints"][0]["lb_endpoints"]
    return [
        (
            entry["endpoint"]["address"]["socket_address"]["address"],
            entry["endpoint"]["address"]["socket_address"]["port_value"],
        )
        for entry in found
    ]


def test_a_plain_service_answers_to_every_spelling_of_its_name():
    result = rendered(services=(service("web", 80), service("db", 9090)))
    web = vhost(result, "web.shop")
    assert web["domains"] == [
        "web.shop",
        "web.shop:80",
        "web.shop.svc",
        "web.shop.svc:80",
        WEB,
        f"{WEB}:80",
    ]
    assert web["routes"][0]["route"]["cluster"] == f"outbound|80||{WEB}"
    assert "db.shop" in vhost(result, "db.shop:9090")["domains"]


def test_a_short_name_means_the_service_of_the_callers_namespace():
    result = rendered(services=(service("web"), service("web", namespace="default")))
    routes = vhost(result, "web")["routes"]
    assert [route["route"]["cluster"] for route in routes[:-1]] == [
        "outbound|80||web.default.svc.cluster.local",
        f"outbound|80||{WEB}",
    ]
    default, shop = (route["match"]["headers"][-1] for route in routes[:-1])
    assert default["treat_missing_header_as_empty"]
    assert "treat_missing_header_as_empty" not in shop
    assert routes[-1]["direct_response"]["status"] == 502


def test_weights_split_between_subsets_and_zero_gets_nothing():
    vs = virtual_service({"name": "primary", "route": [to("web", 80, "stable"), to("web", 20, "canary")]})
    result = rendered(virtual_services=(vs,), destination_rules=(SUBSETS,), pods=PODS)
    route = first(result)
    assert route["name"] == "shop/web:primary"
    assert route["route"]["weighted_clusters"]["clusters"] == [
        {"name": f"outbound|80|stable|{WEB}", "weight": 80},
        {"name": f"outbound|80|canary|{WEB}", "weight": 20},
    ]
    vs = virtual_service({"route": [to("web", 100, "stable"), to("web", 0, "canary")]})
    clusters = first(rendered(virtual_services=(vs,)))["route"]["weighted_clusters"]["clusters"]
    assert [cluster["name"] for cluster in clusters] == [f"outbound|80|stable|{WEB}"]


def test_weights_all_zero_answer_503():
    vs = virtual_service({"route": [to("web", 0, "stable"), to("web", 0, "canary")]})
    assert first(rendered(virtual_services=(vs,)))["direct_response"]["status"] == 503


def test_a_lone_destination_gets_everything_whatever_its_weight():
    vs = virtual_service({"route": [to("web", 0, "stable")]})
    assert first(rendered(virtual_services=(vs,)))["route"]["cluster"] == f"outbound|80|stable|{WEB}"


def test_a_subset_has_the_ready_pods_with_its_labels():
    slices = endpoint_slice("web", {"web-1": ("127.0.0.1", 1001), "web-2": ("127.0.0.1", 1002)})
    result = rendered(endpoint_slices=tuple(slices), pods=PODS, destination_rules=(SUBSETS,))
    assert addresses(result, cluster_name(WEB, 80)) == [("127.0.0.1", 1001), ("127.0.0.1", 1002)]
    assert addresses(result, cluster_name(WEB, 80, "canary")) == [("127.0.0.1", 1002)]
    assert result.clusters[cluster_name(WEB, 80, "stable")].size == 1


@pytest.mark.parametrize(
    "conditions", [{"ready": False}, {"ready": False, "serving": True, "terminating": True}]
)
def test_pods_that_are_not_ready_or_terminate_get_no_new_requests(conditions: Object):
    slices = endpoint_slice("web", {"web-1": ("127.0.0.1", 1001)}, conditions=conditions)
    assert addresses(rendered(endpoint_slices=tuple(slices), pods=PODS), cluster_name(WEB, 80)) == []


def test_a_named_port_takes_its_number_from_the_slice_of_that_name():
    slices = endpoint_slice("web", {"web-1": ("127.0.0.1", 1001)}, port=8080)
    result = rendered(services=(service("web", 80, 8080),), endpoint_slices=tuple(slices))
    assert addresses(result, cluster_name(WEB, 80)) == []
    assert addresses(result, cluster_name(WEB, 8080)) == [("127.0.0.1", 1001)]


def test_endpoints_carry_their_workloads_identity():
    labelled = pod("web-1", owner="web-abc", app="web", version="v2", rollouts_pod_template_hash="abc")
    slices = endpoint_slice("web", {"web-1": ("127.0.0.1", 1001)})
    result = rendered(endpoint_slices=tuple(slices), pods=(labelled,))
    entry = result.clusters[cluster_name(WEB, 80)].resource["load_assignment"]["endpoints"][0][
        "lb_endpoints"
    ][0]
    assert entry["metadata"]["filter_metadata"]["istio"] == {
        "workload": "web",
        "workload_namespace": "shop",
        "app": "web",
        "version": "v2",
        "canonical_service": "web",
        "canonical_revision": "v2",
        "pod_template_hash": "abc",
    }


def test_a_pod_of_a_plain_replicaset_belongs_to_the_replicaset():
    assert workload_of(pod("x-1", owner="x")) == "x"
    assert workload_of(pod("alone")) == "alone"


def test_matches_become_conditions_in_order():
    vs = virtual_service(
        {
            "match": [
                {"uri": {"prefix": "/api"}, "headers": {"x-user": {"exact": "eve"}}},
                {
                    "uri": {"exact": "/x"},
                    "method": {"exact": "GET"},
                    "queryParams": {"v": {"regex": "[0-9]+"}},
                },
            ],
            "route": [to("web")],
        },
        {"withoutHeaders": {}, "match": [{"withoutHeaders": {"x-old": {}}}], "route": [to("web")]},
    )
    routes = vhost(rendered(virtual_services=(vs,)), "web.shop")["routes"]
    assert routes[0]["match"] == {
        "prefix": "/api",
        "headers": [{"name": "x-user", "string_match": {"exact": "eve"}}],
    }
    assert routes[1]["match"] == {
        "path": "/x",
        "headers": [{"name": ":method", "string_match": {"exact": "GET"}}],
        "query_parameters": [{"name": "v", "string_match": {"safe_regex": {"regex": "[0-9]+"}}}],
    }
    assert routes[2]["match"]["headers"] == [{"name": "x-old", "present_match": True, "invert_match": True}]


def test_a_match_that_cannot_be_checked_is_left_out_and_reported():
    vs = virtual_service(
        {"match": [{"sourceLabels": {"app": "x"}}, {"uri": {"regex": "("}}], "route": [to("web")]},
        {"route": [to("web", subset="stable")]},
    )
    result = rendered(virtual_services=(vs,))
    assert first(result)["route"]["cluster"] == f"outbound|80|stable|{WEB}"
    assert [problem.path for problem in result.problems] == ["spec.http[0].match[0]", "spec.http[0].match[1]"]
    assert "not a regular expression" in result.problems[1].message


def test_a_match_for_another_port_or_gateway_does_not_apply():
    vs = virtual_service(
        {"match": [{"port": 8080}], "route": [to("web", subset="other")]},
        {"match": [{"gateways": ["edge"]}], "route": [to("web", subset="edge")]},
        {"route": [to("web")]},
        gateways=["mesh", "edge"],
    )
    result = rendered(services=(service("web", 80, 8080),), virtual_services=(vs,))
    assert first(result)["route"]["cluster"] == f"outbound|80||{WEB}"
    assert first(result, "web.shop:8080")["route"]["cluster"] == f"outbound|8080|other|{WEB}"
    edge = [route["route"]["cluster"] for route in vhost(result, "web.shop", "gateway")["routes"]]
    assert f"outbound|80|edge|{WEB}" in edge


def test_a_virtual_service_of_a_gateway_does_not_shape_calls_inside_the_mesh():
    vs = virtual_service(
        {"route": [to("web", subset="v2")]}, hosts=("shop.example.com", "web"), gateways=["edge"]
    )
    result = rendered(virtual_services=(vs,))
    assert first(result)["route"]["cluster"] == f"outbound|80||{WEB}"
    assert first(result, "shop.example.com", "gateway")["route"]["cluster"] == f"outbound|80|v2|{WEB}"
    assert first(result, "web.shop", "gateway")["route"]["cluster"] == f"outbound|80|v2|{WEB}"


def test_what_a_route_does_besides_splitting():
    vs = virtual_service(
        {
            "route": [to("web")],
            "timeout": "1m30s",
            "retries": {"attempts": 3, "perTryTimeout": "2s", "retryOn": "gateway-error,503"},
            "rewrite": {"uri": "/v2", "authority": "inner"},
            "mirror": {"host": "web", "subset": "shadow"},
            "mirrorPercentage": {"value": 12.5},
            "headers": {
                "request": {"set": {"x-a": "1"}, "add": {"x-b": "2"}, "remove": ["x-c"]},
                "response": {"set": {"x-d": "3"}},
            },
        }
    )
    route = first(rendered(virtual_services=(vs,)))
    action = route["route"]
    assert action["timeout"] == "90s"
    assert action["prefix_rewrite"] == "/v2"
    assert action["host_rewrite_literal"] == "inner"
    retries = action["retry_policy"]
    assert retries["num_retries"] == 3
    assert retries["retry_on"] == "gateway-error,retriable-status-codes"
    assert retries["retriable_status_codes"] == [503]
    assert retries["per_try_timeout"] == "2s"
    assert action["request_mirror_policies"] == [
        {
            "cluster": f"outbound|80|shadow|{WEB}",
            "runtime_fraction": {"default_value": {"numerator": 125000, "denominator": "MILLION"}},
        }
    ]
    assert [entry["header"]["key"] for entry in route["request_headers_to_add"]] == ["x-a", "x-b"]
    assert route["request_headers_to_remove"] == ["x-c"]
    assert route["response_headers_to_add"][0]["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"


def test_istios_default_retries_apply_until_the_user_says_otherwise():
    plain = first(rendered())["route"]
    assert plain["retry_policy"]["num_retries"] == 2
    assert "reset-before-request" in plain["retry_policy"]["retry_on"]
    assert plain["timeout"] == "0s"
    vs = virtual_service({"route": [to("web")], "retries": {"attempts": 0}})
    assert "retry_policy" not in first(rendered(virtual_services=(vs,)))["route"]


def test_faults_have_their_percentage_and_switch_retries_off():
    fault = {
        "delay": {"fixedDelay": "5s", "percentage": {"value": 0.1}},
        "abort": {"httpStatus": 418, "percentage": {"value": 100}},
    }
    route = first(rendered(virtual_services=(virtual_service({"route": [to("web")], "fault": fault}),)))
    config = route["typed_per_filter_config"]["envoy.filters.http.fault"]
    assert config["delay"] == {
        "fixed_delay": "5s",
        "percentage": {"numerator": 1000, "denominator": "MILLION"},
    }
    assert config["abort"]["http_status"] == 418
    assert "retry_policy" not in route["route"]


def test_redirects_and_direct_responses():
    vs = virtual_service(
        {"match": [{"uri": {"prefix": "/old"}}], "redirect": {"uri": "/new", "redirectCode": 308}},
        {"directResponse": {"status": 418, "body": {"string": "tea"}}},
    )
    routes = vhost(rendered(virtual_services=(vs,)), "web.shop")["routes"]
    assert routes[0]["redirect"] == {"response_code": "PERMANENT_REDIRECT", "path_redirect": "/new"}
    assert routes[1]["direct_response"] == {"status": 418, "body": {"inline_string": "tea"}}


def test_unsupported_fields_are_reported_with_their_path_never_dropped_silently():
    vs = virtual_service(
        {"route": [to("web")], "delegate": {"name": "x"}}, {"route": [to("web")], "shiny": 1}, tls=[{}]
    )
    rule = destination_rule("web", connectionPool={"http": {"h2UpgradePolicy": "UPGRADE"}}, circuitBreaker={})
    result = rendered(virtual_services=(vs,), destination_rules=(rule,))
    assert [(problem.kind, problem.path) for problem in result.problems] == [
        ("DestinationRule", "spec.trafficPolicy.circuitBreaker"),
        ("DestinationRule", "spec.trafficPolicy.connectionPool.http.h2UpgradePolicy"),
        ("VirtualService", "spec.http[0].delegate"),
        ("VirtualService", "spec.http[1].shiny"),
        ("VirtualService", "spec.tls"),
    ]
    assert first(result)["direct_response"]["status"] == 500


def test_an_object_of_another_shape_is_left_out_as_a_whole_with_its_path():
    vs = virtual_service({"route": [to("web", subset="v2")]}, {"route": [{"destination": {"host": 7}}]})
    result = rendered(virtual_services=(vs,))
    assert first(result)["route"]["cluster"] == f"outbound|80||{WEB}"
    (problem,) = result.problems
    assert problem.path == "spec.http[1].route[0].destination.host"
    assert problem.whole
    assert problem.message == "expected `str`, got `int`; nothing of this object is served"


def test_a_malformed_route_answers_500_and_leaves_the_others_alone():
    vs = virtual_service(
        {"match": [{"uri": {"exact": "/x"}}], "route": [to("web")], "timeout": "soon"}, {"route": [to("web")]}
    )
    routes = vhost(rendered(virtual_services=(vs,)), "web.shop")["routes"]
    assert routes[0]["direct_response"]["status"] == 500
    assert "'soon' is not a duration" in routes[0]["direct_response"]["body"]["inline_string"]
    assert routes[1]["route"]["cluster"] == f"outbound|80||{WEB}"


def test_traffic_policies_become_cluster_settings():
    rule = destination_rule(
        "web",
        ("v2", {"v": "2"}),
        loadBalancer={"simple": "ROUND_ROBIN"},
        connectionPool={
            "tcp": {"maxConnections": 100, "connectTimeout": "30ms"},
            "http": {"http1MaxPendingRequests": 50, "maxRequestsPerConnection": 2},
        },
        outlierDetection={"consecutive5xxErrors": 7, "interval": "5m", "minHealthPercent": 40},
    )
    cluster = rendered(destination_rules=(rule,)).clusters[cluster_name(WEB, 80, "v2")].resource
    assert cluster["lb_policy"] == "ROUND_ROBIN"
    assert cluster["connect_timeout"] == "0.03s"
    limits = cluster["circuit_breakers"]["thresholds"][0]
    assert (limits["max_connections"], limits["max_pending_requests"], limits["max_requests"]) == (
        100,
        50,
        4294967295,
    )
    options = cluster["typed_extension_protocol_options"][
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    ]
    assert options["common_http_protocol_options"]["max_requests_per_connection"] == 2
    assert cluster["outlier_detection"]["consecutive_5xx"] == 7
    assert cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 40.0}


def test_a_subsets_own_policy_and_port_level_settings_win():
    rule = destination_rule("web", loadBalancer={"simple": "RANDOM"})
    rule["spec"]["subsets"] = [
        {"name": "v2", "labels": {}, "trafficPolicy": {"loadBalancer": {"simple": "ROUND_ROBIN"}}},
        {
            "name": "v3",
            "labels": {},
            "trafficPolicy": {
                "portLevelSettings": [{"port": {"number": 80}, "loadBalancer": {"simple": "LEAST_REQUEST"}}]
            },
        },
    ]
    clusters = rendered(destination_rules=(rule,)).clusters
    policies = {name.split("|")[2]: cluster.resource["lb_policy"] for name, cluster in clusters.items()}
    assert policies == {"": "RANDOM", "v2": "ROUND_ROBIN", "v3": "LEAST_REQUEST"}


def test_equal_snapshots_render_to_equal_values_in_any_order_of_objects():
    services = (service("web"), service("api"), service("db", 5432))
    pods = PODS
    slices = tuple(endpoint_slice("web", {"web-1": ("127.0.0.1", 1), "web-2": ("127.0.0.1", 2)}))
    one = rendered(services=services, pods=pods, endpoint_slices=slices)
    other = rendered(services=services[::-1], pods=pods[::-1], endpoint_slices=slices[::-1])
    assert one.routes == other.routes
    assert one.clusters == other.clusters


def test_no_domain_is_claimed_twice_as_envoy_would_refuse_all():
    vses = (
        virtual_service(
            {"route": [to("web")]}, hosts=("web", "web.shop", "shop.example.com"), gateways=["mesh", "gw"]
        ),
        virtual_service(
            {"route": [to("web")]}, hosts=("shop.example.com", "*"), name="two", gateways=["mesh", "gw"]
        ),
    )
    result = rendered(
        services=(service("web", 80, 8080), service("web", namespace="b")), virtual_services=vses
    )
    for config in result.routes.values():
        domains = [domain for host in config["virtual_hosts"] for domain in host["domains"]]
        assert len(domains) == len(set(domains))


def test_names():
    assert service_host("web", "shop") == Host("shop", "web")
    assert service_host("WEB.b.svc.cluster.local.", "shop") == Host("b", "web")
    assert service_host("a.b.example.com", "shop") is None
    assert service_host("*.b", "shop") is None
    assert proxy_url("shop", 15001) == "http://shop:mesh@127.0.0.1:15001"
    assert caller_token("shop") == "Basic c2hvcDptZXNo"


@given(st.text(max_size=40))
def test_any_text_is_a_service_name_or_none(text: str):
    host = service_host(text, "shop")
    assert host is None or (host.name and host.namespace)


@given(st.integers(min_value=0, max_value=10**9))
def test_durations_are_written_as_protobuf_reads_them(milliseconds: int):
    text = seconds(f"{milliseconds}ms")
    assert text.endswith("s")
    assert float(text[:-1]) == pytest.approx(milliseconds / 1000)


def test_two_rules_for_a_host_the_one_beside_the_service_wins():
    near, far = destination_rule("web"), destination_rule(WEB)
    far["metadata"] = meta("far", "aaa")
    assert World(Snapshot(destination_rules=(far, near))).rules[WEB] is near


def test_a_deep_state_directory_gets_a_socket_with_a_short_path(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    files = files_in(deep)
    assert len(str(files.admin_socket)) < 100
    assert files.admin_socket.parent.stat().st_mode & 0o777 == 0o700
    assert files_in(deep).admin_socket == files.admin_socket
    files.admin_socket.parent.rmdir()
