"""What the benchmarks make of their measurements: chapters, requests, parts of a profile."""

from __future__ import annotations

from pathlib import Path

from bench import results
from bench.cluster import profile
from bench.cluster.audit import OURS, Asked, Audit, counting
from bench.cluster.failing import Failing


def test_a_chapter_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    results.keep("# One", "# One\n\nold\n\n## inner\n", page)
    results.keep("# Two", "# Two\n\nsecond\n", page)
    results.keep("# One", "# One\n\nnew\n", page)
    assert page.read_text() == "# One\n\nnew\n\n# Two\n\nsecond\n"


def event(user: str, verb: str, resource: str, subresource: str = "") -> str:
    reference = f'{{"resource":"{resource}","subresource":"{subresource}"}}'
    return f'{{"verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{reference}}}\n'


def test_requests_are_told_apart_by_who_asked_and_a_line_half_written_waits(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(event("admin", "create", "rollouts"))
    audit = Audit(log)
    position = audit.position()
    with log.open("a") as more:
        more.write(event(OURS, "patch", "rollouts", "status") * 2)
        more.write(event(OURS, "watch", "rollouts"))
        more.write(event("admin", "patch", "rollouts"))
        more.write(event("system:serviceaccount:kube-system:replicaset-controller", "create", "pods"))
        more.write('{"verb":"pat')
    assert counting(audit.since(position)) == {
        Asked("Surefoot", "patch", "rollouts/status"): 2,
        Asked("kube-controller-manager", "create", "pods"): 1,
    }


def test_a_sample_counts_for_one_part_and_the_start_up_for_none() -> None:
    loop = f"main;{profile.LOOP};asyncio.events.Handle._run"
    folded = "\n".join(
        [
            "main;importlib.load 50",
            f"{loop};rollout.runtime.runner.Runner._one;rollout.controller.journal.Journal.note;ssl.write 3",
            f"{loop};rollout.runtime.runner.Runner._one;rollout.effects.releases.apply 4",
            f"{loop};rollout.runtime.runner.Runner._one 2",
            f"{loop} 1",
        ]
    )
    assert profile.parts(folded) == {
        "the record of decisions": 3,
        "writing: routes, sets, runs, status": 4,
        "queues, barriers and passes beside these": 2,
        profile.REST: 1,
    }


def test_quantiles_of_a_few_and_of_many() -> None:
    assert Failing((0.03,)).quantile(0.95) == 0.03
    many = Failing(tuple(float(one) for one in range(100)))
    assert (many.quantile(0.5), many.quantile(0.95)) == (50.0, 95.0)
