"""The provider `loadTest`: locust in a Job of its own, or a master and several workers (docs/load.md).

What it makes is in `analysis.load.objects`, what it reads in `analysis.load.lines`: the log of the pod that counts.
The result and its course in rows stay in the test's ConfigMap, which lives as long as the AnalysisRun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from analysis.load import lines, objects
from analysis.load.objects import CONTAINER, LABEL, MAIN, RESULT_KEY, ROLE_LABEL, TIMELINE_KEY, Test
from analysis.load.plan import START_ALLOWANCE, Plan
from analysis.load.spec import deadline_seconds, plan_of, source_of
from analysis.load.targets import service_of, url_of
from analysis.providers.base import Progress, Reading, Task
from analysis.providers.starting import trouble
from rollout import __version__
from rollout.api.analysis import Metric
from rollout.api.codec import plain
from rollout.api.meta import metadata
from rollout.api.resources import (
    ANALYSIS_RUNS,
    CONFIG_MAPS,
    JOBS,
    PODS,
    ROLLOUTS,
    SECRETS,
    SERVICES,
    Resource,
)
from rollout.core.arguments import placeholders
from rollout.errors import AlreadyExists, BadRequest, NotFound, ProviderError
from rollout.runtime.clock import Clock
from rollout.runtime.kube import Kube, Object

IMAGE_VARIABLE = "SUREFOOT_LOAD_IMAGE"
"""In the controller's environment: the image of load tests that name none."""
DEFAULT_IMAGE = f"surefoot/load:{__version__}"
LOG_LINES = 60
MAX_RESULT_TEXT = 4096
"""Of the result in the measurement's metadata; the ConfigMap has all of it."""
_LATE = 30.0
"""Seconds after which a Job that ignores its own deadline is given up."""


class LoadTest:
    """Makes load with `image`, unless a metric names another."""

    def __init__(self, kube: Kube, clock: Clock, *, image: str = DEFAULT_IMAGE) -> None:
        self._kube = kube
        self._clock = clock
        self._image = image

    def asked(self, metric: Metric) -> dict[str, str]:
        body = _body(metric)
        target = body.get("target") or {}
        where = target.get("url") or f"role {target.get('role')}"
        rate = body.get("requestsPerSecond")
        how = f"{rate} requests/s" if rate else f"{body.get('users')} users"
        return {"load": f"{how} for {body.get('duration')} to {where}"}

    async def begin(self, metric: Metric, secrets: Mapping[str, str], task: Task) -> dict[str, str]:
        url = await self._target(_body(metric), task)
        test = self._test(metric, task, url)
        if test.with_secrets:
            values = {name: secrets[name] for name in placeholders(plain(metric)) if name in secrets}
            if any(char in value for value in values.values() for char in "\r\n\0"):
                raise ProviderError("a header's value has a line break; look at the Secret behind it")
            await self._make(SECRETS, objects.secret(test, values))
        await self._make(CONFIG_MAPS, objects.config_map(test))
        if test.plan.workers > 1:
            await self._make(SERVICES, objects.service(test))
        await self._make(JOBS, objects.main_job(test, self._clock.now()))
        return {"target": url, "loadTest": test.name}

    async def look(
        self,
        metric: Metric,
        secrets: Mapping[str, str],
        task: Task,
        metadata: Mapping[str, str],
        now: datetime,
    ) -> Reading | Progress:
        test = self._test(metric, task, metadata.get("target", ""))
        pod = await self._main_pod(test)
        if pod is None:
            return await self._without_pod(test, now)
        state = _state(pod)
        if "running" not in state and "terminated" not in state:
            _not_lost(pod)
            _not_stuck(pod, now)
            return _waiting(state.get("waiting") or {}, task, now)
        said = await self._said(pod)
        if said.result:
            await self._keep(test, said)
            return _reading(said.result, test.name)
        if said.failed:
            raise ProviderError(f"the load test failed: {said.failed}{_words(said)}")
        if "terminated" in state:
            code = state["terminated"].get("exitCode")
            raise ProviderError(f"locust ended with {code} and without a result{_words(said)}")
        if now > _last_moment(test.plan, task):
            raise ProviderError(f"no result at the load test's deadline{_words(said)}")
        if test.plan.workers > 1 and (address := (pod.get("status") or {}).get("podIP")):
            await self._make(JOBS, objects.worker_job(test, address, now))
        return _progress(said, task, now)

    async def end(self, metric: Metric, task: Task, metadata: Mapping[str, str]) -> None:
        del metric, metadata
        name = objects.name_of(task.run, task.run_uid, task.metric, task.number)
        for resource, one in (
            (JOBS, objects.worker_name(name)),
            (JOBS, name),
            (SERVICES, name),
            (SECRETS, name),
        ):
            try:
                await self._kube.delete(resource, task.run.namespace, one, propagation="Background")
            except NotFound:
                continue

    # --- what it is about -------------------------------------------------------------------------

    def _test(self, metric: Metric, task: Task, url: str) -> Test:
        body = _body(metric)
        return Test(
            run=task.run,
            run_uid=task.run_uid,
            metric=task.metric,
            number=task.number,
            plan=plan_of(body, url, task.start_at),
            image=body.get("image") or self._image,
            source=source_of(body),
            resources=body.get("resources") or {},
            with_secrets=bool(placeholders(plain(metric))),
        )

    async def _target(self, body: Mapping[str, Any], task: Task) -> str:
        """The base URL: as it is written, or of the Service that the Rollout behind the run has for a role."""
        target = body["target"]
        if "url" in target:
            return str(target["url"])
        namespace = task.run.namespace
        try:
            run = await self._kube.get(ANALYSIS_RUNS, namespace, task.run.name)
            owner = next(
                (
                    one
                    for one in metadata(run).get("ownerReferences") or ()
                    if one.get("kind") == ROLLOUTS.kind
                ),
                None,
            )
            if owner is None:
                raise ProviderError("target.role: no Rollout owns this AnalysisRun; use target.url")
            name = service_of(await self._kube.get(ROLLOUTS, namespace, owner["name"]), target["role"])
            return url_of(await self._kube.get(SERVICES, namespace, name), target.get("port"))
        except NotFound as error:
            raise ProviderError(f"target.role {target['role']}: {error.message}") from None

    # --- what is there ----------------------------------------------------------------------------

    async def _make(self, resource: Resource, obj: Object) -> None:
        """Create it; one of that name is ours, made before (names are computed from the run's uid)."""
        try:
            await self._kube.create(resource, obj["metadata"]["namespace"], obj)
        except AlreadyExists:
            return

    async def _main_pod(self, test: Test) -> Object | None:
        labels = f"{LABEL}={test.name},{ROLE_LABEL}={MAIN}"
        page = await self._kube.list(PODS, test.run.namespace, labels=labels)
        return page.items[0] if page.items else None

    async def _without_pod(self, test: Test, now: datetime) -> Progress:
        """No pod yet, or none any more."""
        try:
            job = await self._kube.get(JOBS, test.run.namespace, test.name)
        except NotFound:
            raise ProviderError(
                f'the Job "{test.name}" of the load test is gone; somebody deleted it'
            ) from None
        for condition in (job.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "Failed" and condition.get("status") == "True":
                raise ProviderError(
                    f"the load test's Job failed: {condition.get('message') or condition.get('reason')}"
                )
        if now.timestamp() > test.plan.start_at + START_ALLOWANCE:
            raise ProviderError(
                f'no pod came of the Job "{test.name}" within {START_ALLOWANCE:g} s; see its events'
            )
        return Progress("waiting for its pod")

    async def _said(self, pod: Object) -> lines.Said:
        meta = metadata(pod)
        try:
            text = await self._kube.log(meta["namespace"], meta["name"], container=CONTAINER, tail=LOG_LINES)
        except (BadRequest, NotFound):
            return lines.Said()  # it has no log yet
        return lines.read(text.splitlines())

    async def _keep(self, test: Test, said: lines.Said) -> None:
        """The result and its course, for who asks later. In the way of nobody when the ConfigMap is gone."""
        data = {RESULT_KEY: json.dumps(said.result), TIMELINE_KEY: json.dumps(said.timeline)}
        try:
            await self._kube.patch(CONFIG_MAPS, test.run.namespace, test.name, {"data": data})
        except NotFound:
            return


def _body(metric: Metric) -> Mapping[str, Any]:
    body = metric.provider.get("loadTest")
    return body if isinstance(body, Mapping) else {}


def _state(pod: Object) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((one.get("state") or {} for one in statuses if one.get("name") == CONTAINER), {})


def _not_lost(pod: Object) -> None:
    """A pod that has ended without its container: evicted, or refused by its node."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        why = ": ".join(filter(None, (status.get("reason"), status.get("message"))))
        raise ProviderError(f"the load test's pod was lost before it ran: {why or 'no reason given'}")


def _not_stuck(pod: Object, now: datetime) -> None:
    """A pod that will not start however long it is given."""
    found = trouble([pod], now)
    if found and found.cause != "passing":
        raise ProviderError(f"the load test cannot run: {found.said}")


def _waiting(waiting: Mapping[str, Any], task: Task, now: datetime) -> Progress:
    """Its container does not run yet: it may take a while, but not for ever."""
    why = ": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
    if now > task.start_at + timedelta(seconds=START_ALLOWANCE):
        raise ProviderError(f"its pod did not start within {START_ALLOWANCE:g} s: {why or 'not scheduled'}")
    return Progress(f"its pod starts{f' ({why})' if why else ''}")


def _progress(said: lines.Said, task: Task, now: datetime) -> Progress:
    if said.progress:
        return Progress(lines.progress_text(said.progress))
    left = (task.start_at - now).total_seconds()
    return Progress(f"begins in {left:.0f} s" if left > 0 else "about to begin")


def _last_moment(plan: Plan, task: Task) -> datetime:
    """The Job's own deadline, and a little more."""
    return task.start_at + timedelta(seconds=START_ALLOWANCE + deadline_seconds(plan) + _LATE)


def _reading(result: Mapping[str, Any], name: str) -> Reading:
    text = json.dumps(result)
    if len(text) > MAX_RESULT_TEXT:
        text = json.dumps({key: value for key, value in result.items() if key != "perName"})
    return Reading(
        value=dict(result),
        metadata={"summary": lines.summary_text(result), "result": text, "configMap": name},
        inconclusive=lines.undecided(result),
    )


def _words(said: lines.Said) -> str:
    return f": {said.last_words}" if said.last_words else ""
