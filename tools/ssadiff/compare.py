"""Compares rollout.sandbox.schema.apply with Kubernetes' own field manager on random sequences of writes.

    .venv/bin/python tools/ssadiff/compare.py [SEQUENCES] [SEED]

Builds the Go program beside this file (k8s.io/apimachinery's managedfields over structured-merge-diff, used through
their public API), lets several managers apply and update small objects of a few built-in kinds, and after every step
compares the object, the fields that each manager owns, and who conflicts over what. Both sides start every step from
the oracle's object, so that one difference is counted once. Prints the counts and the first differences; exits with
1 when there is one.
"""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded
import subprocess
import sys
import tempfile
from collections import Counter
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from rollout.errors import ApiError
from rollout.sandbox.schema.apply import apply, track
from rollout.sandbox.schema.kinds import schema_of

HERE = Path(__file__).parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Object = dict[str, Any]
MANAGERS = ("alice", "bob", "kubectl")
SHOWN = 12


class Oracle:
    """The Go program, asked one thing at a time."""

    def __init__(self, binary: Path) -> None:
        self._process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> Object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: Object = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.communicate()


# -- random objects ------------------------------------------------------------------------------


class Maker:
    """Small objects that differ from one another in a few fields, so that writes meet."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def some(self, **fields: Any) -> Object:
        """Each of the fields with a chance of one half; functions make their value."""
        chosen = {key: value for key, value in fields.items() if self.chance.random() < 0.5}
        return {key: value() if callable(value) else value for key, value in chosen.items()}

    def one(self, *values: Any) -> Any:
        return self.chance.choice(values)

    def many(self, names: str, make: Any) -> list[Any]:
        chosen = [name for name in names if self.chance.random() < 0.5]
        self.chance.shuffle(chosen)
        return [make(name) for name in chosen]

    def labels(self) -> Object:
        return {name: self.one("1", "2") for name in "abc" if self.chance.random() < 0.5}

    def metadata(self) -> Object:
        owner = {"apiVersion": "v1", "kind": "Node", "name": "n", "controller": True}
        return {"name": "x", "namespace": "default"} | self.some(
            labels=self.labels,
            annotations=self.labels,
            finalizers=lambda: self.many("ab", lambda name: f"example.com/{name}"),
            ownerReferences=lambda: self.many(
                "12", lambda uid: owner | {"uid": uid} | self.some(controller=False)
            ),
        )

    def amounts(self) -> Object:
        return {"cpu": self.one("1", "2")} if self.chance.random() < 0.5 else {}

    def port(self, name: str) -> Object:
        return {"containerPort": ord(name), "protocol": self.one("TCP", "UDP")} | self.some(name=name)

    def variable(self, name: str) -> Object:
        if self.chance.random() < 0.3:
            return {"name": name, "valueFrom": {"configMapKeyRef": {"name": "c", "key": self.one("x", "y")}}}
        return {"name": name} | self.some(value=self.one("1", "2"))

    def container(self, name: str) -> Object:
        return {"name": name} | self.some(
            image=self.one("web:1", "web:2"),
            args=lambda: self.many("ab", str),
            ports=lambda: self.many("pq", self.port),
            env=lambda: self.many("XYZ", self.variable),
            resources=lambda: self.some(limits=self.amounts, requests=self.amounts),
            readinessProbe=lambda: {"httpGet": {"port": self.one(80, "http")} | self.some(path="/")},
            securityContext=lambda: self.some(runAsNonRoot=True, runAsUser=self.one(1, 2)),
            volumeMounts=lambda: self.many("mn", lambda at: {"name": "v", "mountPath": f"/{at}"}),
        )

    def volume(self, name: str) -> Object:
        source: Object = self.one({"emptyDir": {}}, {"configMap": {"name": "c"}}, {})
        return {"name": name} | deepcopy(source)

    def toleration(self, name: str) -> Object:
        return {"key": name, "operator": "Exists"}

    def pod_spec(self) -> Object:
        return {"containers": self.many("abc", self.container) or [self.container("a")]} | self.some(
            initContainers=lambda: self.many("i", self.container),
            volumes=lambda: self.many("vw", self.volume),
            nodeSelector=self.labels,
            terminationGracePeriodSeconds=self.one(1, 2),
            tolerations=lambda: self.many("ab", self.toleration),
            imagePullSecrets=lambda: self.many("ab", lambda name: {"name": name}),
            hostAliases=lambda: self.many(
                "ab", lambda name: {"ip": f"1.1.1.{ord(name)}", "hostnames": ["h"]}
            ),
            affinity=lambda: {"nodeAffinity": {}},
            topologySpreadConstraints=lambda: self.many(
                "ab",
                lambda name: {
                    "topologyKey": name,
                    "whenUnsatisfiable": self.one("DoNotSchedule", "ScheduleAnyway"),
                    "maxSkew": self.one(1, 2),
                },
            ),
        )

    def condition(self, name: str) -> Object:
        return {"type": name, "status": self.one("True", "False")} | self.some(reason="R", message="")

    def deployment(self) -> Object:
        spec = {
            "template": {"spec": self.pod_spec()} | self.some(metadata=lambda: self.some(labels=self.labels))
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "spec": spec
            | self.some(
                replicas=self.one(1, 2),
                paused=self.one(True, False),
                selector=lambda: {"matchLabels": self.labels()},
                strategy=lambda: self.one(
                    {"type": "Recreate"}, {"rollingUpdate": {"maxSurge": self.one(1, "25%")}}, {}
                ),
            ),
        } | self.some(
            status=lambda: self.some(
                replicas=self.one(1, 2), conditions=lambda: self.many("AB", self.condition)
            )
        )

    def service(self) -> Object:
        def port(name: str) -> Object:
            return {"name": name, "port": ord(name), "targetPort": self.one(80, "http")} | self.some(
                protocol="TCP"
            )

        spec = self.some(
            ports=lambda: self.many("abc", port),
            selector=self.labels,
            clusterIP="10.0.0.1",
            externalIPs=lambda: self.many("12", lambda n: f"1.1.1.{n}"),
            type=self.one("ClusterIP", "NodePort"),
        )
        return {"apiVersion": "v1", "kind": "Service", "spec": spec}

    def config_map(self) -> Object:
        return {"apiVersion": "v1", "kind": "ConfigMap"} | self.some(
            data=self.labels, immutable=self.one(True, False)
        )

    def pod(self) -> Object:
        status = self.some(
            phase="Running",
            podIPs=lambda: self.many("12", lambda n: {"ip": f"1.1.1.{n}"}),
            conditions=lambda: self.many("AB", self.condition),
        )
        return {"apiVersion": "v1", "kind": "Pod", "spec": self.pod_spec()} | self.some(status=lambda: status)

    def autoscaler(self) -> Object:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}
        return {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "spec": {"scaleTargetRef": target, "maxReplicas": self.one(3, 4)}
            | self.some(
                minReplicas=self.one(1, 2),
                metrics=[
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}
                ],
            ),
        }

    def ingress(self) -> Object:
        backend = {"service": {"name": self.one("a", "b"), "port": {"number": 80}}}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "spec": self.some(
                defaultBackend=backend,
                ingressClassName=self.one("a", "b"),
                rules=[{"host": self.one("a", "b")}],
                tls=lambda: self.many("ab", lambda name: {"hosts": [name]}),
            ),
        }

    def object(self, kind: str) -> Object:
        made: Object = getattr(self, kind)()
        return {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": self.metadata()} | made


KINDS = ("deployment", "service", "config_map", "pod", "autoscaler", "ingress")


# -- one step on both sides ----------------------------------------------------------------------


def ours(live: Object | None, step: Object) -> Object:
    """What our own code answers, in the oracle's form."""
    obj = step["object"]
    schema = schema_of(obj["apiVersion"], obj["kind"])
    manager, subresource = step["manager"], step["subresource"]
    try:
        if step["op"] == "apply":
            made = apply(
                live,
                obj,
                manager=manager,
                force=step["force"],
                schema=schema,
                subresource=subresource,
                now=NOW,
            )
        else:
            made = track(live, obj, manager=manager, schema=schema, subresource=subresource, now=NOW)
    except ApiError as error:
        causes = (error.details or {}).get("causes", ())
        return {"error": error.message, "fields": [f"{one['message']}: {one['field']}" for one in causes]}
    return {"object": made}


def owners(obj: Object) -> Object:
    """The fields that each manager owns."""
    entries = obj["metadata"].get("managedFields") or ()
    keys = ("manager", "operation", "apiVersion", "subresource")
    return {" ".join(str(entry.get(key, "")) for key in keys): entry["fieldsV1"] for entry in entries}


def content(oracle: Oracle, obj: Object) -> Object:
    """The object without managedFields, through the kind's Go type."""
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    normal: Object = oracle.ask(op="normal", object={**obj, "metadata": meta})["object"]
    return normal


def difference(oracle: Oracle, theirs: Object, mine: Object) -> str:
    """The first way in which two answers differ, "" for none."""
    if ("error" in theirs) != ("error" in mine):
        return "only one refuses"
    if "error" in theirs:
        return "" if sorted(theirs.get("fields", ())) == sorted(mine["fields"]) else "conflicts"
    if content(oracle, theirs["object"]) != content(oracle, mine["object"]):
        return "object"
    return "" if owners(theirs["object"]) == owners(mine["object"]) else "managedFields"


def steps(maker: Maker, kind: str, oracle: Oracle) -> Any:
    """The writes of one sequence; each is sent the object that the one before left (None: none)."""
    live: Object | None = None
    for _ in range(maker.chance.randint(2, 7)):
        op = maker.one("apply", "apply", "update")
        obj = maker.object(kind)
        if op == "update" and live is not None:
            obj = edited(maker, live, obj)
        if op == "update":  # what reaches the field manager has been decoded into the kind's type
            obj = oracle.ask(op="normal", object=obj)["object"]
        step = {
            "op": op,
            "object": obj,
            "manager": maker.one(*MANAGERS),
            "force": maker.chance.random() < 0.5,
            "subresource": maker.one("", "", "", "status"),
        }
        theirs = yield live, step
        live = theirs.get("object", live)
        if live is not None:
            live["metadata"]["uid"] = "u"  # without one it is taken for an object that is being created


def edited(maker: Maker, live: Object, other: Object) -> Object:
    """`live` with some of its fields as `other` has them, as somebody would send it back; now and then with its
    managedFields cleared."""
    result = deepcopy(live)
    for key in ("spec", "data", "status"):
        if maker.chance.random() < 0.5:
            if key in other:
                result[key] = other[key]
            else:
                result.pop(key, None)
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        if maker.chance.random() < 0.3 and key in other["metadata"]:
            result["metadata"][key] = other["metadata"][key]
    if maker.chance.random() < 0.05:
        result["metadata"]["managedFields"] = []
    return result


def main() -> int:
    sequences = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    counts: Counter[str] = Counter()
    shown = 0
    with tempfile.TemporaryDirectory() as directory:
        binary = Path(directory) / "ssadiff"
        subprocess.run(["go", "build", "-o", binary, "."], cwd=HERE, check=True)
        oracle = Oracle(binary)
        for number in range(sequences):
            maker = Maker(random.Random(f"{seed}/{number}"))
            run = steps(maker, maker.one(*KINDS), oracle)
            live, step = next(run)
            while True:
                theirs = oracle.ask(live=live, **step)
                mine = ours(live, step)
                counts["steps"] += 1
                counts["refused by both"] += "error" in theirs and "error" in mine
                if found := difference(oracle, theirs, mine):
                    counts[f"differ: {found}"] += 1
                    if shown < SHOWN:
                        shown += 1
                        print(f"--- sequence {number}: {found}", json.dumps(step), json.dumps(live), sep="\n")
                        print("theirs:", json.dumps(theirs), "mine:  ", json.dumps(mine), sep="\n")
                try:
                    live, step = run.send(theirs)
                except StopIteration:
                    break
        oracle.close()
    print(f"{sequences} sequences, seed {seed}:", dict(counts))
    return 1 if any(name.startswith("differ") for name in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
