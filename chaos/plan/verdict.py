"""What a run has shown. Unknown is never a pass: no proof of a fault, nothing measured, no probe are none.

Error before Failed before Inconclusive before Successful; somebody's word to stop makes what was seen until then
Inconclusive, unless something was left in the world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout.api.chaos import ChaosRunSpec, ChaosRunStatus, Receipt, Verdict

STOPPED = frozenset({"Aborted", "Switch", "Deleted"})
"""Causes that are somebody's word."""
_FAILED = frozenset({"StopCondition", "ProbeFailed"})
_ORDER: tuple[Verdict, ...] = ("Error", "Failed", "Inconclusive", "Successful")
Finding = tuple[Verdict, str]


def verdict(spec: ChaosRunSpec, status: ChaosRunStatus) -> Finding:
    """The verdict of a run whose faults are all over, and the sentence that says why."""
    found = list(_findings(spec, status))
    for one in _ORDER:
        said = [message for phase, message in found if phase == one]
        if said:
            return one, "; ".join(dict.fromkeys(said))
    recovery = status.recovery
    took = f", whole again after {recovery.seconds:g} s" if recovery and recovery.seconds is not None else ""
    return "Successful", f"every fault was proved and is gone, every probe held{took}"


def _findings(spec: ChaosRunSpec, status: ChaosRunStatus) -> Iterator[Finding]:
    cause, _, words = status.stopping.partition(": ")
    for receipt in status.receipts:
        if receipt.state == "Unverified":
            why = f" ({receipt.message})" if receipt.message else ""
            yield "Error", f"RevertUnverified: {receipt.id} was not shown to be gone{why}"
    if not_whole(status):
        yield "Failed", f"not whole again within recoveryTimeout: {_waiting(status)}"
    if cause in STOPPED:
        yield "Inconclusive", f"Stopped: {words}"
        return
    because: Verdict = ("Failed" if cause in _FAILED else "Error") if cause else ""
    if because:
        yield because, words
    for result in status.probes:
        told = result.phase == because and f"probe {result.name}: " in words
        if result.phase and result.phase != "Successful" and not told:
            yield result.phase, f"probe {result.name} ({result.mode}): {result.message}"
    if cause:
        return
    if spec.dry_run:
        yield "Inconclusive", f"dry run ({spec.dry_run}): nothing was done to anybody"
        return
    for step, one in enumerate(spec.steps):
        for fault in one.faults:
            receipts = [item for item in status.receipts if (item.step, item.fault) == (step, fault.name)]
            if message := _unproved(receipts):
                yield "Error", f"fault {fault.name}: {message}"
    if not spec.probes:
        yield "Inconclusive", "there are no probes, so nothing says that the faults were withstood"


def _unproved(receipts: Sequence[Receipt]) -> str:
    """Why there is no proof that a fault happened; "" when there is one for all that was done."""
    done = [one for one in receipts if one.state != "Refused"]
    if not done:
        why = next((one.message for one in receipts if one.message), "it had no victim")
        return f"it was done to nobody: {why}"
    without = [f"{one.id} ({one.message})" if one.message else one.id for one in done if not one.proof]
    return f"no proof that it happened: {', '.join(without)}" if without else ""


def not_whole(status: ChaosRunStatus) -> bool:
    return status.recovery is not None and status.recovery.recovered_at is None


def _waiting(status: ChaosRunStatus) -> str:
    return status.recovery.waiting_for if status.recovery is not None else ""
