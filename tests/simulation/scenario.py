"""A random release, and everything that goes wrong during it, drawn from one seed.

A scenario is a plain value: it prints as JSON, and is shrunk by leaving commands and faults out.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from typing import Any

import msgspec

from rollout.runtime.kube import Object
from tests.stories.faults import Kind, WatchKind
from tests.stories.objects import (
    HTTP_ROUTE,
    ISTIO_HOSTS,
    ISTIO_SUBSETS,
    analysis,
    canary,
    gateway,
    hosts,
    mesh,
    rollout,
    service,
    template,
)

NOISE_SECONDS = 180.0
ROUTING = {"subsets": ISTIO_SUBSETS, "hosts": ISTIO_HOSTS, "route": HTTP_ROUTE}
"""What moves the traffic, by style; in the other styles pods or Services do."""

IMAGES = ("web:v1", "web:v2", "web:v3")
WRITES: tuple[Kind, ...] = (
    "crash-before",
    "crash-after",
    "conflict",
    "lost-reply",
    "unavailable",
    "throttled",
)
WATCHES: tuple[WatchKind, ...] = ("drop", "gone", "end", "delay")


class Command(msgspec.Struct, frozen=True):
    """What a person (or the world) does at a moment, in virtual seconds from the start."""

    at: float
    verb: str
    value: Any = None


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `pods` are behaviours by image; `faults` and `watch` are by the number of the write or event;
    `gateway` is how many seconds a Gateway takes to serve what was written into an HTTPRoute."""

    seed: int
    style: str
    strategy: Object
    replicas: int
    spec: Object = {}
    pods: dict[str, dict[str, Any]] = {}
    commands: tuple[Command, ...] = ()
    faults: dict[int, Kind] = {}
    watch: dict[int, WatchKind] = {}
    controllers: int = 1
    gateway: float = 0.3

    def objects(self) -> list[Object]:
        """What the Rollout refers to."""
        match self.style:
            case "subsets":
                return [*mesh(), template("second")]
            case "hosts":
                return [*hosts(), template("second")]
            case "route":
                return [*gateway(), template("second")]
            case "blue-green":
                return [service("web-active"), service("web-preview"), template(), template("second")]
            case "services":
                return [service("web-stable"), service("web-canary"), template(), template("second")]
        return [template(), template("second")]

    def rollout(self) -> Object:
        return rollout(self.strategy, replicas=self.replicas, **self.spec)


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(seed)
    style = chance.choice(
        ("shares", "services", "subsets", "subsets", "hosts", "route", "blue-green", "blue-green")
    )
    routed = style in ROUTING
    strategy = _blue_green(chance) if style == "blue-green" else _canary(chance, style)
    spec: Object = {}
    if chance.random() < 0.2:
        spec["progressDeadlineSeconds"] = chance.choice((20, 60))
        spec["progressDeadlineAbort"] = chance.random() < 0.5
    if chance.random() < 0.2:
        spec["minReadySeconds"] = chance.choice((1, 5))
    if chance.random() < 0.2:
        spec["revisionHistoryLimit"] = chance.choice((0, 1))
    if chance.random() < 0.2:
        spec["rollbackWindow"] = {"revisions": chance.choice((1, 2))}
    if chance.random() < 0.05:
        spec["paused"] = True
    faulty = chance.random() < 0.7
    return Scenario(
        seed=seed,
        style=style,
        strategy=strategy,
        replicas=chance.choice((0, 1, 1, 2, 3, 4, 5, 7, 10)),
        spec=spec,
        pods={image: _behaviour(chance) for image in IMAGES},
        commands=_commands(chance, routed=routed),
        faults={chance.randrange(1, 80): chance.choice(WRITES) for _ in range(chance.randrange(4))}
        if faulty
        else {},
        watch={chance.randrange(1, 300): chance.choice(WATCHES) for _ in range(chance.randrange(4))}
        if faulty
        else {},
        controllers=2 if chance.random() < 0.2 else 1,
        gateway=chance.choice((0.1, 0.3, 2.0, 7.0)),
    )


def _canary(chance: random.Random, style: str) -> Object:
    routed = style in ROUTING
    fields: Object = {}
    if routed:
        fields["trafficRouting"] = ROUTING[style]
        for name in ("scaleDownDelaySeconds", "abortScaleDownDelaySeconds"):
            if chance.random() < 0.7:
                fields[name] = chance.choice((0, 1, 5))
        if chance.random() < 0.2:
            fields["scaleDownDelayRevisionLimit"] = chance.choice((0, 1))
        if chance.random() < 0.1:
            fields["minPodsPerReplicaSet"] = 2
    if style in ("hosts", "services", "route"):
        fields |= {"canaryService": "web-canary", "stableService": "web-stable"}
    if chance.random() < 0.6:
        fields["maxSurge"] = chance.choice((0, 1, 2, "25%", "50%", "100%"))
        fields["maxUnavailable"] = chance.choice(
            (1, 2, "25%", "50%") if not _some(fields["maxSurge"]) else (0, 1, "25%")
        )
    if chance.random() < 0.25:
        fields["analysis"] = {
            **analysis("second"),
            **({"startingStep": chance.randrange(3)} if chance.random() < 0.6 else {}),
        }
    steps = [_step(chance, routed=routed) for _ in range(chance.randrange(6))]
    if (late := fields.get("analysis", {}).get("startingStep")) is not None:
        fields["analysis"]["startingStep"] = min(late, max(0, len(steps) - 1))
    return canary(*steps, **fields)


def _some(value: Any) -> bool:
    return value not in (0, "0%")


def _step(chance: random.Random, *, routed: bool) -> Object:
    roll = chance.random()
    if roll < 0.5:
        return {"setWeight": chance.choice((0, 1, 10, 20, 40, 50, 60, 80, 99, 100))}
    if roll < 0.65:
        return {"pause": chance.choice(({}, {"duration": 0}, {"duration": "3s"}, {"duration": 12}))}
    if roll < 0.85:
        return {"analysis": analysis()}
    if routed:
        return {
            "setCanaryScale": chance.choice(({"weight": 30}, {"replicas": 2}, {"matchTrafficWeight": True}))
        }
    return {"pause": {"duration": 1}}


def _blue_green(chance: random.Random) -> Object:
    fields: Object = {"activeService": "web-active"}
    if chance.random() < 0.8:
        fields["previewService"] = "web-preview"
    if chance.random() < 0.3:
        fields["autoPromotionEnabled"] = False
    elif chance.random() < 0.4:
        fields["autoPromotionSeconds"] = chance.choice((1, 7))
    if chance.random() < 0.3:
        fields["previewReplicaCount"] = chance.choice((0, 1, 2))
    for name in ("prePromotionAnalysis", "postPromotionAnalysis"):
        if chance.random() < 0.4:
            fields[name] = analysis("success-rate" if name.startswith("pre") else "second")
    for name in ("scaleDownDelaySeconds", "abortScaleDownDelaySeconds"):
        if chance.random() < 0.7:
            fields[name] = chance.choice((0, 1, 5))
    if chance.random() < 0.2:
        fields["scaleDownDelayRevisionLimit"] = chance.choice((0, 1))
    return {"blueGreen": fields}


def _behaviour(chance: random.Random) -> dict[str, Any]:
    roll = chance.random()
    if roll < 0.5:
        return {}
    if roll < 0.75:
        return {"ready_in": chance.choice((0.5, 2.0, 6.0)), "stops_in": chance.choice((0.0, 1.0))}
    if roll < 0.85:
        return {"crashes_after": chance.choice((5.0, 20.0)), "restarts_in": chance.choice((2.0, 1000.0))}
    if roll < 0.95:
        return {"flaps_every": chance.choice((4.0, 9.0))}
    return {"ready_in": None}


def _commands(chance: random.Random, *, routed: bool) -> tuple[Command, ...]:
    """A first update soon, then whatever comes."""
    moments = sorted(round(chance.uniform(3, NOISE_SECONDS), 2) for _ in range(chance.randrange(7)))
    drawn = [Command(round(chance.uniform(1, 25), 2), "image", "web:v2")]
    drawn += [_command(chance, at, routed=routed) for at in moments]
    return tuple(sorted(drawn, key=lambda one: one.at))


def _command(chance: random.Random, at: float, *, routed: bool) -> Command:
    verbs = [
        *("image", "image", "image", "replicas", "replicas", "abort", "abort", "retry", "promote", "promote"),
        *("promote-full", "pause", "unpause", "restart", "crash", "verdict", "verdict", "lose", "find"),
        *("delete-set", "steps", "kill-pods"),
        *(("weights", "weights") if routed else ()),
    ]
    verb = chance.choice(verbs)
    match verb:
        case "image":
            return Command(at, verb, chance.choice(IMAGES))
        case "replicas":
            return Command(at, verb, chance.choice((0, 1, 2, 3, 6, 10)))
        case "verdict":
            return Command(at, verb, chance.choice(("Failed", "Error", "Inconclusive", "Successful")))
        case "weights":
            return Command(at, verb, chance.choice((0, 10, 30, 50, 100)))
        case "lose" | "find":
            return Command(at, verb, chance.randrange(6))
        case "delete-set":
            return Command(at, verb, chance.choice(("stable", "new", "old")))
        case "steps":
            return Command(at, verb, chance.choice((10, 70)))
    return Command(at, verb)
