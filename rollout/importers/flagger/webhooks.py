"""Flagger's webhooks -> metrics, pauses and refusals. Facts: study/delivery-others.md 1.4, 1.7, 2.2."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from rollout.api.meta import duration
from rollout.importers.flagger.load import NotHey, hey
from rollout.importers.flagger.metrics import Names
from rollout.importers.report import Reader

Json = dict[str, Any]
Path = tuple[str | int, ...]


NOBODY = 65534
"""A Job's pod must not run as root, and images seldom say their user as a number."""


class Hooks(msgspec.Struct, kw_only=True):
    """The metrics of the webhooks by the moment they belong to, and the pauses that stand for gates."""

    before: list[Json] = []
    checks: list[Json] = []
    rollback: list[Json] = []
    wait_first: bool = False
    wait_last: bool = False
    load_seconds: float = 0.0


def hooks(reader: Reader, path: Path, names: Names, job_image: str) -> Hooks:
    """All webhooks of the list at `path`."""
    found = Hooks(before=[], checks=[], rollback=[])
    for index in reader.items(*path):
        at = (*path, index)
        name, kind = _name(reader.text(*at, "name")), reader.text(*at, "type") or "rollout"
        reader.ignore(*at, "muteAlert", why="alerts are told by notifications")
        if reader.get(*at, "disableTLS"):
            raise reader.refuse((*at, "disableTLS"), "certificates are always checked")
        match kind:
            case "pre-rollout" | "rollout":
                metric = _metric(reader, at, names, job_image, found)
                (found.before if kind == "pre-rollout" else found.checks).append(metric)
            case "rollback":
                metric = _call(reader, at, name, names)
                condition = metric.pop("successCondition")
                found.rollback.append({**metric, "interval": "10s", "failureCondition": condition})
            case "confirm-rollout" | "confirm-promotion":
                reader.approximate(at, "the gate becomes a pause that waits for a person: `rollout promote`")
                found.wait_first |= kind == "confirm-rollout"
                found.wait_last |= kind == "confirm-promotion"
                reader.get(*at)
            case "confirm-traffic-increase":
                why = "a gate before each weight cannot be said; write a pause {} into the steps where a person decides"
                raise reader.refuse((*at, "type"), why)
            case "post-rollout" | "event":
                reader.drop(*at, why="tells others what has happened: use notifications")
            case _:
                raise reader.refuse((*at, "type"), f'"{kind}" is no webhook that Flagger has')
    return found


def _metric(reader: Reader, at: Path, names: Names, job_image: str, found: Hooks) -> Json:
    name = _name(reader.text(*at, "name"))
    command = reader.text(*at, "metadata", "cmd")
    if not command:
        return _call(reader, at, name, names)
    kind = reader.text(*at, "metadata", "type") or "cmd"
    reader.ignore(*at, "url", why="the load tester is not needed: what it was told to do is done here")
    reader.ignore(*at, "timeout", why="what is started here has its own deadline")
    for field in ("logCmdOutput", "returnCmdOutput"):
        reader.ignore(*at, "metadata", field, why="the Job's log tells")
    if kind not in {"cmd", "bash"}:
        raise reader.refuse(
            (*at, "metadata", "type"), f'tasks of type "{kind}" cannot be converted; write a job metric'
        )
    if kind == "cmd":
        try:
            spec, differs = hey(command)
        except NotHey as error:
            reader.approximate((*at, "metadata", "cmd"), f"becomes a Job that you own: {error}")
        else:
            found.load_seconds = max(found.load_seconds, duration(spec["duration"]))
            reader.approximate(
                (*at, "metadata", "cmd"),
                "; ".join(
                    [
                        "the load is our own and its result is kept, so it can gate (result.failRatio, result.p99)",
                        "a load that was not reached pauses the release for a person, where Flagger does not look",
                        *differs,
                    ]
                ),
            )
            return {"name": name, "successCondition": "result.requests > 0", "provider": {"loadTest": spec}}
    else:
        reader.approximate(
            (*at, "metadata", "cmd"),
            f"becomes a Job that you own, in {job_image} (--job-image names another)",
        )
    return {"name": name, "provider": {"job": _job(command, job_image, names.namespace)}}


def _job(command: str, image: str, namespace: str) -> Json:
    container = {"name": "task", "image": image, "command": ["/bin/bash", "-c", command]}
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsUser": NOBODY},
        "containers": [container],
    }
    return {
        "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 600, "template": {"spec": pod}},
        "metadata": {
            "labels": {"surefoot.dev/imported-from": "flagger", "surefoot.dev/namespace": namespace}
        },
    }


def _call(reader: Reader, at: Path, name: str, names: Names) -> Json:
    """A POST with Flagger's body. It passes at 200 to 202, as there."""
    url = reader.text(*at, "url")
    if not url:
        raise reader.refuse((*at, "url"), "a webhook needs a url")
    if reader.get(*at, "retries"):
        reader.approximate((*at, "retries"), "a failed call is asked again at the next interval, and counts")
    body: Json = {
        "name": names.name,
        "namespace": names.namespace,
        "phase": "Progressing",
        "checksum": "{{args.canary-hash}}",
        "metadata": {str(key): str(value) for key, value in reader.mapping(*at, "metadata").items()},
    }
    reader.info(at, "the body's checksum is the canary's pod-template hash")
    http: Json = {
        "url": url,
        "method": "POST",
        "headers": [{"key": "Content-Type", "value": "application/json"}],
        "body": json.dumps(body, ensure_ascii=False),
        "timeout": reader.text(*at, "timeout", default="10s"),
    }
    return {
        "name": name,
        "successCondition": "result.status >= 200 && result.status <= 202",
        "provider": {"http": http},
    }


def _name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63] or "webhook"
