from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.observed import World
from chaos.plan.choose import beyond, choose, merged, sample, wanted
from rollout.api.chaos import ChaosRun, Fault, Limits, PodDelete, Target
from rollout.api.codec import view
from rollout.api.meta import Key
from rollout.api.resources import PODS, REPLICA_SETS
from tests.virtual import START


def pod(name, *, owner="web-1", ready=True):
    return {
        "metadata": {
            "name": name,
            "namespace": "prod",
            "uid": f"uid-{name}",
            "labels": {"app": "web"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def world(*pods):
    sets = {
        Key("prod", name): {"metadata": {"name": name, "namespace": "prod", "uid": name}}
        for name in ("web-1", "web-2")
    }
    found = {Key("prod", one["metadata"]["name"]): one for one in pods}
    return World(now=START, objects={PODS: found, REPLICA_SETS: sets})


def run(**spec):
    target = {"selector": {"matchLabels": {"app": "web"}}}
    return view(
        {
            "metadata": {"name": "run", "namespace": "prod", "uid": "run"},
            "spec": {"target": target, **spec},
        },
        ChaosRun,
    )


KILL = Fault(name="kill", pod_delete=PodDelete())


@pytest.mark.parametrize(
    ("target", "there", "number"),
    [
        (Target(), 9, 1),
        (Target(count=3), 9, 3),
        (Target(percent=25), 10, 2),
        (Target(percent=25, rounding="Up"), 10, 3),
        (Target(percent=25, rounding="Nearest"), 10, 3),
        (Target(percent=24, rounding="Nearest"), 10, 2),
        (Target(percent=1), 10, 1),
        (Target(percent=100), 3, 3),
    ],
)
def test_how_many_are_wanted(target, there, number):
    assert wanted(target, there) == number


@given(st.integers(1, 100), st.integers(1, 60), st.sampled_from(["Down", "Up", "Nearest"]))
def test_a_share_is_never_nobody_and_never_more_than_there_are(percent, there, rounding):
    assert 1 <= wanted(Target(percent=percent, rounding=rounding), there) <= there


@given(st.integers(0, 2**31 - 1), st.permutations([f"p{number}" for number in range(6)]))
def test_a_sample_depends_on_the_seed_and_not_on_the_order(seed, names):
    pods = [pod(name) for name in names]

    chosen = {one["metadata"]["name"] for one in sample(pods, 2, seed)}

    assert chosen == {one["metadata"]["name"] for one in sample(sorted(pods, key=str), 2, seed)}
    assert len(chosen) == 2


def test_seeds_spread_over_all_pods():
    pods = [pod(f"p{number}") for number in range(4)]
    hits = Counter(sample(pods, 1, seed)[0]["metadata"]["name"] for seed in range(400))

    assert set(hits) == {"p0", "p1", "p2", "p3"}
    assert min(hits.values()) > 50


def test_pods_that_are_not_ready_are_not_chosen():
    choice = choose(
        KILL,
        run(target={"podNames": ["a", "b"], "count": 1}),
        world(pod("a", ready=False), pod("b"), pod("c")),
        1,
    )

    assert [one.name for one in choice.victims] == ["b"]
    assert choice.victims[0].workload == "ReplicaSet/web-1"


def test_the_last_ready_pod_of_a_version_is_spared_even_if_another_has_many():
    seen = world(pod("canary", owner="web-2"), *(pod(f"p{number}") for number in range(5)))
    choice = choose(KILL, run(target={"podNames": ["canary"]}), seen, 1)

    assert "last ready pod" in choice.problem


def test_a_share_of_the_workload_is_counted_over_all_its_versions():
    seen = world(*(pod(f"a{number}") for number in range(4)))
    victims = choose(KILL, run(target={"podNames": ["a0", "a1", "a2"], "count": 3}), seen, 1)

    assert "3 of 4 ready pods would be harmed, limits.maxPercent is 50" in victims.problem
    assert beyond(Limits(max_percent=75), [victims], seen) == ""


def test_a_victim_of_two_faults_stands_once_in_the_list_and_a_new_choice_replaces_the_old():
    seen = world(pod("a"), pod("b"), pod("c"))
    first, second = Fault(name="one", pod_delete=PodDelete()), Fault(name="two", pod_delete=PodDelete())
    of_a = choose(first, run(target={"podNames": ["a"]}), seen, 1)
    also = choose(second, run(target={"podNames": ["a"]}), seen, 1)
    of_b = choose(first, run(target={"podNames": ["b"]}), seen, 1)

    both = merged((), [of_a, also])
    later = merged(both, [of_b])

    assert [(one.name, one.faults) for one in both] == [("a", ("one", "two"))]
    assert sorted((one.name, one.faults) for one in later) == [("a", ("two",)), ("b", ("one",))]
