"""What a pipeline keeps of a result: JUnit for its reports, Markdown for its summary page. Pure.

One writer for releases (`rollout.cli.gates`) and chaos runs (`rollout.cli.chaos.report`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal
from xml.etree import ElementTree as ET

import msgspec

Result = Literal["", "failure", "error", "skipped"]
"""What a case is in JUnit; "" is passed."""
RESULTS: dict[str, Result] = {
    "Successful": "",
    "Failed": "failure",
    "Error": "error",
    "Inconclusive": "skipped",
}
"""Verdict of an analysis, a probe or a chaos run -> JUnit. Inconclusive is neither a pass nor a failure: a person decides."""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document may contain, however it is written (https://www.w3.org/TR/xml/#charsets)."""


class Case(msgspec.Struct, frozen=True):
    """One thing that was asked, and its answer. `text` is what a reader of the details sees."""

    name: str
    result: Result = ""
    message: str = ""
    text: str = ""
    seconds: float = 0.0


class Suite(msgspec.Struct, frozen=True):
    """The cases of one release or chaos run. `timestamp` is RFC 3339."""

    name: str
    classname: str
    cases: tuple[Case, ...]
    timestamp: str = ""
    seconds: float = 0.0


def junit(suites: Iterable[Suite]) -> str:
    """The format that Jenkins, GitLab and GitHub's reporters read: https://github.com/testmoapp/junitxml."""
    root = ET.Element("testsuites")
    for one in suites:
        results = [case.result for case in one.cases]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_clean(one.name),
            tests=str(len(one.cases)),
            failures=str(results.count("failure")),
            errors=str(results.count("error")),
            skipped=str(results.count("skipped")),
            timestamp=one.timestamp,
            time=f"{one.seconds:g}",
        )
        for case in one.cases:
            _write(suite, one.classname, case)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _write(suite: ET.Element, classname: str, case: Case) -> None:
    told = {"classname": _clean(classname), "name": _clean(case.name)}
    if case.seconds:
        told["time"] = f"{case.seconds:g}"
    element = ET.SubElement(suite, "testcase", told)
    text = _clean(case.text)
    if case.result:
        ET.SubElement(element, case.result, message=_clean(case.message) or case.result).text = text or None
    elif text:
        ET.SubElement(element, "system-out").text = text


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *(line(row) for row in rows)]


def code(text: str) -> str:
    """Text as it stands, inside a line of Markdown; "" stays "". More backticks around it than it has inside."""
    if not text:
        return ""
    longest = max((len(found) for found in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"
