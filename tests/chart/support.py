"""What helm makes of the charts, as plain objects. helm itself is built by `make helm`, never by a test."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.runtime.kube import Object

ROOT = Path(__file__).parents[2]
CHART, CRD_CHART = ROOT / "charts/surefoot", ROOT / "charts/surefoot-crds"
NAMESPACE = "surefoot-system"
VALUES = {path.name.removesuffix("-values.yaml"): path for path in (CHART / "ci").glob("*-values.yaml")}
"""The sets of values that are tried, by name; "" is the default."""
SETS = ("", *sorted(VALUES))


def run(*argv: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and see for oneself how it ended."""
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=timeout)


@cache
def helm() -> str:
    found = run(ROOT / "tools/get_helm.sh", "--if-there")
    if found.returncode == 3:
        pytest.skip("helm is missing; build it with `make helm`")
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def template(
    values: str = "",
    *,
    chart: Path = CHART,
    release: str = "surefoot",
    more: Mapping[str, Any] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`helm template` with one of `SETS` and single values (`{"features.chaos": True}`) over it."""
    argv = [helm(), "template", release, str(chart), "--namespace", NAMESPACE]
    argv += ["--values", str(VALUES[values])] if values else []
    for name, value in (more or {}).items():
        argv += ["--set-json", f"{name}={json.dumps(value)}"]
    return run(*argv)


@cache
def _rendered(values: str, chart: Path, release: str, more: str) -> tuple[Object, ...]:
    done = template(values, chart=chart, release=release, more=json.loads(more))
    assert done.returncode == 0, done.stderr
    return tuple(one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one)


def rendered(
    values: str = "",
    *,
    chart: Path = CHART,
    release: str = "surefoot",
    more: Mapping[str, Any] | None = None,
) -> tuple[Object, ...]:
    """The objects of a release. Shared: not to be changed."""
    return _rendered(values, chart, release, json.dumps(more or {}))


def of_kind(objects: tuple[Object, ...], *kinds: str) -> list[Object]:
    return [one for one in objects if one["kind"] in kinds]


def named(objects: tuple[Object, ...], kind: str, name: str) -> Object:
    found = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pods(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object]]:
    """(who, the pod's spec) of everything that makes pods."""
    for one in of_kind(objects, "Deployment"):
        yield one["metadata"]["name"], one["spec"]["template"]["spec"]
    for one in of_kind(objects, "CronJob"):
        yield one["metadata"]["name"], one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
