"""Pods and what is to be seen of them: the same on a real kubelet and on the sandbox's node agent.

A case is a pod and how far to follow it. What is compared is the pod as `seen`: its status without times, addresses
and ids, and the reasons of its events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.ground.images import BUSYBOX

Json = dict[str, Any]
WAIT = "trap 'exit 0' TERM; touch up; while :; do sleep 0.1; done"
"""Waits, and heeds SIGTERM: a first process that does not say so gets none. The file `up` is there when it does."""
STARTED = ("Scheduled", "Pulled", "Created", "Started")
HELD = "surefoot.test/hold"
"""A finalizer, so that a deleted pod can still be looked at when its containers have ended."""


@dataclass(frozen=True)
class Step:
    """What to do when `when` holds of the pod: `make` or `remove` a file in its container, or `delete` it."""

    when: Callable[[Json], bool]
    action: str
    file: str = ""


@dataclass(frozen=True)
class Case:
    name: str
    spec: Json
    until: Callable[[Json], bool]
    steps: tuple[Step, ...] = ()
    reasons: tuple[str, ...] = ()
    """Events that must have been told, too, beside those of every start: they may come a moment later."""
    starts: bool = True
    """Whether any container starts."""
    finalizers: tuple[str, ...] = ()
    meta: Json = field(default_factory=dict)

    @property
    def awaited(self) -> set[str]:
        return {*self.reasons, *(STARTED if self.starts else ())}

    def pod(self) -> Json:
        meta = {"name": "web", **self.meta}
        if self.finalizers:
            meta["finalizers"] = list(self.finalizers)
        spec = {"terminationGracePeriodSeconds": 60, **self.spec}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def sh(script: str, name: str = "main", **more: Any) -> Json:
    command = ["sh", "-c", script]
    return {"name": name, "image": BUSYBOX, "imagePullPolicy": "Never", "command": command, **more}


def condition(pod: Json, type: str) -> str:
    found = [one["status"] for one in pod["status"].get("conditions") or () if one["type"] == type]
    return str(found[0]) if found else ""


def status(pod: Json, name: str = "main") -> Json:
    statuses = [
        *(pod["status"].get("containerStatuses") or ()),
        *(pod["status"].get("initContainerStatuses") or ()),
    ]
    found = [one for one in statuses if one["name"] == name]
    return found[0] if found else {"state": {}, "lastState": {}, "restartCount": -1}


def ready(pod: Json) -> bool:
    return condition(pod, "Ready") == "True"


def unready(pod: Json) -> bool:
    return condition(pod, "Ready") == "False"


def phase(wanted: str) -> Callable[[Json], bool]:
    """A phase at the end, with the pod's network gone, too, which may be told a moment later."""
    return lambda pod: (
        pod["status"].get("phase") == wanted and condition(pod, "PodReadyToStartContainers") == "False"
    )


def waits(reason: str, name: str = "main", restarts: int = 0) -> Callable[[Json], bool]:
    def holds(pod: Json) -> bool:
        one = status(pod, name)
        waiting = one["state"].get("waiting", {}).get("reason") == reason
        return waiting and one["restartCount"] >= restarts

    return holds


def restarted(pod: Json) -> bool:
    """It runs again, and how it ended is told, too, which may be a moment later."""
    one = status(pod)
    return one["restartCount"] >= 1 and ready(pod) and bool((one.get("lastState") or {}).get("terminated"))


def exists(file: str, **more: Any) -> Json:
    return {"exec": {"command": ["test", "-e", file]}, "periodSeconds": 1, **more}


def case(name: str, until: Callable[[Json], bool], *containers: Json, **more: Any) -> Case:
    outer = {
        key: more.pop(key) for key in ("steps", "reasons", "finalizers", "meta", "starts") if key in more
    }
    return Case(name, {"containers": list(containers), **more}, until, **outer)


CASES = [
    case("a pod that runs", ready, sh(WAIT)),
    case(
        "readiness is lost without a restart",
        lambda pod: unready(pod) and status(pod)["state"].get("running") is not None,
        sh(WAIT, readinessProbe=exists("ok", failureThreshold=1)),
        steps=(Step(lambda pod: bool(status(pod)["state"].get("running")), "make", "ok"), Step(ready, "remove", "ok")),
        reasons=("Unhealthy",),
    ),
    case("a container that crashes", waits("CrashLoopBackOff", restarts=1), sh("exit 3"), reasons=("BackOff",)),
    *[
        case(
            f"a container that ends with {code} under {policy}",
            phase(wanted),
            sh(f"exit {code}"),
            restartPolicy=policy,
        )
        for policy, code, wanted in (
            ("Never", 0, "Succeeded"),
            ("Never", 7, "Failed"),
            ("OnFailure", 0, "Succeeded"),
        )
    ],
    case(
        "a failed liveness probe",
        restarted,
        sh(
            WAIT,
            startupProbe=exists("up", failureThreshold=600),
            livenessProbe=exists("up", failureThreshold=1),
            readinessProbe=exists("up"),
        ),
        steps=(Step(ready, "remove", "up"),),
        reasons=("Unhealthy", "Killing"),
    ),
    case(
        "a container that has not started up yet",
        lambda pod: status(pod).get("started") is False and bool(status(pod)["state"].get("running")),
        sh(WAIT, startupProbe=exists("never", failureThreshold=600), readinessProbe=exists("never")),
        reasons=("Unhealthy",),
    ),
    case(
        "a container that has started up",
        ready,
        sh(WAIT, startupProbe=exists("up", failureThreshold=600), readinessProbe=exists("up")),
    ),
    case(
        "a port that is closed",
        lambda pod: unready(pod) and bool(status(pod)["state"].get("running")),
        sh(WAIT, readinessProbe={"tcpSocket": {"port": 9}, "periodSeconds": 1}),
        reasons=("Unhealthy",),
    ),
    case(
        "a probe that takes too long",
        lambda pod: unready(pod) and bool(status(pod)["state"].get("running")),
        sh(WAIT, readinessProbe={"exec": {"command": ["sleep", "60"]}, "periodSeconds": 1}),
        reasons=("Unhealthy",),
    ),
    case("init containers that succeed", ready, sh(WAIT), initContainers=[sh("true", "one"), sh("true", "two")]),
    case(
        "an init container that fails a pod that never restarts",
        phase("Failed"),
        sh(WAIT),
        initContainers=[sh("exit 4", "one"), sh("true", "two")],
        restartPolicy="Never",
    ),
    case(
        "an init container that crashes",
        waits("CrashLoopBackOff", "one", restarts=1),
        sh(WAIT),
        initContainers=[sh("exit 4", "one")],
        reasons=("BackOff",),
    ),
    case(
        "a ConfigMap that is missing",
        waits("CreateContainerConfigError"),
        sh(WAIT, envFrom=[{"configMapRef": {"name": "missing"}}]),
        reasons=("Scheduled", "Failed"),
        starts=False,
    ),
    case(
        "a command that does not exist",
        phase("Failed"),
        {**sh(""), "command": ["no-such-command"]},
        restartPolicy="Never",
        reasons=("Scheduled", "Pulled", "Created", "Failed"),
        starts=False,
    ),
    case(
        "one of two containers crashes",
        waits("CrashLoopBackOff", "side", restarts=1),
        sh(WAIT),
        sh("exit 1", "side"),
        reasons=("BackOff",),
    ),
    case(
        "one of two containers has ended well",
        lambda pod: bool(status(pod, "side")["state"].get("terminated")) and bool(status(pod)["state"].get("running")),
        sh(WAIT),
        sh("exit 0", "side"),
        restartPolicy="Never",
    ),
    case(
        "a failed postStart hook",
        waits("CrashLoopBackOff", restarts=1),
        sh(
            WAIT,
            lifecycle={
                "postStart": {
                    "exec": {"command": ["sh", "-c", "until test -e up; do sleep 0.1; done; exit 1"]}
                }
            },
        ),
        reasons=("FailedPostStartHook", "Killing", "BackOff"),
    ),
    case("a deleted pod that heeds SIGTERM", phase("Succeeded"), sh(WAIT, readinessProbe=exists("up")),
         steps=(Step(ready, "delete"),), finalizers=(HELD,), reasons=("Killing",)),
    case(
        "a deleted pod that ignores SIGTERM",
        phase("Failed"),
        sh("trap '' TERM; touch up; while :; do sleep 0.1; done", readinessProbe=exists("up")),
        terminationGracePeriodSeconds=2,
        steps=(Step(ready, "delete"),),
        finalizers=(HELD,),
        reasons=("Killing",),
    ),
    case(
        "a deleted pod whose preStop hook fails",
        phase("Succeeded"),
        sh(
            WAIT,
            readinessProbe=exists("up"),
            lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "exit 5"]}}},
        ),
        steps=(Step(ready, "delete"),),
        finalizers=(HELD,),
        reasons=("Killing", "FailedPreStopHook"),
    ),
    case(
        "a readiness gate that nobody has opened",
        lambda pod: condition(pod, "ContainersReady") == "True" and unready(pod),
        sh(WAIT),
        readinessGates=[{"conditionType": "surefoot.test/gate"}],
    ),
    case(
        "a termination message from the end of the log",
        phase("Failed"),
        sh("echo why; exit 1", terminationMessagePolicy="FallbackToLogsOnError"),
        restartPolicy="Never",
    ),
]  # fmt: skip


def seen(pod: Json, reasons: set[str]) -> Json:
    """What both must agree on."""
    told = pod["status"]
    return {
        "phase": told.get("phase"),
        "reason": told.get("reason"),
        "message": told.get("message"),
        "qosClass": told.get("qosClass"),
        "conditions": {
            one["type"]: (one["status"], one.get("reason"), one.get("message"))
            for one in told.get("conditions") or ()
        },
        "containers": [_container(one, pod) for one in told.get("containerStatuses") or ()],
        "init": [_container(one, pod) for one in told.get("initContainerStatuses") or ()],
        # A first probe may come before what it asks for is there, on either.
        "events": sorted(reasons - {"Unhealthy"}),
    }


def _container(one: Json, pod: Json) -> Json:
    return {
        "name": one["name"],
        "ready": one["ready"],
        "started": one.get("started"),
        "restartCount": one["restartCount"],
        "image": one["image"],
        "state": _state(one["state"], pod),
        "lastState": _state(one.get("lastState") or {}, pod),
    }


def _state(state: Json, pod: Json) -> Json:
    return {kind: _body(body or {}, pod) for kind, body in state.items()}


def _body(body: Json, pod: Json) -> Json:
    left_out = {"startedAt", "finishedAt", "containerID"}
    if body.get("reason") == "StartError":
        left_out.add("message")  # in the words of who starts it
    return {key: _nameless(value, pod) for key, value in body.items() if key not in left_out}


def _nameless(value: Any, pod: Json) -> Any:
    """Texts without the namespace and id, which are each ground's own."""
    if not isinstance(value, str):
        return value
    meta = pod["metadata"]
    return value.replace(meta["uid"], "UID").replace(meta["namespace"], "NAMESPACE")
