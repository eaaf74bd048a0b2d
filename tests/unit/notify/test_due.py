"""Which messages are due, exactly once, in whatever order the states are looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rollout.notify.config import Config, parse
from rollout.notify.due import HORIZON, Decided, Seen, baseline, due
from rollout.notify.occurrences import edges, occurrences
from rollout.notify.record import LIMIT, SINCE, TOLD, pruned, told
from rollout.notify.rendering import note_of
from tests.unit.notify.objects import ADDRESS, QUERY, T1, aborted, analysis, completed, rollout

NOW = datetime(2026, 1, 5, 9, 10, tzinfo=UTC)
ALL = "notifications.argoproj.io/subscribe.{}.slack"
BASE = {
    "service.slack": "token: $t",
    "service.pagerdutyv2": "serviceKeys: {shop: $k}",
    "service.webhook.ci": "url: https://ci.example",
}
TRIGGERS = ("on-rollout-updated", "on-rollout-step-completed", "on-rollout-aborted", "on-rollout-rolled-back",
            "on-rollout-completed", "on-rollout-paused", "on-rollout-retry", "on-rollout-resumed")  # fmt: skip


def config(**more: str) -> Config:
    found, problems = parse({**BASE, **{name.replace("__", "."): text for name, text in more.items()}})
    assert problems == []
    return found


def subscribe(obj: dict[str, Any], *triggers: str, to: str = "slack:releases") -> dict[str, Any]:
    service, _, recipient = to.partition(":")
    for trigger in triggers:
        obj["metadata"]["annotations"][f"notifications.argoproj.io/subscribe.{trigger}.{service}"] = recipient
    return obj


def decide(obj: dict[str, Any], cfg: Config | None = None, **more: Any) -> Decided:
    return due(occurrences(obj), Seen(obj), cfg or config(), NOW, **more)


def test_who_is_subscribed_is_told() -> None:
    found = decide(subscribe(aborted(), "on-rollout-aborted")).messages
    assert [(one.trigger, str(one.destination), one.templates) for one in found] == [
        ("on-rollout-aborted", "slack:releases", ("rollout-aborted",))
    ]


def test_nobody_is_told_what_he_has_not_asked_for() -> None:
    assert decide(aborted()) == Decided()
    assert decide(subscribe(aborted(), "on-rollout-completed")) == Decided()


def test_what_was_told_is_not_due() -> None:
    obj = subscribe(aborted(), "on-rollout-aborted")
    (first,) = decide(obj).messages
    assert decide(obj, told={first.key}).messages == ()


def test_what_happened_before_anybody_told_anything_is_not_due() -> None:
    obj = subscribe(aborted(), "on-rollout-aborted")
    assert decide(obj, since=NOW).messages == ()
    assert len(decide(obj, since=NOW - timedelta(hours=1)).messages) == 1


def test_what_happened_long_ago_is_not_due() -> None:
    obj = subscribe(aborted(), "on-rollout-aborted")
    assert due(occurrences(obj), Seen(obj), config(), NOW + HORIZON).messages == ()


def test_a_trigger_that_does_not_exist_is_a_problem_and_no_message() -> None:
    decided = decide(subscribe(aborted(), "on-nope"))
    assert (decided.messages, decided.problems) == ((), ("there is no trigger on-nope",))


def test_a_runs_rollout_subscribes_for_its_runs() -> None:
    owner, run = subscribe(rollout(), "on-analysis-run-failed"), analysis()
    found = due(occurrences(run), Seen(run, owner, (run,)), config(), NOW).messages
    assert [one.occurrence.reason for one in found] == ["AnalysisRunFailed"]


def test_who_was_woken_up_is_told_of_the_end_without_asking_for_it() -> None:
    obj = subscribe(completed(), "on-rollout-aborted", to="pagerdutyv2:shop")
    assert [one.trigger for one in decide(obj).messages] == ["on-rollout-completed"]
    assert decide(subscribe(completed(), "on-rollout-aborted")).messages == ()


def test_a_condition_decides_and_once_per_makes_it_once() -> None:
    cfg = config(
        trigger__mine="- when: rollout.status.phase == 'Degraded'\n  oncePer: rollout.status.abortedAt\n  send: [rollout-aborted]"
    )
    obj = subscribe(aborted(), "mine")
    found = decide(obj, cfg).messages
    assert len(found) == 1, "two occurrences, one abortedAt"
    assert decide(subscribe(rollout(), "mine"), cfg).messages == ()
    later = subscribe(aborted(), "mine")
    later["status"]["abortedAt"] = "2026-01-05T09:05:00Z"
    assert {one.key for one in decide(later, cfg).messages}.isdisjoint({one.key for one in found})


def test_a_condition_about_another_kind_is_silent() -> None:
    cfg = config(trigger__mine="- when: chaosRun.status.phase == 'Completed'\n  send: [rollout-aborted]")
    assert decide(subscribe(aborted(), "mine"), cfg) == Decided()


def test_a_condition_without_an_answer_is_a_problem_and_no_message() -> None:
    cfg = config(trigger__mine="- when: rollout.status.phase > 3\n  send: [rollout-aborted]")
    decided = decide(subscribe(aborted(), "mine"), cfg)
    assert decided.messages == ()
    assert len(decided.problems) == 1


def test_a_new_subscription_tells_what_happens_from_now_on() -> None:
    before, after = decide(aborted()), decide(subscribe(aborted(), "on-rollout-aborted"))
    assert set(baseline(before.messages, after.messages)) == {one.key for one in after.messages}


# --- the message --------------------------------------------------------------------------------------


def test_an_abort_carries_the_evidence() -> None:
    obj = subscribe(aborted(), "on-rollout-aborted")
    (one,) = decide(obj).messages
    note = note_of(one, Seen(obj, None, (analysis(),)), config(), {})
    (evidence,) = note.evidence
    assert (evidence.metric, evidence.value, evidence.query) == ("success-rate", "[0.42]", QUERY)
    assert evidence.rule == "success: result[0] >= 0.95"
    assert evidence.link.startswith("http://prometheus.monitoring:9090/graph?g0.expr=sum%28rate%28")
    assert "pw" in ADDRESS
    assert "pw" not in evidence.link
    assert dict(note.facts)["Image"] == "registry.io/shop/web:v2"


def test_evidence_of_another_revision_is_not_shown() -> None:
    obj, run = subscribe(aborted(), "on-rollout-aborted"), analysis()
    run["metadata"]["labels"]["rollouts-pod-template-hash"] = "old"
    (one,) = decide(obj).messages
    assert note_of(one, Seen(obj, None, (run,)), config(), {}).evidence == ()


def test_the_templates_own_words_are_used() -> None:
    cfg = config(
        template__mine="message: '{{.rollout.metadata.name}} {{.context.env}} {{(index .evidence 0).value}}'\n"
        "webhook: {ci: {path: '/{{.recipient}}x', body: '{\"s\": \"{{.secrets.t}}\"}'}}",
        **{"trigger__on-rollout-aborted": "- send: [mine]"},
        context="env: eu",
    )
    obj = subscribe(aborted(), "on-rollout-aborted", to="ci:")
    (one,) = decide(obj, cfg).messages
    note = note_of(one, Seen(obj, None, (analysis(),)), cfg, {"t": "xyz"})
    assert note.text == "web eu [0.42]"
    assert note.section == {"path": "/x", "body": '{"s": "xyz"}'}


# --- exactly once, whatever the order of passes ---------------------------------------------------------

PAUSED = {"pauseConditions": [{"reason": "CanaryPauseStep", "startTime": T1}], "currentStepIndex": 1}
LIFE: list[dict[str, Any]] = [
    rollout(), rollout(currentStepIndex=1), rollout(**PAUSED), rollout(currentStepIndex=2), aborted(), rollout(),
    rollout(currentStepIndex=2), completed(),
]  # fmt: skip
for _index, _state in enumerate(LIFE):
    subscribe(_state, *TRIGGERS)
    _state["metadata"]["resourceVersion"] = str(_index)


def play(looks: list[tuple[int, bool]]) -> list[str]:
    """The ids of what is sent when states are looked at in this order; True: by a process that has just started."""
    record: dict[str, str] = {}
    sent: list[str] = []
    last: dict[str, Any] | None = None
    for index, restarted in looks:
        state = LIFE[index]
        happened = occurrences(state)
        if last is not None and not restarted:
            happened += edges(last, state)
        told_already = {name.removeprefix(TOLD) for name in record}
        for one in due(happened, Seen(state), config(), NOW, told=told_already).messages:
            sent.append(one.occurrence.id)
            record |= {name: value or "" for name, value in told(one.key, NOW).items()}
        last = state
    return sent


WHOLE = [(index, False) for index in range(len(LIFE))]


def test_a_whole_life_is_told_once() -> None:
    told_ids = play(WHOLE)
    assert sorted(told_ids) == sorted(set(told_ids))
    assert {one.partition("/")[0] for one in told_ids} == {
        "updated", "step", "paused", "resumed", "aborted", "rolledback", "retry", "completed"
    }  # fmt: skip


@given(st.data())
def test_looking_again_and_restarting_tells_nothing_twice_and_leaves_no_state_out(
    data: st.DataObject,
) -> None:
    looks: list[tuple[int, bool]] = []
    for index in range(len(LIFE)):
        repeats = data.draw(st.integers(1, 3))
        looks += [(index, data.draw(st.booleans())) for _ in range(repeats)]
    sent = play(looks)
    assert len(sent) == len(set(sent))
    level = {one.id for state in LIFE for one in occurrences(state) if one.trigger in TRIGGERS}
    assert level <= set(sent)


# --- the record ---------------------------------------------------------------------------------------


def test_the_record_forgets_what_is_old_and_not_evident() -> None:
    data = {
        **told("a", NOW - HORIZON * 2),
        **told("b", NOW - HORIZON * 2),
        **told("c", NOW),
        SINCE: "2026-01-01T00:00:00Z",
    }
    data["open-x"] = "2025-01-01T00:00:00Z"
    kept = {name: value or "" for name, value in data.items()}
    assert pruned(kept, NOW, {"b"}) == {f"{TOLD}a": None}


def test_the_record_is_bounded_and_what_it_drops_is_not_told_again() -> None:
    data = {f"{TOLD}{number:05}": f"2026-01-05T09:{number % 10:02}:00Z" for number in range(LIMIT + 5)}
    change = pruned(data, NOW, {name.removeprefix(TOLD) for name in data})
    assert len([name for name, value in change.items() if value is None]) == 5
    assert change[SINCE] == "2026-01-05T09:00:00Z"
