"""A ChaosRun, a list of them, and schedules as text. Pure: what is printed is what is returned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rollout.api.chaos import ChaosSchedule
from rollout.api.meta import time_of
from rollout.cli.chaos.lanes import Timeline
from rollout.cli.chaos.shape import FaultLine, ProbeLine, RunView
from rollout.cli.text import Paint, age, columns, plain, span

_VERDICTS = {
    "Successful": ("✔", "green"),
    "Failed": ("✖", "red"),
    "Error": ("⚠", "red"),
    "Inconclusive": ("?", "yellow"),
    "": ("◌", "cyan"),
}
JOURNAL_LINES = 8
NAME_WIDTH = 18


def verdict_text(one: RunView, paint: Paint = plain) -> str:
    """`✔ Successful`, or the phase of a run that goes on."""
    sign, colour = _VERDICTS.get(one.verdict, _VERDICTS["Error"])
    return paint(f"{sign} {one.verdict or one.phase}", colour)


def run_text(
    one: RunView, drawn: Timeline | None, now: datetime, *, paint: Paint = plain, journal: int = JOURNAL_LINES
) -> list[str]:
    """Header, timeline, faults, probes, the end of the journal."""
    lines = _header(one, now, paint)
    if drawn is not None:
        lines += ["", *timeline_text(drawn, paint)]
    if one.faults:
        lines += ["", *_faults(one.faults)]
    if one.probes:
        lines += ["", *_probes(one.probes)]
    untold = [text for text in one.preflight if text not in one.message]
    if untold and not any(fault.injected for fault in one.faults):
        lines += ["", "Preflight:", *(f"  {text}" for text in untold)]
    if journal and one.journal:
        lines += ["", "Journal:", *journal_text(one, journal)]
    return lines


def screen(one: RunView, drawn: Timeline | None, now: datetime, *, height: int, paint: Paint) -> list[str]:
    """The same, made to fit a screen: the journal gives way first."""
    whole = run_text(one, drawn, now, paint=paint, journal=0)
    room = height - len(whole) - 2
    if room >= 1:
        return run_text(one, drawn, now, paint=paint, journal=min(room, 12))
    return [*whole[: height - 1], "… more lines; make the window taller"] if len(whole) > height else whole


def change_line(one: RunView) -> str:
    """One line for every change, off a terminal."""
    acting = [f"{fault.name} {fault.injected}/{fault.victims}" for fault in one.faults if fault.victims]
    probes = [f"{probe.name} {probe.ratio * 100:.1f} %" for probe in one.probes if probe.ratio is not None]
    parts = [one.verdict or one.phase, ", ".join(acting), ", ".join(probes), one.message]
    return "  ".join(part for part in parts if part)


def timeline_text(drawn: Timeline, paint: Paint = plain) -> list[str]:
    """The lanes below one axis in seconds."""
    if not drawn.lanes:
        return []
    width = len(drawn.lanes[0].cells)
    total = span((drawn.end - drawn.start).total_seconds())
    axis = f"0s{total:>{width - 2}}"
    lines = [f"{drawn.start:%H:%M:%S}".ljust(NAME_WIDTH) + "  " + axis]
    for lane in drawn.lanes:
        name = lane.name if len(lane.name) <= NAME_WIDTH else f"{lane.name[: NAME_WIDTH - 1]}…"
        cells = paint(lane.cells, "red" if "✖" in lane.cells else lane.colour)
        lines.append(f"{name.ljust(NAME_WIDTH)}  {cells}  {lane.note}".rstrip())
    return lines


def journal_text(one: RunView, count: int) -> list[str]:
    """The last `count` lines of the journal."""
    return [
        f"  {_clock(entry.at)}  {entry.what}" + (f": {entry.message}" if entry.message else "")
        for entry in one.journal[-count:]
    ]


def list_lines(
    found: Sequence[RunView], now: datetime, *, namespaces: bool = False, wide: bool = False
) -> list[str]:
    """The table of `chaos list`."""
    head = ["NAME", "PHASE", "VERDICT", "FAULTS", "VICTIMS", "PROBES", "RECOVERY", "AGE"]
    rows = [
        [
            one.name,
            one.phase,
            one.verdict or "-",
            ",".join(dict.fromkeys(fault.kind for fault in one.faults)) or "-",
            str(len(one.victims)),
            _good(one.probes),
            f"{one.recovery_seconds:g}s" if one.recovery_seconds is not None else "-",
            age(one.created_at, now),
        ]
        for one in found
    ]
    if namespaces:
        head.insert(0, "NAMESPACE")
        rows = [[one.namespace, *row] for one, row in zip(found, rows, strict=True)]
    if wide:
        head += ["TARGET", "MESSAGE"]
        rows = [[*row, one.target, one.message] for one, row in zip(found, rows, strict=True)]
    return columns([head, *rows])


def schedule_lines(found: Sequence[ChaosSchedule], now: datetime, *, namespaces: bool = False) -> list[str]:
    """The table of `chaos schedule list`."""
    head = ["NAME", "SCHEDULE", "ZONE", "SUSPENDED", "ACTIVE", "LAST", "VERDICT", "NEXT", "MESSAGE"]
    rows = [
        [
            one.metadata.name,
            one.spec.schedule + (f" each {one.spec.every_weeks} weeks" if one.spec.every_weeks > 1 else ""),
            one.spec.time_zone,
            "yes" if one.spec.suspend else "no",
            one.status.active or "-",
            f"{age(one.status.last_schedule_time, now)} ago" if one.status.last_schedule_time else "-",
            one.status.last_verdict or "-",
            _in(one.status.next_times[0], now) if one.status.next_times and not one.spec.suspend else "-",
            one.status.message,
        ]
        for one in found
    ]
    if namespaces:
        head.insert(0, "NAMESPACE")
        rows = [[one.metadata.namespace, *row] for one, row in zip(found, rows, strict=True)]
    return columns([head, *rows])


def _header(one: RunView, now: datetime, paint: Paint) -> list[str]:
    rows = [
        ("Name:", f"{one.name} in {one.namespace}"),
        (
            "Status:",
            verdict_text(one, paint)
            + (f" ({one.phase})" if one.verdict and one.phase != "Completed" else ""),
        ),
    ]
    if one.message:
        rows.append(("Message:", one.message))
    cause, _, why = one.stopping.partition(": ")
    if cause:
        rows.append(
            ("Ended early:" if one.verdict else "Stopping:", cause if why in one.message else one.stopping)
        )
    rows.append(("Target:", one.target))
    if one.dry_run:
        rows.append(("Dry run:", f"{one.dry_run}: nothing is injected"))
        if one.victims:
            rows.append(("It would hit:", ", ".join(one.victims)))
    if one.started_at:
        rows.append(("Started:", f"{one.started_at} ({age(one.started_at, now)} ago)"))
    if one.recovery_seconds is not None:
        rows.append(("Recovered:", f"{one.recovery_seconds:g} s after the last fault was undone"))
    if one.seed is not None:
        rows.append(("Seed:", str(one.seed)))
    return [f"{name:<14}{value}".rstrip() for name, value in rows]


def _faults(faults: Sequence[FaultLine]) -> list[str]:
    head = ["FAULT", "KIND", "STEP", "VICTIMS", "INJECTED", "PROVED", "UNDONE", "PROOF"]
    rows = []
    for one in faults:
        undone = f"{one.undone}" + (f" ({one.unverified} UNVERIFIED)" if one.unverified else "")
        proof = (
            one.proofs[0] + (f" (+{len(one.proofs) - 1})" if len(one.proofs) > 1 else "")
            if one.proofs
            else "-"
        )
        refused = f"{one.victims}" + (f" ({one.refused} refused)" if one.refused else "")
        rows.append(
            [
                one.name,
                one.kind,
                str(one.step + 1),
                refused,
                str(one.injected),
                str(one.proved),
                undone,
                proof,
            ]
        )
    return columns([head, *rows])


def _probes(probes: Sequence[ProbeLine]) -> list[str]:
    head = ["PROBE", "MODE", "RESULT", "GOOD", "BAD", "ERRORS", "RATIO", "WORST STREAK", "MESSAGE"]
    rows = [
        [
            one.name,
            one.mode,
            one.phase or "-",
            str(one.good),
            str(one.bad),
            str(one.errors),
            f"{one.ratio * 100:.1f} %" if one.ratio is not None else "-",
            str(one.worst_streak),
            one.message,
        ]
        for one in probes
    ]
    return columns([head, *rows])


def _good(probes: Iterable[ProbeLine]) -> str:
    all_ = list(probes)
    return f"{sum(one.phase == 'Successful' for one in all_)}/{len(all_)}" if all_ else "-"


def _clock(at: str) -> str:
    moment = time_of(at)
    return f"{moment:%H:%M:%S}" if moment else at


def _in(at: str, now: datetime) -> str:
    moment = time_of(at)
    if moment is None:
        return at
    return f"in {span((moment - now).total_seconds())}" if moment > now else "now"
