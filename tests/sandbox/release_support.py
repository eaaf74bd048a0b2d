"""A sandbox with our controllers, a small bounded loader, and words for releases on real ground."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import yaml

from rollout.api import resources
from rollout.api.meta import Key
from rollout.api.resources import (
    ANALYSIS_RUNS,
    HTTP_ROUTES,
    NAMESPACES,
    REPLICA_SETS,
    ROLLOUTS,
    VIRTUAL_SERVICES,
    Resource,
)
from rollout.errors import AlreadyExists, Conflict
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import load
from rollout.runtime.informer import Informer, wait_synced
from rollout.runtime.kube import Object
from rollout.sandbox.state import Part
from rollout.sandbox.supervisor import Sandbox, SandboxConfig, status
from tests.flow import Flow

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
RATE = 80.0
"""Requests per second of a loader."""
APP = "web"
PROMETHEUS = "http://prometheus.monitoring:9090"


class Ground(msgspec.Struct, frozen=True):
    """A sandbox that is up."""

    config: SandboxConfig
    sandbox: Sandbox

    def part(self, name: str) -> Part:
        """What the supervisor says of one of its parts."""
        return next(one for one in status(self.config.directory()).parts if one.name == name)

    def log(self, name: str) -> str:
        return (self.config.directory().logs / f"{name}.log").read_text(errors="replace")

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal a part once it runs; its process id."""
        await until(lambda: self.part(name).pid != 0, f"{name} runs")
        pid = self.part(name).pid
        os.kill(pid, number)
        return pid

    async def started_again(self, name: str, old: int) -> None:
        await until(lambda: self.part(name).pid not in {0, old}, f"{name} is started again")


async def until(holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Look again and again; AssertionError that says what did not come."""
    try:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"waited {seconds:g} s in vain until {what}") from None


# --- processes --------------------------------------------------------------------------------------


def processes_naming(text: str) -> list[int]:
    """The processes, ourselves excluded, that have `text` in their environment or command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            said = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue  # ended meanwhile, or somebody else's
        if text.encode() in said:
            found.append(int(entry.name))
    return sorted(found)


class Said(msgspec.Struct, frozen=True):
    """A command's end."""

    code: int
    out: str
    err: str


async def command(*arguments: str, program: tuple[str, ...] = (), **env: str) -> Said:
    """`rollout ARGUMENTS...` (or another program) in a process of its own, to its end."""
    argv = [*(program or (sys.executable, "-m", "rollout.cli.main")), *arguments]
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1", **env},
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"{arguments} did not end within {PATIENCE:g} s") from None
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


# --- load -------------------------------------------------------------------------------------------


class Load(Flow):
    """Requests through the gateway. `answers` counts (version, HTTP status), `lost` what no version answered."""

    patience = PATIENCE

    def __init__(self, gateway: str, host: str, rate: float = RATE) -> None:
        super().__init__(f"{gateway}/api/products", host, rate)

    def _connected(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20))

    def by_version(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for (version, _), count in self.answers.items():
            found[version] += count
        return found

    async def _request(self) -> str:
        # A request that was sent before `begun` may fail after it: it counts where it began.
        answers, lost = self.answers, self.lost
        try:
            async with self._session.get(self._url, headers=self._headers) as answer:
                await answer.read()
                version = answer.headers.get("x-version", "")
                if version:
                    answers[version, answer.status] += 1
                else:
                    lost[f"HTTP {answer.status}"] += 1
                return version
        except (aiohttp.ClientError, TimeoutError) as error:
            lost[f"{type(error).__name__}: {error}"] += 1
            return ""


def share_is(sample: Counter[str], version: str, weight: int) -> bool:
    """Whether a version's share fits `weight` percent: within 5 standard deviations of the binomial (p < 1e-6)."""
    n, p = sample.total(), weight / 100
    return abs(sample[version] - n * p) <= 5 * math.sqrt(n * p * (1 - p))


# --- the world --------------------------------------------------------------------------------------


class World:
    """One namespace of a sandbox: what is applied there, what is seen there."""

    KINDS: tuple[Resource, ...] = (ROLLOUTS, REPLICA_SETS, ANALYSIS_RUNS, VIRTUAL_SERVICES, HTTP_ROUTES)
    """What is watched; all of it must be there."""

    def __init__(self, ground: Ground, kube: HttpKube, namespace: str) -> None:
        self.ground, self.kube, self.namespace = ground, kube, namespace
        clock = SystemClock()
        self.informers = {
            kind: Informer(kube, kind, clock=clock, namespaces=(namespace,)) for kind in self.KINDS
        }
        self.history: dict[str, list[tuple[str, int, bool]]] = {}
        """Rollout -> (revision, step index, aborted) each time one of them changed."""
        self.informers[ROLLOUTS].on_change(self._note)
        self._changed = asyncio.Event()
        for one in self.informers.values():
            one.on_change(lambda _old, _new: self._changed.set())

    # --- acting ---

    async def apply(self, *objects: Object) -> None:
        """Create, or replace the spec of what is there."""
        for obj in objects:
            resource = resource_of(obj)
            meta = {"namespace": self.namespace} if resource.namespaced else {}
            wanted = {**obj, "metadata": {**meta, **obj["metadata"]}}
            namespace = wanted["metadata"].get("namespace")
            try:
                await self.kube.create(resource, namespace, wanted)
            except (AlreadyExists, Conflict):
                spec = {"spec": wanted["spec"]} if "spec" in wanted else {}
                await self.kube.patch(resource, namespace, wanted["metadata"]["name"], spec)

    async def rollout(self, *arguments: str) -> Said:
        """`rollout ARGUMENTS -n NAMESPACE`, as a person types it."""
        return await command(*arguments, "-n", self.namespace, KUBECONFIG=self.ground.sandbox.kubeconfig)

    async def kubectl(self, *arguments: str) -> Said:
        kubeconfig = self.ground.sandbox.kubeconfig
        return await command(*arguments, "-n", self.namespace, program=("kubectl",), KUBECONFIG=kubeconfig)

    async def set_image(self, tag: str, name: str = APP) -> None:
        said = await self.rollout("set", "image", name, f"{APP}={APP}:{tag}")
        assert said.code == 0, said

    # --- looking ---

    def status(self, name: str = APP) -> Object:
        found = self.informers[ROLLOUTS].store.get(Key(self.namespace, name)) or {}
        return found.get("status") or {}

    def up_to_date(self, name: str = APP) -> bool:
        """Whether the status speaks of the latest spec."""
        found = self.informers[ROLLOUTS].store.get(Key(self.namespace, name)) or {"metadata": {}}
        generation = str(found["metadata"].get("generation"))
        return bool(self.status(name).get("observedGeneration") == generation)

    def step(self, name: str = APP) -> int:
        return int(self.status(name).get("currentStepIndex") or 0)

    def weight(self, name: str = APP) -> int:
        """The canary's weight in the VirtualService."""
        found = self.informers[VIRTUAL_SERVICES].store.get(Key(self.namespace, name))
        assert found is not None
        route = found["spec"]["http"][0]["route"]
        return next(int(one.get("weight", 0)) for one in route if one["destination"]["subset"] == "canary")

    def route(self, name: str = APP) -> Object:
        """The HTTPRoute."""
        found = self.informers[HTTP_ROUTES].store.get(Key(self.namespace, name))
        assert found is not None
        return found

    def shares(self, name: str = APP) -> list[int]:
        """The weights [stable, canary] in the last rule of the HTTPRoute."""
        return [int(one["weight"]) for one in self.route(name)["spec"]["rules"][-1]["backendRefs"]]

    def runs(self) -> list[Object]:
        found = list(self.informers[ANALYSIS_RUNS].store.list(self.namespace))
        return sorted(found, key=lambda run: run["metadata"]["creationTimestamp"])

    def sizes(self) -> dict[str, int]:
        """Image tag -> wanted pods."""
        sets = self.informers[REPLICA_SETS].store.list(self.namespace)
        images = [(one["spec"]["template"]["spec"]["containers"][0]["image"], one) for one in sets]
        return {image.rpartition(":")[2]: int(one["spec"]["replicas"]) for image, one in images}

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait for a change that makes `holds` true; AssertionError with what is there instead."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"waited {seconds:g} s in vain until {what}; status {json.dumps(self.status())}, "
                f"sizes {self.sizes()}, runs {[run.get('status') for run in self.runs()]}"
            ) from None

    async def phase(self, phase: str, name: str = APP, *, step: int = 0, seconds: float = PATIENCE) -> None:
        """Wait until the Rollout is in a phase, at `step` or later, and has seen its latest spec."""

        def holds() -> bool:
            seen = self.up_to_date(name) and self.status(name).get("phase") == phase
            return seen and self.step(name) >= step

        await self.until(holds, f"{name} is {phase} at step {step}", seconds)

    def steps_never_fell(self, name: str = APP) -> None:
        """The step index of one revision only grows, unless the release is aborted."""
        last: dict[str, int] = {}
        for revision, step, aborted in self.history[name]:
            assert aborted or step >= last.get(revision, 0), self.history[name]
            last[revision] = step

    def _note(self, _old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        seen = new.get("status") or {}
        now = (
            str(seen.get("currentPodHash", "")),
            int(seen.get("currentStepIndex") or 0),
            bool(seen.get("abort")),
        )
        history = self.history.setdefault(new["metadata"]["name"], [])
        if not history or history[-1] != now:
            history.append(now)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[World]:
        tasks = [asyncio.create_task(one.run()) for one in self.informers.values()]
        try:
            await wait_synced(*self.informers.values())
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def world_in(ground: Ground, namespace: str) -> AsyncIterator[World]:
    """A namespace (made if need be), watched."""
    kube = HttpKube(load(kubeconfig=ground.sandbox.kubeconfig))
    try:
        with suppress(AlreadyExists):
            await kube.create(NAMESPACES, None, {"metadata": {"name": namespace}})
        async with World(ground, kube, namespace).watching() as world:
            yield world
    finally:
        await kube.close()


def resource_of(obj: Mapping[str, Any]) -> Resource:
    known = [one for one in vars(resources).values() if isinstance(one, Resource)]
    return next(one for one in known if one.gvk == (obj["apiVersion"], obj["kind"]))


def example(name: str) -> list[Object]:
    """The objects of a file in examples/."""
    return [doc for doc in yaml.safe_load_all((ROOT / "examples" / name).read_text()) if doc]


# --- objects ----------------------------------------------------------------------------------------


def rollout(strategy: Object, *, name: str = APP, replicas: int = 3, tag: str = "v1", **spec: Any) -> Object:
    container = {
        "name": APP,
        "image": f"{APP}:{tag}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 5, "containers": [container]},
            },
            "strategy": strategy,
            **spec,
        },
    }


def service(name: str = APP, *, app: str = "") -> Object:
    spec = {"selector": {"app": app or name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def by_route(*steps: Object, host: str, name: str = APP, **fields: Any) -> list[Object]:
    """A canary by an HTTPRoute that answers to `host`, and what it refers to."""
    services = {"canaryService": f"{name}-canary", "stableService": f"{name}-stable"}
    ref = {"port": 80}
    rules = [
        {
            "matches": [{"path": {"type": "Exact", "value": "/stable-only"}}],
            "backendRefs": [{"name": f"{name}-stable", **ref}],
        },
        {
            "backendRefs": [
                {"name": f"{name}-stable", **ref, "weight": 100},
                {"name": f"{name}-canary", **ref, "weight": 0},
            ]
        },
    ]
    strategy = {
        "scaleDownDelaySeconds": 2,
        "abortScaleDownDelaySeconds": 2,
        "steps": list(steps),
        "trafficRouting": {"gatewayAPI": {"httpRoute": name}},
        **services,
        **fields,
    }
    return [
        *(service(one, app=name) for one in services.values()),
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name},
            "spec": {"parentRefs": [{"name": "public"}], "hostnames": [host], "rules": rules},
        },
        rollout({"canary": strategy}, name=name),
    ]


def canary(*steps: Object, name: str = APP, **fields: Any) -> list[Object]:
    """A canary by Istio subsets, and what it refers to."""
    routing = {
        "virtualService": {"name": name, "routes": ["primary"]},
        "destinationRule": {"name": name, "canarySubsetName": "canary", "stableSubsetName": "stable"},
    }
    routes = [
        {"destination": {"host": name, "subset": "stable"}, "weight": 100},
        {"destination": {"host": name, "subset": "canary"}, "weight": 0},
    ]
    subsets = [{"name": one, "labels": {"app": name}} for one in ("stable", "canary")]
    istio = "networking.istio.io/v1"
    strategy = {
        "scaleDownDelaySeconds": 2,
        "abortScaleDownDelaySeconds": 2,
        "steps": list(steps),
        "trafficRouting": {"istio": routing},
        **fields,
    }
    return [
        service(name),
        {
            "apiVersion": istio,
            "kind": "VirtualService",
            "metadata": {"name": name},
            "spec": {"hosts": [name], "http": [{"name": "primary", "route": routes}]},
        },
        {
            "apiVersion": istio,
            "kind": "DestinationRule",
            "metadata": {"name": name},
            "spec": {"host": name, "subsets": subsets},
        },
        rollout({"canary": strategy}, name=name),
    ]


def blue_green(**fields: Any) -> list[Object]:
    """A blue/green Rollout with its two Services."""
    strategy = {
        "activeService": f"{APP}-active",
        "previewService": f"{APP}-preview",
        "scaleDownDelaySeconds": 3,
        **fields,
    }
    return [
        service(f"{APP}-active", app=APP),
        service(f"{APP}-preview", app=APP),
        rollout({"blueGreen": strategy}),
    ]


def template(query: str = "vector(1)", *, condition: str = "result[0] == 1", **metric: Any) -> Object:
    """An AnalysisTemplate that asks the sandbox's Prometheus."""
    provider = {"prometheus": {"address": PROMETHEUS, "timeout": 2, "query": query}}
    one = {"name": "value", "interval": "1s", "count": 3, "successCondition": condition, "provider": provider}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "gate"},
        "spec": {"metrics": [{**one, **metric}]},
    }


GATE: Object = {"templates": [{"templateName": "gate"}]}
"""The analysis of a step or phase that uses `template`."""


def pause(duration: str = "") -> Object:
    return {"pause": {"duration": duration} if duration else {}}
