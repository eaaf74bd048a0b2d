"""Whatever stands in a Rollout, looking at it never breaks."""

from hypothesis import given, settings

from rollout.api.fields import fields_of
from rollout.api.rollout import RolloutSpec, RolloutStatus
from rollout.cli.phase import exit_code, outcome, outcome_of_abort
from rollout.cli.render import change_line, tree_text
from rollout.cli.summary import rollout_of
from rollout.cli.tree import tree
from tests.unit.cli import world
from tests.unit.validate.test_any_json import ANY, shaped

SPEC, STATUS = shaped(fields_of(RolloutSpec)) | ANY, shaped(fields_of(RolloutStatus)) | ANY


@settings(max_examples=600, deadline=None)
@given(SPEC, STATUS)
def test_any_spec_and_status_can_be_shown(spec, status):
    raw = world.rollout() | {"spec": spec, "status": status}
    rollout = rollout_of(raw)
    shown = tree(rollout, world.replica_sets(), world.pods(), [], world.NOW)

    assert tree_text(shown, world.NOW)
    assert change_line(shown.summary)
    assert exit_code(outcome(rollout)) in {0, 3, 4, 5}
    assert outcome_of_abort(rollout)
