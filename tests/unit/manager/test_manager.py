"""Which error of several a person is told, and who counts as another controller at work."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.api.resources import LEASES
from rollout.errors import ConfigError, Forbidden, NotFound
from rollout.manager import FOREIGN_LEASE, _reason, refuse_beside_another
from rollout.runtime.clock import LoopClock
from rollout.runtime.kube import ListPage
from rollout.runtime.leader import LeadershipLost
from tests import virtual


def test_of_several_errors_that_we_have_words_for_the_first_is_told():
    lost, config = LeadershipLost("lost"), ConfigError("config")
    assert _reason(BaseExceptionGroup("", [BaseExceptionGroup("", [lost]), config])) is lost


def test_a_defect_is_never_hidden_behind_an_error_that_we_have_words_for():
    group = BaseExceptionGroup("", [LeadershipLost("lost"), KeyError("defect")])
    assert _reason(group) is group


class Leases:
    """An API with one foreign Lease, renewed every second until `until`."""

    def __init__(self, clock: LoopClock, name: str, *, until: float) -> None:
        self._clock, self._name = clock, name
        self._end = clock.monotonic() + until

    async def list(self, _resource: object, *, fields: str) -> ListPage:
        found = fields == f"metadata.name={self._name}"
        return ListPage([await self.get(LEASES, "argo", self._name)] if found else [], "1")

    async def get(self, _resource: object, namespace: str, name: str) -> dict[str, Any]:
        if (namespace, name) != ("argo", self._name):
            raise NotFound("no such Lease")
        renewed = int(min(self._clock.monotonic(), self._end))
        spec = {"holderIdentity": "them", "leaseDurationSeconds": 15, "renewTime": str(renewed)}
        return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


def look(name: str, *, until: float, instance_id: str = "", namespaces: tuple[str, ...] = ()) -> float:
    """Seconds that it took not to refuse."""

    async def story(clock: LoopClock) -> float:
        kube: Any = Leases(clock, name, until=until)
        started = clock.monotonic()
        await refuse_beside_another(kube, clock, namespaces=namespaces, instance_id=instance_id)
        return clock.monotonic() - started

    return virtual.run(story)


def test_a_lease_that_is_renewed_while_we_look_is_anothers():
    with pytest.raises(ConfigError, match=rf"them holds the Lease argo/{FOREIGN_LEASE}\. .* --take-over"):
        look(FOREIGN_LEASE, until=1000)


def test_a_lease_that_nobody_renews_is_watched_for_its_duration_and_left_aside():
    assert 15 <= look(FOREIGN_LEASE, until=0) < 20


def test_controllers_with_other_instance_ids_are_none_of_our_business():
    assert look(f"{FOREIGN_LEASE}-blue", until=1000) == 0
    with pytest.raises(ConfigError):
        look(f"{FOREIGN_LEASE}-blue", until=1000, instance_id="blue")


def test_who_works_in_some_namespaces_looks_for_another_there_and_nowhere_else():
    with pytest.raises(ConfigError, match=rf"them holds the Lease argo/{FOREIGN_LEASE}"):
        look(FOREIGN_LEASE, until=1000, namespaces=("shop", "argo"))
    assert look(FOREIGN_LEASE, until=1000, namespaces=("shop",)) == 0
    assert 15 <= look(FOREIGN_LEASE, until=0, namespaces=("argo",)) < 20


def test_who_may_not_look_is_not_held_up():
    class Closed:
        async def list(self, *_: object, **__: object) -> ListPage:
            raise Forbidden("no")

        get = list

    kube: Any = Closed()

    async def story(clock: LoopClock) -> None:
        await refuse_beside_another(kube, clock)
        await refuse_beside_another(kube, clock, namespaces=("shop",))

    virtual.run(story)
