"""Which runs have answered: a measurement that still lasts counts neither for nor against."""

import pytest

from rollout.api.analysis import AnalysisRun
from rollout.api.codec import view
from rollout.plan.runs import measured


def run(*phases, dry=False):
    result = {"name": "m", "dryRun": dry, "measurements": [{"phase": phase} for phase in phases]}
    return view(
        {"metadata": {}, "spec": {"metrics": [{"name": "m"}]}, "status": {"metricResults": [result]}},
        AnalysisRun,
    )


@pytest.mark.parametrize(
    ("phases", "answered"),
    [
        ((), False),
        (("Running",), False),
        (("Successful",), True),
        (("Successful", "Running"), True),
        (("Failed", "Running"), False),
        (("Successful", "Error"), False),
    ],
)
def test_a_run_has_answered_when_its_last_answer_is_a_success(phases, answered):
    assert measured(run(*phases)) is answered
