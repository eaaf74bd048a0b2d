"""NetworkPolicies: objects with a schema, defaults and rules; nothing enforces them here."""

import pytest

from rollout.api.resources import NETWORK_POLICIES
from rollout.errors import BadRequest, Invalid
from rollout.sandbox.storage import Storage


def policy(**spec: object) -> dict[str, object]:
    return {"metadata": {"name": "deny"}, "spec": {"podSelector": {"matchLabels": {"app": "web"}}, **spec}}


def test_the_policy_types_follow_from_its_rules(storage: Storage) -> None:
    made = storage.create(NETWORK_POLICIES, "default", policy(egress=[{"ports": [{"port": 80}]}]))
    assert made["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert made["spec"]["egress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert made["metadata"]["generation"] == 1
    assert storage.get(NETWORK_POLICIES, "default", "deny") == made


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"policyTypes": ["Sideways"]}, 'spec.policyTypes[0]: Unsupported value: "Sideways"'),
        ({"egress": [{"to": [{}]}]}, "spec.egress[0].to[0]: Required value: must specify a peer"),
        (
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]},
            "spec.egress[0].to[0]: Forbidden",
        ),
    ],
)
def test_what_a_policy_may_not_be(storage: Storage, spec: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid) as refused:
        storage.create(NETWORK_POLICIES, "default", policy(**spec))
    assert message in str(refused.value)


def test_its_types_are_checked(storage: Storage) -> None:
    with pytest.raises(BadRequest):
        storage.create(NETWORK_POLICIES, "default", policy(egress="all"))
