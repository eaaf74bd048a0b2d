"""Reading a template into a tree, and filling it in.

Semantics: https://pkg.go.dev/text/template. Maps are JSON objects, so a missing field is nil and prints `<no value>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from rollout.notify.template.functions import FUNCTIONS, WITHOUT, FunctionError, text_of, truth
from rollout.notify.template.tokens import Action, TemplateError, Token, pieces

MAX_SOURCE = 64 * 1024
MAX_OUTPUT = 256 * 1024
MAX_STEPS = 100_000
MAX_DEPTH = 40
_UNSUPPORTED = frozenset({"define", "template", "block", "break", "continue", "call"})


class Operand(msgspec.Struct, frozen=True):
    """A value: `base` "" for a constant, "." for the dot, "$name" for a variable, "(" for a pipeline in brackets."""

    base: str = ""
    value: Any = None
    path: tuple[str, ...] = ()


class Command(msgspec.Struct, frozen=True):
    """A function with its arguments, or (`function` "") a value."""

    function: str
    arguments: tuple[Operand, ...]


class Pipeline(msgspec.Struct, frozen=True):
    """`names` are the variables that get the value ("$i", "$x" of a range)."""

    line: int
    commands: tuple[Command, ...]
    names: tuple[str, ...] = ()
    declares: bool = True


class Block(msgspec.Struct, frozen=True):
    """An if, range or with: (pipeline, body) pairs, and what stands after the last else."""

    kind: str
    branches: tuple[tuple[Pipeline, tuple[Any, ...]], ...]
    otherwise: tuple[Any, ...] = ()


class Template:
    """A template that was read without errors."""

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateError(1, f"the template is longer than {MAX_SOURCE} characters")
        self._body = _Reader(source).whole()

    def render(self, data: Mapping[str, Any]) -> str:
        """The text with `data` as the dot. TemplateError when a value is not what a function needs, or at a bound."""
        run = _Run(data)
        run.body(self._body, data)
        return "".join(run.out)


@lru_cache(maxsize=1024)
def compile(source: str) -> Template:  # the language's own word
    """Read a template. TemplateError with the line of the first thing that is wrong."""
    return Template(source)


# --- reading ------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, source: str) -> None:
        self._pieces = [piece for piece in pieces(source) if piece != ""]
        self._at = 0
        self._depth = 0
        self._known: list[set[str]] = [{"$"}]

    def whole(self) -> tuple[Any, ...]:
        body, end = self._until_end()
        if end is not None:
            raise TemplateError(end.line, f"`{end.tokens[0].value}` without an if, range or with before it")
        return body

    def _until_end(self) -> tuple[tuple[Any, ...], Action | None]:
        """What stands before the next `end` or `else` of this level, and that action."""
        found: list[Any] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if isinstance(piece, str):
                found.append(piece)
                continue
            word = _word(piece)
            if word in {"end", "else"}:
                return tuple(found), piece
            if word in {"if", "range", "with"}:
                found.append(self._block(piece, word))
            elif word in _UNSUPPORTED:
                raise TemplateError(piece.line, f"not supported: `{word}`; write the text where it is needed")
            else:
                found.append(self._pipeline(piece.line, piece.tokens))
        return tuple(found), None

    def _block(self, start: Action, kind: str) -> Block:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError(start.line, f"blocks nest deeper than {MAX_DEPTH}")
        branches: list[tuple[Pipeline, tuple[Any, ...]]] = []
        otherwise: tuple[Any, ...] = ()
        self._known.append(set())
        tokens: tuple[Token, ...] = start.tokens[1:]
        pipe = self._pipeline(start.line, tokens, ranging=kind == "range")
        while True:
            self._known.append(set())
            body, end = self._until_end()
            self._known.pop()
            if end is None:
                raise TemplateError(start.line, f"this `{kind}` has no `end`")
            branches.append((pipe, body))
            if _word(end) == "end":
                break
            if len(end.tokens) == 1:
                otherwise, end = self._until_end()
                if end is None or _word(end) != "end":
                    raise TemplateError(start.line, f"the `else` of this `{kind}` has no `end`")
                break
            if _word(msgspec.structs.replace(end, tokens=end.tokens[1:])) != kind or kind == "range":
                raise TemplateError(end.line, f"`else` of this `{kind}` can only be followed by `{kind}`")
            pipe = self._pipeline(end.line, end.tokens[2:])
        self._known.pop()
        self._depth -= 1
        return Block(kind, tuple(branches), otherwise)

    def _pipeline(self, line: int, tokens: Sequence[Token], *, ranging: bool = False) -> Pipeline:
        names: list[str] = []
        declares = True
        signs = [index for index, one in enumerate(tokens) if one.kind == "sign" and one.value in {":=", "="}]
        if signs:
            declares = tokens[signs[0]].value == ":="
            for one in tokens[: signs[0]]:
                if one.kind == "variable" and "." not in str(one.value):
                    names.append(str(one.value))
                elif one.value != ",":
                    raise TemplateError(line, f"cannot assign to {one.value!r}")
            tokens = tokens[signs[0] + 1 :]
        if not 0 <= len(names) <= (2 if ranging else 1):
            raise TemplateError(line, "too many variables before the `:=`")
        commands = self._commands(line, list(tokens))
        for name in names:
            if declares:
                self._known[-1].add(name)
            else:
                self._check(line, name)
        return Pipeline(line, commands, tuple(names), declares)

    def _commands(self, line: int, tokens: list[Token]) -> tuple[Command, ...]:
        found: list[Command] = []
        current: list[Operand | str] = []
        while tokens:
            token = tokens.pop(0)
            if token.value == "|" and token.kind == "sign":
                found.append(self._command(line, current))
                current = []
            elif token.value == "(" and token.kind == "sign":
                current.append(self._bracket(line, tokens))
            elif token.kind == "sign":
                raise TemplateError(line, f"unexpected {token.value!r}")
            elif token.kind == "word" and token.value not in {"true", "false", "nil"}:
                if current:
                    raise TemplateError(line, f"put brackets around `{token.value} ...`")
                current.append(str(token.value))
            else:
                current.append(self._operand(line, token))
        found.append(self._command(line, current))
        return tuple(found)

    def _bracket(self, line: int, tokens: list[Token]) -> Operand:
        depth = 1
        inside: list[Token] = []
        while tokens:
            token = tokens.pop(0)
            if token.kind == "sign" and token.value in {"(", ")"}:
                depth += 1 if token.value == "(" else -1
            if depth == 0:
                path: tuple[str, ...] = ()
                if tokens and tokens[0].kind == "field" and not tokens[0].spaced:
                    path = _path(tokens.pop(0))
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    raise TemplateError(line, f"brackets nest deeper than {MAX_DEPTH}")
                inner = self._commands(line, inside)
                self._depth -= 1
                return Operand("(", Pipeline(line, inner), path)
            inside.append(token)
        raise TemplateError(line, "`(` without its `)`")

    def _operand(self, line: int, token: Token) -> Operand:
        match token.kind:
            case "dot":
                return Operand(".")
            case "field":
                return Operand(".", path=_path(token))
            case "variable":
                name, *path = str(token.value).split(".")
                self._check(line, name)
                return Operand(name, path=tuple(path))
            case "word":
                return Operand(value={"true": True, "false": False, "nil": None}[str(token.value)])
            case _:
                return Operand(value=token.value)

    def _command(self, line: int, parts: list[Operand | str]) -> Command:
        if not parts:
            raise TemplateError(line, "an action, a bracket or a side of `|` is empty")
        first, *rest = parts
        arguments = tuple(one for one in rest if isinstance(one, Operand))
        if isinstance(first, Operand):
            if rest:
                raise TemplateError(line, "a value cannot be called; methods are not supported")
            return Command("", (first,))
        if first not in FUNCTIONS:
            why = "not supported" if first in WITHOUT or first in _UNSUPPORTED else "no such function"
            raise TemplateError(line, f"{why}: `{first}`; there are {', '.join(sorted(FUNCTIONS))}")
        return Command(first, arguments)

    def _check(self, line: int, name: str) -> None:
        if not any(name in scope for scope in self._known):
            raise TemplateError(line, f"the variable {name} was not declared")


def _word(action: Action) -> str:
    first = action.tokens[0] if action.tokens else None
    return str(first.value) if first is not None and first.kind == "word" else ""


def _path(token: Token) -> tuple[str, ...]:
    return tuple(str(token.value).removeprefix(".").split("."))


# --- filling in ---------------------------------------------------------------------------------------


class _Run:
    def __init__(self, data: Any) -> None:
        self.out: list[str] = []
        self._size = 0
        self._steps = 0
        self._scopes: list[dict[str, Any]] = [{"$": data}]

    def body(self, nodes: Sequence[Any], dot: Any) -> None:
        for node in nodes:
            match node:
                case str():
                    self._write(node, 0)
                case Pipeline():
                    value = self._pipe(node, dot)
                    if not node.names:
                        self._write(text_of(value), node.line)
                case Block():
                    self._block(node, dot)

    def _block(self, block: Block, dot: Any) -> None:
        for pipe, body in block.branches:
            self._scopes.append({})
            value = self._pipe(pipe, dot, ranging=block.kind == "range")
            if block.kind == "range":
                done = self._range(pipe, body, value)
            elif done := truth(value):
                self.body(body, value if block.kind == "with" else dot)
            self._scopes.pop()
            if done:
                return
        self._scopes.append({})
        self.body(block.otherwise, dot)
        self._scopes.pop()

    def _range(self, pipe: Pipeline, body: Sequence[Any], value: Any) -> bool:
        match value:
            case None:
                items: list[tuple[Any, Any]] = []
            case Mapping():
                items = [(key, value[key]) for key in sorted(value)]
            case list() | tuple():
                items = list(enumerate(value))
            case int() if not isinstance(value, bool):
                items = [(number, number) for number in range(min(value, MAX_STEPS))]
            case _:
                raise TemplateError(pipe.line, f"range can't go over {type(value).__name__}")
        for key, item in items:
            self._scopes.append(dict(zip(reversed(pipe.names), (item, key), strict=False)))
            self.body(body, item)
            self._scopes.pop()
        return bool(items)

    def _pipe(self, pipe: Pipeline, dot: Any, *, ranging: bool = False) -> Any:
        value: Any = None
        for index, command in enumerate(pipe.commands):
            value = self._call(pipe.line, command, dot, [value] if index else [])
        if pipe.names and not ranging:
            self._set(pipe, value)
        return value

    def _set(self, pipe: Pipeline, value: Any) -> None:
        if pipe.declares:
            self._scopes[-1][pipe.names[0]] = value
            return
        for scope in reversed(self._scopes):
            if pipe.names[0] in scope:
                scope[pipe.names[0]] = value
                return

    def _call(self, line: int, command: Command, dot: Any, piped: list[Any]) -> Any:
        self._step(line)
        arguments = [self._value(line, one, dot) for one in command.arguments] + piped
        if not command.function:
            if piped:
                raise TemplateError(line, "only a function can stand after a `|`")
            return arguments[0]
        try:
            return FUNCTIONS[command.function](*arguments)
        except FunctionError as error:
            raise TemplateError(line, f"{command.function}: {error}") from None
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            raise TemplateError(line, f"{command.function} cannot be used with these values") from None

    def _value(self, line: int, operand: Operand, dot: Any) -> Any:
        match operand.base:
            case "":
                return operand.value
            case ".":
                value = dot
            case "(":
                value = self._pipe(operand.value, dot)
            case name:
                value = next(scope[name] for scope in reversed(self._scopes) if name in scope)
        for name in operand.path:
            if value is None:
                return None
            if not isinstance(value, Mapping):
                raise TemplateError(line, f"can't take the field {name} of {text_of(value)[:40]!r}")
            value = value.get(name)
        return value

    def _write(self, text: str, line: int) -> None:
        self._step(line)
        self._size += len(text)
        if self._size > MAX_OUTPUT:
            raise TemplateError(line, f"the text is longer than {MAX_OUTPUT} characters")
        self.out.append(text)

    def _step(self, line: int) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TemplateError(line, f"needs more than {MAX_STEPS} steps")
