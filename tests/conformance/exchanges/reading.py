"""Getting and listing: selectors, pages, versions, tables."""

from __future__ import annotations

import yaml

from tests.conformance.exchanges.furniture import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    METADATA,
    METADATA_LIST,
    NS,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    TABLE,
    WIDGETS,
    budget,
    config_map,
    deployment,
    meta,
    pod,
    replica_set,
    secret,
    service,
    widget,
)
from tests.conformance.exchanges.play import Play, case


def five(play: Play) -> None:
    tiers = {"a": "gold", "b": "silver", "c": "gold", "d": "", "e": None}
    for name, tier in tiers.items():
        labels = {"set": "five"} | ({} if tier is None else {"tier": tier})
        play.make(SECRETS, secret(name, labels=labels))


@case
def an_object_is_read_as_it_was_stored(play: Play) -> None:
    made = play.make(CONFIG_MAPS, config_map())[0]
    play.get(f"{CONFIG_MAPS}/settings")
    play.until_cached(CONFIG_MAPS, made.meta["resourceVersion"])
    play.get(f"{CONFIG_MAPS}/settings", resourceVersion="0")


@case
def what_is_not_there_is_not_found(play: Play) -> None:
    play.get(f"{CONFIG_MAPS}/nobody")
    play.get(f"{DEPLOYMENTS}/nobody")
    play.get(f"{WIDGETS}/nobody")
    play.get("/api/v1/namespaces/nowhere-at-all")
    play.get("/api/v1/namespaces/nowhere-at-all/secrets")


@case
def lists_are_chosen_by_labels(play: Play) -> None:
    five(play)
    for selector in (
        "tier",
        "!tier",
        "tier=gold",
        "tier==gold",
        "tier!=gold",
        "tier in (gold,silver)",
        "tier notin (gold)",
        "tier in ()",
        "tier=",
        "set=five,tier=silver",
        " tier = gold ",
    ):
        play.get(SECRETS, labelSelector=selector)


@case
def lists_are_chosen_by_labels_compared_as_numbers(play: Play) -> None:
    play.make(SECRETS, secret("one", labels={"n": "1"}), secret("ten", labels={"n": "10"}))
    play.get(SECRETS, labelSelector="n>1")
    play.get(SECRETS, labelSelector="n<10")
    play.get(SECRETS, labelSelector="n>x")


@case
def a_label_selector_that_cannot_be_read_is_a_bad_request(play: Play) -> None:
    for selector in ("a b", "tier in gold", "=x", "tier=a/b", "tier in (a,b", "-x", "a,,b"):
        play.get(SECRETS, labelSelector=selector)


@case
def lists_are_chosen_by_fields(play: Play) -> None:
    play.make(PODS, pod("one"), pod("two", labels={"app": "b"}))
    for selector in (
        "metadata.name=one",
        "metadata.name!=one",
        "status.phase=Pending",
        "spec.nodeName=",
        "metadata.name=one,status.phase=Running",
        "spec.restartPolicy=Always",
        "spec.serviceAccountName=default",
        "spec.hostNetwork=false",
    ):
        play.get(PODS, fieldSelector=selector, accept=METADATA_LIST)


@case
def a_field_selector_that_is_not_known_is_a_bad_request(play: Play) -> None:
    play.get(PODS, fieldSelector="spec.image=x")
    play.get(PODS, fieldSelector="nonsense")
    play.get(SECRETS, fieldSelector="data=x")
    play.get(WIDGETS, fieldSelector="spec.size=3")
    play.get(DEPLOYMENTS, fieldSelector="spec.replicas=3")


@case
def custom_resources_are_chosen_by_the_fields_that_they_declare(play: Play) -> None:
    play.make(WIDGETS, widget("one"), widget("two", color="green"))
    play.get(WIDGETS, fieldSelector="spec.color=green")
    play.get(WIDGETS, fieldSelector="spec.color!=green,metadata.name=one")


@case
def secrets_are_chosen_by_type_and_events_by_their_object(play: Play) -> None:
    play.make(SECRETS, secret("a"), secret("b") | {"type": "example.com/x"})
    play.get(SECRETS, fieldSelector="type=example.com/x")
    involved = {"kind": "Pod", "name": "one", "namespace": play.namespace}
    play.make(EVENTS, meta("e") | {"involvedObject": involved, "reason": "R"})
    play.get(EVENTS, fieldSelector="involvedObject.name=one,reason=R", accept=METADATA_LIST)
    play.get(EVENTS, fieldSelector="involvedObject.kind=Node")


@case
def a_long_list_comes_in_pages_of_one_snapshot(play: Play) -> None:
    five(play)
    first = play.get(SECRETS, limit=2)
    play.make(SECRETS, secret("bb"))
    second = play.get(SECRETS, limit=2, **{"continue": first.meta["continue"]})
    play.get(SECRETS, limit=2, **{"continue": second.meta["continue"]})


@case
def pages_of_a_selection_do_not_count_what_remains(play: Play) -> None:
    five(play)
    first = play.get(SECRETS, limit=1, labelSelector="tier=gold")
    play.get(SECRETS, limit=1, labelSelector="tier=gold", **{"continue": first.meta["continue"]})


@case
def a_limit_beyond_the_list_gives_all_of_it(play: Play) -> None:
    five(play)
    listed = play.get(SECRETS, limit=5)
    play.until_cached(SECRETS, listed.meta["resourceVersion"])
    play.get(SECRETS, limit=500, resourceVersion="0")


@case
def a_continue_token_that_cannot_be_read_is_a_bad_request(play: Play) -> None:
    five(play)
    token = play.get(SECRETS, limit=1).meta["continue"]
    play.get(SECRETS, limit=1, resourceVersion="1", **{"continue": token})
    play.get(SECRETS, limit=1, resourceVersionMatch="Exact", **{"continue": token})


@case
def a_list_at_an_exact_version_shows_the_past(play: Play) -> None:
    made = play.make(SECRETS, secret("a"), secret("b"), secret("c"))
    version = made[1].meta["resourceVersion"]
    play.until_cached(SECRETS, made[2].meta["resourceVersion"])
    play.get(SECRETS, resourceVersion=version, resourceVersionMatch="Exact", accept=METADATA_LIST)
    play.get(SECRETS, resourceVersion=version, resourceVersionMatch="NotOlderThan", accept=METADATA_LIST)
    play.get(SECRETS, resourceVersion=version, accept=METADATA_LIST)
    play.get(SECRETS, resourceVersion=version, limit=1, accept=METADATA_LIST)


@case
def versions_and_matches_that_make_no_sense_are_refused(play: Play) -> None:
    play.get(SECRETS, resourceVersionMatch="Exact")
    play.get(SECRETS, resourceVersion="0", resourceVersionMatch="Exact")
    play.get(SECRETS, resourceVersion="0", resourceVersionMatch="Newest")
    play.get(SECRETS, resourceVersion="x")
    play.get(SECRETS, resourceVersion="-1")


@case
def a_get_at_a_version_that_is_no_number_is_refused(play: Play) -> None:
    play.make(SECRETS, secret())
    play.get(f"{SECRETS}/settings", resourceVersion="x")


@case
def a_version_of_the_future_times_out(play: Play) -> None:
    play.get(SECRETS, resourceVersion="999999999")


@case
def numbers_and_booleans_in_queries_that_are_none(play: Play) -> None:
    play.get(SECRETS, limit="x")
    play.get(SECRETS, limit="-1")
    play.get(SECRETS, timeoutSeconds="x")
    play.get(SECRETS, watch="maybe", timeoutSeconds="1")


@case
def a_list_over_all_namespaces_carries_the_namespace(play: Play) -> None:
    play.make(SECRETS, secret(labels={"case": play.namespace}))
    play.get("/api/v1/secrets", labelSelector=f"case={play.namespace}")


@case
def metadata_alone_can_be_asked_for(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    play.get(f"{DEPLOYMENTS}/web", accept=METADATA)
    play.get(DEPLOYMENTS, accept=METADATA_LIST)


@case
def tables_of_config_maps_and_secrets(play: Play) -> None:
    play.make(SECRETS, secret())
    play.get(SECRETS, accept=TABLE)
    play.get(SECRETS, accept=TABLE, includeObject="None")
    play.get(f"{SECRETS}/settings", accept=TABLE, includeObject="Object")
    play.make(CONFIG_MAPS, config_map())
    play.get(CONFIG_MAPS, accept=TABLE, fieldSelector="metadata.name=settings")


@case
def tables_of_workloads(play: Play) -> None:
    play.make(DEPLOYMENTS, deployment())
    play.get(DEPLOYMENTS, accept=TABLE, includeObject="None")
    play.make(REPLICA_SETS, replica_set())
    play.get(REPLICA_SETS, accept=TABLE, includeObject="None")


@case
def tables_of_pods(play: Play) -> None:
    play.make(PODS, pod())
    play.get(PODS, accept=TABLE, includeObject="None")


@case
def tables_of_services_and_budgets(play: Play) -> None:
    play.make(SERVICES, service())
    play.get(SERVICES, accept=TABLE, includeObject="None")
    play.make("/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets", budget())
    play.get("/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets", accept=TABLE, includeObject="None")


@case
def tables_of_jobs_leases_and_namespaces(play: Play) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}}
    play.make(JOBS, meta("once") | {"spec": {"template": template, "suspend": True}})
    play.get(JOBS, accept=TABLE, includeObject="None")
    play.get("/api/v1/namespaces/{ns}", accept=TABLE, includeObject="None")
    play.get("/apis/coordination.k8s.io/v1/namespaces/{ns}/leases", accept=TABLE)


@case
def tables_of_custom_resources_have_the_columns_that_they_declare(play: Play) -> None:
    play.make(WIDGETS, widget())
    play.get(WIDGETS, accept=TABLE)
    play.get(f"{WIDGETS}/first", accept=TABLE, includeObject="None")
    play.get(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.conformance.surefoot.dev",
        accept=TABLE,
        includeObject="None",
    )


@case
def a_table_with_an_unknown_include_is_a_bad_request(play: Play) -> None:
    play.get(SECRETS, accept=TABLE, includeObject="Some")


@case
def a_form_that_nobody_can_write_is_not_acceptable(play: Play) -> None:
    play.get(SECRETS, accept="text/csv")
    play.get(SECRETS, accept="application/json;as=Chart;v=v1;g=meta.k8s.io")
    play.get(SECRETS, accept="text/csv, application/json")


@case
def yaml_can_be_asked_for(play: Play) -> None:
    play.make(SECRETS, secret())
    answer = play.get(f"{SECRETS}/settings", accept="application/yaml", kept=False)
    play.note("yaml", [answer.status, answer.headers["content-type"], yaml.safe_load(answer.body)])


@case
def paths_that_nobody_serves_are_not_found(play: Play) -> None:
    play.get(f"{NS}/gizmos")
    play.get("/apis/nobody.example.com/v1/things")
    play.get("/apis/apps/v7/deployments")
    play.get(f"{CONFIG_MAPS}/settings/status")
    play.get(f"{DEPLOYMENTS}/web/nonsense")
    play.get("/nonsense")
    play.get("/api/v1/namespaces/{ns}/nodes")


@case
def methods_that_a_path_does_not_have_are_not_allowed(play: Play) -> None:
    play.post("/api/v1/configmaps", config_map())
    play.put(CONFIG_MAPS, config_map())
    play.patch(CONFIG_MAPS, {})
    play.post(f"{CONFIG_MAPS}/settings", config_map())
    play.delete("/api/v1/namespaces")
    play.delete("/api/v1/configmaps")
    play.post(f"{DEPLOYMENTS}/web/status", {})
    play.ask("PUT", "/api/v1/nodes", {})
