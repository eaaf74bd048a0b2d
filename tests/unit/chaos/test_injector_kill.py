"""What the injector of a containerKill says, and that it reaches the receipt and the verdict."""

from __future__ import annotations

import signal
from typing import Any

import msgspec
import pytest

from chaos.faults.receipts import object_name
from chaos.injector.kill import handles
from chaos.observed import Observed
from chaos.plan.draft import Draft
from chaos.plan.receipts import advance
from chaos.plan.verdict import verdict
from rollout.api.chaos import ChaosRunStatus
from tests.unit.chaos.faults.cluster import Case, ephemeral, pod, shop, world

POD = "web-v2-0"
TERM, HUP = signal.SIGTERM, signal.SIGHUP


@pytest.mark.parametrize(
    ("status", "term", "hup"),
    [
        ("Name:\tsh\nSigCgt:\t0000000000004000\n", True, False),
        ("SigCgt:\t0000000000004001\n", True, True),
        ("SigCgt:\t0000000000000000\n", False, False),
        ("Name:\tsh\n", True, True),
        ("", True, True),
    ],
)
def test_a_process_says_which_signals_it_catches(status: str, *, term: bool, hup: bool) -> None:
    assert (handles(status, TERM), handles(status, HUP)) == (term, hup)


DEAF = {"verified": True, "outcome": "signalled", "message": "sent TERM to process 1, which ignores it"}
WAITS = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"words": DEAF}, "which ignores it"),
        ({"state": WAITS}, "does not start: ImagePullBackOff (no such image)"),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, ""),
        (
            {"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
            "exit code 137 and without a word (OOM",
        ),
        ({"state": {"running": {}}}, ""),
    ],
)
def test_its_words_or_why_there_are_none_are_told(given: Any, said: str) -> None:
    case = Case({"networkLatency": {"delay": "1s"}})
    receipt = case.receipt(world(shop()), POD)
    seen = world([pod(POD, "v2", **ephemeral(object_name(receipt.id), **given))])
    text = case.kind.said(receipt, seen)
    assert said in text
    assert bool(text) == bool(said)


def test_they_are_in_the_receipt_and_in_the_verdict_of_a_fault_that_is_not_proved() -> None:
    case = Case({"networkLatency": {"delay": "1s"}})
    receipt = msgspec.structs.replace(case.receipt(world(shop()), POD), state="Injected")
    seen = world([pod(POD, "v2", **ephemeral(object_name(receipt.id), words=DEAF))])
    run = msgspec.structs.replace(case.run, status=ChaosRunStatus(phase="Injecting", receipts=(receipt,)))
    draft = Draft(Observed(world=seen, run=run, raw={}), {"networkLatency": case.kind})
    advance(draft, injecting=True)
    assert draft.status.receipts[0].message == DEAF["message"]
    phase, message = verdict(run.spec, draft.status)
    assert (phase, DEAF["message"] in message) == ("Error", True)
