"""Makes the lock files of the images from requirements.lock: the packages that each image has, with their hashes.

    .venv/bin/python tools/image_lock.py write
    .venv/bin/python tools/image_lock.py check      # exit code 1, and the files that differ

`requirements/controller.lock` has what the project needs without extras, `load.lock` what the extra `load` adds,
`build.lock` what builds our own wheel. Who needs whom is in the "# via" notes of requirements.lock.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Package(NamedTuple):
    text: str
    via: frozenset[str]


def locked(text: str) -> dict[str, Package]:
    """The packages of a lock file by name: their lines without the notes, and who needs them."""
    found: dict[str, Package] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        lines = [line for line in block.splitlines() if line]
        if not lines or lines[0].startswith("#"):
            continue
        notes = [line.strip().removeprefix("#").strip() for line in lines if line.strip().startswith("#")]
        via = [note.removeprefix("via").strip() for note in notes]
        kept = [line for line in lines if not line.strip().startswith("#")]
        name = normal(kept[0])
        found[name] = Package("\n".join(kept), frozenset(normal(one) for one in via if one))
    return found


def normal(requirement: str) -> str:
    """The name in a requirement, as PEP 503 writes it."""
    match = NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match.group()).lower() if match else ""


def closure(packages: dict[str, Package], roots: list[str]) -> list[str]:
    """The roots and all that they need."""
    needed: set[str] = set()
    ahead = [normal(one) for one in roots]
    while ahead:
        name = ahead.pop()
        if name not in needed:
            needed.add(name)
            ahead += [other for other, package in packages.items() if name in package.via]
    return sorted(needed)


def locks() -> dict[Path, str]:
    """Every lock file of an image with the text that it should have."""
    packages = locked((ROOT / "requirements.lock").read_text())
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    own = project["project"]
    roots = {
        "controller": own["dependencies"],
        "load": [*own["dependencies"], *own["optional-dependencies"]["load"]],
        "build": list(project["build-system"]["requires"]),
    }
    head = "# Made from requirements.lock by `tools/image_lock.py write`; do not edit.\n"
    return {
        FOLDER / f"{name}.lock": head
        + "".join(f"{packages[one].text}\n" for one in closure(packages, needed))
        for name, needed in roots.items()
    }


def write() -> int:
    FOLDER.mkdir(exist_ok=True)
    for path, text in locks().items():
        path.write_text(text)
    return 0


def check() -> int:
    wrong = [path for path, text in locks().items() if not path.exists() or path.read_text() != text]
    for path in wrong:
        print(f"{path.relative_to(ROOT)} is out of date; run: .venv/bin/python tools/image_lock.py write")
    return 1 if wrong else 0


if __name__ == "__main__":
    commands = {"write": write, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit("usage: image_lock.py write|check")
    sys.exit(commands[sys.argv[1]]())
