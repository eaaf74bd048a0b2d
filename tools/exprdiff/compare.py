"""Compares rollout.core.expr with the expr-lang library on generated expressions.

    .venv/bin/python tools/exprdiff/compare.py [COUNT] [SEED]

Builds the Go program beside this file (module github.com/expr-lang/expr, used through its public API) and prints how
often both give the same value, both an error, or only one of them, and every pair that differs without being one of
the differences that are meant (`MEANT`). Exits with 1 when there is such a pair.
"""

from __future__ import annotations

import json
import math
import random  # noqa: TID251 - seeded
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from rollout.core.expr import ExprError, Program

HERE = Path(__file__).parent

# Where we say so instead of guessing: a part of our reason, and why.
MEANT = {
    "cannot be compared": "== of different types is an error here, false there",
    "is NaN": "NaN is compared only by programs that ask isNaN",
    "leaves 64 bits": "integers do not wrap around",
    "is not an integer; ask": "int(NaN) has no meaning",
    "the array is empty; ask": "mean and median of nothing have no value",
    "the initial value": "types of reduce",
    ", not nil": "nil is no number, text or array",
    "must be an array, not": "an empty string is no array",
    "steps": "bounded",
    "more than": "bounded",
    "must be true or false": "their untyped && gives what stands on the right",
}
# Theirs is an error of types found before running; ours finds it only when it gets there.
THEIRS_STATIC = (
    "mismatched type",
    "cannot use",
    "is undefined",
    "should return boolean",
    "non-bool",
    "takes only array",
    "arguments to call",
    "can only be selected",
    "invalid argument for",
    "cannot take",
    "cannot slice",
    "cannot get",
    "cannot concat",
    "one output param",
    "interface conversion",
)

ENV: list[dict[str, Any]] = [
    {
        "result": [0.5, 2.25, 1.5],
        "s": "abc",
        "n": 5,
        "f": 2.5,
        "m": {"a": 1, "b": 2},
        "b": True,
        "words": ["x", "y"],
    },
    {"result": [], "s": "", "n": 0, "f": -0.5, "m": {}, "b": False, "words": []},
    {
        "result": [0.0, 1e20, -3.0],
        "s": "a b",
        "n": -7,
        "f": 0.0,
        "m": {"a": 3},
        "b": True,
        "words": ["a", "b", "a"],
    },
]


class Maker:
    """Random expressions, mostly of fitting types."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def make(self, kind: str, depth: int, element: str = "") -> str:
        """`element` is the type of `#` where there is one."""
        if self.random.random() < 0.03:
            kind = self.random.choice(["int", "float", "bool", "string", "list", "strings", "nil"])
        options = [row for row in self.rules(kind, element) if depth > 0 or "{" not in row.replace("{{", "")]
        row = self.random.choice(options)
        parts: list[str] = []
        while "{" in row:
            head, _, rest = row.partition("{")
            name, _, row = rest.partition("}")
            inner, _, scope = name.partition("@")
            parts += [head, self.make(inner, depth - 1, scope or element)]
        return "".join([*parts, row])

    def rules(self, kind: str, element: str) -> list[str]:
        pointer = ["#", "#"] if element == kind else []
        match kind:
            case "int":
                return [
                    *pointer, "n", "0", "1", "7", "0x1F", "1_000", "len({list})", "len({string})", "m.a",
                    "{int} + {int}", "{int} - {int}", "{int} * {int}", "{int} % {int}", "-{int}", "({int})",
                    "count({list}, {bool@float})", "int({float})", "sum(1..{small})", "abs({int})",
                    "{bool} ? {int} : {int}", "max({int}, {int})", "let v = {int}; v", "{nil} ?? {int}",
                    "reduce(1..3, #acc + #)", "findIndex({list}, {bool@float}) ?? -1", "(1..{small})[{index}]",
                ]  # fmt: skip
            case "small":
                return ["0", "3", "5"]
            case "index":
                return ["0", "1", "-1", "2"]
            case "float":
                return [
                    *pointer, "f", "0.5", "1.5e3", ".25", "2.", "{number} / {number}", "{float} + {number}",
                    "{number} * {float}", "{number} ** {small}", "result[{index}]", "sum({list})", "mean({list})",
                    "max({list})", "min({list})", "median({list})", "round({float})", "ceil({float})",
                    "floor({number})", "float({int})", "{list} | sum()", "-{float}", "first({list}) ?? {float}",
                    "abs({float})", "last(result)", "({float})",
                ]  # fmt: skip
            case "number":
                return ["{int}", "{float}", "n", "f", "2", *(["#"] if element in {"int", "float"} else [])]
            case "bool":
                return [
                    "b", "true", "false", "{number} < {number}", "{number} >= {number}", "{number} == {number}",
                    "{number} != {number}", "{bool} && {bool}", "{bool} || {bool}", "not {bool}", "!({bool})",
                    "{bool} and {bool}", "{bool} or {bool}", "all({list}, {bool@float})", "any({list}, {bool@float})",
                    "none({list}, {{bool@float}})".replace("{{", "{").replace("}}", "}"),
                    "one({list}, {bool@float})", "{string} contains {string}", "{string} startsWith {string}",
                    "{string} not endsWith {string}", "{float} in {list}", "{string} in m", "{int} not in 1..{small}",
                    "{list} == {list}", "{nil} == {string}", "{string} == {string}", "{string} < {string}",
                    "{number} < {number} <= {number}", "{string} matches '^a'", "({bool})", "isInf({float})",
                    "{bool} ?: {bool}", "{bool} == {bool}", "len(m) > 0 && m.a != nil",
                ]  # fmt: skip
            case "string":
                return [
                    *pointer, "s", "'a'", '"b\\n"', "`c`", "{string} + {string}", "upper({string})", "trim({string})",
                    "string({int})", "string({float})", "join({strings}, {string})", "words[{index}]", "{string}[1:]",
                    "{string}[:-1]", "type({list})", "{bool} ? {string} : {string}", "string({list})",
                    "replace({string}, 'a', 'bc')", "first({strings}) ?? 'z'", "{strings} | join('-')",
                ]  # fmt: skip
            case "strings":
                return [
                    "words", "['p', {string}]", "split({string}, ' ')", "sort(keys(m))", "sort({strings})", "{strings}[:1]",
                    "reverse({strings})", "filter({strings}, # != 'a')", "uniq({strings})", "map({strings}, # + '!')",
                ]  # fmt: skip
            case "list":
                return [
                    "result", "[{float}, {float}]", "map({list}, {float@float})", "filter({list}, {bool@float})",
                    "sort({list})", "sort({list}, 'desc')", "reverse({list})", "{list}[1:]", "{list}[:-1]",
                    "take({list}, {small})", "{list} | map({float@float})", "concat({list}, {list})",
                ]  # fmt: skip
            case _:
                return ["nil", "m.zz", "m?.q", "find({list}, false)", "first([])"]


def plain(value: Any) -> Any:
    """What the Go program wrote, as the values that it stands for."""
    if isinstance(value, dict):
        if set(value) == {"$float"}:
            return float(value["$float"].replace("Inf", "inf"))
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12) or (math.isnan(one) and math.isnan(other))
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def verdict(theirs: dict[str, Any], ours: Any, reason: str) -> str:
    if "error" in theirs:
        if reason:
            return "both an error"
        static = any(part in theirs["error"] for part in THEIRS_STATIC)
        return (
            "meant: their types are checked before running" if static else "DIFFERENT: only theirs an error"
        )
    if reason:
        why = next((text for part, text in MEANT.items() if part in reason), "")
        return f"meant: {why}" if why else "DIFFERENT: only ours an error"
    return "same value" if same(plain(theirs["value"]), ours) else "DIFFERENT values"


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    maker = Maker(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    kinds = ["bool", "bool", "bool", "int", "float", "string", "strings", "list"]
    asked = [(maker.make(maker.random.choice(kinds), 4), maker.random.choice(ENV)) for _ in range(count)]
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch) / "exprdiff"
        subprocess.run(["go", "build", "-o", str(binary), "."], cwd=HERE, check=True)
        lines = "".join(json.dumps({"expr": source, "env": env}) + "\n" for source, env in asked)
        out = subprocess.run([str(binary)], input=lines, capture_output=True, text=True, check=True).stdout
    tally: Counter[str] = Counter()
    shown = 0
    for (source, env), line in zip(asked, out.splitlines(), strict=True):
        ours, reason = None, ""
        try:
            ours = Program(source).evaluate(env)
        except ExprError as error:
            reason = error.reason
        theirs = json.loads(line)
        found = verdict(theirs, ours, reason)
        tally[found] += 1
        if found.startswith("DIFFERENT") and shown < 40:
            shown += 1
            print(
                f"{found}\n  {source!r}\n  env:    {ENV.index(env)}\n  theirs: {str(theirs)[:200]}\n  ours:   {reason or ours!r}"
            )
    for name, number in tally.most_common():
        print(f"{number:7} {name}")
    return any(name.startswith("DIFFERENT") for name in tally)


if __name__ == "__main__":
    sys.exit(main())
