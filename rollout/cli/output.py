"""Printing: data to stdout, talk to stderr, colour only on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from rollout.cli.exits import ReaderGone
from rollout.cli.options import Output
from rollout.cli.text import Paint, ansi, plain


def say(text: str) -> None:
    """Talk: progress, notes, warnings."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def lines(texts: Iterable[str]) -> None:
    """Data, line by line. ReaderGone when nobody reads any more (`rollout list | head`)."""
    try:
        for text in texts:
            sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGone from error


def document(value: Any, output: Output) -> None:
    """A view or plain data as JSON or YAML."""
    from rollout.api.codec import encode
    from rollout.api.codec import plain as plain_data

    if output is Output.yaml:
        import yaml

        text = yaml.safe_dump(plain_data(value), sort_keys=False, allow_unicode=True, width=110)
        lines(text.splitlines())
        return
    import msgspec

    lines([msgspec.json.format(encode(value), indent=2).decode()])


def on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def painter() -> Paint:
    """Colours when stdout is a terminal and NO_COLOR (https://no-color.org) is not set."""
    return ansi if on_terminal() and not os.environ.get("NO_COLOR") else plain
