"""Random histories against a model: whatever is written, every watcher can tell the state from its events."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rollout.api.resources import CONFIG_MAPS
from rollout.errors import AlreadyExists, Conflict, Expired, NotFound
from rollout.sandbox.storage import DeleteOptions, Storage, Watcher
from tests.unit.storage.conftest import FakeClock

NAMES = st.sampled_from(["a", "b", "c", "d"])
NAMESPACES = st.sampled_from(["default", "kube-system"])
TIERS = st.sampled_from(["web", "db", ""])
HISTORY = 6

Key = tuple[str, str]


def key_of(obj: dict[str, Any]) -> Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


class Follower:
    """A client that keeps a copy of a list up to date with a watch, as an informer does."""

    def __init__(self, storage: Storage, namespace: str | None, labels: str) -> None:
        page = storage.list(CONFIG_MAPS, namespace, labels=labels)
        self.query: dict[str, Any] = {"namespace": namespace, "labels": labels}
        self.state = {key_of(obj): obj for obj in page.items}
        self.version = int(page.resource_version)
        self.storage = storage
        self.watcher = self._watch()

    def _watch(self) -> Watcher:
        return self.storage.watch(CONFIG_MAPS, resource_version=str(self.version), **self.query)

    def restart(self) -> bool:
        """Watch again from the last version that was seen; False when that has expired."""
        self.watcher.close()
        try:
            self.watcher = self._watch()
        except Expired:
            return False
        return True

    def read(self) -> bool:
        """Take in everything; False when cut off."""
        try:
            while (event := self.watcher.poll()) is not None:
                self._take(event.type, event.object)
        except Expired:
            return False
        return True

    def _take(self, type: str, obj: dict[str, Any]) -> None:
        version = int(obj["metadata"]["resourceVersion"])
        assert version > self.version, "events come in order, each once"
        self.version = version
        key = key_of(obj)
        assert (type == "ADDED") is (key not in self.state)
        if type == "DELETED":
            del self.state[key]
        else:
            self.state[key] = obj


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.storage = Storage(FakeClock(), history=HISTORY)
        self.model: dict[Key, dict[str, Any]] = {}
        self.past: dict[int, dict[Key, dict[str, Any]]] = {}
        self.followers: list[Follower] = []
        self.pages: list[tuple[str, list[dict[str, Any]], dict[Key, dict[str, Any]]]] = []
        self._remember()

    def _remember(self) -> None:
        self.past[int(self.storage.resource_version)] = dict(self.model)

    def _wrote(self, obj: dict[str, Any]) -> None:
        self.model[key_of(obj)] = obj
        self._remember()

    @rule(namespace=NAMESPACES, name=NAMES, tier=TIERS, held=st.booleans())
    def create(self, namespace: str, name: str, tier: str, held: bool) -> None:
        meta = {"name": name, "labels": {"tier": tier}, "finalizers": ["x.io/f"] if held else []}
        try:
            obj = self.storage.create(CONFIG_MAPS, namespace, {"metadata": meta})
        except AlreadyExists:
            assert (namespace, name) in self.model
        else:
            assert (namespace, name) not in self.model
            self._wrote(obj)

    @rule(namespace=NAMESPACES, name=NAMES, tier=TIERS, value=st.sampled_from(["1", "2"]))
    def patch(self, namespace: str, name: str, tier: str, value: str) -> None:
        before = self.model.get((namespace, name))
        change = {"metadata": {"labels": {"tier": tier}}, "data": {"v": value}}
        try:
            obj = self.storage.patch(CONFIG_MAPS, namespace, name, change)
        except NotFound:
            assert before is None
            return
        assert before is not None
        same = before["metadata"]["labels"]["tier"] == tier and before.get("data") == {"v": value}
        assert (obj["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]) is same
        self._wrote(obj)

    @precondition(lambda self: bool(self.model))
    @rule(data=st.data())
    def write_again(self, data: st.DataObject) -> None:
        """What is there already is no write."""
        (namespace, name), before = data.draw(
            st.sampled_from(sorted(self.model.items(), key=lambda item: item[0]))
        )
        change = {"metadata": {"labels": before["metadata"]["labels"]}, "data": before.get("data")}
        assert self.storage.patch(CONFIG_MAPS, namespace, name, change) == before

    @rule(namespace=NAMESPACES, name=NAMES, stale=st.booleans())
    def replace(self, namespace: str, name: str, stale: bool) -> None:
        before = self.model.get((namespace, name))
        if before is None:
            return
        body = {**before, "data": {"v": "replaced"}}
        if stale:
            body["metadata"] = {**before["metadata"], "resourceVersion": "1"}
        try:
            self._wrote(self.storage.replace(CONFIG_MAPS, namespace, name, body))
            assert not stale
        except Conflict:
            assert stale

    @rule(namespace=NAMESPACES, name=NAMES)
    def delete(self, namespace: str, name: str) -> None:
        before = self.model.get((namespace, name))
        if before is None:
            return
        deleted = self.storage.delete(
            CONFIG_MAPS, namespace, name, options=DeleteOptions(uid=before["metadata"]["uid"])
        )
        assert deleted.gone is not bool(before["metadata"].get("finalizers"))
        if deleted.gone:
            del self.model[namespace, name]
            self._remember()
        else:
            self._wrote(deleted.object)

    @rule(namespace=NAMESPACES, name=NAMES)
    def release(self, namespace: str, name: str) -> None:
        """Remove the finalizers: what is being deleted goes."""
        before = self.model.get((namespace, name))
        if before is None:
            return
        obj = self.storage.patch(CONFIG_MAPS, namespace, name, {"metadata": {"finalizers": None}})
        if before["metadata"].get("deletionTimestamp"):
            del self.model[namespace, name]
            self._remember()
        else:
            self._wrote(obj)

    @precondition(lambda self: len(self.followers) < 6)
    @rule(namespace=st.one_of(st.none(), NAMESPACES), labels=st.sampled_from(["", "tier=web", "tier!=web"]))
    def follow(self, namespace: str | None, labels: str) -> None:
        self.followers.append(Follower(self.storage, namespace, labels))

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """Some follower reads, or restarts its watch; who was too slow is gone."""
        if not self.followers:
            return
        follower = data.draw(st.sampled_from(self.followers))
        alive = follower.restart() if data.draw(st.booleans()) else follower.read()
        if not alive:
            assert int(self.storage.resource_version) - follower.version > HISTORY, "cut off too early"
            self.followers.remove(follower)

    @rule(limit=st.integers(1, 3))
    def begin_pages(self, limit: int) -> None:
        page = self.storage.list(CONFIG_MAPS, limit=limit)
        if page.continue_token:
            self.pages.append((page.continue_token, list(page.items), dict(self.model)))

    @precondition(lambda self: bool(self.pages))
    @rule(limit=st.integers(1, 3))
    def go_on_with_pages(self, limit: int) -> None:
        token, items, then = self.pages.pop()
        try:
            while token:
                page = self.storage.list(CONFIG_MAPS, limit=limit, continue_token=token)
                items += page.items
                token = page.continue_token
        except Expired:
            return
        assert items == [then[key] for key in sorted(then)]

    @invariant()
    def the_list_is_the_model(self) -> None:
        assert list(self.storage.list(CONFIG_MAPS).items) == [self.model[key] for key in sorted(self.model)]

    @invariant()
    def the_recent_past_can_be_listed(self) -> None:
        current = int(self.storage.resource_version)
        for version in range(max(current - HISTORY, min(self.past)), current + 1):
            page = self.storage.list(
                CONFIG_MAPS, resource_version=str(version), resource_version_match="Exact"
            )
            then = self.past[version]
            assert list(page.items) == [then[key] for key in sorted(then)]

    def teardown(self) -> None:
        for follower in self.followers:
            if follower.read():
                page = self.storage.list(CONFIG_MAPS, **follower.query)
                assert follower.state == {key_of(obj): obj for obj in page.items}


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
