"""The plan of a ChaosSchedule, as values; and what holds over any history of passes, crashes and people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.actions import Delete, Patch
from chaos.plan.calendar import Time, next_times
from chaos.plan.schedule import SCHEDULED_AT, SKIPPED_LIMIT, Seen, plan, run_name
from rollout.api.chaos import (
    ChaosRun,
    ChaosRunSpec,
    ChaosRunStatus,
    ChaosSchedule,
    ChaosSwitch,
    ChaosSwitchSpec,
)
from rollout.api.codec import plain, view
from rollout.api.meta import ObjectMeta, time_of, timestamp
from rollout.core.problem import Problem
from rollout.core.validate_schedule import validate_schedule

DUE = datetime(2026, 10, 20, 14, tzinfo=UTC)
WEEK = timedelta(days=7)
STEPS = [{"faults": [{"name": "kill", "podDelete": {}}]}]
RUN_SPEC = {"target": {"selector": {"matchLabels": {"app": "myapp"}}}, "steps": STEPS}
CHECK = {
    "provider": {"prometheus": {"address": "http://prometheus:9090", "query": "up"}},
    "successCondition": "result[0] == 1",
}


def schedule(status=None, generation=1, created=DUE - timedelta(days=3), name="weekly", **spec):
    return {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosSchedule",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": "schedule-uid",
            "generation": generation,
            "creationTimestamp": timestamp(created),
        },
        "spec": {"schedule": "0 14 * * TUE", "run": {"spec": RUN_SPEC}, **spec},
        "status": status or {},
    }


def run(name, phase="Injecting", verdict="", at=DUE - WEEK, abort=False, **status):
    meta = ObjectMeta(
        name=name, namespace="shop", uid=f"uid-{name}", annotations={SCHEDULED_AT: timestamp(at)}
    )
    return ChaosRun(
        metadata=meta,
        spec=ChaosRunSpec(abort=abort),
        status=ChaosRunStatus(phase=phase, verdict=verdict, **status),
    )


def done(name, verdict="Successful", at=DUE - WEEK):
    return run(name, "Completed", verdict, at, completed_at=timestamp(at + timedelta(minutes=5)))


def seen(raw=None, now=DUE, **more):
    raw = raw or schedule()
    return Seen(now=now, schedule=view(raw, ChaosSchedule), raw=raw, **more)


def skipped(decision):
    return [(one.at, one.what) for one in decision.status.skipped]


NAME = run_name("weekly", Time(DUE, DUE))


# --- starting -----------------------------------------------------------------------------------------


def test_before_its_time_nothing_is_made_and_the_next_times_are_told():
    now = DUE - timedelta(seconds=30)
    decision = plan(seen(now=now))
    assert decision.create is None
    assert decision.status.next_times == tuple(timestamp(DUE + n * WEEK) for n in range(5))
    assert decision.status.message == "next at 2026-10-20T14:00:00Z"
    assert decision.wake_at == DUE


def test_at_its_time_the_status_is_decided_first_and_the_run_has_the_name_of_its_time():
    decision = plan(seen())
    meta = decision.create["metadata"]
    assert meta["name"] == NAME == f"weekly-{int(DUE.timestamp()) // 60}"
    assert meta["namespace"] == "shop"
    assert meta["annotations"] == {SCHEDULED_AT: "2026-10-20T14:00:00Z"}
    assert meta["ownerReferences"][0]["uid"] == "schedule-uid"
    assert decision.create["spec"] == RUN_SPEC
    assert decision.status.last_schedule_time == "2026-10-20T14:00:00Z"
    assert decision.status.active == NAME
    assert [event.reason for event in decision.events] == ["ChaosRunStarted"]
    assert decision.status.next_times[0] == timestamp(DUE + WEEK)


def test_a_decided_time_is_not_decided_again_whatever_has_become_of_its_run():
    raw = schedule(plain(plan(seen()).status))
    for runs in ((), (run(NAME, at=DUE),), (done(NAME, at=DUE),)):
        assert plan(seen(raw, runs=runs)).create is None


def test_times_before_the_schedule_was_made_are_not_its_own():
    raw = schedule(created=DUE + timedelta(seconds=1))
    decision = plan(seen(raw, now=DUE + timedelta(seconds=2)))
    assert decision.create is None
    assert decision.status.skipped == ()


def test_checks_become_probes_of_the_run_beside_its_own():
    raw = schedule(
        run={"spec": RUN_SPEC | {"probes": [{"name": "own", "mode": "During", **CHECK}]}},
        preChecks=[{"name": "traffic", **CHECK}],
        postChecks=[{"name": "recovery", "attempts": 3, **CHECK}],
    )
    assert validate_schedule(raw) == []
    assert plan(seen(raw)).create["spec"]["probes"] == [
        {"name": "own", "mode": "During", **CHECK},
        {"name": "traffic", "mode": "Start", **CHECK},
        {"name": "recovery", "mode": "End", "attempts": 3, **CHECK},
    ]


def test_a_check_with_the_name_of_a_probe_of_the_run_is_refused():
    own = [{"name": "health", "mode": "During", **CHECK}]
    raw = schedule(run={"spec": RUN_SPEC | {"probes": own}}, preChecks=[{"name": "health", **CHECK}])
    decision = plan(seen(raw))
    assert decision.create is None
    assert "two probes have this name" in decision.status.skipped[0].message


def test_a_template_gets_its_arguments():
    target = RUN_SPEC["target"] | {"count": "{{args.n}}"}
    template = {"spec": {"args": [{"name": "n"}], "target": target, "steps": STEPS}}
    raw = schedule(run={"templateName": "kill", "args": [{"name": "n", "value": "2"}]})
    decision = plan(seen(raw, template=template))
    assert decision.create["spec"]["target"] == RUN_SPEC["target"] | {"count": 2}
    assert decision.create["spec"]["templateRef"] == {"name": "kill"}


def test_a_missing_template_skips_the_time_loudly():
    decision = plan(seen(schedule(run={"templateName": "kill"})))
    assert decision.create is None
    assert skipped(decision) == [(timestamp(DUE), "InvalidSpec")]
    assert decision.events[0].warning
    assert "there is no ChaosTemplate" in decision.events[0].message


def test_a_run_that_could_not_be_made_is_told_long_before_its_time():
    raw = schedule(run={"spec": RUN_SPEC | {"steps": []}})
    decision = plan(seen(raw, now=DUE - timedelta(days=1)))
    assert decision.status.message.startswith("InvalidSpec: the next run could not be made: spec.steps")
    assert decision.events == ()


# --- skipping -----------------------------------------------------------------------------------------


def assert_skipped(decision, reason, said):
    assert decision.create is None
    assert skipped(decision) == [(timestamp(DUE), reason)]
    assert said in decision.status.skipped[0].message
    assert decision.status.last_schedule_time == timestamp(DUE)
    assert [event.reason for event in decision.events] == ["ChaosRunSkipped"]


def test_a_run_that_is_at_work_forbids_the_next_one():
    decision = plan(seen(runs=(run("weekly-1"),)))
    assert_skipped(decision, "StillRunning", "the ChaosRun weekly-1 has not completed")
    assert decision.actions == ()


def test_an_engaged_switch_skips_the_time():
    switch = ChaosSwitch(
        metadata=ObjectMeta(name="default"), spec=ChaosSwitchSpec(engaged=True, reason="INC-7")
    )
    assert_skipped(plan(seen(switches=(switch,))), "Halted", "ChaosSwitch default is engaged: INC-7")


def test_a_suspended_schedule_lets_its_times_pass_for_good():
    decision = plan(seen(schedule(suspend=True)))
    assert_skipped(decision, "Suspended", "the schedule was suspended")
    assert decision.status.next_times == ()
    assert decision.status.message == "suspended"
    resumed = schedule(plain(decision.status), generation=2)
    assert plan(seen(resumed, now=DUE + timedelta(seconds=5))).create is None


def rollout(phase="Healthy", observed="3"):
    return {
        "metadata": {"name": "web", "namespace": "shop", "generation": 3},
        "status": {"phase": phase, "observedGeneration": observed},
    }


@pytest.mark.parametrize("phase", ["Progressing", "Degraded", "Paused", ""])
def test_no_chaos_while_a_rollout_is_not_at_rest(phase):
    raw = schedule(notDuringRollouts=True)
    decision = plan(seen(raw, rollouts=(rollout(phase),)))
    assert_skipped(decision, "RolloutInProgress", f"the Rollout web is {phase or 'without a phase'}")
    assert plan(seen(raw, rollouts=(rollout(),))).create
    assert plan(seen(rollouts=(rollout(phase),))).create


def test_a_rollout_that_was_just_changed_is_not_at_rest():
    decision = plan(seen(schedule(notDuringRollouts=True), rollouts=(rollout(observed="2"),)))
    assert_skipped(decision, "RolloutInProgress", "not looked at since it was changed")


def test_a_late_start_must_still_be_inside_the_window():
    raw = schedule(windows=[{"from": "13:00", "to": "14:03"}])
    assert plan(seen(raw, now=DUE + timedelta(minutes=2))).create
    assert_skipped(plan(seen(raw, now=DUE + timedelta(minutes=4))), "OutsideWindow", "outside")


# --- missed times -------------------------------------------------------------------------------------


def test_a_time_within_the_deadline_is_made_up_for_and_one_beyond_is_not():
    raw = schedule(startingDeadlineSeconds=600)
    assert plan(seen(raw, now=DUE + timedelta(seconds=600))).create
    assert_skipped(plan(seen(raw, now=DUE + timedelta(seconds=601))), "Missed", "601 s late")


def test_without_a_deadline_five_minutes_are_allowed():
    assert plan(seen(now=DUE + timedelta(seconds=300))).create
    assert plan(seen(now=DUE + timedelta(seconds=301))).create is None


def test_after_a_long_downtime_only_the_latest_time_is_run_and_the_others_are_listed():
    raw = schedule(created=DUE - timedelta(hours=1), schedule="*/10 * * * *")
    decision = plan(seen(raw, now=DUE + timedelta(minutes=31)))
    assert decision.create["metadata"]["annotations"][SCHEDULED_AT] == "2026-10-20T14:30:00Z"
    assert [what for _, what in skipped(decision)] == ["Missed"] * 8
    assert skipped(decision)[0][0] == "2026-10-20T13:10:00Z"
    assert decision.status.last_schedule_time == "2026-10-20T14:30:00Z"


def test_the_list_of_skipped_times_is_bounded_after_a_year_away():
    long_ago = DUE - timedelta(days=365)
    raw = schedule(created=long_ago, schedule="* * * * *", startingDeadlineSeconds=3600)
    decision = plan(seen(raw, now=DUE))
    assert decision.create
    assert len(decision.status.skipped) == SKIPPED_LIMIT
    assert "more than 500 times were missed" in decision.events[0].message


def test_very_many_missed_times_of_which_none_is_recent_are_decided_too():
    raw = schedule(created=DUE - timedelta(days=365), schedule="0 * * * *")
    decision = plan(seen(raw, now=DUE + timedelta(minutes=30)))
    assert decision.create is None
    assert decision.status.last_schedule_time == timestamp(DUE + timedelta(minutes=25))
    again = plan(
        seen(schedule(plain(decision.status), schedule="0 * * * *"), now=DUE + timedelta(minutes=31))
    )
    assert again.events == ()


def test_a_changed_schedule_does_not_run_at_once_for_a_time_it_would_have_had():
    before = plan(seen(schedule(schedule="0 15 * * TUE"), now=DUE - timedelta(hours=1)))
    changed = schedule(plain(before.status), generation=2, schedule="0 14 * * TUE")
    decision = plan(seen(changed, now=DUE + timedelta(seconds=60)))
    assert_skipped(decision, "ScheduleChanged", "changed after this time")


def test_a_change_of_something_else_does_not_lose_an_announced_time():
    before = plan(seen(now=DUE - timedelta(hours=1)))
    changed = schedule(plain(before.status), generation=2, failedRunsHistoryLimit=7)
    assert plan(seen(changed, now=DUE + timedelta(seconds=1))).create


def test_a_run_that_was_never_made_is_told_and_not_made_again():
    decided = plan(seen()).status
    decision = plan(seen(schedule(plain(decided)), now=DUE + timedelta(seconds=9)))
    assert decision.create is None
    assert skipped(decision) == [(timestamp(DUE), "NotMade")]
    assert decision.events[0].warning
    assert decision.status.active == ""
    again = plan(seen(schedule(plain(decision.status)), now=DUE + timedelta(seconds=19)))
    assert (again.events, again.status) == ((), decision.status)


def test_a_run_that_somebody_deleted_is_told_once():
    status = plain(plan(seen()).status) | {"lastRun": NAME}
    decision = plan(seen(schedule(status), now=DUE + timedelta(seconds=9)))
    assert [event.reason for event in decision.events] == ["ChaosRunGone"]
    assert decision.status.skipped == ()


# --- Replace ------------------------------------------------------------------------------------------


def test_replace_ends_the_run_in_the_way_and_waits_until_it_is_undone():
    raw = schedule(concurrencyPolicy="Replace")
    active = run("weekly-1")
    decision = plan(seen(raw, runs=(active,)))
    assert decision.create is None
    (patch,) = decision.actions
    assert isinstance(patch, Patch)
    assert (patch.name, patch.patch["spec"]) == ("weekly-1", {"abort": True})
    assert patch.patch["metadata"] == {"uid": "uid-weekly-1"}
    assert decision.status.last_schedule_time is None
    assert "waiting until the ChaosRun weekly-1" in decision.status.message

    later = DUE + timedelta(seconds=40)
    waiting = schedule(plain(decision.status), concurrencyPolicy="Replace")
    still = plan(seen(waiting, now=later, runs=(run("weekly-1", "Reverting", abort=True),)))
    assert (still.create, still.actions, still.events) == (None, (), ())

    undone = done("weekly-1", "Inconclusive")
    assert plan(seen(waiting, now=later, runs=(undone,))).create["metadata"]["name"] == NAME


def test_replace_gives_up_when_the_undoing_takes_longer_than_the_deadline():
    raw = schedule(concurrencyPolicy="Replace")
    decision = plan(seen(raw, now=DUE + timedelta(seconds=301), runs=(run("weekly-1", abort=True),)))
    assert_skipped(decision, "Missed", "301 s late")


def test_replace_ends_nothing_when_the_time_may_not_be_run_anyway():
    switch = ChaosSwitch(metadata=ObjectMeta(name="x"), spec=ChaosSwitchSpec(engaged=True))
    raw = schedule(concurrencyPolicy="Replace")
    assert_skipped(plan(seen(raw, runs=(run("weekly-1"),), switches=(switch,))), "Halted", "engaged")


# --- verdicts and history -----------------------------------------------------------------------------


def test_how_a_run_ended_is_told_once_and_kept():
    before = schedule(plain(plan(seen()).status) | {"lastRun": NAME})
    ended = done(NAME, at=DUE)
    decision = plan(seen(before, now=DUE + timedelta(minutes=6), runs=(ended,)))
    assert [event.reason for event in decision.events] == ["ChaosRunSucceeded"]
    status = decision.status
    assert (status.active, status.last_run, status.last_verdict) == ("", NAME, "Successful")
    assert status.last_successful_time == "2026-10-20T14:05:00Z"
    again = plan(seen(schedule(plain(status)), now=DUE + timedelta(minutes=7), runs=(ended,)))
    assert (again.events, again.status) == ((), status)


def test_a_failed_run_is_a_warning_and_no_success():
    before = schedule(plain(plan(seen()).status))
    ended = done(NAME, "Failed", at=DUE)
    decision = plan(seen(before, now=DUE + timedelta(minutes=6), runs=(ended,)))
    assert [(event.reason, event.warning) for event in decision.events] == [("ChaosRunFailed", True)]
    assert decision.status.last_successful_time is None


def test_history_is_kept_to_its_limits_by_verdict_and_age():
    runs = [done(f"g{n}", at=DUE - n * WEEK) for n in range(1, 5)]
    runs += [done(f"b{n}", verdict, DUE - n * WEEK) for n, verdict in ((1, "Failed"), (2, "Error"))]
    raw = schedule(successfulRunsHistoryLimit=2, failedRunsHistoryLimit=1)
    decision = plan(seen(raw, now=DUE - timedelta(hours=1), runs=(*runs, run("active"))))
    assert [one.name for one in decision.actions if isinstance(one, Delete)] == ["g4", "g3", "b2"]
    assert all(one.uid == f"uid-{one.name}" for one in decision.actions)


def test_deleted_evidence_does_not_change_what_is_known():
    raw = schedule(
        {"lastVerdict": "Failed", "lastSuccessfulTime": "2026-10-13T14:05:00Z", "lastRun": "weekly-1"}
    )
    decision = plan(seen(raw, now=DUE - timedelta(hours=1)))
    assert (decision.status.last_verdict, decision.status.last_run) == ("Failed", "weekly-1")
    assert decision.status.last_successful_time == "2026-10-13T14:05:00Z"


# --- what is wrong ------------------------------------------------------------------------------------


def test_a_schedule_with_problems_does_nothing_but_say_so():
    decision = plan(seen(problems=(Problem("spec.schedule", "is wrong"),)))
    assert decision.create is None
    assert decision.status.message == "InvalidSpec: spec.schedule: is wrong"
    assert decision.status.next_times == ()


def test_a_schedule_that_never_comes_says_so_and_does_not_search_again_by_itself():
    decision = plan(seen(schedule(schedule="0 3 * * *", windows=[{"from": "09:00", "to": "17:00"}])))
    assert decision.status.message.startswith("no time comes within the next five years")
    assert decision.wake_at is None


def test_a_schedule_that_is_over_says_so_and_runs_nothing_more():
    raw = schedule(notAfter="2026-10-20T13:59:59Z")
    decision = plan(seen(raw))
    assert decision.create is None
    assert decision.status.message == "over: no run begins after 2026-10-20T13:59:59Z (notAfter)"
    assert (decision.status.next_times, decision.wake_at) == ((), None)


def test_a_schedule_that_has_not_begun_shows_its_first_time():
    decision = plan(seen(schedule(notBefore="2026-11-01T00:00:00Z")))
    assert decision.create is None
    assert decision.status.message == "next at 2026-11-03T14:00:00Z"
    assert decision.wake_at == datetime(2026, 11, 3, 14, tzinfo=UTC)


def test_a_late_start_must_still_be_before_the_end():
    raw = schedule(notAfter="2026-10-20T14:03:00Z")
    assert plan(seen(raw, now=DUE + timedelta(minutes=2))).create
    decision = plan(seen(raw, now=DUE + timedelta(minutes=4)))
    assert_skipped(decision, "OutsideWindow", "after its end (2026-10-20T14:03:00Z)")


def test_a_plan_applied_to_its_own_outcome_is_empty():
    first = plan(seen())
    made = view(first.create, ChaosRun)
    second = plan(seen(schedule(plain(first.status)), runs=(made,)))
    third = plan(seen(schedule(plain(second.status)), runs=(made,)))
    assert second.status.last_run == NAME
    assert (third.status, third.create, third.actions, third.events) == (second.status, None, (), ())


# --- over time ----------------------------------------------------------------------------------------

ACTS = st.one_of(
    st.tuples(st.just("pass"), st.integers(0, 900)),
    st.tuples(st.sampled_from(["crash", "refused"]), st.integers(0, 900)),
    st.tuples(
        st.sampled_from(["complete", "delete", "suspend", "edit", "halt", "gone for long"]), st.just(0)
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTS, max_size=60), st.sampled_from(["Forbid", "Replace"]), st.sampled_from(["", "7m"]))
def test_no_history_runs_a_time_twice_and_every_time_is_run_or_told(acts, policy, jitter):
    """Passes at any moments, crashes before and refusals at the creation, runs that end or are deleted, people."""
    spec = {"schedule": "*/10 13-15 * * *", "concurrencyPolicy": policy, "jitter": jitter, "suspend": False}
    now, begin = DUE, DUE - timedelta(minutes=5)
    status, runs, generation, halted = {}, {}, 1, False
    created, told, decided, overflown = [], set(), None, False
    for act, seconds in acts:
        now += timedelta(seconds=seconds)
        match act:
            case "suspend":
                spec, generation = spec | {"suspend": not spec["suspend"]}, generation + 1
            case "edit":
                spec, generation = spec | {"failedRunsHistoryLimit": generation % 3}, generation + 1
            case "halt":
                halted = not halted
            case "gone for long":
                now += timedelta(hours=7)
            case "complete":
                runs = {
                    name: msgspec.structs.replace(one, status=done(name).status) for name, one in runs.items()
                }
            case "delete":
                runs = {}
            case _:
                raw = schedule(status, generation=generation, created=begin, **spec)
                switch = ChaosSwitch(metadata=ObjectMeta(name="s"), spec=ChaosSwitchSpec(engaged=halted))
                decision = plan(seen(raw, now=now, runs=tuple(runs.values()), switches=(switch,)))
                status = plain(decision.status)
                last = time_of(decision.status.last_schedule_time)
                assert decided is None or last >= decided
                decided = last
                told |= {
                    event.message.split(": ")[0]
                    for event in decision.events
                    if "no ChaosRun" in event.message
                }
                if decision.create is not None:
                    at = time_of(decision.create["metadata"]["annotations"][SCHEDULED_AT])
                    assert at not in created
                    assert not any(not one.completed for one in runs.values())
                    created.append(at)
                    if act == "pass":
                        runs[decision.create["metadata"]["name"]] = view(decision.create, ChaosRun)
                for action in decision.actions:
                    if isinstance(action, Delete):
                        del runs[action.name]
    if decided is None or overflown:  # more than are told one by one
        return
    everything = next_times(view(schedule(**spec), ChaosSchedule).spec, begin, 400, uid="schedule-uid")
    for time in everything:
        if time.nominal <= decided:
            was_told = f"Started no ChaosRun for {timestamp(time.at)}" in told
            assert (time.nominal in created) or was_told
