"""The provider kubernetes: what is there, what is ready, and only in the run's own namespace."""

from datetime import UTC, datetime

import pytest

from analysis.providers.kubernetes import Kubernetes, resource_of
from rollout.api.analysis import Metric
from rollout.api.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, ROLLOUTS
from rollout.errors import ProviderError
from rollout.runtime.clock import SystemClock
from rollout.sandbox.inmemory import StorageKube
from rollout.sandbox.storage import Storage

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
POD = {"containers": [{"name": "c", "image": "i"}]}


@pytest.fixture
def storage():
    storage = Storage(SystemClock())
    for name in ("prod", "other"):
        storage.create(NAMESPACES, None, {"metadata": {"name": name}})
    return storage


def pod(storage, name, *, ready=True, namespace="prod", app="web"):
    storage.create(PODS, namespace, {"metadata": {"name": name, "labels": {"app": app}}, "spec": POD})
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    storage.patch(PODS, namespace, name, {"status": status}, subresource="status")


async def look(storage, op="present", kind="Pod", **body):
    metric = Metric(name="m", provider={"kubernetes": {"op": op, "kind": kind, **body}})
    return await Kubernetes(StorageKube(storage)).within("prod").measure(metric, {}, NOW)


async def test_pods_are_counted_in_the_runs_namespace_alone(storage):
    pod(storage, "a")
    pod(storage, "b", ready=False)
    pod(storage, "c", app="db")
    pod(storage, "d", namespace="other")

    reading = await look(storage, labelSelector="app=web")
    assert reading.value == {"count": 2, "ready": 1, "names": ["a", "b"]}
    assert reading.phase == "Successful"
    assert (await look(storage, name="a")).value["names"] == ["a"]
    assert (await look(storage, name="d")).value["count"] == 0


@pytest.mark.parametrize(
    ("op", "more", "phase"),
    [
        ("present", {}, "Successful"),
        ("present", {"minCount": 3}, "Failed"),
        ("present", {"name": "x"}, "Failed"),
        ("absent", {}, "Failed"),
        ("absent", {"name": "x"}, "Successful"),
        ("condition", {}, "Failed"),
        ("condition", {"minCount": 1}, "Successful"),
        ("condition", {"name": "a"}, "Successful"),
        ("condition", {"name": "x"}, "Failed"),
        ("condition", {"condition": {"type": "Ready", "status": "False"}, "minCount": 1}, "Successful"),
        ("condition", {"condition": {"type": "Other"}, "minCount": 1}, "Failed"),
        ("condition", {"expression": "object.metadata.name startsWith 'a'", "minCount": "1"}, "Successful"),
    ],
)
async def test_each_operation_has_its_own_verdict(storage, op, more, phase):
    pod(storage, "a")
    pod(storage, "b", ready=False)
    assert (await look(storage, op, **more)).phase == phase


async def test_a_pod_that_is_going_is_there_but_not_ready(storage):
    pod(storage, "a")
    storage.patch(PODS, "prod", "a", {"metadata": {"finalizers": ["x/y"]}})
    storage.delete(PODS, "prod", "a")
    assert (await look(storage)).value == {"count": 1, "ready": 0, "names": ["a"]}


async def test_a_deployment_counts_when_its_controller_has_seen_the_present_spec(storage):
    labels = {"app": "web"}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": POD}}
    made = storage.create(DEPLOYMENTS, "prod", {"metadata": {"name": "web"}, "spec": spec})
    available = [{"type": "Available", "status": "True"}]
    for generation, ready in ((made["metadata"]["generation"] - 1, 0), (made["metadata"]["generation"], 1)):
        status = {"observedGeneration": generation, "conditions": available}
        storage.patch(DEPLOYMENTS, "prod", "web", {"status": status}, subresource="status")
        assert (await look(storage, "condition", "Deployment", group="apps")).value["ready"] == ready


async def test_what_cannot_be_known_is_an_error(storage):
    storage.create(CONFIG_MAPS, "prod", {"metadata": {"name": "a"}, "data": {"k": "v"}})
    for more in (
        {"kind": "Gadget", "group": "acme.io"},
        {"kind": "Secret"},
        {"kind": "Anything", "plural": "secrets"},
        {"kind": "ConfigMap", "expression": "object.data.k > 1"},
        {"kind": "ConfigMap", "labelSelector": "a in ("},
    ):
        with pytest.raises(ProviderError):
            await look(storage, **{"op": "present", **more})


async def test_more_objects_than_can_be_looked_at_are_an_error(storage):
    for number in range(501):
        storage.create(CONFIG_MAPS, "prod", {"metadata": {"name": f"c{number}"}})
    with pytest.raises(ProviderError, match="more than 500 configmaps"):
        await look(storage, kind="ConfigMap")


def test_resources_are_known_guessed_or_told():
    assert resource_of({"kind": "Rollout", "group": "argoproj.io"}) == ROLLOUTS
    told = resource_of({"kind": "Policy", "group": "acme.io", "version": "v2"})
    assert (told.plural, told.version) == ("policies", "v2")
    assert resource_of({"kind": "Gas", "group": "acme.io"}).plural == "gases"
    assert resource_of({"kind": "Ox", "group": "acme.io", "plural": "oxen"}).plural == "oxen"
