"""images.yaml: which command stands for which image.

    - image: "*/web-frontend:v3"
      command: ["python3", "app.py", "--listen", "$POD_IP:$PORT"]
      env: {ERROR_RATE: "0.08"}

The first entry whose glob matches wins; our own images (`BUILTIN`) come after the user's entries. An image matches with and without its registry and path:
`web-frontend:v3` matches `registry.example/team/web-frontend:v3`. Without `command` the demo app runs
with the entry's environment; the command `demo-app` says the same explicitly.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
import yaml

from rollout.errors import SandboxError

DEMO_APP = (sys.executable, "-I", "-S", str(Path(__file__).with_name("demo_app.py")))


class ImageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    image: str
    command: tuple[str, ...] = ()
    env: dict[str, str | int | float | bool] = {}


def _own(image: str, *command: str) -> tuple[ImageEntry, ...]:
    """The entries of one of our own images: from any registry, with any tag or digest."""
    globs = (f"{place}{image}{version}" for place in ("", "*/") for version in ("", ":*", "@*"))
    return tuple(ImageEntry(glob, command) for glob in globs)


BUILTIN = (
    *_own("surefoot/load", sys.executable, "-m", "analysis.load"),
    *_own("surefoot/injector", sys.executable, "-m", "chaos.injector"),
)
"""Our own images. Their programs are those that the images contain, in this Python."""


class Program(msgspec.Struct, frozen=True):
    """What stands for an image: the command of its entrypoint and its environment."""

    command: tuple[str, ...]
    env: dict[str, str]
    known: bool = True


def parse_images(text: str, where: str) -> tuple[ImageEntry, ...]:
    """The entries of an images.yaml. SandboxError says where it is wrong."""
    try:
        entries = msgspec.convert(yaml.safe_load(text) or [], tuple[ImageEntry, ...])
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        why = " ".join(str(error).split())  # PyYAML draws its errors over several lines
        raise SandboxError(
            f"{where} cannot be read: {why}; write a list of entries with image, command and env"
        ) from error
    return entries


def program_of(image: str, entries: Sequence[ImageEntry]) -> Program:
    """The program that stands for `image`; the demo app with `known=False` when no entry matches.

    The demo app is told the image's tag as VERSION, unless the entry sets one.
    """
    tag = {"VERSION": image_tag(image)}
    short = image.rpartition("/")[2]
    for entry in (*entries, *BUILTIN):
        if fnmatchcase(image, entry.image) or fnmatchcase(short, entry.image):
            env = {name: _text(value) for name, value in entry.env.items()}
            demo = entry.command in {(), ("demo-app",)}
            return Program(DEMO_APP if demo else entry.command, {**tag, **env} if demo else env)
    return Program(DEMO_APP, tag, known=False)


def image_tag(image: str) -> str:
    """The tag of an image reference: "v1.2" of "host:5000/app:v1.2@sha256:..."; "latest" without one."""
    name = image.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[2] or "latest"


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Images:
    """The images.yaml in use. A change of the file is picked up at the next look.

    A file that cannot be read any more leaves the last good entries in force; `problem` says why.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._entries: tuple[ImageEntry, ...] = ()
        self.problem = ""
        self._reread()
        if self.problem:
            raise SandboxError(self.problem)

    def program(self, image: str) -> Program:
        self._reread()
        return program_of(image, self._entries)

    def _reread(self) -> None:
        if self._path is None:
            return
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._stamp:
                return
            self._entries = parse_images(self._path.read_text(), str(self._path))
            self._stamp, self.problem = stamp, ""
        except (OSError, SandboxError, UnicodeDecodeError) as error:
            self.problem = f"images file: {error}"
