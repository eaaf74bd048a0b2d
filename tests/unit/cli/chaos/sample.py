"""A ChaosRun half-way and at its end, as the API would give it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rollout.api.analysis import AnalysisRun
from rollout.api.chaos import ChaosRun
from rollout.api.codec import view

NOW = datetime(2026, 11, 21, 12, 1, 0, tzinfo=UTC)
Json = dict[str, Any]


def raw(**status: Any) -> Json:
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosRun",
        "metadata": {"name": "kill", "namespace": "shop", "creationTimestamp": "2026-11-21T12:00:00Z"},
        "spec": {
            "target": {"workloadRef": {"kind": "Rollout", "name": "web", "role": "canary"}, "percent": 50},
            "duration": "30s",
            "steps": [
                {
                    "name": "one",
                    "faults": [
                        {"name": "kill", "podDelete": {"method": "evict"}},
                        {"name": "slow", "httpLatency": {"delay": "300ms"}},
                    ],
                }
            ],
            "probes": [
                {"name": "health", "mode": "Continuous", "provider": {"http": {"url": "http://web/"}}},
                {"name": "after", "mode": "End", "provider": {"http": {"url": "http://web/"}}},
            ],
        },
        "status": {
            "phase": "Completed",
            "verdict": "Failed",
            "message": "probe health: 90.0 % good, less than 99 %",
            "startedAt": "2026-11-21T12:00:00Z",
            "injectedAt": "2026-11-21T12:00:10Z",
            "endedAt": "2026-11-21T12:00:40Z",
            "completedAt": "2026-11-21T12:01:00Z",
            "seed": 7,
            "requestedBy": "alice",
            "victims": [{"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "u1"}],
            "receipts": [
                _receipt("kill", "podDelete", "web-1", proof="pod web-1 was evicted"),
                _receipt("slow", "httpLatency", "web", proof="42 requests were delayed"),
            ],
            "probes": [
                {
                    "name": "health", "mode": "Continuous", "phase": "Failed", "good": 18, "bad": 2, "errors": 0,
                    "ratio": 0.9, "worstStreak": 2, "message": "90.0 % good",
                }
            ],
            "recovery": {"recoveredAt": "2026-11-21T12:00:50Z", "seconds": 10.0},
            "journal": [{"at": "2026-11-21T12:00:10Z", "what": "inject", "message": "kill on web-1"}],
        }
        | status,
    }  # fmt: skip


def _receipt(fault: str, kind: str, name: str, *, proof: str) -> Json:
    return {
        "id": f"0-{fault}-{name}",
        "fault": fault,
        "kind": kind,
        "step": 0,
        "victim": {"kind": "Pod", "namespace": "shop", "name": name},
        "state": "Reverted",
        "deadline": "2026-11-21T12:00:40Z",
        "injectedAt": "2026-11-21T12:00:10Z",
        "revertedAt": "2026-11-21T12:00:40Z",
        "proof": proof,
        "gone": "gone",
    }


def run(**status: Any) -> ChaosRun:
    return view(raw(**status), ChaosRun)


def samples(*phases: str, probe: str = "health", start: int = 0, every: int = 3) -> AnalysisRun:
    """An AnalysisRun of one probe, a sample each `every` seconds."""
    taken = [
        {"phase": phase, "finishedAt": f"2026-11-21T12:00:{start + every * index:02d}Z"}
        for index, phase in enumerate(phases)
    ]
    return view(
        {
            "metadata": {"name": "kill-continuous", "namespace": "shop"},
            "spec": {},
            "status": {"metricResults": [{"name": probe, "phase": "Running", "measurements": taken}]},
        },
        AnalysisRun,
    )
