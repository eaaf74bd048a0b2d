"""Which providers the operator allows where, and which Secrets."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from analysis.lasting import NUMBER, START_AT, Act
from analysis.measuring import Measuring
from analysis.policy import CONSENT, Policy
from analysis.providers.base import Progress, Reading
from rollout.api.analysis import AnalysisRun, Measurement, Metric
from rollout.api.codec import view
from rollout.api.features import FEATURES, PROVIDERS
from rollout.api.meta import timestamp
from rollout.errors import InvalidSpec
from rollout.runtime.clock import SystemClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WITHOUT_JOBS = tuple(one for one in FEATURES if one != "jobs")


def test_all_providers_are_allowed_unless_somebody_says_otherwise():
    assert [Policy().problem("shop", one, "p") for one in PROVIDERS] == [None] * len(PROVIDERS)


def test_a_provider_that_is_not_allowed_is_named_with_those_that_are():
    policy = Policy(providers=("web", "prometheus"), namespaces={"ci": ("job",), "none": ()})
    said = str(policy.problem("shop", "job", "spec.x"))
    assert "spec.x" in said
    assert "the operator does not allow it in namespace shop" in said
    assert "allowed there: prometheus, web" in said
    assert policy.problem("ci", "job", "p") is None
    assert policy.problem("ci", "web", "p") is not None
    assert "none at all" in str(policy.problem("none", "web", "p"))


@pytest.mark.parametrize("provider", ["job", "cmd"])
def test_what_needs_a_feature_that_is_off_is_refused_everywhere(provider: str):
    policy = Policy(features=WITHOUT_JOBS, namespaces={"ci": PROVIDERS})
    assert "without the feature 'jobs'" in str(policy.problem("ci", provider, "p"))
    assert policy.problem("ci", "web", "p") is None


class Counting:
    """A provider of each kind that counts what it was asked to do."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def asked(self, metric: Metric) -> dict[str, str]:
        del metric
        return {"asked": "it"}


class AtOnce(Counting):
    async def measure(self, metric: Metric, secrets: Any, now: datetime) -> Reading:
        self.calls.append(f"measure {sorted(secrets.values())}")
        return Reading(1)


class Slow(Counting):
    async def begin(self, metric: Metric, secrets: Any, task: Any) -> dict[str, str]:
        self.calls.append("begin")
        return {}

    async def look(self, metric: Metric, secrets: Any, task: Any, metadata: Any, now: datetime) -> Progress:
        self.calls.append("look")
        return Progress("on its way")

    async def end(self, metric: Metric, task: Any, metadata: Any) -> None:
        self.calls.append("end")


class Secrets:
    """An API with one Secret."""

    def __init__(self, **labels: str) -> None:
        self.labels = labels

    async def get(self, *_: Any) -> dict[str, Any]:
        return {"metadata": {"labels": self.labels}, "data": {"k": base64.b64encode(b"word").decode()}}


def run_of(phase: str = "") -> AnalysisRun:
    argument = {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    meta = {"name": "run", "namespace": "shop", "uid": "u"}
    return view({"metadata": meta, "spec": {"args": [argument]}, "status": {"phase": phase}}, AnalysisRun)


def metric_of(provider: str, **body: Any) -> Metric:
    return view({"name": "m", "provider": {provider: body}}, Metric)


def measuring(providers: Any, policy: Policy, **labels: str) -> Measuring:
    kube: Any = Secrets(**labels)
    return Measuring(kube, SystemClock(), providers, lambda: policy)


def test_a_run_that_may_not_measure_so_is_refused_before_it_begins_and_left_alone_once_it_has():
    found = measuring({"job": Slow()}, Policy(providers=("web",)))
    with pytest.raises(InvalidSpec, match="the operator does not allow it in namespace shop"):
        found.check(run_of(), metric_of("job"))
    found.check(run_of("Running"), metric_of("job"))


async def test_what_was_allowed_before_is_not_begun_again_but_looked_at_and_cleaned_up():
    provider = Slow()
    found = measuring({"job": provider}, Policy(providers=()))
    run, metric = run_of("Running"), metric_of("job")
    own = {NUMBER: "1", START_AT: timestamp(NOW)}
    running = Measurement(phase="Running", started_at=timestamp(NOW), metadata=own)

    def act(verb: Any) -> Act:
        return Act(verb, "m", running)

    refused = (await found.act(run, metric, act("begin"))).news
    assert refused is not None
    assert refused.phase == "Error"
    assert "does not allow it" in refused.message
    await found.act(run, metric, act("look"))
    await found.act(run, metric, act("end"))
    assert provider.calls == ["look", "end"]


async def test_a_measurement_at_once_that_is_not_allowed_is_an_error_and_asks_nobody():
    provider = AtOnce()
    found = await measuring({"web": provider}, Policy(providers=())).measure(
        run_of("Running"), metric_of("web")
    )
    assert (found.phase, provider.calls) == ("Error", [])
    assert "does not allow it" in found.message


@pytest.mark.parametrize(
    ("policy", "labels", "said"),
    [
        (Policy(), {}, ""),
        (Policy(labelled_secrets=True), {CONSENT: "true"}, ""),
        (Policy(labelled_secrets=True), {}, f"{CONSENT}=true"),
        (Policy(labelled_secrets=True), {CONSENT: "false"}, f"{CONSENT}=true"),
        (Policy(features=()), {CONSENT: "true"}, "without the feature 'secrets'"),
    ],
)
async def test_a_secret_is_used_only_where_the_operator_and_its_owner_let_it(
    policy: Any, labels: Any, said: str
):
    provider = AtOnce()
    metric = metric_of("web", url="https://x", headers=[{"key": "a", "value": "{{args.token}}"}])
    found = await measuring({"web": provider}, policy, **labels).measure(run_of("Running"), metric)
    assert said in found.message
    assert (found.phase == "Error") == bool(said)
    assert provider.calls == ([] if said else ["measure ['word']"])
