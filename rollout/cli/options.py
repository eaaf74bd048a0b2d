"""Options that commands share, and the decorator that gives a command its connection options.

This file and the command files import nothing heavy at the top, so that `--help` and completion start fast.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from rollout.cli.exits import HELP


class Output(StrEnum):
    """The value of -o."""

    json = "json"
    yaml = "yaml"
    name = "name"
    wide = "wide"


class Target(NamedTuple):
    """Which cluster and namespace a command is about, as the user said it; "" means not said."""

    namespace: str
    context: str
    kubeconfig: str
    as_user: str
    as_groups: tuple[str, ...]
    request_timeout: str


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the Rollout.", show_default=False)]
OutputOption = Annotated[
    Output | None,
    typer.Option(
        "--output", "-o", metavar="FORMAT", help="Print json, yaml, name or wide.", show_default=False
    ),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
Selector = Annotated[
    str,
    typer.Option(
        "--selector", "-l", metavar="LABELS", help="Label selector, for example app=web.", show_default=False
    ),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for the outcome; the exit code tells it (see below).")
]
Timeout = Annotated[
    str, typer.Option("--timeout", metavar="TIME", help="How long --wait waits, for example 30s or 10m.")
]
SuccessOnPause = Annotated[
    bool, typer.Option("--success-on-pause", help="A pause that waits for a person counts as success.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Let the server check it, and change nothing.")]

_COMMON: dict[str, tuple[Any, Any]] = {
    "namespace": (
        Annotated[
            str,
            typer.Option(
                "--namespace", "-n", metavar="NAME", help="Namespace; without it that of the context.", show_default=False
            ),
        ],
        "",
    ),
    "context": (Annotated[str, typer.Option("--context", metavar="NAME", help="Context of the kubeconfig.", show_default=False)], ""),
    "kubeconfig": (
        Annotated[
            str, typer.Option("--kubeconfig", metavar="FILE", help="Path of the kubeconfig file.", show_default=False)
        ],
        "",
    ),
    "as_user": (Annotated[str, typer.Option("--as", metavar="USER", help="User to impersonate.", show_default=False)], ""),
    "as_groups": (
        Annotated[
            list[str] | None, typer.Option("--as-group", metavar="GROUP", help="Group to impersonate (repeat).", show_default=False)
        ],
        None,
    ),
    "request_timeout": (
        Annotated[str, typer.Option("--request-timeout", metavar="TIME", help="Time for one request.")],
        "30s",
    ),
}  # fmt: skip


class How(NamedTuple):
    """The options that all acting verbs have."""

    output: Output | None
    wait: bool
    timeout: str
    success_on_pause: bool
    dry_run: bool


_ACTING: dict[str, tuple[Any, Any]] = {
    "output": (OutputOption, None),
    "wait": (Wait, False),
    "timeout": (Timeout, "10m"),
    "success_on_pause": (SuccessOnPause, False),
    "dry_run": (DryRun, False),
}


def connected(function: Callable[..., None]) -> Callable[..., None]:
    """A command that speaks to a cluster: its `target` parameter becomes kubectl's connection options."""
    return _gathered(function, "target", _COMMON, _target)


def acting(function: Callable[..., None]) -> Callable[..., None]:
    """A command that changes a Rollout: its `how` parameter becomes the options of acting verbs, too."""
    return connected(_gathered(function, "how", _ACTING, lambda said: How(**said)))


def _target(said: dict[str, Any]) -> Target:
    return Target(**(said | {"as_groups": tuple(said["as_groups"] or ())}))


def _gathered(
    function: Callable[..., None],
    into: str,
    options: dict[str, tuple[Any, Any]],
    gather: Callable[[dict[str, Any]], Any],
) -> Callable[..., None]:
    """`function` with its parameter `into` replaced by `options`, whose values `gather` puts together."""
    own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != into]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in options.items()
    ]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        said = {name: given.pop(name) for name in options}
        function(**given, **{into: gather(said)})

    parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *added]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    del command.__wrapped__
    return command


def help_with(*examples: str, exit_codes: bool = False) -> str:
    """The end of a command's help: examples, and the exit codes where they carry the answer."""
    shown = "\b\nExamples:\n" + "\n".join(f"  {one}" for one in examples)
    return f"{shown}\n\n{HELP}" if exit_codes else shown
