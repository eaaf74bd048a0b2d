"""What the chart's roles allow: no wildcard, no look at all Secrets, each feature its own, namespaces kept apart."""

import json

import pytest
import yaml

from chaos.controller.caches import Caches as ChaosCaches
from rollout.api import features, resources
from rollout.api.resources import Resource
from rollout.controller.caches import Caches as StepCaches
from rollout.runtime.clock import SystemClock
from tests.chart.grants import Grant, grants
from tests.chart.support import NAMESPACE, ROOT, SETS, named, of_kind, rendered

ROLES = ("ClusterRole", "Role")
CLOCK, NOBODY = SystemClock(), None  # the caches are made, never run
PEOPLE = {"surefoot-view", "surefoot-edit", "surefoot-admin", "surefoot-approver"}
ALWAYS = {"surefoot-core", "surefoot-leases"}
FEATURES = {
    "decisions": "surefoot-decisions",
    "workloadRef": "surefoot-workload-ref",
    "istio": "surefoot-istio",
    "gateway": "surefoot-gateway",
    "events": "surefoot-events",
    "jobs": "surefoot-jobs",
    "secrets": "surefoot-secrets",
    "loadTest": "surefoot-load-test",
    "chaos": "surefoot-chaos",
}
NOTHING = dict.fromkeys((f"features.{name}" for name in FEATURES), False)


def roles(objects):
    return of_kind(objects, *ROLES)


def names(objects):
    return {one["metadata"]["name"] for one in roles(objects)} - PEOPLE


@pytest.mark.parametrize("values", SETS)
def test_no_role_has_a_wildcard(values):
    for one in roles(rendered(values)):
        assert one["rules"], one["metadata"]["name"]
        assert "*" not in json.dumps(one["rules"]), one["metadata"]["name"]
        assert not any("nonResourceURLs" in rule for rule in one["rules"])


@pytest.mark.parametrize("values", SETS)
def test_nobody_lists_or_watches_secrets(values):
    for one in roles(rendered(values)):
        verbs = {grant.verb for grant in grants(one["rules"]) if grant.resource == "secrets"}
        assert verbs <= {"get", "create", "delete"}, one["metadata"]["name"]


@pytest.mark.parametrize("values", SETS)
def test_nobody_may_change_rights_or_speak_for_others(values):
    for one in roles(rendered(values)):
        for grant in grants(one["rules"]):
            assert grant.group != "rbac.authorization.k8s.io"
            assert grant.verb not in {"impersonate", "bind", "escalate"}
            assert grant.resource not in {"pods/exec", "pods/attach", "nodes/proxy", "serviceaccounts/token"}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_brings_its_own_role_and_nothing_else(feature):
    without, with_it = rendered(more=NOTHING), rendered(more={**NOTHING, f"features.{feature}": True})
    reaper = {"surefoot-reaper"} if feature == "chaos" else set()
    assert names(without) == ALWAYS
    assert names(with_it) - names(without) == {FEATURES[feature], *reaper}
    for one in roles(without):
        kind, name = one["kind"], one["metadata"]["name"]
        assert named(with_it, kind, name)["rules"] == one["rules"]


def test_ephemeral_containers_have_a_switch_of_their_own():
    with_chaos = rendered(more={"features.chaos": True})
    assert not any(
        grant.resource == "pods/ephemeralcontainers"
        for one in roles(with_chaos)
        for grant in grants(one["rules"])
    )
    with_both = rendered(more={"features.chaos": True, "features.chaosNetwork": True})
    assert grants(named(with_both, "ClusterRole", "surefoot-chaos-network")["rules"]) == {
        Grant("patch", "", "pods/ephemeralcontainers"),
        Grant("get", "", "pods/log"),
    }


def test_secrets_jobs_load_and_chaos_are_off_by_default():
    assert names(rendered()) == ALWAYS | {
        FEATURES[name] for name in ("decisions", "workloadRef", "istio", "gateway", "events")
    }


def test_the_role_that_the_controller_names_when_it_lacks_something_is_the_one_that_grants_it():
    objects = rendered("everything")
    resources = [*StepCaches(NOBODY, CLOCK).informers, *ChaosCaches(NOBODY, CLOCK).informers]
    assert len(set(resources)) > 20
    for resource in set(resources):
        role = features.feature_of(resource)
        granted = grants(named(objects, "ClusterRole", FEATURES.get(role, f"surefoot-{role}"))["rules"])
        for verb in ("list", "watch"):
            assert Grant(verb, resource.group, resource.plural) in granted, (role, verb, resource)


def test_every_feature_has_its_role_and_its_switch_under_the_same_name():
    switches = set(yaml.safe_load((ROOT / "charts/surefoot/values.yaml").read_text())["features"])
    assert switches == set(features.FEATURES) - {"core"}


@pytest.mark.parametrize("values", SETS)
def test_each_role_is_bound_to_the_service_account_and_to_nobody_else(values):
    objects = rendered(values)
    for one in roles(objects):
        meta = one["metadata"]
        if meta["name"] in PEOPLE:
            continue
        (binding,) = [
            bound
            for bound in of_kind(objects, f"{one['kind']}Binding")
            if bound["metadata"]["name"] == meta["name"]
            and bound["metadata"].get("namespace") == meta.get("namespace")
        ]
        assert binding["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": one["kind"],
            "name": meta["name"],
        }
        account = "surefoot-reaper" if meta["name"] == "surefoot-reaper" else "surefoot"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]


def test_roles_of_people_are_bound_to_nobody_by_the_chart():
    bound = {one["metadata"]["name"] for one in of_kind(rendered("everything"), "ClusterRoleBinding")}
    assert not bound & PEOPLE


def test_the_secrets_that_may_be_read_can_be_named():
    (rule,) = named(
        rendered(more={"features.secrets": True, "rbac.secretNames": ["token"]}),
        "ClusterRole",
        "surefoot-secrets",
    )["rules"]
    assert rule == {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["token"], "verbs": ["get"]}


# --- namespaced ---------------------------------------------------------------------------------------


def kinds_without_namespace():
    known = {
        (one.group, one.plural)
        for one in vars(resources).values()
        if isinstance(one, Resource) and not one.namespaced
    }
    assert ("argoproj.io", "clusteranalysistemplates") in known
    return known


def test_namespaced_every_role_is_in_its_namespace():
    objects = rendered("namespaced")
    everywhere = rendered(more={"features.chaos": True, "features.secrets": True})
    for namespace in ("shop", "web"):
        here = {
            one["metadata"]["name"]: grants(one["rules"])
            for one in of_kind(objects, "Role")
            if one["metadata"]["namespace"] == namespace
        }
        elsewhere, only_here = {"surefoot-leases", "surefoot-reaper"}, {"surefoot-other-leases"}
        assert here.keys() == (names(everywhere) - elsewhere) | only_here
    leases = [one for one in of_kind(objects, "Role") if one["metadata"]["name"] == "surefoot-leases"]
    assert [one["metadata"]["namespace"] for one in leases] == [NAMESPACE]


def test_namespaced_only_kinds_without_a_namespace_are_granted_cluster_wide():
    for one in of_kind(rendered("namespaced"), "ClusterRole"):
        if one["metadata"]["name"] in PEOPLE | {"surefoot-reaper"}:
            continue
        for rule in one["rules"]:
            if rule.get("resourceNames") == ["istio"]:
                continue  # the mesh's settings, by name
            for grant in grants([rule]):
                plural = grant.resource.partition("/")[0]
                assert (grant.group, plural) in kinds_without_namespace(), (
                    f"{one['metadata']['name']}: {grant}"
                )


def test_namespaced_and_cluster_wide_grant_the_same():
    def all_of(objects, *kinds):
        chosen = [one for one in of_kind(objects, *kinds) if one["metadata"]["name"] not in PEOPLE]
        return set().union(
            *(grants(one["rules"]) for one in chosen if "leases" not in one["metadata"]["name"])
        )

    more = {"features.chaos": True, "features.secrets": True}
    assert all_of(rendered(more=more), *ROLES) == all_of(rendered("namespaced"), *ROLES)


# --- the Lease ----------------------------------------------------------------------------------------


def test_only_our_own_lease_may_be_written_and_only_the_other_controllers_be_looked_at():
    objects = rendered(more={"instanceId": "blue"})
    own = named(objects, "Role", "surefoot-leases")
    assert own["metadata"]["namespace"] == NAMESPACE
    assert [(rule.get("resourceNames"), rule["verbs"]) for rule in own["rules"]] == [
        (["surefoot-controller-blue"], ["get", "update"]),
        (None, ["create"]),
    ]
    (rule,) = named(objects, "ClusterRole", "surefoot-leases")["rules"]
    assert rule["resourceNames"] == ["argo-rollouts-controller-lock-blue"]
    assert rule["verbs"] == ["get", "list"]


def test_namespaced_the_other_controllers_lease_is_looked_at_where_ours_works():
    objects = rendered("namespaced", more={"instanceId": "blue"})
    assert "surefoot-leases" not in {one["metadata"]["name"] for one in of_kind(objects, "ClusterRole")}
    found = [one for one in of_kind(objects, "Role") if one["metadata"]["name"] == "surefoot-other-leases"]
    assert {one["metadata"]["namespace"] for one in found} == {"shop", "web"}
    for one in found:
        [rule] = one["rules"]
        assert rule["resourceNames"] == ["argo-rollouts-controller-lock-blue"]
        assert rule["verbs"] == ["get"]


# --- people -------------------------------------------------------------------------------------------


def of_people(name):
    return named(rendered(), "ClusterRole", f"surefoot-{name}")


def test_an_approver_may_promote_and_change_nothing_else():
    changes = {
        one for one in grants(of_people("approver")["rules"]) if one.verb not in {"get", "list", "watch"}
    }
    assert changes == {Grant("patch", "argoproj.io", "rollouts/status")}


def test_who_views_changes_nothing():
    assert {one.verb for one in grants(of_people("view")["rules"])} == {"get", "list", "watch"}


def test_chaos_is_an_admins_matter():
    assert not any(one.group == "surefoot.dev" for one in grants(of_people("edit")["rules"]))
    assert Grant("create", "surefoot.dev", "chaosruns") in grants(of_people("admin")["rules"])
    # The switch stops the whole cluster's chaos: who may throw it is said by the cluster's administrators.
    assert not any(one.resource == "chaosswitches" for one in grants(of_people("admin")["rules"]))


def test_rights_of_people_are_aggregated_upwards():
    label = "rbac.authorization.k8s.io/aggregate-to-"

    def reaches(name):
        labels = of_people(name)["metadata"]["labels"]
        return {
            key.removeprefix(label)
            for key, value in labels.items()
            if key.startswith(label) and value == "true"
        }

    assert reaches("view") == {"view", "edit", "admin"}
    assert reaches("edit") == {"edit", "admin"}
    assert reaches("admin") == {"admin"}
    assert reaches("approver") == set()


def test_every_kind_of_ours_can_be_viewed():
    viewed = {(one.group, one.resource) for one in grants(of_people("view")["rules"]) if one.verb == "list"}
    ours = {
        (one.group, one.plural)
        for one in vars(resources).values()
        if isinstance(one, Resource) and one.group in {"argoproj.io", "surefoot.dev"}
    }
    assert ours <= viewed


def test_the_reaper_has_what_the_example_of_the_docs_has():
    docs = list(yaml.safe_load_all((ROOT / "examples/chaos-reaper-cronjob.yaml").read_text()))
    example = next(one for one in docs if one["kind"] == "ClusterRole")
    chart = named(rendered("everything"), "ClusterRole", "surefoot-reaper")
    assert grants(chart["rules"]) == grants(example["rules"])


def test_the_table_of_the_docs_has_every_role_with_every_resource():
    text = (ROOT / "docs/install.md").read_text()
    rows: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        if line.startswith(("| `", "| | |")):
            first, _, rest = line.removeprefix("|").strip().partition("|")
            current = first.strip(" `") or current
            rows[current] = rows.get(current, "") + rest
    shown = {f"surefoot-{name}": row for name, row in rows.items()}
    for one in roles(rendered("everything")):
        name = one["metadata"]["name"]
        if name in PEOPLE or name == "surefoot-kubernetes-metric":
            continue
        for grant in grants(one["rules"]):
            plural = grant.resource.partition("/")[0]
            assert plural in shown[name], f"{name}: {grant}"
            assert grant.verb in shown[name], f"{name}: {grant}"
