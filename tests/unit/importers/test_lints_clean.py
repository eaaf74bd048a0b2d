"""Whatever an importer writes, `rollout lint` and so the controller take; what they would not take is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import yaml

from rollout.cli.linting import lint
from rollout.cli.manifests import Document, read
from rollout.importers import flagger, litmus
from rollout.importers.report import Imported
from tests.unit.importers.samples import FLAGGER, LITMUS, REST_OF_FLAGGER

Json = dict[str, Any]
Convert = Callable[..., Imported]
MESH = partial(litmus.convert, options=litmus.Options())
NETEM = partial(litmus.convert, options=litmus.Options(network="netem", profile="litmus-code"))
CANARY = partial(flagger.convert, options=flagger.Options())
SAMPLES = [
    *(pytest.param(MESH, (one,), id=name) for name, one in LITMUS.items()),
    *(
        pytest.param(NETEM, (one,), id=f"{name}-netem")
        for name, one in LITMUS.items()
        if name in {"loss", "latency"}
    ),
    *(pytest.param(CANARY, (one, *REST_OF_FLAGGER), id=name) for name, one in FLAGGER.items()),
]
WRONG: list[Any] = [
    "", "A b", 0, -1, 10**12, 0.5, None, {}, ["x"], "1-2", "{{args.x}}", "{{ x }}", "'", True, [{}], "x" * 300, "\n",
]  # fmt: skip


def linted(result: Imported) -> list[str]:
    """What lint has against the objects."""
    documents = [Document("made.yaml", 1, one, None) for one in result.objects]
    return [str(one) for one in lint(documents).findings if one.severity == "error"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


def changed(obj: Json, place: tuple[Any, ...], value: Any) -> Json:
    out = copy.deepcopy(obj)
    parent: Any = out
    for part in place[:-1]:
        parent = parent[part]
    parent[place[-1]] = value
    return out


def without(obj: Json, place: tuple[Any, ...]) -> Json:
    out = copy.deepcopy(obj)
    parent: Any = out
    for part in place[:-1]:
        parent = parent[part]
    del parent[place[-1]]
    return out


@pytest.mark.parametrize(("convert", "documents"), SAMPLES)
def test_every_sample_converts_and_lints_clean(convert: Convert, documents: tuple[Json, ...]) -> None:
    result = convert(documents)
    assert result.objects, [str(note) for note in result.notes]
    assert linted(result) == []
    assert all(isinstance(one, Document) for one in read("x", yaml.safe_dump_all(result.objects)))


@pytest.mark.parametrize(("convert", "documents"), SAMPLES)
def test_a_sample_with_any_one_field_changed_lints_clean_or_is_refused(
    convert: Convert, documents: tuple[Json, ...]
) -> None:
    first, *rest = documents
    mutants = [
        (place, shown, mutant)
        for place in places(first)
        if place[0] == "spec"
        for shown, mutant in [
            ("is gone", without(first, place)),
            *((repr(wrong), changed(first, place, wrong)) for wrong in WRONG),
        ]
    ]
    seen: set[str] = set()
    for place, shown, mutant in mutants:
        result = convert((mutant, *rest))
        assert result.objects or result.outcome == "refused", (place, shown)
        if (made := repr(result.objects)) in seen:
            continue  # a change that changes nothing needs no second look
        seen.add(made)
        assert linted(result) == [], (place, shown)


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_metric_template_or_deployment_with_any_one_field_changed_does_no_harm(wrong: Any) -> None:
    for number, other in enumerate(REST_OF_FLAGGER):
        for place in places(other):
            if place[0] != "spec":
                continue
            rest = [*REST_OF_FLAGGER]
            rest[number] = changed(other, place, wrong)
            result = CANARY((FLAGGER["templates"], *rest))
            assert result.objects or result.outcome == "refused", place
            assert linted(result) == [], place
