"""What every namespace has without anybody's asking: a ServiceAccount, and the certificate that clients trust.

Contract: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/ (service account
controller) and https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/ (kube-root-ca.crt).
"""

from __future__ import annotations

from typing import Any

from rollout.api.resources import CONFIG_MAPS, SERVICE_ACCOUNTS, Resource

Object = dict[str, Any]

ACCOUNT = "default"
AUTHORITY = "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
    "Kubernetes clusters."
)

PLACES = frozenset(
    {
        (SERVICE_ACCOUNTS.group, SERVICE_ACCOUNTS.plural, ACCOUNT),
        (CONFIG_MAPS.group, CONFIG_MAPS.plural, AUTHORITY),
    }
)
"""(group, plural, name) of all that a namespace has."""


def furniture(authority: str) -> list[tuple[Resource, Object]]:
    """The objects of one namespace. `authority`: PEM of the server's certificate authority, "" when it has none."""
    items: list[tuple[Resource, Object]] = [(SERVICE_ACCOUNTS, {"metadata": {"name": ACCOUNT}})]
    if authority:
        meta = {"name": AUTHORITY, "annotations": {"kubernetes.io/description": _DESCRIPTION}}
        items.append((CONFIG_MAPS, {"metadata": meta, "data": {"ca.crt": authority}}))
    return items
