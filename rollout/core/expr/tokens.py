"""Source text to tokens: https://expr-lang.org/docs/language-definition (literals, operators, comments)."""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec

from rollout.core.expr.errors import ExprError
from rollout.core.expr.limits import MAX_INT, MAX_SOURCE

Kind = Literal["number", "string", "name", "operator", "bracket", "end"]
WORD_OPERATORS = frozenset(
    {"and", "or", "not", "in", "contains", "startsWith", "endsWith", "matches", "let", "if", "else"}
)


class Token(msgspec.Struct, frozen=True):
    """`value` of a number or string is what it stands for; of anything else its text."""

    kind: Kind
    value: int | float | str
    position: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"`{self.value}`"


_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*", re.ASCII)
_POINTER = re.compile(r"#[a-z]*")
_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|"
    r"(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?",
    re.ASCII,
)
_OPERATOR = re.compile(r"\*\*|\.\.|\?\.|\?\?|\?:|==|!=|<=|>=|&&|\|\||[-+*/%^<>!?:;,.=|]")
_BRACKET = re.compile(r"[()\[\]{}]")
_RAW = re.compile(r"`((?:[^`]|``)*)`")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
_ESCAPE_CODE = re.compile(
    r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|u\{([0-9a-fA-F]{1,6})\}|([0-3][0-7]{2})"
)


def tokenize(source: str) -> list[Token]:
    """The tokens of `source`, "end" last. ExprError for anything that is not of the language."""
    if len(source) > MAX_SOURCE:
        raise ExprError(source[:MAX_SOURCE], 0, f"the expression is longer than {MAX_SOURCE} characters")
    tokens: list[Token] = []
    at = 0
    while True:
        if space := _SPACE.match(source, at):
            at = space.end()
        if at >= len(source):
            return [*tokens, Token("end", "", len(source))]
        token, at = _token(source, at)
        tokens.append(token)


def _token(source: str, at: int) -> tuple[Token, int]:
    char = source[at]
    if char in "'\"":
        text, end = _quoted(source, at)
        return Token("string", text, at), end
    if char == "`":
        raw = _RAW.match(source, at)
        if raw is None:
            raise ExprError(source, at, "the string that begins here has no end")
        return Token("string", raw[1].replace("``", "`"), at), raw.end()
    if number := _NUMBER.match(source, at):
        end = number.end()
        if end < len(source) and (source[end].isalnum() or source[end] in "_$"):
            raise ExprError(source, at, f"`{source[at : end + 1]}` is not a number")
        return Token("number", _number(source, at, number[0]), at), end
    if name := _NAME.match(source, at):
        kind: Kind = "operator" if name[0] in WORD_OPERATORS else "name"
        return Token(kind, name[0], at), name.end()
    if pointer := _POINTER.match(source, at):
        return Token("operator", pointer[0], at), pointer.end()
    if operator := _OPERATOR.match(source, at):
        if source.startswith("/*", at):
            raise ExprError(source, at, "the comment that begins here has no end")
        return Token("operator", operator[0], at), operator.end()
    if bracket := _BRACKET.match(source, at):
        return Token("bracket", bracket[0], at), bracket.end()
    raise ExprError(source, at, f"{char!r} is not part of the expression language")


def _number(source: str, at: int, text: str) -> int | float:
    digits = text.replace("_", "")
    prefix = digits[:2].lower()
    try:
        if prefix in {"0x", "0b", "0o"}:
            value = int(digits[2:], {"0x": 16, "0b": 2, "0o": 8}[prefix])
        elif set(digits) & set(".eE"):
            number = float(digits)
            if math.isinf(number):
                raise ExprError(source, at, f"`{text}` is too large for a float")
            return number
        else:
            value = int(digits)
    except ValueError:
        raise ExprError(source, at, f"`{text}` is not a number") from None
    if value > MAX_INT:
        raise ExprError(source, at, f"`{text}` is too large for a 64-bit integer")
    return value


def _quoted(source: str, start: int) -> tuple[str, int]:
    quote = source[start]
    parts: list[str] = []
    at = start + 1
    while at < len(source):
        char = source[at]
        if char == quote:
            return "".join(parts), at + 1
        if char == "\n":
            break
        if char == "\\":
            piece, at = _escape(source, at + 1, quote)
            parts.append(piece)
        else:
            parts.append(char)
            at += 1
    raise ExprError(source, start, "the string that begins here has no end")


def _escape(source: str, at: int, quote: str) -> tuple[str, int]:
    char = source[at : at + 1]
    if char == quote:
        return quote, at + 1
    if char in _ESCAPES and char:
        return _ESCAPES[char], at + 1
    if code := _ESCAPE_CODE.match(source, at):
        octal = code[5]
        number = int(octal, 8) if octal else int(next(group for group in code.groups() if group), 16)
        if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
            return chr(number), code.end()
    raise ExprError(source, at - 1, f"`\\{char}` is not an escape; write `\\\\` for a backslash")
