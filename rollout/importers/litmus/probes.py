"""Litmus probes -> ours: an analysis metric plus a mode. Facts and traps: study/chaos.md 2.5, 2.8."""

from __future__ import annotations

import re
import shlex
from typing import Any

from rollout.api import resources
from rollout.api.meta import duration
from rollout.importers.report import Reader, Refused

Path = tuple[str | int, ...]

_MODES = {
    "sot": "Start",
    "eot": "End",
    "edge": "Edge",
    "continuous": "Continuous",
    "onchaos": "During",
}
_SAMPLING = {"Continuous", "During"}
_OPERATORS = {"int": {"==", "!=", "<", "<=", ">", ">=", "oneOf", "between"}}
_OPERATORS["float"] = _OPERATORS["int"]
_OPERATORS["string"] = {"equal", "notEqual", "contains", "matches", "notMatches", "oneOf"}
STARTING = 30.0
"""Seconds that the pod of a cmd probe may need until its program runs; an image may have to be fetched."""
_KINDS = {
    (one.group, one.plural): one.kind
    for one in vars(resources).values()
    if isinstance(one, resources.Resource) and one.namespaced
}
_SHELL = re.compile(r"^[|&;<>()]+$")


def probe(reader: Reader, path: Path, cmd_image: str, namespace: str) -> dict[str, Any]:
    """One of ours for the probe at `path`. Refused when it cannot be said. `namespace` is the run's."""
    name = reader.text(*path, "name")
    kind = reader.text(*path, "type")
    mode = _MODES.get(reader.text(*path, "mode").lower())
    if mode is None:
        raise reader.refuse((*path, "mode"), "must be SOT, EOT, Edge, Continuous or OnChaos")
    out: dict[str, Any] = {"name": _name(name), "mode": mode}
    timeout = _seconds(reader, (*path, "runProperties", "probeTimeout")) or 1.0
    match kind:
        case "httpProbe":
            out |= _http(reader, (*path, "httpProbe/inputs"), timeout)
        case "cmdProbe":
            out |= _cmd(reader, (*path, "cmdProbe/inputs"), timeout, cmd_image)
        case "k8sProbe":
            out |= _k8s(reader, (*path, "k8sProbe/inputs"), namespace)
        case "promProbe":
            out |= _prom(reader, (*path, "promProbe/inputs"), timeout)
        case "sloProbe":
            why = "is a feature of Harness; the open-source Litmus never runs it. Use a prometheus probe"
            raise reader.refuse((*path, "type"), f"sloProbe {why}")
        case _:
            raise reader.refuse((*path, "type"), f'"{kind}" is no probe that Litmus has')
    out |= _timing(reader, path, mode)
    reader.drop(*path, "data", why="has no effect")
    return out


def _timing(reader: Reader, path: Path, mode: str) -> dict[str, Any]:
    """Tries, intervals and what a failure does."""
    run: Path = (*path, "runProperties")
    retry = reader.whole(*run, "retry")
    attempts = reader.whole(*run, "attempt") or retry or 1
    between = _seconds(reader, (*run, "interval"))
    polling = _seconds(reader, (*run, "probePollingInterval"))
    out: dict[str, Any] = {}
    every = (polling if mode in _SAMPLING else between) or 0.0
    if every <= 0:
        every = 1.0
        if mode in _SAMPLING:
            reader.approximate(run, "no polling interval is a busy loop for Litmus; here it is 1 s")
    out["interval"] = _text(every)
    if mode in _SAMPLING:
        out["tolerance"] = {"ratio": 0.0, "streak": attempts - 1}
        if attempts > 1:
            reader.approximate(
                run,
                f"{attempts} tries for each sample become: never {attempts} bad samples in a row, {_text(every)} apart",
            )
    else:
        out["attempts"] = attempts
    if delay := _seconds(reader, (*run, "initialDelay")):
        out["initialDelay"] = _text(delay)
    if reader.get(*run, "stopOnFailure"):
        out["failurePolicy"] = "Abort"
    elif mode in {"Start", "Edge"}:
        reader.approximate(
            run, "Litmus injects although this probe has failed before; here a failure means no injection"
        )
    reader.drop(*run, "evaluationTimeout", why="each try has its own timeout here")
    reader.ignore(*run, "verbosity", why="the journal of a run tells")
    reader.drop(*run, "initialDelaySeconds", why="Litmus never reads it either")
    return out


def _http(reader: Reader, at: Path, timeout: float) -> dict[str, Any]:
    url = reader.text(*at, "url")
    if not url:
        raise reader.refuse((*at, "url"), "an httpProbe needs a url")
    body: dict[str, Any] = {"url": url, "timeout": _text(timeout)}
    for flag in ("insecureSkipTLS", "insecureSkipVerify"):
        if reader.get(*at, flag):
            body["insecure"] = True
    verb = "post" if reader.has(*at, "method", "post") else "get"
    way: Path = (*at, "method", verb)
    if verb == "post":
        body["method"] = "POST"
        if reader.get(*way, "bodyPath") is not None:
            raise reader.refuse(
                (*way, "bodyPath"), "a file of the experiment's pod cannot be read; write `body`"
            )
        body["body"] = reader.text(*way, "body")
        if content := reader.text(*way, "contentType"):
            body["headers"] = [{"key": "Content-Type", "value": content}]
    reader.drop(*at, "responseTimeout", why="probeTimeout is the timeout")
    criteria, code = reader.text(*way, "criteria"), reader.text(*way, "responseCode").strip("[]")
    if not criteria or not code:
        raise reader.refuse(way, "a criteria and a responseCode are needed")
    return {"provider": {"http": body}, "successCondition": _status_condition(reader, way, criteria, code)}


def _status_condition(reader: Reader, at: Path, criteria: str, code: str) -> str:
    codes = [part.strip() for part in code.split(",")]
    if not all(re.fullmatch(r"[0-9]{3}", one) for one in codes):
        raise reader.refuse((*at, "responseCode"), f'"{code}" is no HTTP status')
    match criteria:
        case "==" | "!=" | "<" | "<=" | ">" | ">=" if len(codes) == 1:
            condition = f"result.status {criteria} {codes[0]}"
        case "oneOf":
            condition = f"result.status in [{', '.join(codes)}]"
        case "between" if len(codes) == 2:
            condition = f"result.status >= {codes[0]} && result.status <= {codes[1]}"
        case _:
            raise reader.refuse((*at, "criteria"), f'"{criteria}" does not fit the code {code}')
    # No answer at all is status 0: never a success, whatever the criteria say.
    return (
        condition
        if criteria in {"==", "oneOf", "between", ">", ">="}
        else f"result.status > 0 && {condition}"
    )


def _cmd(reader: Reader, at: Path, timeout: float, cmd_image: str) -> dict[str, Any]:
    command = reader.text(*at, "command")
    if not command.strip():
        raise reader.refuse((*at, "command"), "a cmdProbe needs a command")
    image = cmd_image
    if reader.has(*at, "source"):
        source: Path = (*at, "source")
        image = reader.text(*source, "image") or image
        for field in ("hostNetwork", "privileged", "volumes", "volumesMount", "volumeMounts"):
            if reader.get(*source, field):
                raise reader.refuse(
                    (*source, field), "is not given to probes; run such a check as a Job of your own"
                )
        for field in ("inheritInputs", "env", "imagePullPolicy", "labels", "annotations", "nodeSelector"):
            reader.drop(*source, field, why="has no effect: the probe's pod has none of it")
    else:
        reader.approximate(
            (*at, "command"), f"runs in an image of its own ({image}; --cmd-image names another), in a pod"
        )
    reader.approximate(
        at,
        f"its pod may take {_text(timeout + STARTING)}: {_text(timeout)} for the probe, as in Litmus, and "
        f"{_text(STARTING)} to start",
    )
    argv = _argv(reader, (*at, "command"), command)
    return {
        "provider": {"cmd": {"image": image, "command": argv, "timeout": _text(timeout + STARTING)}},
        "comparator": _comparator(reader, (*at, "comparator")),
    }


def _argv(reader: Reader, at: Path, command: str) -> list[str]:
    """The words of a command; with a shell where it needs one, which is said."""
    try:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError as error:
        raise reader.refuse(at, f"the command cannot be read: {error}") from None
    expands = any(sign in command for sign in "$`*?~\n")
    if expands or any(_SHELL.match(word) for word in words) or not words:
        reader.approximate(
            at, "needs a shell, which the image must have (/bin/sh); it runs in the probe's pod alone"
        )
        return ["/bin/sh", "-c", command]
    return words


def _comparator(reader: Reader, at: Path) -> dict[str, str]:
    kind = reader.text(*at, "type").lower()
    criteria, value = reader.text(*at, "criteria"), reader.text(*at, "value")
    if kind not in _OPERATORS:
        raise reader.refuse((*at, "type"), "must be int, float or string")
    if criteria not in _OPERATORS[kind]:
        known = ", ".join(sorted(_OPERATORS[kind]))
        raise reader.refuse((*at, "criteria"), f'"{criteria}" does not compare {kind}s; one of {known}')
    return {"type": kind, "operator": criteria, "value": value.strip("[]")}


def _k8s(reader: Reader, at: Path, namespace: str) -> dict[str, Any]:
    operation = reader.text(*at, "operation").lower()
    if operation not in {"present", "absent"}:
        raise reader.refuse((*at, "operation"), f'"{operation}" changes the cluster; a probe only looks')
    if (place := reader.text(*at, "namespace") or namespace) != namespace:
        raise reader.refuse(
            (*at, "namespace"),
            f"a probe looks into the namespace of its run, which is {namespace}, not {place}",
        )
    if reader.text(*at, "fieldSelector"):
        raise reader.refuse((*at, "fieldSelector"), "objects can be chosen by name or by label only")
    body = {"op": operation, **_objects(reader, at)}
    names = [one.strip() for one in reader.text(*at, "resourceNames").split(",") if one.strip()]
    if len(names) > 1 or (names and reader.text(*at, "labelSelector")):
        raise reader.refuse(
            (*at, "resourceNames"), "a probe looks for one name or for labels; write a probe for each name"
        )
    if names:
        body["name"] = names[0]
    elif labels := reader.text(*at, "labelSelector"):
        body["labelSelector"] = labels
    return {"provider": {"kubernetes": body}}


def _objects(reader: Reader, at: Path) -> dict[str, Any]:
    """Group and kind of a resource; where we do not know the kind, its plural and version, which are what is asked for."""
    group, version = reader.text(*at, "group"), reader.text(*at, "version")
    plural = reader.text(*at, "resource")
    if not re.fullmatch(r"[a-z][a-z0-9]{0,62}", plural):
        raise reader.refuse((*at, "resource"), f'"{plural}" is no resource such as "deployments"')
    out = {"group": group} if group else {}
    if (kind := _KINDS.get((group, plural))) is not None:
        return {**out, "kind": kind}
    reader.info((*at, "resource"), "the kind is not known here: it is asked for by its plural and version")
    return {**out, "version": version or "v1", "kind": plural.capitalize(), "plural": plural}


def _prom(reader: Reader, at: Path, timeout: float) -> dict[str, Any]:
    if reader.get(*at, "queryPath") is not None:
        raise reader.refuse(
            (*at, "queryPath"), "a file of the experiment's pod cannot be read; write `query`"
        )
    body = {
        "address": reader.text(*at, "endpoint"),
        "query": reader.text(*at, "query"),
        "timeout": max(1, round(timeout)),
    }
    return {
        "provider": {"prometheus": body},
        "comparator": _comparator(reader, (*at, "comparator"))
        if reader.has(*at, "comparator", "type")
        else {**_comparator_of_floats(reader, (*at, "comparator"))},
    }


def _comparator_of_floats(reader: Reader, at: Path) -> dict[str, str]:
    criteria, value = reader.text(*at, "criteria"), reader.text(*at, "value")
    if criteria not in _OPERATORS["float"]:
        raise reader.refuse((*at, "criteria"), f'"{criteria}" does not compare numbers')
    return {"type": "float", "operator": criteria, "value": value.strip("[]")}


def _seconds(reader: Reader, path: Path) -> float:
    """Seconds of a Go duration (3.x) or of a bare number (2.x); 0.0 where there is none."""
    text = reader.text(*path)
    if not text:
        return 0.0
    try:
        return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) else duration(text)
    except ValueError as error:
        raise _wrong(reader, path, str(error)) from None


def _wrong(reader: Reader, path: Path, message: str) -> Refused:
    return reader.refuse(path, message)


def _text(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:g}ms"


def _name(text: str) -> str:
    """A probe's name as ours must be: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63] or "probe"
