import pytest

from rollout.api.codec import encode
from rollout.cli.exits import Refused
from rollout.cli.render import change_line, list_lines, screen, tree_text
from rollout.cli.summary import rollout_of, summarise
from rollout.cli.text import age, ansi, plain, shorten, span
from rollout.cli.tree import pod_status, set_status, tree
from rollout.cli.verbs import promote
from tests.unit.cli import world

RUNS = [world.run("web-frontend-7bf9d4c8d-2", 2, "Running", successful=3, failed=1)]


def shown(obj=None, sets=None, pods=None, runs=RUNS):
    obj = obj or world.rollout()
    sets = world.replica_sets() if sets is None else sets
    return tree(rollout_of(obj), sets, world.pods() if pods is None else pods, runs, world.NOW)


def test_the_whole_picture_of_a_canary():
    assert tree_text(shown(), world.NOW) == [
        "Name:            web-frontend",
        "Namespace:       frontend-team-web-prod",
        "Status:          ॥ Paused",
        "Message:         CanaryPauseStep",
        "Strategy:        Canary",
        "  Step:          1/11",
        "  SetWeight:     10",
        "  ActualWeight:  10",
        "Images:          web-frontend:v2 (canary)",
        "                 web-frontend:v1 (stable)",
        "Replicas:",
        "  Desired:       10",
        "  Current:       11",
        "  Updated:       1",
        "  Ready:         11",
        "  Available:     11",
        "",
        "NAME                                     KIND         STATUS     AGE  INFO",
        "⟳ web-frontend                           Rollout      ॥ Paused   70m  goes on in 0s",
        "├──# revision:2",
        "│  ├──⧉ web-frontend-7bf9d4c8d           ReplicaSet   ✔ Healthy  10m  canary",
        "│  │  └──□ web-frontend-7bf9d4c8d-x2z9k  Pod          ✔ Running  10m  ready:1/1",
        "│  └──α web-frontend-7bf9d4c8d-2         AnalysisRun  ✔ Running  10m  ✔ 3,✖ 1",
        "└──# revision:1",
        "   └──⧉ web-frontend-5f6d8c7b9           ReplicaSet   ✔ Healthy  70m  stable",
        "      ├──□ web-frontend-5f6d8c7b9-aaaa0  Pod          ✔ Running  10m  ready:1/1",
        "      └──□ web-frontend-5f6d8c7b9-aaaa1  Pod          ✔ Running  10m  ready:1/1",
    ]


LOAD = "42 s of 60 s, 198 requests/s, 0.3 % failed, p95 41 ms"


def loaded():
    run = world.run("web-frontend-7bf9d4c8d-2", 2, "Running", successful=1)
    ended = {"phase": "Successful", "metadata": {"progress": "old"}}
    running = {"phase": "Running", "metadata": {"progress": LOAD}}
    run["status"]["metricResults"] += [
        {"name": "load", "measurements": [ended, running]},
        {"name": "done", "measurements": [ended]},
    ]
    return shown(runs=[run])


def test_chaos_that_goes_on_names_its_run():
    run = world.run("web-frontend-7bf9d4c8d-2", 2, "Running", successful=1)
    told = {"progress": "Injecting, step 1 of 1", "chaosRun": "web-frontend-7bf9d4c8d-2-chaos-1"}
    run["status"]["metricResults"] += [
        {"name": "chaos", "measurements": [{"phase": "Running", "metadata": told}]}
    ]
    lines = [line.strip(" │") for line in tree_text(shown(runs=[run]), world.NOW)]
    at = lines.index("chaos: Injecting, step 1 of 1")
    assert lines[at + 1] == "more: rollout chaos get web-frontend-7bf9d4c8d-2-chaos-1"


def test_a_release_that_a_switch_holds_waits_for_that_and_not_for_promote():
    message = "held by ChaosSwitch default: incident"
    raw = world.rollout(phase="Paused", message=message, pauseConditions=None, controllerPause=False)
    (line,) = [line for line in tree_text(shown(raw), world.NOW) if " Rollout " in line]
    assert line.endswith("waits for chaos resume")
    with pytest.raises(Refused, match="held by ChaosSwitch default: incident\nTo let releases begin again"):
        promote(rollout_of(raw))


def test_a_load_test_that_goes_on_is_told_below_its_run_over_the_whole_width():
    lines = tree_text(loaded(), world.NOW)
    place = next(i for i, line in enumerate(lines) if "AnalysisRun" in line)
    assert lines[place + 1] == f"│        load: {LOAD}"
    plainly = tree_text(shown(), world.NOW)
    assert lines[:place] == plainly[:place], "the columns stay where they are"
    assert lines[place + 2 :] == plainly[place + 1 :]
    (narrow,) = [line for line in tree_text(loaded(), world.NOW, width=60) if "load: " in line]
    assert len(narrow) <= 60


def test_what_belongs_to_others_is_left_out():
    foreign = world.replica_set("zzz", 3, 1, "other:v1")
    foreign["metadata"]["ownerReferences"][0]["uid"] = "somebody-else"

    assert "zzz" not in "\n".join(tree_text(shown(sets=[*world.replica_sets(), foreign]), world.NOW))


def test_lines_fit_into_80_columns_by_shortening_names():
    lines = tree_text(shown(), world.NOW, width=72)

    assert max(len(line) for line in lines) <= 72
    assert any("…" in line and "x2z9k" in line for line in lines)


@pytest.mark.parametrize("height", [10, 16, 23, 40])
def test_a_screen_is_never_higher_than_the_terminal(height):
    old = [world.replica_set(f"old{i}", i, 0, "web-frontend:v0") for i in range(3, 12)]
    lines = screen(shown(sets=[*world.replica_sets(), *old]), world.NOW, width=80, height=height, paint=plain)

    assert len(lines) <= height
    assert "web-frontend" in lines[0]
    assert (height < 16) == ("more lines" in lines[-1])


def test_old_sets_are_kept_with_their_deadline_and_empty_ones_are_scaled_down():
    kept = world.replica_set(
        "abc", 1, 2, "web-frontend:v1", **{"scale-down-deadline": "2026-11-21T12:10:30Z"}
    )
    gone = world.replica_set("def", 1, 0, "web-frontend:v0")
    text = "\n".join(tree_text(shown(sets=[kept, gone]), world.NOW))

    assert "delay:30s" in text
    assert "• ScaledDown" in text


def test_a_replica_set_is_healthy_only_when_all_its_pods_are_available():
    one = world.replica_set("abc", 1, 2, "v1")
    assert set_status(one) == "Healthy"
    one["status"]["availableReplicas"] = 1
    assert set_status(one) == "Progressing"
    one["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True"}]
    assert set_status(one) == "Degraded"


def test_a_pods_state_is_named_as_kubectl_does():
    waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}
    assert pod_status(world.pod("a", "b", containerStatuses=[waiting])) == ("CrashLoopBackOff", "back-off")
    leaving = world.pod("a", "b")
    leaving["metadata"]["deletionTimestamp"] = world.STARTED
    assert pod_status(leaving)[0] == "Terminating"
    ended = {"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    assert pod_status(world.pod("a", "b", containerStatuses=[ended]))[0] == "Error"
    assert pod_status({})[0] == "Pending"


def test_blue_green_roles_come_from_the_services():
    obj = world.blue_green()
    old, new = (world.replica_set(name, i, 3, f"myapp:{name}") for i, name in ((1, "old"), (2, "new")))
    for one in (old, new):
        one["metadata"]["ownerReferences"][0]["uid"] = "u-bg"
    summary = tree(rollout_of(obj), [old, new], [], [], world.NOW).summary

    assert [(one.image, one.roles) for one in summary.images] == [
        ("myapp:new", ("preview",)),
        ("myapp:old", ("stable", "active")),
    ]
    assert (summary.strategy, summary.step, summary.weight) == ("BlueGreen", None, None)


def test_a_spec_that_cannot_be_read_is_shown_as_degraded_and_stops_nothing():
    obj = world.rollout()
    obj["spec"]["replicas"] = "many"
    del obj["status"]
    summary = summarise(rollout_of(obj))

    assert summary.phase in {"Degraded", "Progressing"}
    assert tree_text(shown(obj), world.NOW)


def test_weights_after_abort_and_at_the_end():
    aborted = summarise(rollout_of(world.rollout(abort=True, phase="Degraded", message="RolloutAborted: x")))
    assert aborted.weight.set == 0
    finished = summarise(rollout_of(world.healthy()))
    assert (finished.weight.set, finished.weight.actual, finished.step.index) == (100, 100, 11)


def test_without_a_router_the_share_of_pods_is_the_weight():
    obj = world.rollout(canary={}, replicas=10, updatedReplicas=2)
    assert summarise(rollout_of(obj)).weight.actual == 20


def test_the_list_has_the_columns_that_people_know():
    summaries = [summarise(rollout_of(obj)) for obj in (world.rollout(), world.blue_green())]

    assert list_lines(summaries, world.NOW) == [
        "NAME             STRATEGY   STATUS  STEP  SET-WEIGHT  READY  DESIRED  UP-TO-DATE  AVAILABLE  AGE",
        "web-frontend     Canary     Paused  1/11  10          11/11  10       1           11         70m",
        "myapp-bluegreen  BlueGreen  Paused  -     -           0/0    3        0           0          10m",
    ]
    assert list_lines(summaries, world.NOW, namespaces=True, wide=True)[0].startswith("NAMESPACE")


def test_a_change_is_one_line():
    assert change_line(summarise(rollout_of(world.rollout()))) == (
        "Paused  step 1/11  weight 10/10  updated 1/10 available 11  CanaryPauseStep"
    )


def test_the_json_has_every_field_also_when_empty():
    data = encode(summarise(rollout_of(world.blue_green())))

    for name in (b'"schemaVersion":1', b'"step":null', b'"weight":null', b'"aborted":false', b'"pauses":["'):
        assert name in data


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (330, "5m30s"), (1500, "25m"), (3 * 3600 + 300, "3h5m"),
     (47 * 3600, "47h"), (50 * 3600, "2d2h"), (9 * 86400, "9d"), (800 * 86400, "2y70d"), (-5, "0s")],
)  # fmt: skip
def test_spans_read_as_kubectl_writes_them(seconds, text):
    assert span(seconds) == text


def test_small_things():
    assert age(None, world.NOW) == ""
    assert age("nonsense", world.NOW) == ""
    assert shorten("web-frontend-7bf9d4c8d-x2z9k", 20) == "web-fronte…c8d-x2z9k"
    assert len(shorten("web-frontend-7bf9d4c8d-x2z9k", 20)) == 20
    assert ansi("x", "green") == "\x1b[32mx\x1b[0m"
    assert ansi("x", "no such colour") == "x"


def test_a_pause_says_what_it_waits_for():
    timed = world.rollout(
        pauseConditions=[{"reason": "CanaryPauseStep", "startTime": "2026-11-21T12:09:45Z"}]
    )
    broken = world.rollout(pauseConditions=[{"reason": "CanaryPauseStep", "startTime": "soon"}])
    automatic = world.blue_green(
        pauseConditions=[{"reason": "BlueGreenPause", "startTime": "2026-11-21T12:09:45Z"}]
    )
    automatic["spec"]["strategy"]["blueGreen"] |= {"autoPromotionEnabled": True, "autoPromotionSeconds": 40}

    assert shown(timed).root.info == ("goes on in 15s",)
    assert shown(world.waiting_for_person()).root.info == ("waits for promote",)
    assert shown(automatic).root.info == ("goes on in 25s",)
    assert shown(broken).root.info == ()
    assert shown(world.healthy()).root.info == ()
