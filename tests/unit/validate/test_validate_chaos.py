from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.api.chaos import FAULT_KINDS, ChaosRunSpec
from rollout.api.codec import view
from rollout.core.validate_chaos import FAMILY, validate_run, warnings

PROMETHEUS = {"prometheus": {"address": "http://prometheus:9090", "query": "up"}}
UP = {"name": "up", "mode": "During", "provider": PROMETHEUS, "successCondition": "result[0] == 1"}


def run(fault: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    body = {
        "target": {"workloadRef": {"kind": "Deployment", "name": "web"}},
        "steps": [{"faults": [fault or {"name": "kill", "podDelete": {}}]}],
        "probes": [UP],
    }
    return {"metadata": {"name": "run", "namespace": "prod"}, "spec": body | spec}


def told(obj: Any) -> list[str]:
    return [str(one) for one in validate_run(obj)]


def fault(**fields: Any) -> dict[str, Any]:
    return {"name": "fault", **fields}


def test_a_right_run_has_no_problem_and_no_warning():
    assert told(run()) == []
    assert warnings(run()) == []


def test_a_fault_in_a_route_has_no_problem():
    assert told(run(fault(httpLatency={"delay": "1s", "httpRoute": {"name": "web", "rule": "all"}}))) == []


def test_every_kind_of_fault_has_a_family():
    assert set(FAMILY) == set(FAULT_KINDS)


@pytest.mark.parametrize(
    ("obj", "path", "words"),
    [
        (run(durations="3s"), "spec.durations", 'did you mean "duration"'),
        (run(duration="soon"), "spec.duration", "is not a duration"),
        (run(duration="13h"), "spec.duration", "must be 1 s to 43200 s"),
        (run(revertTimeout="1h"), "spec.revertTimeout", "must be 1 s to 600 s"),
        (run(startAt="tomorrow"), "spec.startAt", "RFC 3339"),
        (run(steps=[]), "spec.steps", "at least one step"),
        (run(steps=[{}]), "spec.steps[0].faults", "at least one fault"),
        (run(fault()), "spec.steps[0].faults[0]", "exactly one kind, found none"),
        (run(fault(podDelete={}, httpAbort={})), "spec.steps[0].faults[0]", "found podDelete and httpAbort"),
        (run(fault(podDelete={}) | {"name": "A b"}), "spec.steps[0].faults[0].name", "lower-case"),
        (run(target={}), "spec.target", "write workloadRef, selector or podNames"),
        (run(target={"selector": {}}), "spec.target.selector", "would mean every pod"),
        (run(target={"podNames": ["a"], "count": 1, "percent": 5}), "spec.target", "exclude each other"),
        (
            run(target={"podNames": ["a"], "namespace": "kube-system"}),
            "spec.target.namespace",
            "never harmed",
        ),
        (run(target={"workloadRef": {"kind": "Job", "name": "a"}}), "spec.target.workloadRef.kind", "one of"),
        (
            run(target={"workloadRef": {"kind": "Deployment", "name": "a", "role": "canary"}}),
            "spec.target.workloadRef.role",
            "roles are those of a Rollout",
        ),
        (run(fault(scaleDown={})), "spec.steps[0].faults[0].scaleDown", "replicas and percent"),
        (
            run(fault(scaleDown={"replicas": 1}), target={"podNames": ["a"]}),
            "spec.target.workloadRef",
            "needs the workload by name",
        ),
        (run(fault(httpLatency={"delay": ""})), "spec.steps[0].faults[0].httpLatency.delay", "how long"),
        (run(fault(httpLatency={"delay": "x"})), "spec.steps[0].faults[0].httpLatency.delay", "duration"),
        (
            run(fault(httpLatency={"delay": "1s", "httpRoute": {"rule": "all"}})),
            "spec.steps[0].faults[0].httpLatency.httpRoute.name",
            "",
        ),
        (
            run(fault(httpAbort={"httpRoute": {"name": ""}})),
            "spec.steps[0].faults[0].httpAbort.httpRoute.name",
            "the HTTPRoute whose requests are meant",
        ),
        (
            run(fault(httpAbort={"port": 80, "httpRoute": {"name": "web"}})),
            "spec.steps[0].faults[0].httpAbort.port",
            "a route knows none",
        ),
        (
            run(fault(podDelete={"interval": "1s"}), duration="1h"),
            "spec.steps[0].faults[0].podDelete.interval",
            "3600 rounds",
        ),
        (run(duration="2h"), "spec.steps", "limits.maxDuration is 1h"),
        (run(probes=[UP, UP]), "spec.probes[1].name", "two probes have this name"),
        (run(probes=[{"name": "up", "mode": "End"}]), "spec.probes[0]", "exactly one of provider"),
        (run(probes=[UP | {"successCondition": ""}]), "spec.probes[0].successCondition", "any answer"),
        (
            run(probes=[UP | {"successCondition": "results > 1"}]),
            "spec.probes[0].successCondition",
            "results",
        ),
        (run(probes=[UP | {"interval": "0s"}]), "spec.probes[0].interval", "0.1 s"),
        (
            run(probes=[UP, UP | {"name": "b", "provider": {"nobody": {}}}]),
            "spec.probes[1].provider",
            "nobody",
        ),
        (run(probes=[UP | {"tolerance": {"ratio": 1.5}}]), "spec.probes[0].tolerance.ratio", "0 to 1"),
        (
            run(stopConditions=[{"provider": PROMETHEUS, "successCondition": "result[0] < 1"}]),
            "spec.stopConditions[0].name",
            "a name of its own",
        ),
        (
            run(stopConditions=[{"name": "slo", "provider": PROMETHEUS, "successCondition": "result[0] <"}]),
            "spec.stopConditions[0].successCondition",
            "",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(obj, path, words):
    found = told(obj)

    assert any(one.startswith((f"{path}: ", f"{path}.")) for one in found), found
    assert any(words in one for one in found), found


def test_two_faults_of_one_family_on_one_target_are_not_done_in_one_step():
    slow, broken = fault(httpLatency={"delay": "1s"}), {"name": "broken", "httpAbort": {}}

    assert "get in the way of fault" in told(run(steps=[{"faults": [slow, broken]}]))[0]
    assert told(run(steps=[{"faults": [slow]}, {"faults": [broken]}])) == []


def test_a_run_without_probes_is_allowed_and_warned_of():
    obj = run(probes=[])

    assert told(obj) == []
    assert [one.path for one in warnings(obj)] == ["spec.probes"]


def test_rounds_that_would_find_nobody_are_warned_of():
    assert "Replaced" in str(warnings(run(fault(podDelete={"interval": "5s"})))[0])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "faults", "podDelete", "target", "delay", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
FIELDS = [
    "target",
    "steps",
    "probes",
    "stopConditions",
    "args",
    "limits",
    "duration",
    "seed",
    "startAt",
    "ramp",
]


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_any_json_is_judged_and_what_passes_can_be_read(spec):
    obj = run(**spec)

    if not validate_run(obj):
        view(obj["spec"], ChaosRunSpec)
