"""A ChaosRun in a few words, and its outcome as plain data for conditions. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rollout.api.chaos import ChaosRun, Receipt

WAITING_PHASES = frozenset({"", "Pending"})


def progress_of(run: ChaosRun) -> str:
    """How far a run is: "Injecting, step 1 of 2, kill 2 of 4, probe health 98.6 %"."""
    return ", ".join(_progress(run))


def _progress(run: ChaosRun) -> Iterator[str]:
    status, steps = run.status, run.spec.steps
    yield status.phase or "not begun"
    if status.phase in WAITING_PHASES and status.message:
        yield status.message
    if status.stopping:
        yield f"stopping ({status.stopping})"
    if status.phase == "Injecting" and status.step < len(steps):
        yield f"step {status.step + 1} of {len(steps)}"
    if status.phase in ("Injecting", "Reverting") and status.step < len(steps):
        for fault in steps[status.step].faults:
            mine = _of(status.receipts, status.step, fault.name)
            if mine:
                yield f"{fault.name} {sum(bool(one.injected_at) for one in mine)} of {len(mine)}"
    for probe in status.probes:
        if probe.ratio is not None:
            yield f"probe {probe.name} {round(probe.ratio * 100, 1):g} %"


def result_of(run: ChaosRun) -> dict[str, Any]:
    """What a run has shown: {verdict, faults, probes, recoverySeconds}; recoverySeconds is None where nothing had to
    recover, or did. Ratios are 0..1."""
    status = run.status
    return {
        "verdict": status.verdict,
        "faults": [
            _counts(_of(status.receipts, index, fault.name), fault.name)
            for index, step in enumerate(run.spec.steps)
            for fault in step.faults
        ],
        "probes": [
            {
                "name": probe.name,
                "mode": probe.mode,
                "phase": probe.phase,
                "ratio": probe.ratio,
                "good": probe.good,
                "bad": probe.bad,
                "errors": probe.errors,
                "worstStreak": probe.worst_streak,
            }
            for probe in status.probes
        ],
        "recoverySeconds": status.recovery.seconds if status.recovery is not None else None,
    }


def _of(receipts: Sequence[Receipt], step: int, fault: str) -> list[Receipt]:
    return [one for one in receipts if (one.step, one.fault) == (step, fault)]


def _counts(receipts: Sequence[Receipt], name: str) -> dict[str, Any]:
    """On how many victims a fault was, was proved, was proved gone, and was refused."""
    return {
        "name": name,
        "kind": receipts[0].kind if receipts else "",
        "injected": sum(bool(one.injected_at) for one in receipts),
        "proved": sum(bool(one.proof) for one in receipts),
        "gone": sum(bool(one.gone) for one in receipts),
        "refused": sum(one.state == "Refused" for one in receipts),
    }
