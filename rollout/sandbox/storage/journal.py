"""The durable form of the state: one sqlite3 file, written before a write is acknowledged.

WAL with synchronous=FULL: when `append` returns, the write is on disk, so kill -9 (or a power cut) loses nothing
that a client was told. https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from rollout.api import codec
from rollout.errors import ApiError, SandboxError
from rollout.sandbox.storage.state import Kept, Object, Place

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    api_group TEXT NOT NULL, plural TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (api_group, plural, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters VALUES ('version', 0);
"""


class SqliteJournal:
    """Objects and the version counter in `directory`/state.sqlite3, which no other process may use meanwhile.

    Raises SandboxError when the file cannot be opened, is in use, or is of another format.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "state.sqlite3"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # secrets are in it
            self._connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
            self._open()
        except (OSError, sqlite3.Error) as error:
            raise SandboxError(
                f"cannot keep state in {self.path}: {error}. Is another sandbox running on this directory? "
                "Stop it, or choose another directory"
            ) from error

    def _open(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in {0, _FORMAT}:
            connection.close()
            raise SandboxError(
                f"{self.path} has format {found}, this release reads {_FORMAT}. Use the release that wrote it, "
                "or choose another directory"
            )
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")

    def read(self) -> Kept:
        """Everything that was kept."""
        rows = self._connection.execute("SELECT api_group, plural, namespace, name, body FROM objects")
        objects = tuple((Place(*row[:4]), codec.decode(row[4])) for row in rows)
        version = self._connection.execute("SELECT value FROM counters WHERE name = 'version'").fetchone()
        return Kept(version[0], objects)

    def append(self, writes: Sequence[tuple[int, Place, Object | None]]) -> None:
        """Keep these writes in one transaction. ApiError (500) when the disk refuses: then nothing has happened."""
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for version, place, obj in writes:
                self._keep(place, obj)
                execute("UPDATE counters SET value = ? WHERE name = 'version'", (version,))
            execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise ApiError(f"Internal error occurred: the write could not be kept: {error}") from error

    def _keep(self, place: Place, obj: Object | None) -> None:
        key = (place.group, place.plural, place.namespace, place.name)
        if obj is None:
            delete = "DELETE FROM objects WHERE api_group = ? AND plural = ? AND namespace = ? AND name = ?"
            self._connection.execute(delete, key)
        else:
            insert = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)"
            self._connection.execute(insert, (*key, codec.encode(obj)))

    def close(self) -> None:
        self._connection.close()
