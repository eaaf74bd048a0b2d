"""Services that messages go to, as a table, and notifiers that can be killed; both on the virtual clock of a World."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from rollout.api.codec import decode
from rollout.api.resources import ANALYSIS_RUNS, CONFIG_MAPS, ROLLOUTS, SECRETS
from rollout.errors import NoAnswer, NotFound
from rollout.notify.config import CONFIG_NAME, SECRET_NAME
from rollout.notify.controller import NotificationController
from rollout.notify.record import RECORD_NAME
from rollout.runtime.http import Request, Response
from rollout.runtime.informer import Informer
from rollout.runtime.kube import Object
from rollout.sandbox.inmemory import StorageKube
from tests.stories.faults import Faults, FaultyKube
from tests.stories.recorder import PlainRecorder
from tests.stories.world import NAMESPACE, World

SLACK, PAGER, HOOK = "slack.example", "pager.example", "hook.example"
SECRET_VALUES = {
    "slack-token": "xoxb-very-secret",
    "pd-shop": "pd-key-very-secret",
    "hmac": "hmac-very-secret",
}
CONFIG = {
    "service.slack": f"token: $slack-token\napiURL: https://{SLACK}/api",
    "service.pagerdutyv2": f"serviceKeys: {{shop: $pd-shop}}\napiURL: https://{PAGER}",
    "service.webhook.ci": f"url: https://{HOOK}/hook\nformat: cloudevents\nhmacSecret: $hmac",
}
PREFIX = "notifications.argoproj.io/subscribe"


class Asked(msgspec.Struct, frozen=True):
    host: str
    path: str
    body: Any
    headers: Mapping[str, str]
    at: float


class Services:
    """Answers like Slack, PagerDuty and any hook. `answers` are used up first; an exception is raised."""

    def __init__(self, world: World) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, list[Response | Exception]] = {}
        self.seconds: dict[str, float] = {}
        self._world = world
        self._number = 0

    async def fetch(self, request: Request, *, deadline: float, max_bytes: int) -> Response:
        parts = urlsplit(request.url)
        host = str(parts.hostname)
        wait = self.seconds.get(host, 0.05)
        await asyncio.sleep(min(wait, deadline))
        if wait >= deadline:
            raise NoAnswer(f"{request}: no answer within {deadline:g} s")
        at = self._world.clock.monotonic()
        said = decode(request.body or b"null")
        if queued := self.answers.get(host):
            answer = queued.pop(0)
            if isinstance(answer, Exception):
                raise answer
            if answer.status >= 300:
                return answer
        self.asked.append(Asked(host, parts.path, said, request.headers, at))
        self._number += 1
        if host == SLACK:
            return response(200, f'{{"ok":true,"channel":"C1","ts":"{self._number}.5"}}'.encode())
        return response(202)

    def of(self, host: str) -> list[Asked]:
        return [one for one in self.asked if one.host == host]

    def told(self) -> list[str]:
        """The reasons that the hook was told, in order."""
        return [one.body["data"]["reason"] for one in self.of(HOOK)]

    def ids(self) -> Counter[str]:
        """How often the hook was told each message."""
        return Counter(one.body["id"] for one in self.of(HOOK))


def response(status: int, body: bytes = b"", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, headers=named, body=body, elapsed_seconds=0.1)


class Notifier:
    """One process's notifier; `alive` until it is killed or a planned fault crashes it."""

    def __init__(
        self,
        world: World,
        services: Services,
        *,
        faults: Faults | None = None,
        leading: Callable[[], bool] = lambda: True,
    ) -> None:
        self.events = PlainRecorder()
        self.crashed = asyncio.Event()
        kube = StorageKube(world.storage, manager="surefoot")
        faulty = FaultyKube(kube, faults or Faults(), self.crashed)
        self._informers = {one: Informer(kube, one, clock=world.clock) for one in (ROLLOUTS, ANALYSIS_RUNS)}
        self.controller = NotificationController(
            faulty,
            world.clock,
            namespace=NAMESPACE,
            informers=self._informers,
            fetch=services.fetch,
            recorder=self.events,
            leading=leading,
        )
        self._tasks = [asyncio.create_task(one.run()) for one in self._informers.values()]
        self._tasks.append(asyncio.create_task(self.controller.caches()))
        self._watcher = asyncio.create_task(self._die_when_crashed())

    def lead(self) -> None:
        self._tasks.append(asyncio.create_task(self.controller.run()))

    async def _die_when_crashed(self) -> None:
        """A crash ends everything there and then, not only what was writing."""
        await self.crashed.wait()
        for task in self._tasks:
            task.cancel()

    async def kill(self) -> None:
        self._watcher.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(self._watcher, *self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """As SIGTERM does: what is being sent is finished."""
        self.controller.stop()
        await self._tasks[-1]
        await self.kill()


def configure(world: World, **more: str) -> None:
    """The ConfigMap and the Secret of all three services."""
    data = CONFIG | {name.replace("__", "."): text for name, text in more.items()}
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in SECRET_VALUES.items()}
    world.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_NAME, "namespace": NAMESPACE}, "data": data},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET_NAME, "namespace": NAMESPACE}, "data": encoded},
    )  # fmt: skip


def subscribed(rollout: Object, *triggers: str, to: tuple[str, ...] = ("ci:",)) -> Object:
    """A Rollout whose annotations subscribe all of `to`."""
    notes = rollout["metadata"].setdefault("annotations", {})
    for trigger in triggers:
        for service, _, recipient in (one.partition(":") for one in to):
            notes[f"{PREFIX}.{trigger}.{service}"] = recipient
    return rollout


def record(world: World) -> dict[str, str]:
    try:
        return dict(world.get(CONFIG_MAPS, RECORD_NAME).get("data") or {})
    except NotFound:
        return {}


__all__ = ["CONFIG_MAPS", "HOOK", "PAGER", "SECRETS", "SLACK", "Notifier", "Services", "configure", "record"]
