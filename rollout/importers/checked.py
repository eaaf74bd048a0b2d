"""The last look at what an importer made: the rules of the controller itself, so that nothing is written that it would
not act on. What does not pass is refused, with the rule that it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from chaos.plan.template import spec_of
from rollout.api.chaos import ChaosScheduleSpec, TemplateUse
from rollout.api.codec import view
from rollout.core.problem import Problem, invalid, problems_of
from rollout.core.validate import validate
from rollout.core.validate_analysis import validate_template
from rollout.core.validate_chaos import validate_run
from rollout.core.validate_schedule import validate_schedule
from rollout.errors import InvalidSpec
from rollout.importers.report import Reader, is_name

Json = dict[str, Any]


def checked(reader: Reader, objects: Sequence[Json]) -> list[Json]:
    """The objects, all of them right. Raises `report.Refused` when one is not."""
    for one in objects:
        for problem in problems(one):
            said = f"{one['kind']} {one['metadata'].get('name', '')}: {problem}"
            raise reader.refuse((), f"what would be made of it is not valid: {said}")
    return list(objects)


def problems(obj: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with one object that an importer made."""
    name = obj["metadata"].get("name")
    if not is_name(name):
        rule = (
            "must be at most 253 lower-case letters, digits, dots and dashes, a letter or digit at both ends"
        )
        yield invalid("metadata.name", name, rule)
    yield from _RULES[obj["kind"]](obj)


def _template(obj: Mapping[str, Any]) -> list[Problem]:
    """As the run that it makes: an argument that is not declared is found only there."""
    return validate_run(obj) or _made(TemplateUse(spec=obj["spec"]))


def _schedule(obj: Mapping[str, Any]) -> list[Problem]:
    return validate_schedule(obj) or _made(view(obj["spec"], ChaosScheduleSpec).run)


def _made(use: TemplateUse) -> list[Problem]:
    try:
        return validate_run({"metadata": {"name": "made"}, "spec": spec_of(use, None, "spec.run")})
    except InvalidSpec as error:
        return list(problems_of(error))


def _virtual_service(obj: Mapping[str, Any]) -> Iterator[Problem]:
    """Istio has its own rules for what was copied; ours is that hosts are names."""
    for index, host in enumerate(obj["spec"]["hosts"]):
        if not is_name(host.removeprefix("*.")) and host != "*":
            yield invalid(f"spec.hosts[{index}]", host, "must be a host name")


def _service(obj: Mapping[str, Any]) -> Iterator[Problem]:
    for index, port in enumerate(obj["spec"]["ports"]):
        for field in ("port", "targetPort"):
            value = port[field]
            number = isinstance(value, int) and not isinstance(value, bool)
            if not (0 < value < 65536 if number else field == "targetPort" and _port_name(value)):
                yield invalid(
                    f"spec.ports[{index}].{field}", value, "must be 1 to 65535, or the name of a port"
                )
        if not _port_name(port["name"]):
            yield invalid(f"spec.ports[{index}].name", port["name"], "must be a port's name, such as http")


def _port_name(value: Any) -> bool:
    return isinstance(value, str) and is_name(value) and len(value) <= 63 and "." not in value


_RULES: Mapping[str, Callable[[Mapping[str, Any]], Iterable[Problem]]] = {
    "AnalysisTemplate": validate_template,
    "ChaosRun": validate_run,
    "ChaosSchedule": _schedule,
    "ChaosTemplate": _template,
    "Rollout": validate,
    "Service": _service,
    "VirtualService": _virtual_service,
}
