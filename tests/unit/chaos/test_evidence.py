from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.controller import evidence
from chaos.controller.evidence import Counters, Gatherer, Memory, counters, gather, judged, of_log
from chaos.faults.receipts import object_name
from chaos.observed import Evidence, World
from rollout.api.chaos import EXPIRES_AT, Receipt
from rollout.errors import ProviderError, Unavailable
from rollout.runtime.http import Request, Response
from tests.unit.chaos.faults import test_http_route as http_route
from tests.unit.chaos.faults.cluster import NOW, Case, ephemeral, pod, sandbox_node, shop, world

LATENCY = {"httpLatency": {"delay": "300ms"}}
CANARY = ("web-v2-0", "web-v2-1")
PROXY = {"containers": [{"name": "web"}, {"name": "istio-proxy"}]}


def statistics(
    delayed: int = 0, aborted: int = 0, held: int = 0, prefix: str = "inbound_0.0.0.0_8080;"
) -> str:
    label = f'{{envoy_http_conn_manager_prefix="{prefix}"}}'
    return (
        "# TYPE envoy_http_fault_delays_injected counter\n"
        f"envoy_http_fault_delays_injected{label} {delayed}\n"
        "# TYPE envoy_http_fault_aborts_injected counter\n"
        f"envoy_http_fault_aborts_injected{label} {aborted}\n"
        "# TYPE envoy_http_fault_active_faults gauge\n"
        f"envoy_http_fault_active_faults{label} {held}\n"
        "# TYPE envoy_server_uptime gauge\nenvoy_server_uptime{} 99\n"
    )


# --- reading ------------------------------------------------------------------------------------------


def test_only_the_direction_of_the_fault_is_counted() -> None:
    text = statistics(7, 3, 1) + statistics(100, 100, 100, "outbound_0.0.0.0_80")
    assert counters(text, "inbound") == Counters(7, 3, 1)
    assert counters(text, "outbound") == Counters(100, 100, 100)


def test_all_listeners_of_a_direction_are_summed() -> None:
    text = statistics(7) + statistics(5, prefix="inbound_0.0.0.0_9090;")
    assert counters(text, "inbound").delayed == 12


def test_a_prefix_within_the_name_is_understood() -> None:
    text = "envoy_http_inbound_0_0_0_0_8080_fault_delays_injected 4\n"
    assert counters(text, "inbound") == Counters(delayed=4)
    assert counters(text, "outbound") == Counters()


def test_statistics_that_cannot_be_read_are_an_error() -> None:
    with pytest.raises(ValueError):
        counters('envoy_http_fault_delays_injected{a="b} x\n', "inbound")


@given(st.text(alphabet='fault_{}="\\ ,#0123456789eNaInf+-.\n', max_size=60))
def test_garbage_is_counters_or_an_error_and_nothing_else(text: str) -> None:
    try:
        found = counters(f"envoy_http_fault_active_faults{text}", "inbound")
    except ValueError:
        return
    assert isinstance(found, Counters)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1"])
def test_no_counter_is_negative_or_without_a_number(value: str) -> None:
    with pytest.raises(ValueError):
        counters(f"envoy_http_inbound_8080_fault_delays_injected {value}\n", "inbound")


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (
            '{"event":"statistics","packets":3,"dropped":1}\n{"event":"statistics","packets":9,"dropped":2}\n',
            Evidence(delayed=9, aborted=2, active=True),
        ),
        ('{"event":"statistics","packets":3,"dropped":1}\nguardian: oops\n[]\n', Evidence(3, 1, active=True)),
        ('{"event":"impaired"}\n{"event":"statistics"}\n', None),
        ("", None),
    ],
)
def test_an_injectors_last_statistics_count(log: str, found: Evidence | None) -> None:
    assert of_log(log) == found


# --- judging ------------------------------------------------------------------------------------------


def filter_of(
    case: Case, objects: list[dict[str, Any]], percent: int = 100, **status: Any
) -> tuple[Receipt, dict]:
    seen = world(objects)
    receipt = case.receipt(seen, *CANARY)
    (create,) = case.kind.inject(receipt, case.context, seen)
    made = msgspec.json.decode(msgspec.json.encode(create.object))  # type: ignore[union-attr]
    made["metadata"] |= {"uid": "uid-filter", "generation": 2}
    config = made["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
    config["delay"]["percentage"]["numerator"] = percent
    return receipt, made | ({"status": status} if status else {})


@given(
    st.lists(st.lists(st.integers(0, 100), min_size=2, max_size=2), min_size=1, max_size=20),
)
def test_counts_are_the_growth_since_the_first_look_and_never_shrink(steps: list[list[int]]) -> None:
    """Two proxies that count up by steps; the first one is started again in the middle, and counts from 0."""
    known, totals = Memory(), [1000, 2000]
    judged(known, {"a": Counters(totals[0]), "b": Counters(totals[1])}, NOW, silent=True)
    grown = before = 0
    for at, (first, second) in enumerate(steps):
        if at == len(steps) // 2:
            totals[0] = 0
        totals = [totals[0] + first, totals[1] + second]
        grown += first + second
        seen = judged(known, {"a": Counters(totals[0]), "b": Counters(totals[1])}, NOW, silent=True)
        assert seen.delayed is not None
        assert before <= seen.delayed <= grown
        before = seen.delayed


def test_a_fault_is_inactive_when_it_is_silent_and_its_counters_stand_still_for_two_seconds() -> None:
    known, still = Memory(), {"a": Counters(7)}
    for second in (0, 1):
        seen = judged(known, still, NOW + timedelta(seconds=second), silent=True)
        assert (seen.active, seen.settling) == (None, True)
    seen = judged(known, still, NOW + timedelta(seconds=2), silent=True)
    assert (seen.active, seen.settling) == (False, False)


@pytest.mark.parametrize(
    ("looks", "active"),
    [
        ({"a": Counters(8)}, True),
        ({"a": Counters(7, 0, 1)}, True),
        ({"a": None}, None),
        ({"a": Counters(7), "b": None}, None),
    ],
)
def test_a_counter_that_moves_a_held_request_or_a_silent_proxy_begins_the_wait_anew(
    looks: dict, active: bool | None
) -> None:
    known = Memory()
    judged(known, {"a": Counters(7)}, NOW, silent=True)
    seen = judged(known, looks, NOW + timedelta(seconds=5), silent=True)
    assert (seen.active, seen.settling) == (active, False)
    after = looks["a"] or Counters(7)
    known_now = judged(
        known, {"a": msgspec.structs.replace(after, held=0)}, NOW + timedelta(seconds=6), silent=True
    )
    assert known_now.active is None


def test_what_others_may_have_counted_is_neither_a_proof_nor_a_sign_that_it_goes_on() -> None:
    known = Memory()
    judged(known, {"a": Counters(7)}, NOW, silent=True, ours=False)
    seen = judged(known, {"a": Counters(9)}, NOW + timedelta(seconds=5), silent=True, ours=False)
    assert (seen.delayed, seen.active) == (0, None)
    assert judged(known, {"a": Counters(10)}, NOW + timedelta(seconds=6), silent=True).delayed == 1


def test_a_fault_that_is_not_silent_is_active_however_quiet_it_is() -> None:
    known = Memory()
    for second in range(5):
        seen = judged(known, {"a": Counters(7)}, NOW + timedelta(seconds=second), silent=False)
        assert seen.active is True


# --- gathering ----------------------------------------------------------------------------------------


class Mesh:
    """Answers for proxies: a body, or an error, by address."""

    def __init__(self, answer: Callable[[str], str | Exception]) -> None:
        self.answer = answer
        self.asked: list[Request] = []

    async def fetch(self, request: Request, *, deadline: float, max_bytes: int) -> Response:
        assert 0 < deadline <= 5
        assert max_bytes <= 4 << 20
        self.asked.append(request)
        said = self.answer(request.url)
        if isinstance(said, Exception):
            raise said
        return Response(status=200, headers={}, body=said.encode(), elapsed_seconds=0)


async def no_log(namespace: str, pod_name: str, container: str) -> str:
    raise AssertionError("no log was to be read")


async def nobody(request: Request, *, deadline: float, max_bytes: int) -> Response:
    raise AssertionError("no proxy was to be asked")


def meshed() -> list[dict[str, Any]]:
    rest = [one for one in shop() if one["kind"] != "Pod"]
    return [*rest, *(pod(name, name[4:6], spec=PROXY) for name in (*CANARY, "web-v1-0"))]


async def look(receipt: Receipt, seen: World, mesh: Mesh, memory: dict[str, Memory]) -> Evidence | None:
    return (await gather([receipt], seen, mesh.fetch, no_log, memory)).get(receipt.id)


async def test_istio_is_asked_at_the_victims_proxies_and_older_counts_are_no_proof() -> None:
    case, objects, memory = Case(LATENCY), meshed(), {}
    receipt, made = filter_of(case, objects)
    planned = msgspec.structs.replace(receipt, state="Planned")
    mesh = Mesh(lambda _: statistics(delayed=50))
    assert await look(planned, world(objects), mesh, memory) == Evidence(0, 0, active=None, settling=True)
    assert [one.url for one in mesh.asked] == ["http://10.0.0.8:15090/stats/prometheus"] * 2
    assert await look(receipt, world([*objects, made]), mesh, memory) == Evidence(0, 0, active=True)
    mesh.answer = lambda _: statistics(delayed=53)
    assert await look(receipt, world([*objects, made]), mesh, memory) == Evidence(6, 0, active=True)


async def test_envoy_gateway_is_asked_at_the_gateways_proxies_and_silence_counts_once_it_is_accepted() -> (
    None
):
    fault = {"httpLatency": {"delay": "300ms", "httpRoute": {"name": "web", "rule": "canary"}}}
    case, memory, mesh = Case(fault), {}, Mesh(lambda _: gateway_statistics(50))
    there = http_route.seen()
    planned = msgspec.structs.replace(case.receipt(there), state="Planned")
    assert await look(planned, there, mesh, memory) == Evidence(0, 0, settling=True)
    assert {one.url for one in mesh.asked} == {"http://10.0.0.12:19001/stats/prometheus"}
    (create,) = case.kind.inject(planned, case.context, there)
    made = msgspec.json.decode(msgspec.json.encode(create.object))  # type: ignore[union-attr]
    made["metadata"]["generation"] = 2
    mesh.answer = lambda _: gateway_statistics(53)
    assert await look(planned, http_route.seen(made), mesh, memory) == Evidence(3, 0, active=True)
    made["spec"]["faultInjection"]["delay"]["percentage"] = 0
    for generation, after, active in ((1, 5, True), (2, 6, None), (2, 8, False)):
        status = http_route.told(made, ("Accepted", "True"), generation=generation)
        seen = await look(planned, http_route.seen(status, after=after), mesh, memory)
        assert seen is not None
        assert (seen.delayed, seen.active) == (3, active)
    assert "have accepted generation 2; 1 proxy holds no request" in seen.how


def gateway_statistics(delayed: int) -> str:
    return f'envoy_http_fault_delays_injected{{envoy_http_conn_manager_prefix="http-10080"}} {delayed}\n'


@pytest.mark.parametrize(
    "answer", [ProviderError("no"), Unavailable("no"), "envoy_http_fault_active_faults{ 1"]
)
async def test_a_proxy_that_does_not_answer_leaves_it_open(answer: str | Exception) -> None:
    case, objects = Case(LATENCY), meshed()
    receipt, silent = filter_of(case, objects, percent=0)
    seen = await look(receipt, world([*objects, silent], after=9), Mesh(lambda _: answer), {})
    assert seen is not None
    assert (seen.delayed, seen.active) == (0, None)


async def test_a_proxy_that_answers_with_an_error_leaves_it_open() -> None:
    async def teapot(request: Request, *, deadline: float, max_bytes: int) -> Response:
        return Response(status=418, headers={}, body=statistics(9).encode(), elapsed_seconds=0)

    case, objects = Case(LATENCY), meshed()
    receipt, silent = filter_of(case, objects, percent=0)
    seen = await gather([receipt], world([*objects, silent]), teapot, no_log, {})
    assert seen[receipt.id] == Evidence(0, 0, active=None, partial=True)


@pytest.mark.parametrize(
    ("observed", "active", "found"), [(2, False, False), (2, True, True), (1, False, None), (1, True, None)]
)
async def test_the_sandboxs_word_counts_for_the_present_generation(
    observed: int, active: bool, found: bool | None
) -> None:
    case, objects = Case(LATENCY), shop(sandbox_node())
    told = {"active": active, "delayed": 7, "aborted": 0}
    receipt, made = filter_of(case, objects, observedGeneration=observed, surefoot=told)
    seen = await gather([receipt], world([*objects, made]), nobody, no_log, {})
    how = "the mesh says so of its generation 2" if found is False else ""
    assert seen[receipt.id] == Evidence(7, 0, active=found, how=how)


async def test_what_was_last_seen_of_an_object_is_remembered_when_it_is_gone() -> None:
    case, objects = Case(LATENCY), shop(sandbox_node())
    memory: dict[str, Memory] = {}
    for active, after in ((False, False), (True, None)):
        told = {"active": active, "delayed": 7, "aborted": 0}
        receipt, made = filter_of(case, objects, observedGeneration=2, surefoot=told)
        await gather([receipt], world([*objects, made]), nobody, no_log, memory)
        seen = await gather([receipt], world(objects), nobody, no_log, memory)
        assert (seen[receipt.id].delayed, seen[receipt.id].active) == (7, after)


async def test_a_lease_that_is_over_is_known_also_without_the_object() -> None:
    case, objects = Case(LATENCY), shop(sandbox_node())
    receipt, made = filter_of(case, objects)
    assert made["metadata"]["annotations"][EXPIRES_AT] == "2026-11-21T12:00:20Z"
    memory: dict[str, Memory] = {}
    assert await gather([receipt], world([*objects, made]), nobody, no_log, memory) == {}
    early = await gather([receipt], world(objects, after=19), nobody, no_log, memory)
    late = await gather([receipt], world(objects, after=20), nobody, no_log, memory)
    assert (early[receipt.id].expired, late[receipt.id].expired) == (False, True)


async def test_after_a_restart_an_object_that_is_gone_has_no_lease_when_nobody_can_have_renewed_it() -> None:
    case, objects = Case(LATENCY), shop(sandbox_node())
    receipt, _ = filter_of(case, objects)
    memory: dict[str, Memory] = {}
    for after, expired in ((30, False), (49, False), (50, True)):
        seen = await gather([receipt], world(objects, after=after), nobody, no_log, memory)
        assert seen[receipt.id] == Evidence(expired=expired)


@pytest.mark.parametrize(("state", "partial"), [("Planned", False), ("Injected", True)])
async def test_counts_that_began_after_the_fault_are_known_as_such(state: Any, partial: bool) -> None:
    case, objects = Case(LATENCY), meshed()
    receipt, made = filter_of(case, objects)
    begun = msgspec.structs.replace(receipt, state=state)
    mesh, memory = Mesh(lambda _: statistics(delayed=3)), {}  # type: ignore[var-annotated]
    await gather([begun], world([*objects, made]), mesh.fetch, no_log, memory)
    seen = await gather([receipt], world([*objects, made]), mesh.fetch, no_log, memory)
    assert seen[receipt.id].partial is partial


async def test_a_running_injector_is_read_and_one_that_has_ended_is_not() -> None:
    case = Case({"networkLatency": {"delay": "1s"}})
    receipt = case.receipt(world(shop()), CANARY[0])
    name = object_name(receipt.id)

    async def log(namespace: str, pod_name: str, container: str) -> str:
        assert (namespace, pod_name, container) == ("shop", CANARY[0], name)
        return '{"event":"statistics","packets":9,"dropped":2}\n'

    running = world([pod(CANARY[0], "v2", **ephemeral(name))])
    seen = await gather([receipt], running, nobody, log, {})
    assert seen[receipt.id] == Evidence(9, 2, active=True)
    ended = world([pod(CANARY[0], "v2", **ephemeral(name, words={"verified": True}))])
    assert await gather([receipt], ended, nobody, no_log, {}) == {}


async def test_what_is_over_and_what_has_no_evidence_is_not_asked_about() -> None:
    case, objects = Case(LATENCY), meshed()
    receipt, _ = filter_of(case, objects)
    over = msgspec.structs.replace(receipt, state="Reverted")
    deletion = Case({"podDelete": {}}).receipt(world(objects), CANARY[0])
    assert await gather([over, deletion], world(objects), nobody, no_log, {}) == {}


async def test_a_mesh_that_hangs_is_left_alone_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(request: Request, *, deadline: float, max_bytes: int) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(evidence, "TOTAL_SECONDS", 0.01)
    case, objects = Case(LATENCY), meshed()
    receipt, _ = filter_of(case, objects)
    assert await gather([receipt], world(objects), hangs, no_log, {}) == {}


async def test_memory_ends_when_nobody_asks_any_more() -> None:
    case, objects = Case(LATENCY), shop(sandbox_node())
    receipt, made = filter_of(case, objects)
    memory: dict[str, Memory] = {}
    await gather([receipt], world([*objects, made]), nobody, no_log, memory)
    await gather([], world([], after=600), nobody, no_log, memory)
    assert receipt.id in memory
    await gather([], world([], after=601), nobody, no_log, memory)
    assert memory == {}


async def test_the_controller_needs_only_receipts_and_objects() -> None:
    class Clock:
        def now(self) -> Any:
            return NOW

    case, objects = Case(LATENCY), meshed()
    receipt, made = filter_of(case, objects)
    mesh = Mesh(lambda _: statistics(delayed=3))
    ask = Gatherer(mesh.fetch, None, Clock())  # type: ignore[arg-type]
    seen = world([*objects, made])
    await ask([receipt], seen.objects)
    mesh.answer = lambda _: statistics(delayed=4)
    assert (await ask([receipt], seen.objects))[receipt.id].delayed == 2
