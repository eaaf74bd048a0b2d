"""The invariants of the chaos stories can fail: controllers that break them on purpose are caught."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.controller.run import ChaosController
from chaos.faults.mesh import MeshFault
from chaos.plan import choose, receipts, run, steps
from chaos.plan.draft import Draft
from tests.stories.chaos_objects import DEPLOYMENT, chaos_run, deployment, opted_in, probe
from tests.stories.test_chaos_crashes import aborted, chaos, latency, pod_delete
from tests.stories.world import World


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def caught(story, words: str) -> None:
    with pytest.raises(BaseException) as raised:
        chaos(story)
    said = [str(one) for one in leaves(raised.value)]
    assert any(words in one for one in said), said


def test_one_that_acts_before_its_receipt_is_saved_is_caught(monkeypatch):
    saved_first = steps.plan_faults

    def at_once(draft: Draft) -> None:
        known = {one.id for one in draft.status.receipts}
        saved_first(draft)
        for receipt in draft.status.receipts:
            if receipt.id not in known:
                fault = draft.spec.steps[0].faults[0]
                context = receipts.context_for(draft.run, fault, receipt, draft.now)
                draft.act(draft.kinds[receipt.kind].inject(receipt, context, draft.seen.world))

    monkeypatch.setattr(steps, "plan_faults", at_once)
    caught(pod_delete, "I10")


def test_one_that_leaves_its_filters_and_does_not_tidy_up_is_caught(monkeypatch):
    async def nothing(_self: ChaosController) -> None:
        return

    monkeypatch.setattr(MeshFault, "revert", lambda *_: ())
    monkeypatch.setattr(ChaosController, "reap", nothing)
    caught(latency, "I11")


def test_one_that_takes_the_last_pod_is_caught(monkeypatch):
    async def both(world: World) -> None:
        world.apply(opted_in(), deployment(replicas=2))
        await world.clock.sleep(3)
        everybody = {**DEPLOYMENT, "percent": 100}
        world.apply(chaos_run(target=everybody, limits={"maxPercent": 100}, probes=[probe("up", "Start")]))
        await world.clock.sleep(30)

    monkeypatch.setattr(choose, "floor", lambda _: 0)
    monkeypatch.setattr(receipts, "floor", lambda _: 0)
    monkeypatch.setattr("chaos.plan.admission.over_caps", lambda *_, **__: "")
    caught(both, "I12")


def test_one_that_goes_on_after_somebodys_word_is_caught(monkeypatch):
    monkeypatch.setattr(run.stopping, "word", lambda _: "")
    caught(aborted, "verdict: Successful")


def test_one_that_keeps_its_finalizer_is_caught(monkeypatch):
    finished = run._completed

    def kept(draft: Draft):
        decision = finished(draft)
        return run.Plan(status=decision.status, wake=decision.wake)

    monkeypatch.setattr(run, "_completed", kept)
    caught(pod_delete, "completed and let go")
