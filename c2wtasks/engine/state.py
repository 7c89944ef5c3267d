"""What doit remembers of finished tasks: a backend that loses nothing of what was done, however the run ends.

One SQLite file in WAL mode, a row a task, a commit a finished task: a run that is killed has recorded all but what
was in flight, and the file is whole. A file that is damaged, foreign or of a newer version is moved aside with one
line of warning; the bundles then prove themselves by what is on disk, as far as they can.

doit loads this for every dodo of the environment it is installed in, so what it needs is imported when it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

VERSION = 1
_APPLICATION = 0x63_32_77_74  # "c2wt", in the header of the file
_BUSY_SECONDS = 60
_SIDE_FILES = ("", "-wal", "-shm")

Data = dict[str, Any]


class State:
    """doit's interface of a backend: (task, key) -> plain data."""

    def __init__(self, name: str, codec: Any = None, *, module_name: str | None = None) -> None:
        self.name = name
        self._tasks: dict[str, Data] = {}
        self._changed: set[str] = set()
        self._removed: set[str] = set()
        self._rows: dict[str, bytes] | None = None
        self._database: sqlite3.Connection | None = None
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether nothing is remembered, since the file is not there or cannot be used."""
        if self._rows is None:
            self._rows = self._read()
        return self._lost

    # Reading. All rows are read with the first question, and each is decoded when it is asked for.

    def _task(self, task_id: str) -> Data:
        data = self._tasks.get(task_id)
        if data is None:
            if self._rows is None:
                self._rows = self._read()
            row = self._rows.get(task_id)
            data = self._tasks[task_id] = _decode(row) if row else {}
        return data

    def get(self, task_id: str, key: str) -> Any:
        return self._task(task_id).get(key)

    def record(self, task_id: str) -> Mapping[str, Any]:
        """All that is remembered of a task."""
        return self._task(task_id)

    def in_(self, task_id: str) -> bool:
        return bool(self._task(task_id))

    # Writing. Changes are gathered until `commit`, which puts them into the file in one transaction.

    def set(self, task_id: str, key: str, value: Any) -> None:
        self._task(task_id)[key] = value
        self._changed.add(task_id)
        self._removed.discard(task_id)

    def remove(self, task_id: str) -> None:
        if self._task(task_id):
            self._tasks[task_id] = {}
            self._changed.discard(task_id)
            self._removed.add(task_id)

    def remove_all(self) -> None:
        if self._rows is None:
            self._rows = self._read()
        self._removed |= {*self._rows, *self._tasks}
        self._tasks, self._rows = {}, {}
        self._changed.clear()

    def commit(self) -> None:
        """Raises OutputError: the disk is full, or the like. What is not recorded then will run again."""
        if not self._changed and not self._removed:
            return
        import sqlite3

        import msgspec

        from c2wtasks.errors import OutputError

        rows = [(task_id, msgspec.json.encode(self._tasks[task_id])) for task_id in self._changed]
        try:
            database = self._open()
            with database:
                database.executemany("delete from task where id = ?", [(task_id,) for task_id in self._removed])
                database.executemany("insert or replace into task values (?, ?)", rows)
        except sqlite3.Error as error:
            raise OutputError(f"{self.name}: what was done cannot be recorded: {error}") from error
        self._changed.clear()
        self._removed.clear()

    def discard(self) -> None:
        """Forgets the changes since the last commit."""
        self._tasks.clear()
        self._changed.clear()
        self._removed.clear()

    def dump(self) -> None:
        """What doit calls in the end."""
        try:
            self.commit()
        finally:
            if self._database is not None:
                self._database.close()
                self._database = None

    # The file.

    def _read(self) -> dict[str, bytes]:
        if not os.path.exists(self.name):
            self._lost = True
            return {}
        import sqlite3

        from c2wtasks.errors import OutputError

        if os.path.isdir(self.name):
            raise OutputError(
                f"{self.name}: is a folder, where the record of what was done must lie", hint="move it away"
            )
        try:
            return dict(self._open().execute("select id, data from task"))
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise OutputError(f"{self.name}: another run is writing it: {error}", hint="run again") from error
            return self._move_aside(str(error))

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            import sqlite3

            database = sqlite3.connect(self.name, timeout=_BUSY_SECONDS, check_same_thread=False)
            try:
                _prepare(database)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _move_aside(self, why: str) -> dict[str, bytes]:
        if self._database is not None:
            self._database.close()
            self._database = None
        self._lost = True
        from c2wtasks.errors import OutputError, os_reason

        aside = f"{self.name}.unusable"
        try:
            for suffix in _SIDE_FILES:
                if os.path.exists(self.name + suffix):
                    os.replace(self.name + suffix, aside + suffix)
        except OSError as error:
            no_way = f"and cannot be moved to {aside}: {os_reason(error)}"
            raise OutputError(f"{self.name} cannot be used ({why}), {no_way}", hint="remove both") from error
        print(
            f"warning: {self.name} cannot be used ({why}); moved to {aside}, and all is checked anew", file=sys.stderr
        )
        return {}


def _decode(row: bytes) -> Data:
    import msgspec

    data: Data = msgspec.json.decode(row)
    return data


def _prepare(database: sqlite3.Connection) -> None:
    """Makes the table in a new file; refuses a file that is not ours or newer than we are.

    Raises sqlite3.DatabaseError.
    """
    import sqlite3

    database.execute("pragma journal_mode = wal")
    database.execute("pragma synchronous = normal")  # after a power loss some tasks run again, and nothing is broken
    (application,) = database.execute("pragma application_id").fetchone()
    (version,) = database.execute("pragma user_version").fetchone()
    if (application, version) == (_APPLICATION, VERSION):
        return
    empty = database.execute("select count(*) from sqlite_master").fetchone() == (0,)
    if application == 0 and version == 0 and empty:
        with database:
            database.execute("create table task (id text primary key, data blob not null) without rowid")
            database.execute(f"pragma application_id = {_APPLICATION}")
            database.execute(f"pragma user_version = {VERSION}")
    elif application != _APPLICATION:
        raise sqlite3.DatabaseError("not a record of ours")
    else:
        raise sqlite3.DatabaseError(f"of version {version}, and this program knows version {VERSION}")
