import pytest

from chaos.plan.verdict import verdict
from rollout.api.chaos import (
    ChaosRunSpec,
    ChaosRunStatus,
    ChaosStep,
    Fault,
    PodDelete,
    Probe,
    ProbeResult,
    Receipt,
    Recovery,
)

SPEC = ChaosRunSpec(
    steps=(ChaosStep(faults=(Fault(name="kill", pod_delete=PodDelete()),)),),
    probes=(Probe(name="up", mode="During", provider={"web": {}}),),
)
PROVED = Receipt(
    id="kill-1", fault="kill", kind="podDelete", state="Reverted", proof="uid changed", gone="gone"
)
HELD = ProbeResult(name="up", mode="During", phase="Successful", good=5)
WHOLE = Recovery(recovered_at="2026-01-05T09:00:00Z", seconds=2.0)


def status(**fields):
    return ChaosRunStatus(**{"receipts": (PROVED,), "probes": (HELD,), "recovery": WHOLE} | fields)


def changed(receipt, **fields):
    return Receipt(**{name: getattr(receipt, name) for name in receipt.__struct_fields__} | fields)


def test_proved_gone_and_withstood_is_successful():
    assert verdict(SPEC, status()) == (
        "Successful",
        "every fault was proved and is gone, every probe held, whole again after 2 s",
    )


@pytest.mark.parametrize(
    ("fields", "expected", "words"),
    [
        ({"receipts": (changed(PROVED, proof=""),)}, "Error", "no proof that it happened: kill-1"),
        ({"receipts": ()}, "Error", "done to nobody"),
        ({"receipts": (changed(PROVED, state="Refused", message="the budget"),)}, "Error", "the budget"),
        ({"receipts": (changed(PROVED, state="Unverified"),)}, "Error", "RevertUnverified"),
        ({"probes": (ProbeResult(name="up", mode="During", phase="Failed", message="no"),)}, "Failed", "no"),
        ({"probes": (ProbeResult(name="up", mode="End", phase="Error", message="?"),)}, "Error", "?"),
        ({"recovery": Recovery(waiting_for="1 of 4")}, "Failed", "1 of 4"),
        ({"stopping": "Aborted: by hand", "receipts": ()}, "Inconclusive", "Stopped: by hand"),
        ({"stopping": "Switch: frozen", "probes": ()}, "Inconclusive", "Stopped: frozen"),
        ({"stopping": "StopCondition: p99"}, "Failed", "p99"),
        ({"stopping": "ProbeFailed: up"}, "Failed", "up"),
        ({"stopping": "Unmeasured: up"}, "Error", "up"),
        ({"stopping": "Changed: the spec"}, "Error", "the spec"),
        ({"stopping": "InvalidSpec: x", "receipts": (), "probes": (), "recovery": None}, "Error", "x"),
    ],
)
def test_anything_less_is_less(fields, expected, words):
    found, message = verdict(SPEC, status(**fields))

    assert found == expected
    assert words in message


@pytest.mark.parametrize(
    ("phase", "expected"),
    [("Failed", ("Failed", "probe up: 3 in a row")), ("Error", ("Error", "probe up (During): 3 in a row"))],
)
def test_what_ended_the_run_is_said_once_and_never_hides_something_worse(phase, expected):
    result = ProbeResult(name="up", mode="During", phase=phase, message="3 in a row")

    assert verdict(SPEC, status(stopping="ProbeFailed: probe up: 3 in a row", probes=(result,))) == expected


def test_one_victim_less_is_no_error_while_the_fault_was_proved():
    refused = changed(PROVED, id="kill-2", state="Refused", proof="", message="budget")

    assert verdict(SPEC, status(receipts=(PROVED, refused)))[0] == "Successful"


def test_without_probes_it_is_never_successful():
    bare = ChaosRunSpec(steps=SPEC.steps)

    assert verdict(bare, status(probes=()))[0] == "Inconclusive"


def test_what_was_left_behind_beats_somebodys_word_to_stop():
    left = changed(PROVED, state="Unverified")

    assert verdict(SPEC, status(stopping="Aborted: x", receipts=(left,)))[0] == "Error"
