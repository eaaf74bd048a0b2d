"""Latency and aborts through the real Envoy Gateway: what a client measures, and that nothing is left whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from chaos.reap import reap
from rollout.api.chaos import FINALIZER, OPT_IN
from rollout.api.meta import metadata
from rollout.api.resources import BACKEND_TRAFFIC_POLICIES, CHAOS_RUNS, HTTP_ROUTES
from rollout.runtime.kube import Object
from tests.cluster import ours
from tests.cluster.gateway.install import NAMESPACE, PUBLIC, Public
from tests.cluster.ground.cluster import Cluster
from tests.cluster.recording import CLOCK, PATIENCE
from tests.cluster.releases import APP, Controller, Load, Releases, releases_in
from tests.cluster.routes import served
from tests.cluster.test_chaos import deployment
from tests.sandbox.release_support import Said, service

pytestmark = pytest.mark.cluster
DELAY = 2.0
"""Seconds. Longer than any answer takes on a busy machine."""
RUN, QUIET = "run", "quiet"
"""Another route to the same pods, which no fault is for."""


@pytest.fixture(scope="module")
def prepared(own_cluster: Cluster, public: Public) -> Iterator[Cluster]:
    """With the chart's roles, caps that let a whole namespace be struck, and a policy of the Gateway's own."""
    caps = {
        "apiVersion": "surefoot.dev/v1alpha1",
        "kind": "ChaosSwitch",
        "metadata": {"name": "default"},
        "spec": {"caps": {"percentPerNamespace": 100}},
    }
    timeout = policy(
        "timeouts", {"kind": "Gateway", "name": PUBLIC}, timeout={"http": {"requestTimeout": "60s"}}
    )
    with ours.prepared(own_cluster, "demo"):
        own_cluster.kubectl("apply", "-f", "-", stdin=[caps])
        own_cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=[timeout])
        yield own_cluster
        own_cluster.kubectl("delete", "-n", NAMESPACE, "backendtrafficpolicy", "timeouts")
        own_cluster.kubectl("delete", "chaosswitch", "default")


def policy(name: str, target: Object, **spec: Any) -> Object:
    """A BackendTrafficPolicy of somebody's."""
    return {
        "apiVersion": BACKEND_TRAFFIC_POLICIES.api_version,
        "kind": BACKEND_TRAFFIC_POLICIES.kind,
        "metadata": {"name": name},
        "spec": {"targetRefs": [{"group": HTTP_ROUTES.group, **target}], **spec},
    }


def route(name: str, namespace: str, public: Public) -> Object:
    rule = {"name": "all", "backendRefs": [{"name": APP, "port": 80}]}
    return {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": HTTP_ROUTES.kind,
        "metadata": {"name": name},
        "spec": {"parentRefs": [public.parent], "hostnames": [f"{name}.{namespace}"], "rules": [rule]},
    }


class Place:
    """A namespace that has consented, with the Deployment `web` behind the routes `web` and `quiet`."""

    def __init__(self, cluster: Cluster, releases: Releases, folder: Path, public: Public) -> None:
        self.releases, self._folder, self._url = releases, folder, f"http://{public.address}"
        namespace = releases.namespace
        # The proxies, whose counters are the proof, are in a namespace of their own.
        self.controller = Controller(
            ours.kubeconfig(cluster, folder), folder, "--namespaces", f"{namespace},{NAMESPACE}"
        )

    async def asked(self, name: str = APP) -> tuple[float, int]:
        """How long one request through a route takes, in seconds, and its status."""
        headers, begun = {"Host": f"{name}.{self.releases.namespace}"}, CLOCK.monotonic()
        async with aiohttp.ClientSession(headers=headers) as session, session.get(self._url) as answer:
            await answer.read()
            return CLOCK.monotonic() - begun, answer.status

    async def until(self, holds: Callable[[float, int], bool], what: str) -> None:
        """Asks until an answer is as it should be."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not holds(*await self.asked()):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"in vain until {what}: {self.told()}") from None

    async def quick_beside_slow(self) -> None:
        """Until the other route answers quickly between two slow answers of the struck one."""
        async with asyncio.timeout(PATIENCE):
            found: list[bool] = []
            while found != [True, False, True]:
                found = [(await self.asked(name))[0] >= DELAY for name in (APP, QUIET, APP)]

    def merged(self) -> bool:
        """Whether Envoy Gateway says of our policy that another one is in force beside it."""
        ancestors = [
            each for one in self.policies() for each in (one.get("status") or {}).get("ancestors", ())
        ]
        told = {(one["type"], one["status"]) for each in ancestors for one in each["conditions"]}
        return ("Merged", "True") in told

    def load(self) -> Load:
        return Load(self._url, f"{APP}.{self.releases.namespace}", rate=10)

    def run(self, *faults: Object, **spec: Any) -> Object:
        """A run with one step for each fault."""
        url = f"http://{self.releases.address(APP)}/"
        end = {
            "name": "answers",
            "mode": "End",
            "provider": {"http": {"url": url, "timeout": "30s"}},
            "successCondition": "result.status == 200",
        }
        body = {
            "duration": "6s",
            "recoveryTimeout": "180s",
            "target": {"workloadRef": {"kind": "Deployment", "name": APP}, "percent": 100},
            "limits": {"maxPercent": 100},
            "steps": [{"faults": [{"name": f"fault-{at}", **one}]} for at, one in enumerate(faults)],
            "probes": [end],
            **spec,
        }
        return {
            "apiVersion": "surefoot.dev/v1alpha1",
            "kind": "ChaosRun",
            "metadata": {"name": RUN},
            "spec": body,
        }

    async def preflight(self, *faults: Object) -> Said:
        """`rollout chaos preflight` of such a run."""
        file = self._folder / "run.yaml"
        file.write_text(yaml.safe_dump(self.run(*faults)))
        return await self.releases.rollout("chaos", "preflight", "-f", str(file))

    def status(self) -> Object:
        return self.releases.find(CHAOS_RUNS, RUN).get("status") or {}

    async def over(self) -> Object:
        def holds() -> bool:
            finalizers = metadata(self.releases.find(CHAOS_RUNS, RUN)).get("finalizers") or ()
            return self.status().get("phase") == "Completed" and FINALIZER not in finalizers

        await self.releases.seen.until(holds, "the run is over", told=self.told)
        return self.status()

    def told(self) -> str:
        return yaml.safe_dump([one.get("status") for one in self.releases.seen.store[CHAOS_RUNS].values()])

    def policies(self) -> list[Object]:
        """Those in the namespace now."""
        return list(self.releases.seen.store[BACKEND_TRAFFIC_POLICIES].values())


@asynccontextmanager
async def place(cluster: Cluster, public: Public, namespace: str, folder: Path) -> AsyncIterator[Place]:
    cluster.kubectl("label", "namespace", namespace, f"{OPT_IN}=enabled")
    objects = [service(), deployment(APP, 2), route(APP, namespace, public), route(QUIET, namespace, public)]
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=objects)
    cluster.kubectl("rollout", "status", f"deployment/{APP}", "-n", namespace, "--timeout=240s")
    kinds = (BACKEND_TRAFFIC_POLICIES, HTTP_ROUTES, CHAOS_RUNS)
    async with releases_in(cluster, namespace, *kinds) as releases:
        routes = (APP, QUIET)
        await releases.until(lambda: all(served(releases.find(HTTP_ROUTES, one)) for one in routes), "served")
        here = Place(cluster, releases, folder, public)
        await here.until(lambda _, status: status == 200, "the route answers")
        yield here


async def test_requests_of_a_route_are_slow_and_then_refused_and_then_as_before(
    prepared: Cluster, public: Public, namespace: str, tmp_path: Path
) -> None:
    slow = {"httpLatency": {"delay": f"{DELAY:g}s", "httpRoute": {"name": APP}}}
    refused = {"httpAbort": {"status": 503, "percent": 100, "httpRoute": {"name": APP, "rule": "all"}}}
    async with place(prepared, public, namespace, tmp_path) as here, here.controller.running():
        load = here.load()
        async with load.running():
            await load.begun("v1")
            await here.releases.create(here.run(slow, refused, duration="10s"))
            await here.until(lambda seconds, _: seconds >= DELAY, "requests are slow")
            await here.quick_beside_slow()
            await here.releases.until(here.merged, "the policy is merged with the Gateway's", PATIENCE)
            assert load.lost == {}, "a request that waits is not a request that fails"
            await here.until(lambda _, status: status == 503, "requests are refused")
            assert (await here.asked(QUIET))[1] == 200
            status = await here.over()
            assert status["verdict"] == "Successful", yaml.safe_dump(status)
            await load.begun("v1")
            await here.until(lambda seconds, _: seconds < DELAY, "requests are quick again")
        assert load.lost == {}
        first, second = status["receipts"]
        for one in (first, second):
            assert one["state"] == "Reverted"
            assert one["victim"]["kind"] == "HTTPRoute"
            assert "its Gateways have accepted generation" in one["gone"], one
        assert first["proof"].startswith("Envoy delayed ")
        assert second["proof"].startswith("Envoy answered 503 to ")
        assert here.policies() == []
        assert metadata(here.releases.find(HTTP_ROUTES, APP))["generation"] == 1, "the route is the user's"
        assert (await here.preflight(slow)).code == 0
        await here.releases.create(
            policy("retries", {"kind": "HTTPRoute", "name": APP}, retry={"numRetries": 1})
        )
        said = await here.preflight(slow)
        assert said.code != 0
        assert f"BackendTrafficPolicy {namespace}/retries is for the same route" in said.out


async def test_a_fault_whose_controller_was_killed_is_gone_when_its_lease_is_over(
    prepared: Cluster, public: Public, namespace: str, tmp_path: Path
) -> None:
    slow = {"httpLatency": {"delay": f"{DELAY:g}s", "httpRoute": {"name": APP}}}
    async with place(prepared, public, namespace, tmp_path) as here:
        async with here.controller.running():
            await here.releases.create(here.run(slow, duration="25s"))
            await here.until(lambda seconds, _: seconds >= DELAY, "requests are slow")
            here.controller.kill()
        [left] = here.policies()
        assert (await here.asked())[0] >= DELAY, "Envoy Gateway knows nothing of a lease"
        deleted: list[Any] = []
        async with asyncio.timeout(PATIENCE):
            while not deleted:
                deleted = await reap(here.releases.kube, CLOCK)
                await asyncio.sleep(0.5)
        assert [(one.name, why) for one, why in deleted] == [(metadata(left)["name"], "its lease is over")]
        await here.until(lambda seconds, _: seconds < DELAY, "requests are quick again")
        # The next controller finds the run where it was, and says how it ended.
        async with here.controller.running():
            status = await here.over()
        [receipt] = status["receipts"]
        assert receipt["state"] == "Reverted", yaml.safe_dump(status)
        assert "it is deleted" in receipt["gone"]
        assert here.policies() == []
