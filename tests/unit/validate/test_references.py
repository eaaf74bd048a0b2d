from rollout.api.codec import view
from rollout.api.meta import Key
from rollout.api.rollout import Rollout
from rollout.core.references import references
from tests.unit.validate.examples import blue_green, by_route, canary, edited

ISTIO = "spec.strategy.canary.trafficRouting.istio"
NAMESPACE = "frontend-team-web-prod"


def refs(obj):
    return references(view(obj, Rollout))


def test_an_istio_canary_names_its_routes_subsets_and_templates():
    found = refs(canary())

    assert [(one.key, one.routes) for one in found.virtual_services] == [
        (Key(NAMESPACE, "web-frontend-vs"), ("primary",))
    ]
    assert [(one.key, one.subsets) for one in found.destination_rules] == [
        (
            Key(NAMESPACE, "web-frontend-dr"),
            (("canarySubsetName", "canary"), ("stableSubsetName", "stable")),
        )
    ]
    assert [(one.path, one.key) for one in found.templates] == [
        ("spec.strategy.canary.steps[4].analysis.templates[0].templateName", Key(NAMESPACE, "success-rate")),
        ("spec.strategy.canary.analysis.templates[0].templateName", Key(NAMESPACE, "success-rate")),
    ]
    assert found.services == ()


def test_a_canary_by_http_routes_names_its_routes_rules_and_services():
    found = refs(by_route())

    assert [(one.path, one.key, one.rules) for one in found.http_routes] == [
        ("spec.strategy.canary.trafficRouting.gatewayAPI.httpRoute", Key("shop", "web"), ())
    ]
    assert [one.key.name for one in found.services] == ["web-canary", "web-stable"]

    several = {"httpRoutes": [{"name": "a"}, {"name": "b", "namespace": "infra", "rules": ["x"]}]}
    found = refs(edited(by_route(), "spec.strategy.canary.trafficRouting.gatewayAPI", several))

    assert [(one.path.rpartition(".")[2], one.key, one.rules) for one in found.http_routes] == [
        ("httpRoutes[0]", Key("shop", "a"), ()),
        ("httpRoutes[1]", Key("infra", "b"), ("x",)),
    ]


def test_a_blue_green_names_its_services_and_templates():
    found = refs(blue_green())

    assert [one.key.name for one in found.services] == ["myapp-active", "myapp-preview"]
    assert [one.path for one in found.templates] == [
        "spec.strategy.blueGreen.prePromotionAnalysis.templates[0].templateName",
        "spec.strategy.blueGreen.postPromotionAnalysis.templates[0].templateName",
    ]


def test_a_namespace_in_a_name_wins_and_a_cluster_template_has_none():
    rollout = edited(canary(), f"{ISTIO}.virtualService.name", "mesh/web")
    rollout = edited(rollout, "spec.strategy.canary.analysis.templates.0.clusterScope", True)
    found = refs(rollout)

    assert found.virtual_services[0].key == Key("mesh", "web")
    assert (found.templates[1].key, found.templates[1].cluster_scope) == (Key("", "success-rate"), True)
