from __future__ import annotations

import random  # noqa: TID251 - seeded
import socket
import sys

import pytest

from rollout.sandbox.node.addresses import Addresses

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")


@linux
def test_pods_get_addresses_of_their_own_block_and_released_ones_are_not_reused_at_once() -> None:
    addresses = Addresses(random.Random(1))
    try:
        block = addresses.host_ip.rsplit(".", 2)[0]
        first, second = addresses.allocate([8080]), addresses.allocate([8080])
        assert first.ip != second.ip
        assert {first.ip.rsplit(".", 2)[0], second.ip.rsplit(".", 2)[0]} == {block}
        addresses.release(first)
        assert addresses.allocate([8080]).ip not in {first.ip, second.ip}
        assert addresses.allocate([8080], wanted=first.ip).ip == first.ip
    finally:
        addresses.close()


@linux
def test_two_agents_never_share_a_block_even_when_they_draw_the_same() -> None:
    first = Addresses(random.Random(1))
    second = Addresses(random.Random(1))
    try:
        assert first.host_ip != second.host_ip
    finally:
        first.close()
        second.close()


@linux
def test_an_address_whose_port_is_taken_is_passed_over() -> None:
    addresses = Addresses(random.Random(2))
    try:
        block = addresses.host_ip.rsplit(".", 2)[0]
        with socket.socket() as taken:
            taken.bind((f"{block}.0.3", 8080))
            taken.listen()
            assert addresses.allocate([8080]).ip == f"{block}.0.4"
    finally:
        addresses.close()


def test_where_the_address_is_shared_each_pod_has_ports_of_its_own() -> None:
    addresses = Addresses(random.Random(1), shared=True)
    first, second = addresses.allocate([80, 8080]), addresses.allocate([80])
    assert first.ip == second.ip == addresses.host_ip == "127.0.0.1"
    assert set(first.ports) == {80, 8080}
    assert first.ports[80] != first.ports[8080]
