"""Sets that bear the hash of another release, of ours or of Argo Rollouts, are adopted as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rollout.api.resources import REPLICA_SETS
from rollout.core import observed, template
from tests.stories.objects import canary, rollout
from tests.stories.world import World, play


def former(wanted: Mapping[str, Any], collisions: int | None = None) -> str:
    """The pod-template hash of our first releases: FNV over sorted JSON."""
    return template.hash_of(template.without_hash(wanted), collisions)


def test_a_set_with_our_former_hash_is_not_replaced_and_the_next_revision_has_the_new_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(world: World) -> None:
        with monkeypatch.context() as old_release:
            old_release.setattr(observed.template, "template_hash", former)
            world.apply(rollout(canary({"setWeight": 20}, {"pause": {}})))
            await world.phase("web", "Healthy")
            await world.rest(60)
        first = world.status("web")["stableRS"]
        wanted = world.rollout("web")["spec"]["template"]
        assert first == former(wanted) != template.template_hash(wanted)
        writes = world.writes
        world.crash()
        await world.rest(120)
        assert world.writes == writes  # the new release finds nothing to do
        assert [one["metadata"]["name"] for one in world.list(REPLICA_SETS)] == [f"web-{first}"]
        world.set_image("web", "web:v2")
        await world.phase("web", "Paused")
        status = world.status("web")
        assert status["stableRS"] == first
        assert status["currentPodHash"] == template.template_hash(world.rollout("web")["spec"]["template"])
        world.promote("web")
        await world.phase("web", "Healthy")
        assert world.sets() == {"web:v1": 0, "web:v2": 5}

    play(story)
