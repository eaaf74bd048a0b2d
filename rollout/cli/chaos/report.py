"""What a run has shown, for those who were not there: Markdown for people, JUnit for pipelines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from rollout.api.meta import time_of
from rollout.cli.chaos.lanes import Timeline
from rollout.cli.chaos.shape import RunView
from rollout.cli.chaos.text import timeline_text


def markdown(one: RunView, drawn: Timeline | None) -> list[str]:
    """The report as Markdown (GitHub's tables)."""
    lines = [
        f"# Chaos run {one.namespace}/{one.name}: {one.verdict or one.phase}",
        "",
        *([one.message, ""] if one.message else []),
        *_table(
            ["what", ""],
            [
                ["target", one.target],
                ["requested by", one.requested_by or "unknown"],
                ["started", one.started_at],
                ["first fault", one.injected_at or "none"],
                ["last fault undone", one.ended_at or "-"],
                ["completed", one.completed_at or "-"],
                [
                    "time to recover",
                    f"{one.recovery_seconds:g} s" if one.recovery_seconds is not None else "-",
                ],
                ["seed", str(one.seed) if one.seed is not None else "-"],
                *([["ended early", one.stopping]] if one.stopping else []),
            ],
        ),
    ]
    if drawn is not None:
        lines += ["", "## Timeline", "", "```", *timeline_text(drawn), "```"]
    lines += ["", "## Faults", ""]
    lines += _table(
        ["fault", "kind", "victims", "injected", "proved", "undone", "proof"],
        [
            [
                fault.name,
                fault.kind,
                str(fault.victims),
                str(fault.injected),
                str(fault.proved),
                f"{fault.undone}" + (f", **{fault.unverified} unverified**" if fault.unverified else ""),
                "; ".join(fault.proofs) or "none",
            ]
            for fault in one.faults
        ],
    )
    lines += ["", "## Probes", ""]
    lines += (
        _table(
            ["probe", "mode", "result", "good", "bad", "errors", "ratio", "worst streak", "message"],
            [
                [
                    probe.name,
                    probe.mode,
                    probe.phase or "not measured",
                    str(probe.good),
                    str(probe.bad),
                    str(probe.errors),
                    f"{probe.ratio * 100:.2f} %" if probe.ratio is not None else "-",
                    str(probe.worst_streak),
                    probe.message,
                ]
                for probe in one.probes
            ],
        )
        if one.probes
        else ["No probes: nothing was measured."]
    )
    if one.journal:
        lines += [
            "",
            "## Journal",
            "",
            *_table(["at", "what", ""], [[entry.at, entry.what, entry.message] for entry in one.journal]),
        ]
    return lines


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *(line(row) for row in rows)]


def junit(runs: Sequence[RunView]) -> str:
    """One suite for each run: a case for its verdict, one for each fault (proved and undone), one for each probe.

    The format is the one that Jenkins, GitLab and GitHub's reporters read:
    https://github.com/testmoapp/junitxml
    """
    root = ET.Element("testsuites")
    for one in runs:
        cases = _cases(one)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=f"chaos {one.namespace}/{one.name}",
            tests=str(len(cases)),
            failures=str(sum(case[1] == "failure" for case in cases)),
            errors=str(sum(case[1] == "error" for case in cases)),
            skipped=str(sum(case[1] == "skipped" for case in cases)),
            timestamp=one.started_at or one.created_at,
            time=f"{_seconds(one):g}",
        )
        for name, outcome, message in cases:
            case = ET.SubElement(suite, "testcase", classname=f"chaos.{one.namespace}.{one.name}", name=name)
            if outcome:
                ET.SubElement(case, outcome, message=message or outcome)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _cases(one: RunView) -> list[tuple[str, str, str]]:
    """(name, "" or failure, error, skipped; message)."""
    kinds = {"Successful": "", "Failed": "failure", "Error": "error", "Inconclusive": "skipped"}
    cases = [("verdict", kinds.get(one.verdict, "error"), one.message or f"not completed: {one.phase}")]
    for fault in one.faults:
        if fault.unverified or (fault.injected and fault.undone < fault.injected):
            cases.append(
                (f"fault {fault.name}", "error", f"{fault.injected - fault.undone} not shown to be undone")
            )
        elif fault.injected and fault.proved < fault.injected:
            cases.append((f"fault {fault.name}", "error", "nothing proves that it has happened"))
        else:
            cases.append((f"fault {fault.name}", "" if fault.injected else "skipped", "was not injected"))
    cases += [
        (f"probe {probe.name}", kinds.get(probe.phase, "skipped"), probe.message or "not measured")
        for probe in one.probes
    ]
    return cases


def _seconds(one: RunView) -> float:
    start, end = time_of(one.started_at), time_of(one.completed_at)
    return (end - start).total_seconds() if start and end else 0.0
