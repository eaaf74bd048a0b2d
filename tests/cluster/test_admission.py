"""examples/admission on a real API server: who may not read a Secret may not have an analysis send it somewhere.

Needs Kubernetes' programs and etcd (tools/get_kubernetes.sh, tools/get_etcd.sh), and no node; skipped without them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from rollout.api import crds
from tests.chart.support import ROOT, run
from tests.cluster.control_plane import ControlPlane
from tests.cluster.planes import plane_or_skip

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

POLICY = ROOT / "examples/admission/secrets-of-the-author.yaml"
NAMESPACE = "shop"
PATIENCE = 120.0
"""A policy holds a moment after it is there; a busy machine is slow."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The policy, and two people who may write analyses: `reader` may get the Secret `metrics`, `author` none."""
    with plane_or_skip(tmp_path_factory.mktemp("plane"), manager=False) as started:
        everything = [*crds.crds(), *yaml.safe_load_all(POLICY.read_text())]
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        done = applied(started, "admin", namespace, *everything, groups=("system:masters",))
        assert done.returncode == 0, done.stderr
        kinds = ["analysistemplates", "clusteranalysistemplates", "analysisruns"]
        writes = {"apiGroups": ["argoproj.io"], "resources": kinds, "verbs": ["get", "create", "patch"]}
        reads = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["metrics"], "verbs": ["get"]}
        may = [*granted("ClusterRole", "analyses", writes, "author", "reader")]
        may += granted("Role", "metrics", reads, "reader")
        done = applied(started, "admin", *may, groups=("system:masters",))
        assert done.returncode == 0, done.stderr
        probe, end = template("probe", "other"), time.monotonic() + PATIENCE  # noqa: TID251 - a real server
        while applied(started, "author", probe, dry=True).returncode == 0:
            assert time.monotonic() < end, "the policy never holds"  # noqa: TID251
            time.sleep(0.5)
        yield started


def granted(kind: str, name: str, rule: dict[str, Any], *users: str) -> list[dict[str, Any]]:
    meta = {"name": name} | ({"namespace": NAMESPACE} if kind == "Role" else {})
    version = "rbac.authorization.k8s.io/v1"
    people = [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"} for user in users]
    ref = {"kind": kind, "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    return [
        {"apiVersion": version, "kind": kind, "metadata": meta, "rules": [rule]},
        {
            "apiVersion": version,
            "kind": f"{kind}Binding",
            "metadata": meta,
            "roleRef": ref,
            "subjects": people,
        },
    ]


def template(name: str, secret: str, kind: str = "AnalysisTemplate", **spec: Any) -> dict[str, Any]:
    """An analysis that asks a server with the token that lies in a Secret ("" for none)."""
    args: list[Any] = [{"name": "url", "value": "https://metrics.example"}]
    if secret:
        args.append({"name": "token", "valueFrom": {"secretKeyRef": {"name": secret, "key": "token"}}})
    web = {"url": "{{args.url}}", "jsonPath": "{$.value}"}
    metric = {"name": "value", "successCondition": "result > 1", "provider": {"web": web}}
    meta = {"name": name} | ({} if kind.startswith("Cluster") else {"namespace": NAMESPACE})
    spec = {"args": args, "metrics": [metric], **spec}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}


def applied(
    plane: ControlPlane,
    user: str,
    *objects: Any,
    groups: tuple[str, ...] = ("system:authenticated",),
    dry: bool = False,
) -> subprocess.CompletedProcess[str]:
    file = plane.folder / f"{user}.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    more = ["--dry-run=server"] if dry else []
    config = plane.kubeconfig(user, groups)
    return run(
        "kubectl", "--kubeconfig", config, "apply", "--server-side", "--validate=false", "-f", file, *more
    )


@pytest.mark.parametrize("kind", ["AnalysisTemplate", "AnalysisRun"])
def test_who_may_read_the_secret_may_have_it_sent_and_nobody_else(plane: ControlPlane, kind: str) -> None:
    refused = applied(plane, "author", template("mine", "metrics", kind))
    assert refused.returncode != 0
    assert "must be allowed to get it: metrics" in refused.stderr
    assert applied(plane, "reader", template("mine", "other", kind)).returncode != 0
    done = applied(plane, "reader", template("mine", "metrics", kind))
    assert done.returncode == 0, done.stderr


def test_who_may_not_read_it_cannot_send_it_elsewhere_by_changing_anothers_template(
    plane: ControlPlane,
) -> None:
    theirs = template("theirs", "metrics")
    done = applied(plane, "reader", theirs)
    assert done.returncode == 0, done.stderr
    config = plane.kubeconfig("author", ("system:authenticated",))

    def patched(patch: str) -> subprocess.CompletedProcess[str]:
        words = ["patch", "analysistemplate", "theirs", "-n", NAMESPACE, "--type=json", "-p", patch]
        return run("kubectl", "--kubeconfig", config, *words)

    url = '[{"op": "replace", "path": "/spec/args/0/value", "value": "https://mine.example"}]'
    assert "must be allowed to get it: metrics" in patched(url).stderr
    label = patched('[{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}]')
    assert label.returncode == 0, label.stderr
    without = patched('[{"op": "remove", "path": "/spec/args/1"}]')
    assert without.returncode == 0, without.stderr


def test_a_template_of_all_namespaces_needs_the_right_in_all_of_them(plane: ControlPlane) -> None:
    refused = applied(plane, "reader", template("all", "metrics", "ClusterAnalysisTemplate"))
    assert "must be allowed to get it: metrics" in refused.stderr
    done = applied(plane, "author", template("all", "", "ClusterAnalysisTemplate"))
    assert done.returncode == 0, done.stderr
