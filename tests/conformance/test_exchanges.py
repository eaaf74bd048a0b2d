"""Every case of `exchanges` is answered alike by our API server and by a real one, but for what `gaps` names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from rollout.sandbox.gaps import gaps
from tests.conformance.answers import digest, played, recorded
from tests.conformance.conftest import Server
from tests.conformance.exchanges.furniture import furnish
from tests.conformance.exchanges.play import CASES, connect

LISTED = {case for gap in gaps() for case in gap.cases}
RECORDED = recorded()
AGAIN = "if that is right, ask anew: python -m tests.conformance.answers"
STRIKE = "no longer differs: strike it from rollout/sandbox/gaps.py"


@dataclass(frozen=True)
class Pair:
    ours: httpx.Client
    real: httpx.Client


@pytest.fixture(scope="session")
def ours(sandbox: Server) -> Iterator[httpx.Client]:
    with connect(sandbox.kubeconfig) as client:
        furnish(client)
        yield client


@pytest.fixture(scope="session")
def pair(ours: httpx.Client, kubernetes: Server) -> Iterator[Pair]:
    with connect(kubernetes.kubeconfig) as real:
        furnish(real)
        yield Pair(ours, real)


@pytest.mark.parametrize("name", CASES)
def test_both_servers_answer_alike_unless_a_gap_names_the_case(name: str, pair: Pair) -> None:
    real, ours = played(name, pair.real), played(name, pair.ours)
    difference = list(difflib.unified_diff(real, ours, "kube-apiserver", "sandbox", lineterm="", n=2))
    if name in LISTED:
        assert difference, f"{name} {STRIKE}"
    else:
        assert not difference, "\n".join(difference[:200])
    assert digest(real) == RECORDED.get(name), (
        f"kube-apiserver answers {name} otherwise than recorded; {AGAIN}"
    )


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_our_server_answers_as_a_real_one_did_unless_a_gap_names_the_case(
    name: str, ours: httpx.Client
) -> None:
    alike = digest(played(name, ours)) == RECORDED[name]
    if name in LISTED:
        assert not alike, f"{name} {STRIKE}"
    else:
        assert alike, f"{name}: pytest -m cluster -k {name} tests/conformance shows the difference; {AGAIN}"


def test_gaps_name_cases_that_there_are_and_every_answer_is_recorded() -> None:
    assert set(CASES) >= LISTED
    assert set(RECORDED) == set(CASES)
