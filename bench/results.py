"""bench/RESULTS.md: one chapter per command, each kept when another is written anew."""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from bench.figures import Figure, Section, progress, table
from bench.machine import Machine

RESULTS = Path(__file__).parent / "RESULTS.md"
BUSY = 0.5
"""Load per core above which a run is not alone on its machine."""


def measured(
    names: Iterable[str], about: Mapping[str, str], measure: Callable[[str], Sequence[Figure]]
) -> tuple[list[Section], list[str]]:
    """What was measured of each subject, and the names of those that failed: the others can still be measured."""
    sections: list[Section] = []
    failed: list[str] = []
    for name in names:
        progress(f"{name}: begins")
        load, started = os.getloadavg()[0], time.perf_counter()
        try:
            figures = tuple(measure(name))
        except Exception:  # noqa: BLE001 - whatever it is, it is told
            traceback.print_exc()
            progress(f"{name}: FAILED, see above")
            failed.append(name)
            continue
        seconds = time.perf_counter() - started
        progress(f"{name}: {seconds:.0f} s")
        sections.append(
            Section(name=name, about=about[name], seconds=round(seconds, 1), load=load, figures=figures)
        )
    return sections, failed


def chapter(title: str, command: str, on: Machine, words: Sequence[str], sections: Iterable[Section]) -> str:
    """What is kept in RESULTS.md: the machine, what the figures mean, and a table for each subject."""
    lines = [title, "", f"By `{command}` on {on.date}, commit {on.commit}.", *_about(on), "", *words]
    for one in sections:
        lines += [
            "",
            f"## {one.name}",
            f"{one.about}. Took {one.seconds:.0f} s, load before {one.load:.1f}.",
            "",
        ]
        lines += table(one.figures)
    return "\n".join(lines) + "\n"


def keep(title: str, text: str, path: Path = RESULTS) -> Path:
    """Put `text`, which begins with the line `title` ("# ..."), in the place of the chapter of this title."""
    chapters = _chapters(path.read_text()) if path.exists() else {}
    chapters[title] = text.strip("\n")
    path.write_text("\n\n".join(chapters.values()) + "\n")
    return path


def _chapters(page: str) -> dict[str, str]:
    parts = re.split(r"^(?=# )", page, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part.strip("\n") for part in parts if part.strip()}


def _about(on: Machine) -> list[str]:
    """The machine and how busy it was, in two lines."""
    busy = " **The machine was busy with other work: read the wall times as upper bounds.**"
    load = ", ".join(f"{one:.2f}" for one in on.load)
    return [
        f"{on.cpu}, {on.cores} cores, {on.memory_gib:g} GiB; {on.kernel}; {on.python}.",
        f"Load average before: {load} (1, 5, 15 minutes).{busy if on.load[0] > on.cores * BUSY else ''}",
    ]
