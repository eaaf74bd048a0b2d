"""Metrics of chaos: all series from the start, and never more of them."""

from __future__ import annotations

from typing import Any

from chaos.controller.metrics import ChaosMetrics, event_metrics, run_metrics
from rollout.api.chaos import FAULT_KINDS


def run(phase: str | None, *receipts: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "run"}, "status": {"phase": phase, "receipts": list(receipts)}}


def values(metrics: Any) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for one in metrics for sample in one.samples}


def test_runs_are_counted_by_phase_and_faults_at_work_by_kind() -> None:
    slow = {"kind": "httpLatency", "state": "Proved"}
    found = values(
        run_metrics(
            [
                run(None),
                run("Injecting", slow, {**slow, "state": "Injected"}, {**slow, "state": "Planned"}),
                run("Completed", {**slow, "state": "Reverted"}, {**slow, "state": "Unverified"}),
                {"metadata": {"name": "new"}},
            ]
        )
    )
    assert found["surefoot_chaos_runs", "Pending"] == 2
    assert found["surefoot_chaos_runs", "Injecting"] == 1
    assert found["surefoot_chaos_runs", "Completed"] == 1
    assert found["surefoot_chaos_faults_active", "httpLatency"] == 2
    assert found["surefoot_chaos_faults_active", "podDelete"] == 0


def test_ends_and_reverts_that_nobody_could_verify_are_counted_since_the_start() -> None:
    events = {
        ("Normal", "ChaosSuccessful"): 3,
        ("Warning", "ChaosError"): 1,
        ("Warning", "RevertUnverified"): 2,
    }
    found = values(event_metrics(events))
    assert found["surefoot_chaos_runs_completed_total", "Successful"] == 3
    assert found["surefoot_chaos_runs_completed_total", "Error"] == 1
    assert found["surefoot_chaos_runs_completed_total", "Failed"] == 0
    assert found["surefoot_chaos_reverts_unverified_total",] == 2


def test_the_number_of_series_is_the_same_whatever_there_is() -> None:
    odd = [run("Dreaming", {"kind": "unheardOf", "state": "Proved"}), run("Injecting")] * 50
    nothing, much = ChaosMetrics([], {}), ChaosMetrics(odd, {("Normal", "Anything"): 9})
    assert values(nothing.collect()).keys() == values(much.collect()).keys()
    assert len(values(nothing.collect())) == 6 + len(FAULT_KINDS) + 4 + 1
