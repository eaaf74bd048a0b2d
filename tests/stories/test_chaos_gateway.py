"""Faults in a route of Envoy Gateway, which knows of no lease: whoever dies, they are gone in time and it is said how."""

from __future__ import annotations

from functools import cache

import pytest

from rollout.api.chaos import FINALIZER
from rollout.api.resources import BACKEND_TRAFFIC_POLICIES, CHAOS_RUNS
from rollout.runtime.kube import Object
from tests.stories.chaos_gateway import EnvoyGateway
from tests.stories.chaos_objects import DEPLOYMENT, chaos_run
from tests.stories.faults import Faults, Kind
from tests.stories.test_chaos_crashes import KINDS, PROBES, ended, staged
from tests.stories.world import NAMESPACE, World, play


def slow(**spec: object) -> Object:
    fault = {"name": "slow", "httpLatency": {"delay": "300ms", "httpRoute": {"name": "web"}}}
    body = {"target": {**DEPLOYMENT, "percent": 100}, "limits": {"maxPercent": 100}, "duration": "12s"}
    return chaos_run(fault, **{**body, "probes": PROBES, **spec})


def chaos(story, gateway: EnvoyGateway, **more) -> None:
    play(
        lambda world: story(world, gateway),
        answer=lambda _: [1.0],
        chaos=True,
        gatherer=gateway.gatherer,
        **more,
    )


async def begun(world: World, gateway: EnvoyGateway, **spec: object) -> None:
    await staged(world)
    gateway.start(world)
    world.apply(slow(**spec))
    await world.until("it is proved", lambda: receipt(world).get("state") == "Proved", within=60)


def receipt(world: World) -> Object:
    return ((world.get(CHAOS_RUNS, "run").get("status") or {}).get("receipts") or [{}])[0]


async def over(world: World) -> Object:
    def holds() -> bool:
        run = world.get(CHAOS_RUNS, "run")
        completed = (run.get("status") or {}).get("phase") == "Completed"
        return completed and FINALIZER not in (run["metadata"].get("finalizers") or ())

    await world.until("completed", holds, within=200)
    world.chaos_rules.assert_clean()
    return world.get(CHAOS_RUNS, "run")["status"]


async def latency(world: World, gateway: EnvoyGateway) -> None:
    await staged(world)
    gateway.start(world)
    world.apply(slow())
    await ended(world, {"Successful", "Error"})
    assert world.list(BACKEND_TRAFFIC_POLICIES) == []
    before = gateway.delayed
    await world.clock.sleep(5)
    assert gateway.delayed == before, "Envoy delays nothing any more"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_some_writes_leaves_nothing_behind(kind: Kind) -> None:
    survives(kind, every=17)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_write_leaves_nothing_behind(kind: Kind) -> None:
    survives(kind, every=1)


@cache
def writes_of_a_calm_run() -> int:
    calm = Faults()
    chaos(latency, EnvoyGateway(), faults=calm)
    return calm.count


def survives(kind: Kind, *, every: int) -> None:
    writes = writes_of_a_calm_run()
    assert writes > 10
    for write in range(1 + writes % every, writes + 1, every):
        try:
            chaos(latency, EnvoyGateway(), faults=Faults({write: kind}), seed=write)
        except BaseException as error:
            error.add_note(f"{kind} at write {write} of {writes}, seed {write}")
            raise


def test_a_whole_run_is_proved_by_envoys_count_and_gone_by_the_gateways_word_and_that_count() -> None:
    async def story(world: World, gateway: EnvoyGateway) -> None:
        await begun(world, gateway)
        status = await over(world)
        assert status["verdict"] == "Successful", world.describe()
        one = status["receipts"][0]
        assert one["victim"] | {"uid": ""} == {
            "kind": "HTTPRoute",
            "namespace": NAMESPACE,
            "name": "web",
            "uid": "",
        }
        assert one["proof"] == f"Envoy delayed {gateway.delayed - 1000} requests of HTTPRoute web"
        assert "its Gateways have accepted generation 2; 1 proxy holds no request" in one["gone"]
        assert one["gone"].endswith("it is deleted")

    chaos(story, EnvoyGateway())


def test_stopped_early_it_is_silenced_and_deleted_at_once() -> None:
    async def story(world: World, gateway: EnvoyGateway) -> None:
        await begun(world, gateway, duration="10m")
        world.patch(CHAOS_RUNS, "run", {"spec": {"abort": True}})
        await world.until("no policy is left", lambda: not world.list(BACKEND_TRAFFIC_POLICIES), within=10)
        assert (await over(world))["receipts"][0]["state"] == "Reverted"

    chaos(story, EnvoyGateway())


def test_while_envoy_goes_on_to_delay_requests_nobody_says_that_it_is_gone() -> None:
    async def story(world: World, gateway: EnvoyGateway) -> None:
        await begun(world, gateway)
        gateway.deaf = True  # Envoy Gateway's controller is down, and its Envoys keep the fault
        status = await over(world)
        assert status["verdict"] == "Error", world.describe()
        assert status["receipts"][0]["state"] == "Unverified", world.describe()
        assert "kubectl delete backendtrafficpolicy surefoot-" in status["message"] + str(
            status["conditions"]
        )

    chaos(story, EnvoyGateway())


def test_without_requests_there_is_no_proof_and_the_run_is_an_error() -> None:
    async def story(world: World, gateway: EnvoyGateway) -> None:
        await staged(world)
        gateway.start(world)
        gateway.stop_traffic()
        world.apply(slow())
        status = await over(world)
        assert (status["verdict"], "no proof" in status["message"]) == ("Error", True), world.describe()
        assert status["receipts"][0]["state"] == "Reverted"

    chaos(story, EnvoyGateway())


def test_a_policy_with_faults_that_somebody_adds_meanwhile_makes_no_proof_of_ours() -> None:
    async def story(world: World, gateway: EnvoyGateway) -> None:
        await staged(world)
        gateway.start(world)
        world.apply(slow())
        await world.until("ours is there", lambda: bool(world.list(BACKEND_TRAFFIC_POLICIES)), within=30)
        other = {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "other"}]}
        other["faultInjection"] = {"delay": {"fixedDelay": "1s"}}  # type: ignore[assignment]
        meta = {"name": "theirs", "namespace": NAMESPACE}
        before = gateway.delayed
        world.storage.create(BACKEND_TRAFFIC_POLICIES, NAMESPACE, {"metadata": meta, "spec": other})
        await world.until("both strike", lambda: gateway.delayed > before + 40, within=30)
        world.storage.delete(BACKEND_TRAFFIC_POLICIES, NAMESPACE, "theirs")
        status = await over(world)
        struck = int(status["receipts"][0]["proof"].split()[2]) if status["receipts"][0]["proof"] else 0
        assert struck < gateway.delayed - 1000 - 30, status["receipts"][0]["proof"]

    chaos(story, EnvoyGateway())
