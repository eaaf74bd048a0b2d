from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.faults import kinds as registry
from chaos.faults.base import LEASE_SECONDS
from chaos.faults.receipts import expires_at, kind_of, label_value, lease_due, lease_end, object_name
from rollout.api.chaos import EXPIRES_AT, FAULT_KINDS, Fault, Receipt
from rollout.api.codec import view
from rollout.api.meta import time_of, timestamp
from tests.unit.chaos.faults.cluster import NOW


def test_every_kind_of_the_api_is_in_the_registry_and_no_other() -> None:
    assert set(registry.KINDS) == set(FAULT_KINDS)


@pytest.mark.parametrize("faults", [{}, {"podDelete": {}, "scaleDown": {}}])
def test_a_fault_names_exactly_one_kind(faults: dict) -> None:
    with pytest.raises(ValueError, match="exactly one kind"):
        kind_of(view({"name": "f", **faults}, Fault))


@given(st.text(min_size=1, max_size=300))
def test_names_of_objects_are_valid_for_objects_and_containers(id: str) -> None:
    for suffix in ("", "undo", "open"):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", object_name(id, suffix))


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True))
def test_label_values_are_valid_and_keep_short_names(name: str) -> None:
    value = label_value(name)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", value)
    assert len(name) > 63 or value == name


@given(lasts=st.integers(1, 7200), at=st.integers(0, 7200), age=st.integers(0, 60))
def test_no_lease_goes_beyond_the_deadline_and_none_runs_out_while_it_is_renewed(
    lasts: int, at: int, age: int
) -> None:
    deadline = NOW + timedelta(seconds=lasts)
    receipt = Receipt(id="r", fault="f", kind="httpAbort", deadline=timestamp(deadline))
    now = NOW + timedelta(seconds=at)
    assert lease_end(receipt, now) <= deadline
    held = {
        "metadata": {"annotations": {EXPIRES_AT: timestamp(lease_end(receipt, now - timedelta(seconds=age)))}}
    }
    renewed = time_of(lease_due(receipt, held, now))
    assert renewed is None or renewed <= deadline
    ends = renewed or expires_at(held)
    assert ends is not None
    left = (ends - now).total_seconds()
    assert left >= min(LEASE_SECONDS / 2, (deadline - now).total_seconds()) - 1


def test_an_expiry_that_cannot_be_read_is_due_for_renewal() -> None:
    receipt = Receipt(id="r", fault="f", kind="httpAbort", deadline=timestamp(NOW + timedelta(seconds=60)))
    broken = {"metadata": {"annotations": {EXPIRES_AT: "soon"}}}
    assert expires_at(broken) is None
    assert lease_due(receipt, broken, NOW) == "2026-11-21T12:00:20Z"
