"""Makes what is generated in the charts and in deploy/base, or says what is out of date.

    .venv/bin/python tools/chart.py write
    .venv/bin/python tools/chart.py check      # exit code 1, and the files that differ

The charts' CRDs are copies of rollout/api/crds, their READMEs tables of their values, the dashboard comes from
tools/dashboard.py, and deploy/base (Kustomize) is what helm renders with the default values.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from dashboard import dashboard

ROOT = Path(__file__).resolve().parent.parent
CHART, CRD_CHART, BASE = ROOT / "charts/surefoot", ROOT / "charts/surefoot-crds", ROOT / "deploy/base"
MARK = "# -- "
HEAD = "# Rendered from charts/surefoot by `tools/chart.py write`; do not edit.\n"
NAMESPACE = "surefoot-system"


def generated() -> dict[Path, str]:
    """Every generated file with the text that it should have."""
    files = {CHART / "files/dashboard.json": json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"}
    for crd in sorted((ROOT / "rollout/api/crds").glob("*.yaml")):
        for chart in (CHART, CRD_CHART):
            files[chart / "files/crds" / crd.name] = crd.read_text()
    for chart in (CHART, CRD_CHART):
        files[chart / "README.md"] = readme(chart)
    return files


def stray(files: dict[Path, str]) -> list[Path]:
    """Files in generated folders that nothing makes any more."""
    folders = {path.parent for path in files if path.parent.name in {"crds", "base"}}
    return [path for folder in sorted(folders) for path in folder.glob("*") if path not in files]


# --- README -------------------------------------------------------------------------------------------

INTRODUCTION = {
    "surefoot": """\
The controller of Rollouts, analyses and chaos, with the roles that it needs and no more.

    helm install surefoot charts/surefoot --namespace surefoot-system --create-namespace

docs/install.md explains the features and their roles, namespaced installation, upgrades and the security model.
""",
    "surefoot-crds": """\
The CustomResourceDefinitions alone: for clusters where they are installed by somebody else than the controller is.

    helm install surefoot-crds charts/surefoot-crds --namespace surefoot-system --create-namespace
    helm install surefoot charts/surefoot --namespace surefoot-system --set crds.install=false
""",
}


def readme(chart: Path) -> str:
    """The chart's README: an introduction, and a row for each value that is described."""
    meta = yaml.safe_load((chart / "Chart.yaml").read_text())
    rows = [
        f"| `{name}` | `{default}` | {text} |" for name, default, text in described(chart / "values.yaml")
    ]
    note = f"<!-- Made from values.yaml by `tools/chart.py write`; do not edit. -->\n\n# {meta['name']}\n"
    table = "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])
    return f"{note}\n{INTRODUCTION[meta['name']]}\n## Values\n\n{table}\n"


def described(path: Path) -> Iterator[tuple[str, str, str]]:
    """(path, default as JSON, description) of the values whose line above begins with "# -- "."""
    text = path.read_text()
    lines = text.splitlines()
    for name, key, value in _members(yaml.compose(text), ""):
        above = lines[key.start_mark.line - 1].strip() if key.start_mark.line else ""
        if above.startswith(MARK):
            default = json.dumps(yaml.safe_load(yaml.serialize(value)), ensure_ascii=False)
            yield name, default.replace("|", "\\|"), above.removeprefix(MARK).replace("|", "\\|")


def _members(node: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        yield name, key, value
        yield from _members(value, f"{name}.")


# --- Kustomize ----------------------------------------------------------------------------------------


def kustomize() -> dict[Path, str]:
    """deploy/base: the objects of the default installation, without the marks of helm."""
    helm = subprocess.run(
        [ROOT / "tools/get_helm.sh"], check=True, capture_output=True, text=True
    ).stdout.strip()
    argv = [helm, "template", "surefoot", CHART, "--namespace", NAMESPACE, "--set", "crds.keep=false"]
    rendered = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    parts: dict[str, list[dict[str, Any]]] = {"crds": [], "rbac": [], "controller": []}
    for obj in yaml.load_all(rendered, yaml.CSafeLoader):
        if obj:
            parts[_part(obj)].append(_plain(obj))
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    files = {
        BASE / f"{name}.yaml": _yaml(objects) for name, objects in {"namespace": [namespace], **parts}.items()
    }
    order = ["namespace.yaml", *(f"{name}.yaml" for name in parts)]
    top = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": order}
    return {**files, BASE / "kustomization.yaml": _yaml([top])}


def _part(obj: dict[str, Any]) -> str:
    if obj["kind"] == "CustomResourceDefinition":
        return "crds"
    return "rbac" if obj["apiVersion"].startswith("rbac.") else "controller"


def _plain(value: Any) -> Any:
    """Without the labels that say that helm looks after an object."""
    if isinstance(value, dict):
        return {
            key: _plain(one)
            for key, one in value.items()
            if key not in {"helm.sh/chart", "app.kubernetes.io/managed-by"}
        }
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _yaml(objects: list[dict[str, Any]]) -> str:
    return HEAD + yaml.safe_dump_all(objects, sort_keys=False, width=110, allow_unicode=True)


# --- commands -----------------------------------------------------------------------------------------


def write() -> int:
    # The base is rendered from the chart, so the chart's own files come first.
    for make in (generated, kustomize):
        files = make()
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for path in stray(files):
            path.unlink()
    return 0


def check() -> int:
    files = {**generated(), **kustomize()}
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in [*wrong, *stray(files)]:
        print(f"{path.relative_to(ROOT)} is out of date; run: .venv/bin/python tools/chart.py write")
    return 1 if wrong or stray(files) else 0


if __name__ == "__main__":
    commands = {"write": write, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit("usage: chart.py write|check")
    sys.exit(commands[sys.argv[1]]())
