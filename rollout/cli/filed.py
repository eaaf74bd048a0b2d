"""The files that `rollout status` leaves for a pipeline."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from rollout.api.resources import ANALYSIS_RUNS
from rollout.api.rollout import HASH_LABEL, Rollout
from rollout.cli.exits import USAGE, Failure
from rollout.cli.phase import Outcome
from rollout.cli.session import Session
from rollout.cli.summary import summarise


class Files(msgspec.Struct, frozen=True):
    """Paths, "" for those that nobody wants. `summary` is appended to, the others are replaced."""

    junit: str = ""
    summary: str = ""
    annotations: str = ""

    def check(self) -> None:
        """Usage error, before anybody waits, where a file could not be written afterwards.

        What an earlier command has left there goes: an old report would be taken for an answer when ours ends badly.
        """
        wanted = [Path(one) for one in (self.junit, self.annotations, self.summary) if one]
        for path in wanted:
            if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
                raise Failure(USAGE, f"cannot write {path}: no such folder, or no right to write there")
        files = [path.resolve() for path in wanted if path.is_file() or not path.exists()]
        if twice := [path for path in files if files.count(path) > 1]:
            raise Failure(USAGE, f"{twice[0]} cannot take two reports: give each a file of its own")
        for path in (Path(one) for one in (self.junit, self.annotations) if one):
            _remove(path)

    def write(self, cluster: Session, rollout: Rollout, result: Outcome) -> None:
        """Look at the gates and write what is wanted; nothing is asked when nothing is wanted."""
        if not (self.junit or self.summary or self.annotations):
            return
        from rollout.cli import gates, report  # slow to import, and not every command leaves files

        runs = cluster.all(ANALYSIS_RUNS, cluster.namespace, labels=HASH_LABEL)
        found, said = gates.gates(rollout, runs), summarise(rollout)
        if self.junit:
            _put(self.junit, report.junit([gates.suite(said, result, found)]) + "\n")
        if self.annotations:
            _put(
                self.annotations,
                "".join(f"{line}\n" for line in gates.workflow_commands(said, result, found)),
            )
        if self.summary:
            _put(self.summary, "\n".join(gates.markdown(said, result, found)) + "\n", mode="a")


def _remove(path: Path) -> None:
    """Take an old report away. What is no regular file (a terminal, a pipe) keeps nothing."""
    if not path.is_file():
        return
    try:
        path.unlink()
    except OSError as error:
        raise Failure(
            USAGE, f"cannot replace the old report {path}: {error.strerror}; remove it, or name another file"
        ) from error


def _put(path: str, text: str, mode: str = "w") -> None:
    try:
        with Path(path).open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failure(USAGE, f"cannot write {path}: {error.strerror}") from error
