"""Compares our pod-template hash with the one that Kubernetes' own Go types give.

    .venv/bin/python tools/podhash/compare.py [COUNT] [SEED] [--fixture]

Builds the Go program beside this file (module k8s.io/api, at the version in go.mod) and gives it every pod template of
examples/, COUNT random ones made from our table of fields and COUNT random quantities. Prints every difference; exits
with 1 when there is one. `--fixture` writes the templates and Go's hashes that tests/unit/core/test_gojson.py checks.
"""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from rollout.core import gojson, podtemplate
from rollout.core.template import template_hash

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FIXTURE = ROOT / "tests/unit/core/podhash.json"
WORDS = [
    "", "a", "web", "web:v1", "TCP", "Ä-ö", '<b>&"quoted"\\', "line\nfeed\ttab\r", "\u2028\u2029", "\x00\x07\x08\x0c\x1f\x7f",
    "日本", "😀", "</script>", "10%", "0", "true", "null",
]  # fmt: skip
INTEGERS = [0, 1, -1, 8080, 2**31 - 1, -(2**31)]
TIMES = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678+02:00", "0001-01-01T00:00:00Z"]
SUFFIXES = [
    "",
    "n",
    "u",
    "m",
    "k",
    "M",
    "G",
    "T",
    "P",
    "E",
    "Ki",
    "Mi",
    "Gi",
    "Ti",
    "Pi",
    "Ei",
    "e3",
    "E6",
    "e-3",
    "e+5",
]


def quantity(dice: random.Random) -> str | int | float:
    if dice.random() < 0.1:
        return dice.choice([0, 1, 1500, 0.5, 2.25, 0.001, -3, 1e21, 123456789012345])
    digits = dice.choice(
        [
            "0",
            "1",
            "100",
            "1000",
            "1024",
            "1025",
            "2048",
            "500",
            "999",
            "0100",
            "123456789",
            "9" * 18,
            "9" * 25,
            "8" * 19,
        ]
    )
    if dice.random() < 0.3:
        digits = str(dice.randrange(10 ** dice.randrange(1, 22)))
    if dice.random() < 0.4:
        digits += "." + dice.choice(
            ["", "0", "5", "50", "500", "001", "0001", "123456789", "1234567891", "000", "75"]
        )
    if dice.random() < 0.02:
        digits = dice.choice([".5", "", ".", "1.2.3", "one", " 1 "])
    return dice.choice(["", "", "", "", "+", "-"]) + digits + dice.choice(SUFFIXES)


def value(kind: str, dice: random.Random, depth: int) -> Any:
    """A random value that a JSON document could hold for a field of this type."""
    if kind[0] == "*":
        return None if dice.random() < 0.15 else value(kind[1:], dice, depth)
    if dice.random() < 0.03:
        return None
    if kind[0] == "[":
        return [value(kind[2:], dice, depth) for _ in range(dice.choice([0, 1, 1, 2]))]
    if kind[0] == "{":
        return {dice.choice(WORDS): value(kind[2:], dice, depth) for _ in range(dice.choice([0, 1, 2, 3]))}
    match kind:
        case "string":
            return dice.choice(WORDS)
        case "bool":
            return dice.random() < 0.5
        case "int32":
            return dice.choice(INTEGERS)
        case "int64":
            return dice.choice([*INTEGERS, 2**63 - 1, -(2**63)])
        case "intstr":
            return dice.choice([*INTEGERS, *WORDS])
        case "quantity":
            return quantity(dice)
        case "time":
            return dice.choice(TIMES)
        case "any":
            return {"f:metadata": {"f:labels": {}}}
    return struct(kind, dice, depth + 1)


def struct(type_: str, dice: random.Random, depth: int = 0) -> dict[str, Any]:
    members = list(gojson._types()[type_])  # noqa: SLF001 - made from the table itself
    dice.shuffle(members)
    share = max(0.12, 0.8 - 0.17 * depth)
    return {name: value(kind, dice, depth) for name, _, kind in members if dice.random() < share}


def real(node: Any) -> Iterator[dict[str, Any]]:
    """The pod templates in a manifest."""
    if isinstance(node, dict):
        if isinstance(node.get("template"), dict) and "containers" in (node["template"].get("spec") or {}):
            yield node["template"]
        for member in node.values():
            yield from real(member)
    elif isinstance(node, list):
        for member in node:
            yield from real(member)


def examples() -> list[dict[str, Any]]:
    files = sorted((ROOT / "examples").rglob("*.yaml"))
    return [one for file in files for doc in yaml.safe_load_all(file.read_text()) for one in real(doc)]


def of_go(questions: list[dict[str, Any]]) -> list[dict[str, str]]:
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "podhash"
        subprocess.run(["go", "build", "-o", program, "."], cwd=HERE, check=True)
        table = subprocess.run([program, "fields"], capture_output=True, text=True, check=True).stdout
        if "\n".join(line for line in table.splitlines() if line[0] != "#") != podtemplate.FIELDS.strip():
            sys.exit("rollout/core/podtemplate.py is not what Go says: run tools/podhash/generate.sh")
        lines = "\n".join(map(json.dumps, questions))
        out = subprocess.run([program, "hash"], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in out.stdout.splitlines()]


def main() -> int:
    arguments = [word for word in sys.argv[1:] if word != "--fixture"]
    count, seed = int((arguments or ["3000"])[0]), int((arguments[1:] or ["1"])[0])
    dice = random.Random(seed)
    templates = examples()
    found = len(templates)
    templates += [struct("PodTemplateSpec", dice) for _ in range(count)]
    templates += [
        {"spec": {"containers": [{"name": "q", "resources": {"limits": {"cpu": quantity(dice)}}}]}}
        for _ in range(count)
    ]
    questions: list[dict[str, Any]] = [
        {"template": one, "collisionCount": dice.choice([None, None, None, 0, 1, 7])} for one in templates
    ]
    answers = of_go(questions)
    different = refused = 0
    for question, answer in zip(questions, answers, strict=True):
        ours = gojson.pod_template(question["template"]).decode()
        if "error" in answer:
            refused += 1  # ours must have found something that does not fit, too
            same = _misfit(question["template"])
        else:
            same = ours == answer["json"] and _hash(question) == answer["hash"]
        if not same:
            different += 1
            print("template", json.dumps(question["template"]), "\n  go  ", answer, "\n  ours", ours)
    print(f"{len(questions)} templates ({found} of examples), {refused} refused by Go, {different} different")
    if "--fixture" in sys.argv:
        good = [
            {**question, "hash": answer["hash"]}
            for question, answer in zip(questions, answers, strict=True)
            if "error" not in answer and len(json.dumps(question)) < 3000
        ]
        kept = [*good[:found], *good[found :: max(1, len(good) // 90)]]
        FIXTURE.write_text("[\n" + ",\n".join(map(json.dumps, kept)) + "\n]\n")
        print(f"{len(kept)} pairs written to {FIXTURE.relative_to(ROOT)}")
    return 1 if different else 0


def _misfit(template: dict[str, Any]) -> bool:
    unknown: dict[str, Any] = {}
    gojson._struct("PodTemplateSpec", template, "", unknown)  # noqa: SLF001
    return bool(unknown)


def _hash(question: dict[str, Any]) -> str:
    return template_hash(question["template"], question["collisionCount"])


if __name__ == "__main__":
    sys.exit(main())
