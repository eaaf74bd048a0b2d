from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chaos.actions import Create, Delete, Patch
from chaos.faults.receipts import made_by
from chaos.observed import Evidence
from rollout.api.chaos import EXPIRES_AT, RECEIPT, RUN_LABEL, RUN_UID
from rollout.api.resources import ENVOY_FILTERS
from tests.unit.chaos.faults.cluster import HASH, Case, obj, pod, sandbox_node, shop, world

LATENCY = {"httpLatency": {"delay": "300ms", "percent": 40, "port": 8080}}
CANARY = ("web-v2-0", "web-v2-1")
SEEN = shop(sandbox_node())


def created(
    case: Case, objects: list[dict[str, Any]] = SEEN, names: tuple[str, ...] = CANARY
) -> tuple[Any, dict]:
    """The receipt of the fault on the canary, and the object that its injection creates."""
    seen = world(objects)
    receipt = case.receipt(seen, *names)
    (action,) = case.kind.inject(receipt, case.context, seen)
    assert isinstance(action, Create)
    made = action.object | {"metadata": action.object["metadata"] | {"uid": "uid-filter", "generation": 1}}
    return receipt, made


def merged(target: dict, patch: dict) -> dict:
    """RFC 7386."""
    out = dict(target)
    for key, value in patch.items():
        out[key] = merged(out.get(key) or {}, value) if isinstance(value, dict) else value
    return out


def test_latency_is_one_filter_before_the_router_of_the_canary_alone() -> None:
    receipt, made = created(Case(LATENCY))
    assert receipt.victim.kind == "ReplicaSet"
    assert receipt.victim.name == "web-v2"
    assert made["kind"] == "EnvoyFilter"
    assert made["spec"] == {
        "workloadSelector": {"labels": {"app": "web", HASH: "v2"}},
        "configPatches": [
            {
                "applyTo": "HTTP_FILTER",
                "match": {
                    "context": "SIDECAR_INBOUND",
                    "listener": {
                        "portNumber": 8080,
                        "filterChain": {
                            "filter": {
                                "name": "envoy.filters.network.http_connection_manager",
                                "subFilter": {"name": "envoy.filters.http.router"},
                            }
                        },
                    },
                },
                "patch": {
                    "operation": "INSERT_BEFORE",
                    "value": {
                        "name": f"surefoot.fault.{receipt.id}",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                            "delay": {
                                "fixed_delay": "0.300s",
                                "percentage": {"numerator": 40, "denominator": "HUNDRED"},
                            },
                        },
                    },
                },
            }
        ],
    }


def test_the_object_says_whose_it_is_and_when_it_expires() -> None:
    receipt, made = created(Case(LATENCY))
    meta = made["metadata"]
    assert meta["labels"] == {RUN_LABEL: "run", RUN_UID: "uid-run"}
    assert meta["annotations"] == {RECEIPT: receipt.id, EXPIRES_AT: "2026-11-21T12:00:20Z"}
    assert [one["uid"] for one in meta["ownerReferences"]] == ["uid-run"]


def test_a_run_of_another_namespace_does_not_own_it() -> None:
    case = Case(LATENCY, namespace="chaos", target={"namespace": "shop", "selector": {}, "percent": 100})
    _, made = created(case)
    assert made["metadata"]["namespace"] == "shop"
    assert "ownerReferences" not in made["metadata"]


def test_the_first_lease_ends_at_the_deadline_at_the_latest() -> None:
    _, made = created(Case(LATENCY, seconds=7))
    assert made["metadata"]["annotations"][EXPIRES_AT] == "2026-11-21T12:00:07Z"


def test_abort_answers_with_the_status() -> None:
    _, made = created(Case({"httpAbort": {"status": 500, "percent": 5}}))
    (patch,) = made["spec"]["configPatches"]
    assert "portNumber" not in patch["match"]["listener"]
    config = patch["patch"]["value"]["typed_config"]
    assert config["abort"] == {"http_status": 500, "percentage": {"numerator": 5, "denominator": "HUNDRED"}}
    assert "delay" not in config


def test_a_dependency_is_the_upstream_cluster_of_what_the_victims_send_and_of_its_subsets() -> None:
    payments = obj("Service", "payments", namespace="pay", spec={"ports": [{"port": 8080}]})
    rule = obj(
        "DestinationRule", "payments", namespace="pay", spec={"host": "payments", "subsets": [{"name": "v1"}]}
    )
    case = Case({"dependencyLatency": {"host": "payments.pay", "delay": "2s"}})
    _, made = created(case, shop(sandbox_node(), payments, rule))
    patches = made["spec"]["configPatches"]
    assert [patch["match"]["context"] for patch in patches] == ["SIDECAR_OUTBOUND"] * 2
    configs = [patch["patch"]["value"]["typed_config"] for patch in patches]
    assert [config["upstream_cluster"] for config in configs] == [
        "outbound|8080||payments.pay.svc.cluster.local",
        "outbound|8080|v1|payments.pay.svc.cluster.local",
    ]
    assert len({patch["patch"]["value"]["name"] for patch in patches}) == 2


def test_an_outage_by_the_mesh_aborts_all_of_it() -> None:
    case = Case({"dependencyOutage": {"host": "api.example.com", "port": 443}})
    _, made = created(case)
    config = made["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
    assert config["upstream_cluster"] == "outbound|443||api.example.com"
    assert config["abort"] == {"http_status": 503, "percentage": {"numerator": 100, "denominator": "HUNDRED"}}


def test_both_versions_chosen_whole_are_two_receipts() -> None:
    case = Case(LATENCY, target={"selector": {"matchLabels": {"app": "web"}}, "percent": 100})
    names = [victim.name for victim in case.victims(world(SEEN), *CANARY, "web-v1-0", "web-v1-1")]
    assert names == ["web-v1", "web-v2"]


def test_a_part_of_a_version_is_refused_and_says_what_to_do() -> None:
    case, seen = Case(LATENCY, target={"selector": {}, "count": 1}), world(SEEN)
    assert "all pods of a version" in case.refused(seen, "web-v2-0")
    assert any("all pods of a version" in one for one in case.obstacles(seen))


def test_pods_that_are_not_ready_need_not_be_among_the_chosen() -> None:
    waiting = pod("web-v2-9", "v2", status={"conditions": [{"type": "Ready", "status": "False"}]})
    case = Case(LATENCY)
    assert case.receipt(world([*SEEN, waiting]), *CANARY).victim.name == "web-v2"


def test_labels_that_also_select_others_are_refused() -> None:
    stranger = pod("stranger", "v2", owner=obj("ReplicaSet", "other"))
    assert "also select stranger" in Case(LATENCY).refused(world([*SEEN, stranger]), "web-v2-0")


def test_a_pod_without_an_owner_is_refused() -> None:
    bare = pod("bare", "v9", owner=obj("ReplicaSet", "gone"))
    assert "belongs to no ReplicaSet" in Case(LATENCY).refused(world([bare, sandbox_node()]), "bare")


def test_what_is_there_is_not_created_again() -> None:
    case = Case(LATENCY)
    receipt, made = created(case)
    assert case.kind.inject(receipt, case.context, world([*SEEN, made])) == ()


def test_nothing_is_begun_after_the_deadline() -> None:
    case = Case(LATENCY, seconds=30)
    receipt, _ = created(case)
    assert case.kind.inject(receipt, case.context, world(SEEN, after=30)) == ()


def test_the_lease_is_renewed_when_less_than_half_is_left_and_never_beyond_the_deadline() -> None:
    case = Case(LATENCY, seconds=25)
    receipt, made = created(case)
    assert case.kind.renew(receipt, world([*SEEN, made], after=10)) == ()
    (renewal,) = case.kind.renew(receipt, world([*SEEN, made], after=11))
    assert isinstance(renewal, Patch)
    assert renewal.patch == {"metadata": {"annotations": {EXPIRES_AT: "2026-11-21T12:00:25Z"}}}
    renewed = merged(made, renewal.patch)
    assert case.kind.renew(receipt, world([*SEEN, renewed], after=24)) == ()


def test_a_fault_that_is_being_undone_is_not_renewed() -> None:
    case = Case(LATENCY)
    receipt, made = created(case)
    (silence,) = case.kind.revert(receipt, world([*SEEN, made]))
    assert case.kind.renew(receipt, world([*SEEN, merged(made, silence.patch)], after=19)) == ()


@pytest.mark.parametrize(
    ("fault", "seen", "proof"),
    [
        (LATENCY, Evidence(delayed=7, aborted=3), "delayed 7 requests"),
        (LATENCY, Evidence(delayed=0, aborted=3), ""),
        (LATENCY, Evidence(), ""),
        ({"httpAbort": {}}, Evidence(delayed=7, aborted=3), "answered 503 to 3 requests"),
        ({"httpAbort": {}}, Evidence(delayed=7, aborted=0), ""),
    ],
)
def test_proof_is_the_counter_of_the_fault_itself(fault: dict, seen: Evidence, proof: str) -> None:
    case = Case(fault)
    receipt, made = created(case)
    text = case.kind.proof(receipt, world([*SEEN, made], evidence={receipt.id: seen}))
    assert proof in text
    assert bool(text) == bool(proof)


def test_no_evidence_is_no_proof() -> None:
    case = Case(LATENCY)
    receipt, made = created(case)
    assert case.kind.proof(receipt, world([*SEEN, made])) == ""


def test_undoing_first_silences_and_deletes_when_it_is_seen_to_have_no_effect() -> None:
    case = Case(LATENCY)
    receipt, made = created(case)
    (silence,) = case.kind.revert(receipt, world([*SEEN, made]))
    assert isinstance(silence, Patch)
    silent = merged(made, silence.patch)
    delay = silent["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["delay"]
    assert delay["percentage"]["numerator"] == 0
    for active in (True, None):
        doubt = world([*SEEN, silent], evidence={receipt.id: Evidence(active=active)})
        assert case.kind.revert(receipt, doubt) == ()
        assert case.kind.gone(receipt, doubt) == ""
    sure = world([*SEEN, silent], evidence={receipt.id: Evidence(active=False, how="the mesh says so")})
    assert case.kind.revert(receipt, sure) == ()  # it is put on record first
    assert case.kind.gone(receipt, sure) == ""  # it is still there
    said = case.kind.ended(receipt, sure)
    assert "no effect any more: the mesh says so" in said
    recorded = msgspec.structs.replace(receipt, gone=said)
    assert case.kind.revert(recorded, doubt) == ()
    assert case.kind.gone(recorded, world(SEEN)) == f"{said}; it is deleted"
    assert case.kind.revert(recorded, sure) == (
        Delete(
            receipt=receipt.id,
            resource=ENVOY_FILTERS,
            namespace="shop",
            name=made["metadata"]["name"],
            uid="uid-filter",
        ),
    )


@pytest.mark.parametrize(("silenced", "deleted"), [(0, 30), (15, 30), (25, 35)])
def test_an_expired_silent_filter_is_deleted_without_evidence_ten_seconds_later(
    silenced: float, deleted: float
) -> None:
    case = Case(LATENCY)
    receipt, made = created(case)
    (silence,) = case.kind.revert(receipt, world([*SEEN, made], after=silenced))
    silent = merged(made, silence.patch)
    assert case.kind.revert(receipt, world([*SEEN, silent], after=deleted - 1)) == ()
    assert len(case.kind.revert(receipt, world([*SEEN, silent], after=deleted))) == 1


def test_an_expired_filter_that_the_mesh_ignores_needs_no_silence() -> None:
    case = Case(LATENCY)
    receipt, made = created(case)
    sure = world([*SEEN, made], after=25, evidence={receipt.id: Evidence(active=False, how="it says so")})
    assert case.kind.revert(receipt, sure) == ()
    recorded = msgspec.structs.replace(receipt, gone=case.kind.ended(receipt, sure))
    (delete,) = case.kind.revert(recorded, sure)
    assert isinstance(delete, Delete)


def test_the_last_count_is_the_proof_unless_it_began_anew() -> None:
    case = Case(LATENCY)
    receipt, _ = created(case)
    proved = msgspec.structs.replace(receipt, proof="Envoy delayed 6 requests of ReplicaSet web-v2")
    for seen, said in (
        (Evidence(delayed=31), "31 requests"),
        (Evidence(delayed=2, partial=True), "6 requests"),
        (Evidence(), "6 requests"),
        (None, "6 requests"),
    ):
        assert said in case.kind.proof(proved, world(SEEN, evidence={receipt.id: seen} if seen else {}))


@pytest.mark.parametrize(
    ("seen", "after", "text"),
    [
        (Evidence(active=False, how="it said so"), 5, "any more: it said so; it is deleted"),
        (Evidence(active=True), 5, ""),
        (Evidence(active=True), 99, ""),
        (Evidence(), 5, ""),
        (Evidence(expired=True), 25, "could not be asked"),
        (Evidence(expired=True, settling=True), 99, ""),
        (None, 69, ""),
        (None, 70, "could not be asked"),
    ],
)
def test_gone_is_without_the_object_and_without_effect(
    seen: Evidence | None, after: float, text: str
) -> None:
    case = Case(LATENCY)
    receipt, _ = created(case)
    said = case.kind.gone(receipt, world(SEEN, after=after, evidence={receipt.id: seen} if seen else {}))
    assert text in said
    assert bool(said) == bool(text)


def test_it_is_not_gone_where_filters_cannot_be_seen() -> None:
    case = Case(LATENCY)
    receipt, _ = created(case)
    blind = world(SEEN, after=99, without=[ENVOY_FILTERS], evidence={receipt.id: Evidence(active=False)})
    assert case.kind.gone(receipt, blind) == ""


def test_another_objects_filter_of_the_same_name_is_not_touched() -> None:
    case = Case(LATENCY)
    receipt, made = created(case)
    theirs = made | {"metadata": made["metadata"] | {"annotations": {}}}
    assert not made_by(receipt, theirs)
    assert case.kind.revert(receipt, world([*SEEN, theirs])) == ()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"httpLatency": {"delay": "0s"}}, "delay must be"),
        ({"httpLatency": {"delay": "soon"}}, "not a duration"),
        ({"httpLatency": {"delay": "1s", "percent": 0}}, "percent must be"),
        ({"httpAbort": {"status": 99}}, "status must be"),
        ({"httpAbort": {"port": 70000}}, "port must be"),
        ({"dependencyOutage": {"host": "payments"}}, "say which port"),
        ({"dependencyOutage": {"host": "a b", "port": 80}}, "not a host name"),
    ],
)
def test_what_makes_no_sense_is_refused_and_said_before(fault: dict, said: str) -> None:
    case, seen = Case(fault), world(SEEN)
    assert said in case.refused(seen, *CANARY)
    assert any(said in one for one in case.obstacles(seen))


# --- preflight ----------------------------------------------------------------------------------------


def test_in_the_sandbox_nothing_stands_in_the_way() -> None:
    assert Case(LATENCY).obstacles(world(SEEN)) == []


def test_without_a_mesh_it_says_so_and_what_to_use_instead() -> None:
    case, seen = Case(LATENCY), world(SEEN, without=[ENVOY_FILTERS])
    (obstacle,) = case.kind.obstacles(case.fault, case.run, seen)
    assert "no EnvoyFilter" in obstacle.reason
    assert "networkLatency" in obstacle.instead


def sidecars(where: str = "containers", **annotations: str) -> list[dict]:
    containers = {"containers": [{"name": "web"}]}
    containers[where] = [*containers.get(where, []), {"name": "istio-proxy"}]
    names = [*CANARY, "web-v1-0", "web-v1-1"]
    meshed = [pod(name, name[4:6], spec=containers, metadata={"annotations": annotations}) for name in names]
    return [one for one in shop() if one["kind"] != "Pod"] + meshed


COUNTED = {"proxy.istio.io/config": '{"proxyStatsMatcher": {"inclusionRegexps": [".*fault.*"]}}'}


def test_on_istio_pods_need_the_proxy() -> None:
    (reason,) = Case(LATENCY).obstacles(world(shop()))
    assert "shop/web-v2-0, shop/web-v2-1 have no istio-proxy" in reason


@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_on_istio_pods_need_counters(where: str) -> None:
    (reason,) = Case(LATENCY).obstacles(world(sidecars(where)))
    assert "keep no counters" in reason
    assert Case(LATENCY).obstacles(world(sidecars(where, **COUNTED))) == []


def test_counters_kept_by_the_whole_mesh_will_do() -> None:
    mesh = "defaultConfig:\n  proxyStatsMatcher:\n    inclusionRegexps: ['.*fault.*']\n"
    config = obj("ConfigMap", "istio", namespace="istio-system", data={"mesh": mesh})
    assert Case(LATENCY).obstacles(world([*sidecars(), config])) == []


def test_others_faults_on_the_way_out_stand_in_the_way() -> None:
    theirs = obj("VirtualService", "theirs", spec={"http": [{"fault": {"abort": {}}}]})
    objects = [*sidecars(**COUNTED), theirs]
    outage = Case({"dependencyOutage": {"host": "api.example.com", "port": 443}})
    assert any("theirs inject faults" in one for one in outage.obstacles(world(objects)))
    assert Case(LATENCY).obstacles(world(objects)) == []


def test_the_target_of_the_fault_itself_counts() -> None:
    narrow = {"target": {"podNames": ["web-v1-0"], "percent": 100}, **LATENCY}
    case = Case(narrow)
    assert "all pods of a version" in case.refused(world(SEEN), "web-v1-0")


@pytest.mark.parametrize(("rounding", "refused"), [("Down", True), ("Nearest", False), ("Up", False)])
def test_a_share_that_rounds_to_the_whole_version_is_not_refused(rounding: str, *, refused: bool) -> None:
    role = {"kind": "Rollout", "name": "web", "role": "canary"}
    case = Case(LATENCY, target={"workloadRef": role, "percent": 80, "rounding": rounding})
    said = [one for one in case.obstacles(world(SEEN)) if "share of its pods" in one]
    assert bool(said) is refused
