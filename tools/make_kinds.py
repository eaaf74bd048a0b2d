"""Make rollout/sandbox/schema/kinds.json.gz from the OpenAPI v3 files of a Kubernetes release.

Run by hand when the sandbox moves to another Kubernetes release:

    directory=$(go mod download -json k8s.io/kubernetes@v1.34.2 | jq -r .Dir)
    .venv/bin/python tools/make_kinds.py "$directory"

The file holds `{"kubernetes": release, "schemas": {name: schema}}`: the schemas of the kinds named below, as
published, and of everything they refer to.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "rollout/sandbox/schema/kinds.json.gz"
PREFIX = "#/components/schemas/"

KINDS = {
    "api__v1": (
        "Namespace Node Pod PodTemplate Service ConfigMap Secret ServiceAccount Event Binding "
        "Status DeleteOptions Eviction Scale"
    ),
    "apis__apps__v1": "ReplicaSet Deployment StatefulSet",
    "apis__autoscaling__v1": "Scale",
    "apis__autoscaling__v2": "HorizontalPodAutoscaler",
    "apis__batch__v1": "Job",
    "apis__policy__v1": "PodDisruptionBudget",
    "apis__coordination.k8s.io__v1": "Lease",
    "apis__discovery.k8s.io__v1": "EndpointSlice",
    "apis__events.k8s.io__v1": "Event",
    "apis__networking.k8s.io__v1": "Ingress NetworkPolicy",
    "apis__apiextensions.k8s.io__v1": "CustomResourceDefinition",
}


def wanted(schema: dict[str, Any], kinds: set[str]) -> bool:
    """Whether this is one of the kinds, or the list of one."""
    names = {one["kind"] for one in schema.get("x-kubernetes-group-version-kind", ())}
    return bool(names & (kinds | {f"{kind}List" for kind in kinds}))


def references(value: Any) -> set[str]:
    """The names of the schemas that `value` refers to, at any depth."""
    if isinstance(value, dict):
        found = set().union(*map(references, value.values()))
        target = value.get("$ref")
        return found | {target.removeprefix(PREFIX)} if isinstance(target, str) else found
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


def collect(directory: Path) -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    for file, names in KINDS.items():
        published = json.loads((directory / f"api/openapi-spec/v3/{file}_openapi.json").read_text())
        known = published["components"]["schemas"]
        queue = [name for name, schema in known.items() if wanted(schema, set(names.split()))]
        while queue:
            name = queue.pop()
            if name not in schemas:
                schemas[name] = known[name]
                queue.extend(references(known[name]))
    return schemas


def main() -> None:
    directory = Path(sys.argv[1])
    data = {"kubernetes": directory.name.partition("@")[2], "schemas": collect(directory)}
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    TARGET.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(
        f"{TARGET}: {len(data['schemas'])} schemas, {len(text):,} bytes, {TARGET.stat().st_size:,} compressed"
    )


if __name__ == "__main__":
    main()
