"""bench/RESULTS.md: one chapter per command, each kept when another is written anew."""

from __future__ import annotations

import re
from pathlib import Path

from bench.machine import Machine

RESULTS = Path(__file__).parent / "RESULTS.md"
BUSY = 0.5
"""Load per core above which a run is not alone on its machine."""


def keep(title: str, text: str, path: Path = RESULTS) -> Path:
    """Put `text`, which begins with the line `title` ("# ..."), in the place of the chapter of this title."""
    chapters = _chapters(path.read_text()) if path.exists() else {}
    chapters[title] = text.strip("\n")
    path.write_text("\n\n".join(chapters.values()) + "\n")
    return path


def _chapters(page: str) -> dict[str, str]:
    parts = re.split(r"^(?=# )", page, flags=re.MULTILINE)
    return {part.partition("\n")[0]: part.strip("\n") for part in parts if part.strip()}


def about(on: Machine) -> list[str]:
    """The machine and how busy it was, in two lines."""
    busy = " **The machine was busy with other work: read the wall times as upper bounds.**"
    load = ", ".join(f"{one:.2f}" for one in on.load)
    return [
        f"{on.cpu}, {on.cores} cores, {on.memory_gib:g} GiB; {on.kernel}; {on.python}.",
        f"Load average before: {load} (1, 5, 15 minutes).{busy if on.load[0] > on.cores * BUSY else ''}",
    ]
