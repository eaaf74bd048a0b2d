"""Finds the smallest part of a failing scenario that still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from tests.simulation.scenario import Scenario

Fails = Callable[[Scenario], bool]


def shrink(scenario: Scenario, fails: Fails, *, tries: int = 60) -> Scenario:
    """Leave out faults, commands and bad pods one by one, as long as it still fails."""
    again = True
    while again and tries > 0:
        again = False
        for smaller in _smaller(scenario):
            tries -= 1
            if fails(smaller):
                scenario, again = smaller, True
                break
            if tries <= 0:
                break
    return scenario


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    replace = msgspec.structs.replace
    if scenario.controllers > 1:
        yield replace(scenario, controllers=1)
    for number in scenario.faults:
        yield replace(scenario, faults={k: v for k, v in scenario.faults.items() if k != number})
    for number in scenario.watch:
        yield replace(scenario, watch={k: v for k, v in scenario.watch.items() if k != number})
    for place in range(len(scenario.commands)):
        yield replace(scenario, commands=scenario.commands[:place] + scenario.commands[place + 1 :])
    for image, behaviour in scenario.pods.items():
        if behaviour:
            yield replace(scenario, pods={**scenario.pods, image: {}})
    for name in scenario.spec:
        yield replace(scenario, spec={k: v for k, v in scenario.spec.items() if k != name})
