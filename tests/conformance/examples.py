"""The manifests that come with us, as far as a sandbox serves their kinds."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DEMO = ROOT / "rollout/cli/demo/manifests"
MESH = (ROOT / "rollout/sandbox/crds/istio.yaml", ROOT / "rollout/sandbox/crds/gateway.yaml")
"""Definitions of the mesh's kinds."""
FOREIGN = ("flagger.app/", "litmuschaos.io/", "kustomize.toolkit.fluxcd.io/")
"""APIs of others: these manifests are read by `rollout import` or by a GitOps tool, and served by nobody here."""
NOT_SERVED = {"Application", "CronJob", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


def documents(file: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(file.read_text()) if isinstance(one, dict)]


def manifests(*folders: Path) -> list[Path]:
    """The files of Kubernetes objects that all can be applied."""
    return [file for folder in folders for file in sorted(folder.rglob("*.yaml")) if _served(documents(file))]


def _served(objects: list[dict[str, Any]]) -> bool:
    return bool(objects) and all(
        "apiVersion" in one
        and not one["apiVersion"].startswith(FOREIGN)
        and one["kind"] not in NOT_SERVED
        and "name" in one["metadata"]  # those with generateName are for `kubectl create`
        for one in objects
    )
