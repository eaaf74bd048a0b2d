"""What the demo shows while it plays: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Self

from rollout.cli import output as out
from rollout.cli.demo.load import Tally
from rollout.cli.demo.scenes import Stage
from rollout.cli.render import screen
from rollout.cli.text import Paint

BAR = 40
NOTES = 4


def weight_bar(weight: int | None, width: int = BAR) -> str:
    """The canary's share as a bar; "" when no router moves weight."""
    if weight is None:
        return ""
    filled = round(weight * width / 100)
    return f"canary {'█' * filled}{'░' * (width - filled)} {weight:3d} %"


def load_line(tally: Tally) -> str:
    errors = sum(count.errors for count in tally.versions.values())
    return f"load: {tally.requests} requests, {errors} application errors, {tally.lost} dropped"


Extra = Callable[[Stage, datetime], list[str]]
"""Further lines of a picture, between the tree and the notes."""


def picture(
    stage: Stage,
    tally: Tally,
    notes: Sequence[str],
    now: datetime,
    *,
    width: int,
    height: int,
    paint: Paint,
    extra: Sequence[str] = (),
) -> list[str]:
    """The lines of the screen, at most `height` of them."""
    head = [paint(f"Release {stage.title}" if stage.title else "Getting ready", "bold")]
    bar = weight_bar(stage.view.canary_weight(stage.key))
    foot = [*extra, "", *([bar] if bar else []), load_line(tally), *(f"· {note}" for note in notes[-NOTES:])]
    shown = stage.view.tree(stage.key, now)
    room = max(4, height - len(head) - len(foot) - 1)
    body = screen(shown, now, width=width, height=room, paint=paint) if shown is not None else []
    return [*head, "", *body, *foot]


class Screen:
    """Draws the picture on a terminal; off one, says each note and each change of weight or phase once."""

    def __init__(self, extra: Extra = lambda _stage, _now: []) -> None:
        self._extra = extra
        self.notes: list[str] = []
        self._live: object | None = None
        self._said = ""
        self._terminal = out.on_terminal()

    def note(self, text: str) -> None:
        self.notes.append(text)
        if not self._terminal:
            out.say(text)

    def __enter__(self) -> Self:
        if self._terminal:
            from rich.console import Console
            from rich.live import Live

            live = Live(
                console=Console(highlight=False), auto_refresh=False, vertical_overflow="crop", screen=False
            )
            live.start()
            self._live = live
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()  # type: ignore[attr-defined]
            self._live = None

    def draw(self, stage: Stage, tally: Tally, now: datetime) -> None:
        if self._live is None:
            self._say_change(stage)
            return
        from rich.text import Text

        size = shutil.get_terminal_size()
        lines = picture(
            stage,
            tally,
            self.notes,
            now,
            width=size.columns,
            height=size.lines - 1,
            paint=out.painter(),
            extra=self._extra(stage, now),
        )
        drawn = Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis")
        self._live.update(drawn, refresh=True)  # type: ignore[attr-defined]

    def _say_change(self, stage: Stage) -> None:
        status = stage.view.status(stage.key)
        weight = stage.view.canary_weight(stage.key)
        line = f"{stage.key}: {status.get('phase', '')} {status.get('message', '')}".rstrip()
        line += f", canary weight {weight}" if weight is not None else ""
        if line != self._said:
            out.say(f"  {line}")
            self._said = line
