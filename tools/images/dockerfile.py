"""What a target of a Dockerfile says about its image: the few instructions that ours have.

Read from there, so that the images built without Docker cannot come to differ from the public ones.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace

from tools.images.archive import Config

BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH that a base image has."""

_SAYS_NOTHING = {"ARG", "COPY", "RUN"}


def config(text: str, target: str) -> Config:
    """The configuration of `target`. ValueError for a target that is missing and an instruction that is not known."""
    stages = _stages(text)
    if target not in stages:
        raise ValueError(f"the Dockerfile has no target {target!r}; it has {', '.join(stages)}")
    parent, instructions = stages[target]
    known = config(text, parent) if parent in stages else Config(environment={"PATH": BASE_PATH})
    for word, rest in instructions:
        known = _applied(known, word, rest)
    return known


def _stages(text: str) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """The stages by name: on what each one is built, and its instructions."""
    whole = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    stages: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    here: list[tuple[str, str]] = []
    for line in filter(None, map(str.strip, whole.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            parent, _, name = rest.partition(" AS ")
            here = []
            stages[name or parent] = (parent, here)
        else:
            here.append((word, rest.strip()))
    return stages


def _applied(known: Config, word: str, rest: str) -> Config:
    if word == "ENV":
        values = {name: value.replace("$PATH", known.environment["PATH"]) for name, value in _pairs(rest)}
        return replace(known, environment={**known.environment, **values})
    if word == "LABEL":
        return replace(known, labels={**known.labels, **dict(_pairs(rest))})
    if word == "ENTRYPOINT":
        return replace(known, entrypoint=tuple(json.loads(rest)), command=())
    if word == "CMD":
        return replace(known, command=tuple(json.loads(rest)))
    if word == "USER":
        return replace(known, user=rest)
    if word == "WORKDIR":
        return replace(known, folder=rest)
    if word == "EXPOSE":
        return replace(known, ports=(*known.ports, *rest.split()))
    if word in _SAYS_NOTHING:
        return known
    raise ValueError(f"the instruction {word} of the Dockerfile is not known to tools/images/dockerfile.py")


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (word.partition("=") for word in shlex.split(text))]
