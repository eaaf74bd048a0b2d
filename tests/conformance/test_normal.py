"""What a server answers by chance, or by the time that a busy machine takes, is not in a transcript."""

from __future__ import annotations

from typing import Any

from tests.conformance.exchanges.furniture import GROUP
from tests.conformance.exchanges.normal import transcript
from tests.conformance.exchanges.play import Exchange

SIZE = {"field": "spec.size", "message": "Invalid value: 0: too small", "reason": "FieldValueInvalid"}
CODE = {"field": "spec.code", "message": 'Invalid value: "A": no code', "reason": "FieldValueInvalid"}


def lines(body: Any) -> list[str]:
    return transcript([Exchange("GET /", 200, {}, body)], "case-1")


def refusal(group: str, *causes: dict[str, str]) -> dict[str, Any]:
    words = ", ".join(f"{one['field']}: {one['message']}" for one in causes)
    message = f'X "first" is invalid: [{words}]'
    return {"kind": "Status", "message": message, "details": {"group": group, "causes": list(causes)}}


def test_the_fields_of_a_custom_resource_are_refused_in_any_order() -> None:
    assert lines(refusal(GROUP, SIZE, CODE)) == lines(refusal(GROUP, CODE, SIZE))
    assert lines(refusal(GROUP, SIZE, CODE)) != lines(refusal(GROUP, SIZE))


def test_those_of_a_built_in_kind_have_an_order() -> None:
    assert lines(refusal("apps", SIZE, CODE)) != lines(refusal("apps", CODE, SIZE))


def test_no_row_of_a_watch_has_an_age() -> None:
    def watch(size: int, age: str) -> list[str]:
        columns = [{"name": "Name"}, {"name": "Size"}, {"name": "Age"}]
        rows: list[Any] = [[{"cells": ["a", 3, "0s"]}], [{"cells": ["b", size, age]}]]
        first = {"kind": "Table", "columnDefinitions": columns, "rows": rows[0]}
        later = {"kind": "Table", "columnDefinitions": None, "rows": rows[1]}
        return lines([{"type": "ADDED", "object": first}, {"type": "ADDED", "object": later}])

    assert watch(3, "0s") == watch(3, "2s")
    assert watch(3, "0s") != watch(4, "0s")


def test_names_and_versions_by_chance_are_taken_out_of_texts() -> None:
    def text(token: str, version: int) -> list[str]:
        return lines(
            {"name": f"kube-api-access-{token}", "message": f'{{\\"resourceVersion\\":\\"{version}\\"}}'}
        )

    assert text("x7abc", 7) == text("q2wer", 1234)
