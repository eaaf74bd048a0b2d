"""Make rollout/sandbox/http/protobuf.json.gz from the Go types of a Kubernetes release.

Run by hand when the sandbox moves to another Kubernetes release:

    api=$(go mod download -json k8s.io/api@v0.34.2 | jq -r .Dir)
    machinery=$(go mod download -json k8s.io/apimachinery@v0.34.2 | jq -r .Dir)
    .venv/bin/python tools/make_protobuf.py "$api" "$machinery"

kubectl's imperative commands (create namespace, create deployment, ...) send protobuf, whose field numbers stand
in the struct tags of the Go types. The file holds `{"release", "kinds": {"apiVersion Kind": type}, "messages":
{type: {number: [name, shape, keepZero]}}}`: names and numbers only. `name` is "" for an inlined struct. `shape` is
a scalar ("string", "int", "bool", "bytes", "double"), a message type, "[]SHAPE" or "map:SHAPE". `keepZero` says
whether a zero value is there in JSON (pointers, and fields without omitempty).
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from pathlib import Path

TARGET = Path(__file__).parent.parent / "rollout/sandbox/http/protobuf.json.gz"

META = "k8s.io/apimachinery/pkg/apis/meta/v1"
PACKAGES = {
    **{
        f"k8s.io/api/{path}": path
        for path in (
            "core/v1",
            "apps/v1",
            "autoscaling/v1",
            "autoscaling/v2",
            "batch/v1",
            "coordination/v1",
            "discovery/v1",
            "networking/v1",
            "policy/v1",
        )
    },
    META: "meta/v1",
}
KINDS = {
    "v1": (
        "core/v1",
        "Namespace Node Pod Service ConfigMap Secret ServiceAccount Event Binding",
    ),
    "apps/v1": ("apps/v1", "ReplicaSet Deployment"),
    "autoscaling/v1": ("autoscaling/v1", "Scale"),
    "autoscaling/v2": ("autoscaling/v2", "HorizontalPodAutoscaler"),
    "batch/v1": ("batch/v1", "Job"),
    "coordination.k8s.io/v1": ("coordination/v1", "Lease"),
    "discovery.k8s.io/v1": ("discovery/v1", "EndpointSlice"),
    "networking.k8s.io/v1": ("networking/v1", "Ingress"),
    "policy/v1": ("policy/v1", "PodDisruptionBudget Eviction"),
}
SCALARS = {
    "string": "string",
    "int": "int",
    "int32": "int",
    "int64": "int",
    "bool": "bool",
    "float64": "double",
    "[]byte": "bytes",
}
# Types that JSON writes in a way of their own; the decoder knows them by these names.
SPECIAL = {
    "k8s.io/apimachinery/pkg/apis/meta/v1.Time": "Time",
    "k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime": "MicroTime",
    "k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1": "Raw",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "Raw",
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "Quantity",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "IntOrString",
    "k8s.io/apimachinery/pkg/types.UID": "string",
}
IMPORT = re.compile(r'^\s+(?:(\w+) )?"([^"]+)"$', re.MULTILINE)
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"^type (\w+) ((?:map\[\w+\]|\[\])?[\w.]+)$", re.MULTILINE)
FIELD = re.compile(
    r'^\s+(?:\w+ +)?(?P<type>[\w.*\[\]]+) +`json:"(?P<json>[^"]*)".*?protobuf:"\w+,(?P<number>\d+),'
)


class Package:
    """One Go package: its imports, named types and structs."""

    def __init__(self, path: str, directory: Path) -> None:
        text = (directory / "types.go").read_text()
        self.path = path
        self.imports = {alias or target.rpartition("/")[2]: target for alias, target in IMPORT.findall(text)}
        self.named = dict(NAMED.findall(text))
        self.structs = dict(STRUCT.findall(text))


class Types:
    def __init__(self, api: Path, machinery: Path) -> None:
        directories = {
            path: (machinery / "pkg/apis/meta/v1" if path == META else api / short)
            for path, short in PACKAGES.items()
        }
        self.packages = {path: Package(path, directory) for path, directory in directories.items()}
        self.messages: dict[str, dict[str, list[object]]] = {}

    def message(self, package: Package, name: str) -> str:
        """The name of a struct's message, put into `messages` with all that it refers to."""
        full = f"{PACKAGES[package.path]}.{name}"
        if full not in self.messages:
            self.messages[full] = fields = {}
            for line in package.structs[name].splitlines():
                if match := FIELD.match(line):
                    fields[match["number"]] = self.field(package, match)
        return full

    def field(self, package: Package, match: re.Match[str]) -> list[object]:
        name, *options = match["json"].split(",")
        pointer = match["type"].startswith("*")
        return [name, self.shape(package, match["type"].lstrip("*")), pointer or "omitempty" not in options]

    def shape(self, package: Package, go: str) -> str:
        if go in SCALARS:
            return SCALARS[go]
        if go.startswith("[]"):
            return "[]" + self.shape(package, go[2:].lstrip("*"))
        if go.startswith("map["):
            return "map:" + self.shape(package, go.partition("]")[2])
        alias, _, name = go.rpartition(".")
        path = package.imports[alias] if alias else package.path
        if special := SPECIAL.get(f"{path}.{name}"):
            return special
        home = self.packages[path]
        return self.shape(home, home.named[name]) if name in home.named else self.message(home, name)


def main() -> None:
    api, machinery = map(Path, sys.argv[1:3])
    types = Types(api, machinery)
    kinds = {}
    for version, (short, names) in KINDS.items():
        package = next(found for path, found in types.packages.items() if PACKAGES[path] == short)
        kinds |= {f"{version} {name}": types.message(package, name) for name in names.split()}
    options = types.message(types.packages[META], "DeleteOptions")
    release = api.name.partition("@")[2]
    table = {"release": release, "deleteOptions": options, "kinds": kinds, "messages": types.messages}
    data = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    TARGET.write_bytes(gzip.compress(data, mtime=0))
    print(f"{len(types.messages)} messages, {len(kinds)} kinds, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
