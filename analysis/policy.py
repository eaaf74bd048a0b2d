"""Which providers an analysis may measure with, by the operator's word: whoever may create an AnalysisRun acts through them.

`job` and `cmd` run pods, `chaos` makes ChaosRuns, `loadTest` sends traffic, all with the controller's rights; the author
of the run may have none of these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from rollout.api.features import FEATURES, NEEDS, PROVIDERS, left_out
from rollout.core.problem import Problem, invalid

CONSENT = "surefoot.dev/analysis-secret"
"""On a Secret, "true": analyses of its namespace may use it, where the operator asks for that label."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """`providers` are allowed in each namespace that has no entry of its own in `namespaces`.

    `features` are those that the controller runs with: what needs another is refused everywhere. With
    `labelled_secrets` only Secrets are read that carry the label `CONSENT`: their owner has consented to it.
    """

    providers: Collection[str] = PROVIDERS
    namespaces: Mapping[str, Collection[str]] = {}
    features: Collection[str] = FEATURES
    labelled_secrets: bool = False

    def secrets_problem(self) -> str:
        """Why no Secret may be read at all; "" when one may."""
        return "" if "secrets" in self.features else left_out("secrets")

    def secret_problem(self, secret: Mapping[str, Any]) -> str:
        """Why the value of this Secret may not be used; "" when it may."""
        labels = (secret.get("metadata") or {}).get("labels") or {}
        if not self.labelled_secrets or labels.get(CONSENT) == "true":
            return ""
        return f"it is not for analyses; its owner says that it is by the label {CONSENT}=true"

    def problem(self, namespace: str, provider: str, path: str) -> Problem | None:
        """Why a run in `namespace` may not measure with `provider`; None when it may.

        A provider that nobody has heard of is left to who looks for it.
        """
        need = NEEDS.get(provider)
        if need is not None and need not in self.features:
            return invalid(path, provider, left_out(need), "measure with another provider")
        allowed = self.namespaces.get(namespace, self.providers)
        if provider in allowed or provider not in PROVIDERS:
            return None
        rule = f"the operator does not allow it in namespace {namespace}"
        known = ", ".join(sorted(allowed)) or "none at all"
        return invalid(
            path, provider, rule, f"allowed there: {known} (analysis of the controller's configuration)"
        )
