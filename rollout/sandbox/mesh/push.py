"""Bringing a rendered configuration into a running Envoy without dropping a request, and knowing that it
is there.

Order, so that no route ever names a cluster that is not there or has just been emptied:

1. new listeners of faulty sidecars, and before them the clusters that they lead to;
2. clusters: new ones are added and changed ones replaced, but old ones kept, also those that become empty;
3. routes, once the clusters are live;
4. the removal of old clusters and of the last endpoints of others, once the routes are live;
5. the removal of listeners that nothing leads to any more, and of their clusters: with one of the next pushes,
   when their last request has gone.

Live means: Envoy itself reports the version of the file as the one it uses.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rollout.api.codec import decode
from rollout.errors import SurefootError
from rollout.runtime.clock import Clock
from rollout.runtime.unix_http import UnixHttp
from rollout.sandbox.mesh.bootstrap import CLUSTERS_FILE, LISTENERS_FILE, routes_file
from rollout.sandbox.mesh.clusters import Cluster
from rollout.sandbox.mesh.envoy import EnvoyFiles
from rollout.sandbox.mesh.evidence import Counts, Ledger, Seen, counts, look
from rollout.sandbox.mesh.files import Files
from rollout.sandbox.mesh.injection import Sidecar
from rollout.sandbox.mesh.protobuf import Resource
from rollout.sandbox.mesh.render import Rendered

LIVE_SECONDS = 10.0
_POLL_SECONDS = 0.004
_MAX_POLL_SECONDS = 0.05
_REASON_LOOKS = 20
_FILTER = "/stats?format=json&filter=(version_text|update_rejected)$"


class Refused(SurefootError):
    """Envoy refuses a configuration and stays with the one before. The message is Envoy's own."""


class NotLive(SurefootError):
    """Envoy did not take up a configuration in time."""


class Stats(msgspec.Struct, frozen=True):
    """What Envoy says about its configuration: versions in use, and how often it refused one, by scope."""

    versions: dict[str, str]
    rejected: dict[str, int]


def scope_of_routes(name: str) -> str:
    return f"http.{name}.rds.{name}"


CLUSTERS_SCOPE = "cluster_manager.cds"
LISTENERS_SCOPE = "listener_manager.lds"
REST_SECONDS = 1.0
"""How long a listener must have been left alone before it goes: Envoy's workers take up changes a little later."""


class Pusher:
    """Owns Envoy's configuration directory. Not for concurrent use."""

    def __init__(self, files: EnvoyFiles, admin: UnixHttp, clock: Clock) -> None:
        self._log = files.log
        self._log_start = 0
        self._admin = admin
        self._clock = clock
        self._files = Files(files.config)
        self._live: dict[str, Cluster] = {}
        self._sidecars: dict[str, Sidecar] = {}
        self._left: dict[str, float] = {}
        """Listeners that nothing leads to any more, and since when."""
        self.ledger = Ledger()

    @property
    def lingering(self) -> bool:
        """Whether there are listeners to remove: push again in a while."""
        return bool(self._left)

    async def look(self) -> Seen:
        """What Envoy runs and counts now. Raises Unavailable when it does not answer."""
        seen = await look(self._admin)
        self.ledger.take(seen.counts)
        return seen

    def prepare(self, rendered: Rendered) -> None:
        """Write everything at once, for an Envoy that does not run yet."""
        self._write_clusters(rendered.clusters)
        self._write_listeners(rendered.sidecars)
        for name, routes in rendered.routes.items():
            self._files.write(routes_file(name), [routes])
        self._live = dict(rendered.clusters)

    async def push(self, rendered: Rendered) -> bool:
        """Bring `rendered` to life; False when nothing had changed. Raises Refused or NotLive."""
        self._log_start = self._log.stat().st_size
        wanted = rendered.clusters
        leaving = {
            name: cluster
            for name, cluster in self._live.items()
            if name not in wanted or (cluster.size and not wanted[name].size)
        }
        refused = (await self.stats()).rejected
        changed = await self._new_sidecars(rendered, refused)
        changed |= await self._clusters({**wanted, **leaving}, refused)
        changed |= await self._routes(rendered.routes, refused)
        now = self._clock.monotonic()
        self._left = {
            name: self._left.get(name, now) for name in self._sidecars if name not in rendered.sidecars
        }
        changed |= await self._clusters({**self._needed_by(self._left), **wanted}, refused)
        changed |= await self._retire(wanted, refused)
        return changed

    async def _new_sidecars(self, rendered: Rendered, refused: dict[str, int]) -> bool:
        """Bring up what the clusters and routes to come lead to."""
        fresh = {name: one for name, one in rendered.sidecars.items() if name not in self._sidecars}
        if not fresh:
            return False
        behind = {name: rendered.clusters[name] for one in fresh.values() for name in one.clusters}
        if behind:
            await self._clusters({**self._live, **behind}, refused)
        before = self._sidecars
        try:
            await self._listeners({**before, **fresh}, refused)
            numbers = await counts(self._admin)
        except SurefootError:
            self._sidecars = before  # whatever Envoy has of them: next time they are new again
            self._files.forget(LISTENERS_FILE)
            raise
        for name in fresh:
            self.ledger.begin(name, numbers.get(name, Counts()))
        return True

    def _needed_by(self, listeners: Iterable[str]) -> dict[str, Cluster]:
        names = {cluster for name in listeners for cluster in self._sidecars[name].clusters}
        return {name: self._live[name] for name in names}

    async def _retire(self, wanted: dict[str, Cluster], refused: dict[str, int]) -> bool:
        """Remove listeners that have been left, and whose last connection has been closed."""
        patience = self._clock.monotonic() - REST_SECONDS
        resting = [name for name, since in self._left.items() if since <= patience]
        if not resting:
            return False
        numbers = await counts(self._admin)
        idle = [name for name in resting if not numbers.get(name, Counts()).connections]
        for name in idle:
            self.ledger.end(name, numbers.get(name, Counts()))
            del self._left[name]
        await self._listeners({n: one for n, one in self._sidecars.items() if n not in idle}, refused)
        await self._clusters({**self._needed_by(self._left), **wanted}, refused)
        return bool(idle)

    async def _listeners(self, sidecars: dict[str, Sidecar], refused: dict[str, int]) -> bool:
        version = self._write_listeners(sidecars)
        if version:
            await self._wait({LISTENERS_SCOPE: version}, refused)
        return version is not None

    def _write_listeners(self, sidecars: dict[str, Sidecar]) -> str | None:
        self._sidecars = dict(sidecars)
        return self._files.write(LISTENERS_FILE, [sidecars[name].listener for name in sorted(sidecars)])

    async def _clusters(self, clusters: dict[str, Cluster], refused: dict[str, int]) -> bool:
        version = self._write_clusters(clusters)
        self._live = dict(clusters)
        if version:
            await self._wait({CLUSTERS_SCOPE: version}, refused)
        return version is not None

    async def _routes(self, configurations: dict[str, Resource], refused: dict[str, int]) -> bool:
        waiting = {
            scope_of_routes(name): version
            for name, routes in configurations.items()
            if (version := self._files.write(routes_file(name), [routes]))
        }
        await self._wait(waiting, refused)
        return bool(waiting)

    async def stats(self) -> Stats:
        """Envoy's own account of its configuration. Raises Unavailable when it does not answer."""
        versions: dict[str, str] = {}
        rejected: dict[str, int] = {}
        for entry in decode(await self._admin.get(_FILTER)).get("stats") or ():
            name = str(entry.get("name") or "")
            if name.endswith(".version_text"):
                versions[name.removesuffix(".version_text")] = str(entry["value"])
            elif name.endswith(".update_rejected"):
                rejected[name.removesuffix(".update_rejected")] = int(entry["value"])
        return Stats(versions, rejected)

    def _write_clusters(self, clusters: dict[str, Cluster]) -> str | None:
        resources: list[Resource] = [clusters[name].resource for name in sorted(clusters)]
        return self._files.write(CLUSTERS_FILE, resources)

    async def _wait(self, waiting: dict[str, str], refused: dict[str, int]) -> None:
        """Until Envoy uses every version in `waiting` (by scope)."""
        deadline = self._clock.monotonic() + LIVE_SECONDS
        pause = _POLL_SECONDS
        while waiting:
            stats = await self.stats()
            waiting = {
                scope: version for scope, version in waiting.items() if stats.versions.get(scope) != version
            }
            for scope in waiting:
                if stats.rejected.get(scope, 0) > refused.get(scope, 0):
                    self._forget(scope)
                    raise Refused(f"Envoy refuses the configuration of {scope}: {await self._reason()}")
            if not waiting:
                return
            if self._clock.monotonic() > deadline:
                for scope in waiting:
                    self._forget(scope)
                raise NotLive(f"Envoy did not take up {', '.join(sorted(waiting))} within {LIVE_SECONDS:g} s")
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, _MAX_POLL_SECONDS)

    def _forget(self, scope: str) -> None:
        """The file holds what Envoy does not use: write it again next time, even if the same."""
        files = {CLUSTERS_SCOPE: CLUSTERS_FILE, LISTENERS_SCOPE: LISTENERS_FILE}
        file = files.get(scope) or routes_file(scope.rsplit(".", 1)[1])
        self._files.forget(file)

    async def _reason(self) -> str:
        """Why Envoy refused, as it words it in its log (the admin interface does not tell for files).

        The line may take a moment on its way into the file.
        """
        for _ in range(_REASON_LOOKS):
            with self._log.open("rb") as log:
                log.seek(self._log_start)
                lines = log.read().decode(errors="replace").splitlines()
            if found := [line.partition("rejected: ")[2] for line in lines if "rejected: " in line]:
                return "; ".join(dict.fromkeys(found))
            await self._clock.sleep(_MAX_POLL_SECONDS)
        return f"no reason given in {self._log}"
