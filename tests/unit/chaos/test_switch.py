"""The switch and its caps, as values."""

from __future__ import annotations

from chaos.plan.switch import active, caps, engaged, over_caps, releases_held, switch_status
from rollout.api.chaos import Caps, ChaosRun, ChaosRunStatus, ChaosSwitch, ChaosSwitchSpec, Victim
from rollout.api.meta import ObjectMeta


def switch(name="default", **spec):
    return ChaosSwitch(metadata=ObjectMeta(name=name), spec=ChaosSwitchSpec(**spec))


def pods(*names, namespace="shop"):
    return tuple(Victim(namespace=namespace, name=name, uid=f"uid-{name}") for name in names)


def run(name, phase="Injecting", victims=(), namespace="shop"):
    meta = ObjectMeta(name=name, namespace=namespace, uid=name)
    return ChaosRun(metadata=meta, status=ChaosRunStatus(phase=phase, victims=victims))


WIDE = Caps(runs_per_namespace=None, runs_per_cluster=None, percent_per_namespace=100, pods_per_cluster=None)


def test_no_switch_halts_nothing_and_gives_the_default_caps():
    assert engaged([]) == ""
    assert releases_held([switch(engaged=True)]) == ""
    assert caps([switch("other", caps=WIDE)]) == Caps()


def test_any_engaged_switch_halts_and_says_why():
    found = [switch(), switch("team-b", engaged=True, reason="black friday")]
    assert engaged(found) == "ChaosSwitch team-b is engaged: black friday"
    assert engaged([switch(engaged=True)]) == "ChaosSwitch default is engaged: no reason given"


def test_releases_are_held_by_the_switch_that_says_so():
    assert releases_held([switch(hold_releases=True, reason="INC-7")]) == (
        "held by ChaosSwitch default: INC-7"
    )


def test_caps_come_from_the_default_switch_alone():
    mine = Caps(pods_per_cluster=3)
    assert caps([switch("a", caps=WIDE), switch(caps=mine)]) == mine


def test_only_begun_and_unfinished_runs_take_a_place():
    runs = [
        run("a", ""),
        run("b", "Pending"),
        run("c", "Checking"),
        run("d", "Recovering"),
        run("e", "Completed"),
    ]
    assert [one.metadata.name for one in active(runs)] == ["c", "d"]


def test_one_run_per_namespace_by_default():
    me, victims = run("me", "Pending"), pods("a")
    assert over_caps(me, victims, [run("other")], Caps(), {"shop": 10}) == (
        "shop/other is at work already, and the cap is 1 run(s) in the namespace shop"
    )
    assert over_caps(me, victims, [run("other", namespace="bank")], Caps(), {"shop": 10}) == ""
    assert over_caps(me, victims, [run("other", "Pending")], Caps(), {"shop": 10}) == ""


def test_the_run_itself_in_the_cache_is_not_counted_twice():
    assert over_caps(run("me", "Pending"), pods("a"), [run("me", "Checking")], Caps(), {"shop": 10}) == ""


def test_runs_count_where_their_victims_are():
    elsewhere = run("other", victims=pods("x"), namespace="tools")
    assert "in the namespace shop" in over_caps(run("me"), pods("a"), [elsewhere], Caps(), {"shop": 10})


def test_runs_in_the_cluster_are_capped():
    limit = Caps(runs_per_cluster=2)
    others = [run("x", namespace="b"), run("y", namespace="c")]
    assert "b/x, c/y are at work already" in over_caps(run("me"), pods("a"), others, limit, {"shop": 10})


def test_pods_of_all_runs_together_are_capped_and_a_shared_pod_counts_once():
    limit = Caps(runs_per_namespace=None, pods_per_namespace=2, percent_per_namespace=100)
    beside = [run("other", victims=pods("a", "b"))]
    assert over_caps(run("me"), pods("b"), beside, limit, {"shop": 4}) == ""
    assert over_caps(run("me"), pods("c"), beside, limit, {"shop": 4}) == (
        "3 pods would be harmed at one time, the cap is 2 in the namespace shop"
    )


def test_the_share_of_a_namespace_is_capped_and_nothing_ready_means_no():
    limit = Caps(percent_per_namespace=50)
    assert over_caps(run("me"), pods("a", "b"), [], limit, {"shop": 4}) == ""
    assert "3 of 4 ready pods" in over_caps(run("me"), pods("a", "b", "c"), [], limit, {"shop": 4})
    assert "1 of 0 ready pods" in over_caps(run("me"), pods("a"), [], limit, {})


def test_pods_of_the_cluster_are_capped_over_namespaces():
    limit = Caps(pods_per_cluster=2, percent_per_namespace=100)
    beside = [run("other", victims=pods("a", "b", namespace="bank"), namespace="bank")]
    assert "3 pods would be harmed" in over_caps(run("me"), pods("c"), beside, limit, {"shop": 4})


def test_a_run_that_would_last_too_long_is_refused():
    assert over_caps(run("me"), pods("a"), [], Caps(max_duration="1h"), {"shop": 4}, seconds=3601) == (
        "it would last 3601 s, the cap is 1h"
    )


def test_a_switch_counts_the_runs_at_work_and_says_what_it_does():
    runs = [run("a"), run("b", "Pending"), run("c", "Reverting")]
    assert switch_status(switch(), runs).runs_active == 2
    assert switch_status(switch(), runs).message == ""
    halted = switch(engaged=True, hold_releases=True)
    assert switch_status(halted, runs).message == "halted; 2 run(s) are being undone; no release begins"
    assert switch_status(halted, []).message == "halted; no run is at work; no release begins"
