"""What a run has shown, for those who were not there: Markdown for people, JUnit for pipelines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout.api.meta import time_of
from rollout.cli import report
from rollout.cli.chaos.lanes import Timeline
from rollout.cli.chaos.shape import RunView
from rollout.cli.chaos.text import timeline_text
from rollout.cli.report import RESULTS, Case, Result, Suite, table


def markdown(one: RunView, drawn: Timeline | None) -> list[str]:
    """The report as Markdown (GitHub's tables)."""
    lines = [
        f"# Chaos run {one.namespace}/{one.name}: {one.verdict or one.phase}",
        "",
        *([one.message, ""] if one.message else []),
        *table(
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
    lines += table(
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
        table(
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
            *table(["at", "what", ""], [[entry.at, entry.what, entry.message] for entry in one.journal]),
        ]
    return lines


def junit(runs: Sequence[RunView]) -> str:
    """One suite for each run: a case for its verdict, one for each fault (proved and undone), one for each probe."""
    return report.junit(
        Suite(
            name=f"chaos {one.namespace}/{one.name}",
            classname=f"chaos.{one.namespace}.{one.name}",
            cases=tuple(_cases(one)),
            timestamp=one.started_at or one.created_at,
            seconds=_seconds(one),
        )
        for one in runs
    )


def _cases(one: RunView) -> Iterator[Case]:
    yield _case("verdict", RESULTS.get(one.verdict, "error"), one.message or f"not completed: {one.phase}")
    for fault in one.faults:
        name = f"fault {fault.name}"
        if fault.unverified or (fault.injected and fault.undone < fault.injected):
            yield _case(name, "error", f"{fault.injected - fault.undone} not shown to be undone")
        elif fault.injected and fault.proved < fault.injected:
            yield _case(name, "error", "nothing proves that it has happened")
        else:
            yield _case(name, "" if fault.injected else "skipped", "was not injected")
    for probe in one.probes:
        yield _case(
            f"probe {probe.name}", RESULTS.get(probe.phase, "skipped"), probe.message or "not measured"
        )


def _case(name: str, result: Result, message: str) -> Case:
    return Case(name, result, message if result else "")


def _seconds(one: RunView) -> float:
    start, end = time_of(one.started_at), time_of(one.completed_at)
    return (end - start).total_seconds() if start and end else 0.0
