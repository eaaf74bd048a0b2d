"""netem and prio are not to be had on the build machines: their commands are compared as values."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chaos.injector import kill, tc
from chaos.injector.__main__ import main
from chaos.injector.tc import Impairment

ROOT = ["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "5f00:"]


def test_without_a_choice_netem_is_the_root() -> None:
    what = Impairment(interface="eth0", delay=300, jitter=50, correlation=25, limit=1200)
    assert tc.adding(what) == [[*ROOT, "netem", "limit", "1200", "delay", "300ms", "50ms", "25%"]]


@pytest.mark.parametrize(
    ("what", "args"),
    [
        (Impairment(interface="eth0", delay=0.5), ["netem", "limit", "1000", "delay", "500us"]),
        (Impairment(interface="eth0", delay=10, correlation=25), ["netem", "limit", "1000", "delay", "10ms"]),
        (Impairment(interface="eth0", loss=12.5), ["netem", "limit", "1000", "loss", "12.5%"]),
        (
            Impairment(interface="eth0", loss=30, correlation=10),
            ["netem", "limit", "1000", "loss", "30%", "10%"],
        ),
    ],
)
def test_netem_gets_what_was_asked_for(what: Impairment, args: list[str]) -> None:
    assert tc.adding(what) == [[*ROOT, *args]]


def filters(what: Impairment) -> list[str]:
    return [" ".join(argv[argv.index("protocol") :]) for argv in tc.adding(what) if argv[1] == "filter"]


def test_with_a_choice_netem_is_in_a_band_that_nothing_reaches_by_itself() -> None:
    root, band, *_ = tc.adding(Impairment(interface="eth0", delay=300, hosts=("10.0.0.1",)))
    assert root == [*ROOT, "prio", "bands", "4", "priomap", *"1222120011111111"]
    assert band[:9] == ["tc", "qdisc", "add", "dev", "eth0", "parent", "5f00:4", "handle", "5f01:"]
    assert "3" not in root[root.index("priomap") + 1 :]


def test_exempt_addresses_come_before_everything_else() -> None:
    what = Impairment(interface="eth0", delay=300, exempt=("192.168.0.7", "fd00::7"))
    assert filters(what) == [
        "protocol ip pref 10 u32 match ip dst 192.168.0.7/32 flowid 5f00:1",
        "protocol ipv6 pref 11 u32 match ip6 dst fd00::7/128 flowid 5f00:1",
        "protocol ip pref 20 u32 match u32 0 0 flowid 5f00:4",
        "protocol ipv6 pref 21 u32 match u32 0 0 flowid 5f00:4",
    ]


def test_hosts_and_ports_are_chosen_together_in_both_directions() -> None:
    what = Impairment(interface="eth0", delay=300, hosts=("10.0.0.1",), ports=(5432,))
    assert filters(what) == [
        "protocol ip pref 20 u32 match ip dst 10.0.0.1/32 match ip dport 5432 0xffff flowid 5f00:4",
        "protocol ip pref 20 u32 match ip dst 10.0.0.1/32 match ip sport 5432 0xffff flowid 5f00:4",
    ]


def test_ports_alone_are_chosen_in_both_families() -> None:
    chosen = filters(Impairment(interface="eth0", delay=300, ports=(80,)))
    assert chosen[0] == "protocol ip pref 20 u32 match ip dport 80 0xffff flowid 5f00:4"
    assert chosen[-1] == "protocol ipv6 pref 21 u32 match ip6 sport 80 0xffff flowid 5f00:4"


def test_only_our_root_is_ever_removed() -> None:
    assert tc.removing("eth0") == ["tc", "qdisc", "del", "dev", "eth0", "root", "handle", "5f00:"]


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([{"kind": "noqueue", "handle": "0:", "root": True}], ""),
        ([{"kind": "mq", "handle": "0:", "root": True}, {"kind": "fq", "handle": "0:", "parent": ":1"}], ""),
        ([{"kind": "netem", "handle": "8001:", "root": True}], "netem 8001:"),
        ([{"kind": "prio", "handle": "5f00:", "root": True}], "prio 5f00:"),
    ],
)
def test_a_root_that_somebody_has_set_is_foreign(entries: list[dict], found: str) -> None:
    assert tc.foreign(entries) == found


def test_the_statistics_are_those_of_the_impairing_qdisc() -> None:
    root = {"kind": "prio", "handle": "5f00:", "root": True, "packets": 100, "drops": 1}
    band = {"kind": "netem", "handle": "5f01:", "parent": "5f00:4", "packets": 7, "drops": 2}
    assert tc.statistics(tc.parsed(json.dumps([root, band]))) == tc.Statistics(7, 2)
    assert tc.statistics([root]) == tc.Statistics(100, 1)
    assert tc.statistics([]) == tc.Statistics()
    assert tc.present([band])
    assert not tc.present([{"handle": "0:"}])


@pytest.mark.parametrize("text", ["{}", "[1]", "nonsense"])
def test_what_is_no_list_of_qdiscs_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        tc.parsed(text)


@pytest.mark.parametrize(
    "argv",
    [[], ["netem"], ["netem", "--deadline=soon"], ["kill", "--signal=STOP"], ["kill", "--sig=TERM"], ["sh"]],
)
def test_arguments_that_are_not_understood_end_it_before_it_does_anything(
    argv: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        kill.TARGET, str(os.getpid())
    )  # which `kill` would refuse, should it ever come to that
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2


def test_outside_a_pod_process_1_is_nobodys_to_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kill.TARGET, raising=False)
    asked: list[int] = []
    monkeypatch.setattr(kill.os, "kill", lambda pid, _: asked.append(pid))
    assert kill.run("TERM", str(tmp_path / "no-termination-log")) == 3
    assert asked == []
    (tmp_path / "termination-log").touch()
    assert kill.run("TERM", str(tmp_path / "termination-log")) == 0
    assert asked == [1]
