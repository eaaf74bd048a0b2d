"""One Litmus experiment -> the fault, its duration and its targets. Facts: study/chaos.md 2.2-2.4, 2.8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from rollout.importers.litmus.tunables import SUPPORTED, Tunables

Network = Literal["mesh", "netem"]
_SIGNALS = ("TERM", "KILL", "INT", "HUP", "QUIT", "ABRT")


class Converted(msgspec.Struct, frozen=True, kw_only=True):
    """A fault without its target's selection: `fault` has its kind; `share` is what to put into the target."""

    fault: dict[str, Any]
    duration: str
    ramp: str
    share: dict[str, Any]
    pod_names: tuple[str, ...]


def convert(experiment: str, env: Tunables, network: Network) -> Converted:
    """The fault of an experiment. Refused when ours has none like it."""
    kind = _KINDS.get(experiment)
    if kind is None:
        raise env.reader.refuse(
            (*env.where[:-3], "name"),
            f'there is no fault like "{experiment}" yet; known: {", ".join(SUPPORTED)}',
        )
    if env.get("NODE_LABEL"):
        raise env.refused(
            "NODE_LABEL", "pods cannot be chosen by their node's label; choose them by their own"
        )
    duration, ramp = env.whole("TOTAL_CHAOS_DURATION"), env.whole("RAMP_TIME")
    if duration <= 0:
        raise env.refused("TOTAL_CHAOS_DURATION", "a duration of more than 0 seconds is needed")
    share, fault = kind(env, network)
    for name in ("STATUS_CHECK_TIMEOUT", "DEFAULT_HEALTH_CHECK"):
        env.get(name)  # read by the engine
    env.leftovers()
    return Converted(
        fault=fault,
        duration=f"{duration}s",
        ramp=f"{ramp}s" if ramp else "",
        share=share,
        pod_names=env.names("TARGET_PODS"),
    )


def _share(env: Tunables) -> dict[str, Any]:
    """PODS_AFFECTED_PERC: empty or 0 is exactly one pod, else rounded down, at least one."""
    percent = min(env.whole("PODS_AFFECTED_PERC"), 100)
    if not percent:
        return {"count": 1}
    env.reader.approximate(
        env.path("PODS_AFFECTED_PERC"),
        "the percentage is of the ready pods, chosen by a seed that the run records; Litmus counts pods in any state",
    )
    return {"percent": percent, "rounding": "Down"}


def _pod_delete(env: Tunables, _: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    body: dict[str, Any] = {"method": "force" if env.flag("FORCE") else "delete"}
    env.reader.info(
        env.path("FORCE"),
        f"method {body['method']} goes past PodDisruptionBudgets as Litmus does; `evict` would respect them",
    )
    if interval := env.whole("CHAOS_INTERVAL"):
        body["interval"] = f"{interval}s"
        if env.flag("RANDOMNESS"):
            env.reader.approximate(env.path("RANDOMNESS"), "the interval is not random here")
    if (sequence := env.get("SEQUENCE").lower()) == "serial":
        body["sequence"] = "serial"
    elif sequence == "random":
        env.reader.approximate(env.path("SEQUENCE"), "random is taken as parallel")
    share = _share(env)
    if interval:
        share["retarget"] = "Replaced"  # Litmus picks a fresh set each round
    return share, {"podDelete": body}


def _container_kill(env: Tunables, _: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    signal = env.get("SIGNAL").upper().removeprefix("SIG")
    if signal not in _SIGNALS:
        raise env.refused("SIGNAL", f"the signal {signal} cannot be sent; one of {', '.join(_SIGNALS)}")
    if signal == "KILL":
        signal = "TERM"
        env.reader.approximate(
            env.path("SIGNAL"),
            "SIGKILL becomes SIGTERM: without the container runtime's socket the kernel lets nobody kill process 1",
        )
    body: dict[str, Any] = {"signal": signal}
    if container := env.get("TARGET_CONTAINER"):
        body["container"] = container
    if interval := env.whole("CHAOS_INTERVAL"):
        body["interval"] = f"{interval}s"
    env.get("SEQUENCE")
    return _share(env), {"containerKill": body}


def _network_latency(env: Tunables, network: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    delay = env.whole("NETWORK_LATENCY")
    if network == "mesh":
        return _at_the_mesh(env, {"delay": f"{delay}ms"}, "httpLatency")
    body = {**_netem(env), "delay": f"{delay}ms"}
    if jitter := env.whole("JITTER"):
        body["jitter"] = f"{jitter}ms"
    return _share(env), {"networkLatency": body}


def _network_loss(env: Tunables, network: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    percent = env.whole("NETWORK_PACKET_LOSS_PERCENTAGE")
    if network == "mesh":
        env.reader.approximate(
            env.where, "lost packets become requests that are answered with 503: a mesh loses no packets"
        )
        return _at_the_mesh(env, {"status": 503}, "httpAbort", percent)
    return _share(env), {"networkLoss": {**_netem(env), "percent": percent}}


def _http_latency(env: Tunables, _: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    body: dict[str, Any] = {"delay": f"{env.whole('LATENCY')}ms"}
    env.get("PROXY_PORT")
    env.get("NETWORK_INTERFACE")
    if port := env.whole("TARGET_SERVICE_PORT"):
        body["port"] = port
    return _requests(env, body, "httpLatency", 100)


def _netem(env: Tunables) -> dict[str, Any]:
    """The fields that network faults share. Leading "!" (all ports but these) has no counterpart."""
    body: dict[str, Any] = {}
    if interface := env.get("NETWORK_INTERFACE"):
        body["interface"] = interface
    if correlation := env.whole("CORRELATION"):
        body["correlation"] = correlation
    if hosts := (*env.names("DESTINATION_IPS"), *env.names("DESTINATION_HOSTS")):
        body["hosts"] = list(hosts)
    ports = env.names("DESTINATION_PORTS")
    if any(not port.isdigit() for port in ports):
        raise env.refused(
            "DESTINATION_PORTS", "ports must be numbers; all ports but some cannot be said here"
        )
    if ports:
        body["ports"] = [int(port) for port in ports]
    if env.get("SOURCE_PORTS"):
        raise env.refused("SOURCE_PORTS", "packets cannot be chosen by their source port")
    if env.get("TARGET_CONTAINER"):
        env.reader.info(
            env.path("TARGET_CONTAINER"), "the containers of a pod share their network: not needed"
        )
    env.get("SEQUENCE")
    return body


def _at_the_mesh(
    env: Tunables, body: dict[str, Any], kind: str, requests: int = 100
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A network fault as a fault of requests, which needs no privilege. What cannot be said so is refused."""
    for name in ("DESTINATION_IPS", "DESTINATION_HOSTS", "DESTINATION_PORTS", "SOURCE_PORTS"):
        if env.get(name):
            raise env.refused(
                name,
                "the mesh delays what arrives at the targets, whoever sent it; import with --network netem",
            )
    if env.whole("JITTER"):
        env.reader.approximate(env.path("JITTER"), "without jitter: every request waits equally long")
    if env.whole("CORRELATION"):
        env.reader.approximate(env.path("CORRELATION"), "has no meaning for requests, and no effect")
    for name in ("NETWORK_INTERFACE", "TARGET_CONTAINER"):
        if env.get(name):
            env.reader.info(env.path(name), f"{name} is not needed: the fault acts on requests, in the mesh")
    env.reader.approximate(
        env.where,
        f"a network fault of what pods send becomes {kind} of what they are asked, which needs no privilege; "
        "`--network netem` keeps it a network fault",
    )
    return _requests(env, body, kind, requests)


def _requests(
    env: Tunables, body: dict[str, Any], kind: str, requests: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A mesh fault of a whole version: the share of pods becomes the same share of its requests."""
    pods = min(env.whole("PODS_AFFECTED_PERC"), 100)
    env.get("SEQUENCE")
    if env.get("TARGET_PODS"):
        raise env.refused("TARGET_PODS", "a mesh fault acts on all pods of a version, not on named ones")
    if not pods:
        env.reader.approximate(env.path("PODS_AFFECTED_PERC"), "one pod becomes a quarter of the requests")
        pods = 25
    elif pods < 100:
        env.reader.approximate(
            env.path("PODS_AFFECTED_PERC"),
            f"{pods} % of the pods becomes {pods} % of the requests at all pods",
        )
    return {"percent": 100}, {kind: {**body, "percent": max(1, requests * pods // 100)}}


_KINDS: dict[str, Callable[[Tunables, Network], tuple[dict[str, Any], dict[str, Any]]]] = {
    "pod-delete": _pod_delete,
    "container-kill": _container_kill,
    "pod-network-latency": _network_latency,
    "pod-network-loss": _network_loss,
    "pod-http-latency": _http_latency,
}
