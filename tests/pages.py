"""The examples of the pages in docs/: YAML blocks by heading, and how each object says that it ends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

ROOT = Path(__file__).parents[1]
SPACE = "chaos-examples"
"""The namespace in which the examples are written."""
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SCRIPT = re.compile(r"^```sh ?(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_PROMISE = re.compile(r"(?:its runs end|ends) as (\w+)(?:: (.*?))?(?:, with (\d+) (victims|receipts))?")


class Promise(msgspec.Struct, frozen=True):
    """What the comment above an object says of its end: the verdict, some words of its message, how many there are."""

    verdict: str
    words: str = ""
    count: int | None = None
    of: str = ""


class Script(msgspec.Struct, frozen=True):
    """A block of shell commands. `runs`: it needs nothing that a sandbox does not have."""

    page: str
    heading: str
    text: str
    runs: bool


class Example(msgspec.Struct, frozen=True):
    """One object of a block, and the comment in its first line."""

    page: str
    heading: str
    object: dict[str, Any]
    comment: str = ""

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def promise(self) -> Promise | None:
        found = _PROMISE.fullmatch(self.comment)
        if found is None:
            return None
        verdict, words, count, of = found.groups()
        return Promise(verdict, words or "", None if count is None else int(count), of or "")


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[tuple[str, str]]:
    """(heading, text) of each YAML block."""
    text = text_of(page)
    return [(_heading(text[: found.start()]), found[1]) for found in _BLOCK.finditer(text)]


def scripts(page: str) -> list[Script]:
    """The page's fenced shell blocks; those that say `sh cluster` are not to be run in a sandbox."""
    text = text_of(page)
    return [
        Script(page, _heading(text[: found.start()]), found[2], found[1] != "cluster")
        for found in _SCRIPT.finditer(text)
    ]


def examples(page: str, namespace: str = SPACE) -> list[Example]:
    """The objects of the page's blocks in order, moved to a namespace. Blocks without `apiVersion` are parts of one."""
    found = []
    for heading, block in blocks(page):
        for document in block.replace(SPACE, namespace).split("\n---\n"):
            obj = yaml.safe_load(document)
            if isinstance(obj, dict) and "apiVersion" in obj:
                first = document.lstrip().splitlines()[0]
                comment = first.removeprefix("# ") if first.startswith("# ") else ""
                found.append(Example(page, heading, obj, comment))
    return found


def commands(page: str, word: str, namespace: str = SPACE) -> list[str]:
    """The page's command lines that begin with `rollout` and contain a word."""
    lines = re.findall(r"^    (rollout .*?)(?:  +#.*)?$", text_of(page), re.MULTILINE)
    return [line.replace(SPACE, namespace) for line in lines if word in line]


def _heading(before: str) -> str:
    return re.findall(r"^##+ (.*)$", before, re.MULTILINE)[-1] if "\n## " in before else ""
