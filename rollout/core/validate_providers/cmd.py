"""The body of the provider `cmd`: one program in an image, as argv; there is no shell unless the argv names one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rollout.api.meta import duration
from rollout.core.checks import check_duration, check_fields, templated
from rollout.core.problem import Problem, invalid, required

MAX_TIMEOUT_SECONDS = 3600.0
_FIELDS = frozenset(
    {"image", "command", "args", "env", "resources", "timeout", "serviceAccountName", "runAsUser"}
)


def check_cmd(body: Mapping[str, Any], path: str) -> Iterator[Problem]:
    yield from check_fields(body, _FIELDS, path)
    image = body.get("image")
    if not isinstance(image, str) or not image.strip():
        yield required(f"{path}.image", "the image that has the program")
    for field in ("command", "args"):
        argv = body.get(field)
        if argv is not None and not (isinstance(argv, list) and all(isinstance(part, str) for part in argv)):
            yield invalid(
                f"{path}.{field}", argv, "must be a list of texts", 'write for example ["curl", "-sf", "x"]'
            )
    env = body.get("env")
    if env is not None and not (isinstance(env, list) and all(map(_is_variable, env))):
        yield invalid(f"{path}.env", env, "must be a list of {name, value} or {name, valueFrom}")
    if not isinstance(body.get("resources") or {}, Mapping):
        yield invalid(f"{path}.resources", body["resources"], "must be an object")
    if not isinstance(body.get("serviceAccountName") or "", str):
        yield invalid(f"{path}.serviceAccountName", body["serviceAccountName"], "must be a text")
    user = body.get("runAsUser")
    if user is not None and (not isinstance(user, int) or isinstance(user, bool) or not 0 <= user < 2**31):
        yield invalid(f"{path}.runAsUser", user, "must be the number of a user; 0 is root")
    yield from check_timeout(body.get("timeout"), f"{path}.timeout", most=MAX_TIMEOUT_SECONDS)


def check_timeout(value: Any, path: str, *, most: float) -> Iterator[Problem]:
    """A Go duration longer than nothing and at most `most` seconds; None is fine."""
    found = list(check_duration(value, path, positive=True))
    yield from found
    if value and not found and not templated(value) and duration(value) > most:
        yield invalid(path, value, f"must be at most {most:g} s")


def _is_variable(item: Any) -> bool:
    return (
        isinstance(item, Mapping)
        and set(item) <= {"name", "value", "valueFrom"}
        and isinstance(item.get("name"), str)
        and isinstance(item.get("value", ""), str)
        and isinstance(item.get("valueFrom") or {}, Mapping)
    )
