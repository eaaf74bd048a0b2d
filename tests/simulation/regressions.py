"""Scenarios that once failed, shrunk, with what went wrong. Kept for ever."""

from __future__ import annotations

from msgspec.structs import replace

from tests.simulation.scenario import Command, Scenario
from tests.stories.objects import ISTIO_HOSTS, ISTIO_SUBSETS, canary

_UPDATE = Command(10.0, "image", "web:v2")


def _routed(
    *steps: dict, replicas: int = 5, commands: tuple[Command, ...] = (), **fields: object
) -> Scenario:
    strategy = canary(*steps, trafficRouting=ISTIO_SUBSETS, **fields)
    return Scenario(
        seed=1, style="subsets", strategy=strategy, replicas=replicas, commands=(_UPDATE, *commands)
    )


BACK_BY_ONE_PERCENT = Scenario(
    seed=0,
    style="services",
    strategy=canary(
        {"pause": {"duration": 1}},
        {"pause": {"duration": 0}},
        {"setWeight": 100},
        {"setWeight": 99},
        canaryService="web-canary",
        stableService="web-stable",
        maxSurge=0,
        maxUnavailable="25%",
    ),
    replicas=4,
    spec={"progressDeadlineSeconds": 60, "progressDeadlineAbort": True},
    pods={"web:v1": {"ready_in": 6.0, "stops_in": 1.0}},
    commands=(Command(20.35, "image", "web:v2"), Command(61.93, "image", "web:v1")),
    faults={50: "lost-reply", 78: "crash-before"},
    watch={107: "delay"},
    controllers=2,
)
"""Two controllers that work at the same time shrink sets to which the other binds a Service (seed 2454)."""


CASES: dict[str, Scenario] = {
    "seed 52: a stable set deleted by hand promoted the canary without its gates": _routed(
        {"setWeight": 20}, {"pause": {}}, commands=(Command(40.0, "delete-set", "stable"),)
    ),
    "seed 251: the same, and then an abort: the canary is all there is": _routed(
        {"setWeight": 20},
        {"pause": {}},
        commands=(Command(40.0, "delete-set", "stable"), Command(50.0, "abort")),
    ),
    "seed 50: one replica, and the stable set deleted by hand": _routed(
        {"setWeight": 20},
        {"pause": {}},
        replicas=1,
        commands=(Command(40.0, "delete-set", "stable"),),
    ),
    "a canary of no replicas stood at its first weight": _routed(
        {"setWeight": 20}, {"setWeight": 60}, replicas=0
    ),
    "seed 37: blue/green of no replicas was never previewed": Scenario(
        seed=37,
        style="blue-green",
        strategy={"blueGreen": {"activeService": "web-active", "previewService": "web-preview"}},
        replicas=0,
        commands=(_UPDATE,),
    ),
    "seed 74: a preview of no replicas was never previewed": Scenario(
        seed=74,
        style="blue-green",
        strategy={
            "blueGreen": {
                "activeService": "web-active",
                "previewService": "web-preview",
                "previewReplicaCount": 0,
            }
        },
        replicas=3,
        commands=(_UPDATE,),
    ),
    "seed 27: scaling down a set whose pods had failed was refused": Scenario(
        seed=27,
        style="blue-green",
        strategy={"blueGreen": {"activeService": "web-active"}},
        replicas=5,
        pods={"web:v1": {"crashes_after": 5.0, "restarts_in": 1000.0}},
        commands=(Command(60.0, "replicas", 3),),
    ),
    "seed 7: traffic was sent home to a stable set without ready pods": Scenario(
        seed=7,
        style="subsets",
        strategy=canary({"setWeight": 60}, {"pause": {}}, trafficRouting=ISTIO_SUBSETS),
        replicas=4,
        pods={"web:v1": {"flaps_every": 9.0}},
        commands=(_UPDATE, Command(60.0, "image", "web:v3"), Command(64.0, "image", "web:v1")),
    ),
    "seed 29: two controllers, one with an old cache, wrote the status for ever": Scenario(
        seed=29,
        style="hosts",
        strategy=canary(trafficRouting=ISTIO_HOSTS, canaryService="web-canary", stableService="web-stable"),
        replicas=5,
        commands=(Command(13.29, "image", "web:v2"), Command(37.76, "retry"), Command(55.81, "restart")),
        watch={12: "delay", 40: "delay"},
        controllers=2,
    ),
    "seed 245: without surge, the stable Service held the last old pod for ever": Scenario(
        seed=245,
        style="services",
        strategy=canary(
            {"setWeight": 50},
            canaryService="web-canary",
            stableService="web-stable",
            maxSurge=0,
            maxUnavailable="50%",
        ),
        replicas=3,
        commands=(_UPDATE,),
    ),
    "seed 305: from weight 100 back to 80, the stable Service was bound before its pods were up": Scenario(
        seed=305,
        style="services",
        strategy=canary(
            {"setWeight": 100}, {"setWeight": 80}, canaryService="web-canary", stableService="web-stable"
        ),
        replicas=2,
        commands=(_UPDATE,),
    ),
    "seed 161: a Service that was made anew was bound to pods that were not ready": Scenario(
        seed=161,
        style="hosts",
        strategy=canary(trafficRouting=ISTIO_HOSTS, canaryService="web-canary", stableService="web-stable"),
        replicas=10,
        pods={"web:v2": {"flaps_every": 9.0}},
        commands=(_UPDATE, Command(60.0, "lose", 0), Command(63.0, "find", 0)),
    ),
    "seed 605: back to weight 0, the canary Service held the last new pod for ever": Scenario(
        seed=605,
        style="services",
        strategy=canary(
            {"setWeight": 80}, {"setWeight": 0}, canaryService="web-canary", stableService="web-stable"
        ),
        replicas=2,
        commands=(_UPDATE,),
    ),
    "seed 648: aborted, and the preview was sent to a stable set without ready pods": Scenario(
        seed=648,
        style="blue-green",
        strategy={
            "blueGreen": {
                "activeService": "web-active",
                "previewService": "web-preview",
                "abortScaleDownDelaySeconds": 5,
            }
        },
        replicas=4,
        spec={"paused": True},
        pods={"web:v1": {"flaps_every": 4.0}},
        commands=(Command(9.47, "image", "web:v2"), Command(22.16, "abort")),
    ),
    "seed 595: aborted, and then promoted in full": _routed(
        {"setWeight": 10}, {"pause": {}}, commands=(Command(40.0, "abort"), Command(68.0, "promote-full"))
    ),
    "seed 7310372: aborted, and the canary left by its time as the last version with ready pods": Scenario(
        seed=7310372,
        style="hosts",
        strategy=canary(
            {"setWeight": 40},
            {"setWeight": 20},
            {
                "analysis": {
                    "templates": [{"templateName": "success-rate"}],
                    "args": [{"name": "service-name", "value": "web"}],
                }
            },
            {"setCanaryScale": {"matchTrafficWeight": True}},
            trafficRouting={"istio": {"virtualService": {"name": "web-vs", "routes": ["primary"]}}},
            canaryService="web-canary",
            stableService="web-stable",
            scaleDownDelaySeconds=0,
            scaleDownDelayRevisionLimit=1,
        ),
        replicas=2,
        spec={"progressDeadlineSeconds": 60, "progressDeadlineAbort": True},
        pods={
            "web:v1": {"crashes_after": 5.0, "restarts_in": 1000.0},
            "web:v2": {"ready_in": 2.0, "stops_in": 0.0},
        },
        commands=(
            Command(10.52, "image", "web:v2"),
            Command(11.09, "weights", 30),
            Command(129.99, "kill-pods"),
            Command(179.14, "image", "web:v3"),
        ),
        gateway=0.3,
    ),
    "seed 2454: two controllers, one shrank the set that the other bound a Service to": BACK_BY_ONE_PERCENT,
    "seed 2454, in another order": replace(BACK_BY_ONE_PERCENT, seed=1),
}
