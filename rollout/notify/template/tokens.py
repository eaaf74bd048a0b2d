"""A template's text cut into plain text and actions, and an action's text into tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from rollout.api.codec import decode
from rollout.errors import SurefootError

_ACTION = re.compile(
    r"""\{\{(?P<left>-(?=\s))?(?:
        (?P<comment>\s*/\*.*?\*/\s*?(?P<comment_right>\s-)?\}\})
      | (?P<body>(?:"(?:\\.|[^"\\\n])*"|`[^`]*`|[^"`}]|\}(?!\}))*?)(?P<right>(?<=\s)-)?\}\}
    )""",
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>"(?:\\.|[^"\\\n])*")
      | (?P<raw>`[^`]*`)
      | (?P<number>[-+]?\d+(?:\.\d+)?)
      | (?P<variable>\$\w*(?:\.\w+)*)
      | (?P<field>(?:\.\w+)+)
      | (?P<dot>\.)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign>:=|[=|(),])
    """,
    re.VERBOSE,
)


class TemplateError(SurefootError):
    """A template that cannot be read or filled in: "line 3: what is wrong; what to do"."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")


class Token(msgspec.Struct, frozen=True):
    """`kind` is a group of _TOKEN. `value` is a string's or number's value, otherwise the source. `spaced`: there is a
    space before it."""

    kind: str
    value: str | int | float
    spaced: bool = False


class Action(msgspec.Struct, frozen=True):
    """What stands between {{ and }}."""

    line: int
    tokens: tuple[Token, ...]


def pieces(source: str) -> Iterator[str | Action]:
    """Texts and actions in order; comments are left out, and the space that trim markers take away."""
    at, trim = 0, False
    for match in _ACTION.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        text = source[at : match.start()]
        text = text.lstrip() if trim else text
        if "{{" in text:
            raise TemplateError(line, "`{{` without its `}}`")
        yield text.rstrip() if match["left"] else text
        at, trim = match.end(), bool(match["right"] or match["comment_right"])
        if match["comment"] is None:
            yield Action(line, tuple(_tokens(match["body"], line)))
    rest = source[at:].lstrip() if trim else source[at:]
    if "{{" in rest:
        raise TemplateError(
            source.count("\n") + 1 - rest.partition("{{")[2].count("\n"), "`{{` without its `}}`"
        )
    yield rest


def _tokens(body: str, line: int) -> Iterator[Token]:
    at, spaced = 0, False
    while at < len(body):
        match = _TOKEN.match(body, at)
        if match is None:
            raise TemplateError(line, f"cannot read {body[at : at + 20]!r}")
        kind, text = str(match.lastgroup), match[0]
        at = match.end()
        if kind == "space":
            spaced = True
            continue
        yield Token(kind, _value(kind, text, line), spaced)
        spaced = False


def _value(kind: str, text: str, line: int) -> str | int | float:
    match kind:
        case "text":
            try:
                return str(decode(text))
            except ValueError:
                raise TemplateError(line, f"cannot read the string {text}") from None
        case "raw":
            return text[1:-1]
        case "number":
            return float(text) if "." in text else int(text)
        case _:
            return text
