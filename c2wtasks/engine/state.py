"""What doit remembers of finished tasks: a backend that loses nothing of what was done, however the run ends.

One SQLite file, a row a task, a commit a finished task: a run that is killed has recorded all but what was in flight,
and the file is whole. It has a rollback journal: unlike a write-ahead log, that needs no memory shared by processes,
which not all file systems offer, and who reads writes nothing. Each row is sealed by a checksum, so damage that
SQLite does not see costs no more than the tasks it is in. A file that is damaged is moved aside before the first row
is written, and the bundles prove themselves by what is on disk, as far as they can. Nothing else is moved: a full
disk, or a file that may not be written, says nothing against what it holds.

doit loads this for every dodo of the environment it is installed in, so what it needs is imported when it is used.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

    from c2wtasks.errors import OutputError

VERSION = 2
_APPLICATION = 0x63_32_77_74  # "c2wt", in the header of the file
_BUSY_SECONDS = 60
_BESIDE = ("-journal", "-wal", "-shm")  # what belongs to the file; the last two are of version 1
_MAX_PATH = 503  # SQLite takes 511 bytes, with the name of the journal
_MAX_SIZE = 4 << 30  # bytes
_SEAL = 8  # bytes
_MAGIC = b"SQLite format 3\0"
_WAL = b"\x02\x02"  # at 18 in the header

Data = dict[str, Any]


class _Damaged(Exception):
    """The file is none, or no longer one, that SQLite can read."""


class Backend:
    """doit's interface of a backend: (task, key) -> plain data."""

    def __init__(self, name: str, codec: Any = None, *, module_name: str | None = None) -> None:
        self.name = name
        self._tasks: dict[str, Data] = {}
        self._changed: set[str] = set()
        self._removed: set[bytes] = set()
        self._known: dict[bytes, bytes] | None = None  # tasks -> sealed rows, as they were read or written
        self._database: sqlite3.Connection | None = None
        self._lost = False
        self._damage = ""
        self._unsealed = 0

    @property
    def lost(self) -> bool:
        """Whether nothing is remembered, since the file is not there or is damaged.

        Raises OutputError.
        """
        self._rows()
        return self._lost

    # Reading. All rows are read with the first question, and each is decoded when it is asked for.

    def _rows(self) -> dict[bytes, bytes]:
        if self._known is None:
            self._known = self._read()
        return self._known

    def _task(self, task_id: str) -> Data:
        data = self._tasks.get(task_id)
        if data is None:
            row = self._rows().get(_key(task_id))
            data = self._tasks[task_id] = self._decode(task_id, row) if row else {}
        return data

    def get(self, task_id: str, key: str) -> Any:
        return self._task(task_id).get(key)

    def record(self, task_id: str) -> Mapping[str, Any]:
        """All that is remembered of a task."""
        return self._task(task_id)

    def in_(self, task_id: str) -> bool:
        return bool(self._task(task_id))

    def _decode(self, task_id: str, row: bytes) -> Data:
        import msgspec

        content = row[_SEAL:]
        if row[:_SEAL] != _seal(task_id, content):
            self._unsealed += 1
            return {}
        data: Data = msgspec.json.decode(content)
        return data

    # Writing. Changes are gathered until `commit`, which puts them into the file in one transaction.

    def set(self, task_id: str, key: str, value: Any) -> None:
        self._task(task_id)[key] = value
        self._changed.add(task_id)
        self._removed.discard(_key(task_id))

    def remove(self, task_id: str) -> None:
        if self._task(task_id):
            self._tasks[task_id] = {}
            self._changed.discard(task_id)
            self._removed.add(_key(task_id))

    def remove_all(self) -> None:
        self._removed |= {*self._rows(), *map(_key, self._tasks)}
        self._tasks, self._known = {}, {}
        self._changed.clear()

    def commit(self) -> None:
        """Raises OutputError: the disk is full, or the like. What is not recorded then will run again."""
        if not self._changed and not self._removed:
            return
        import msgspec

        rows = {}
        for task_id in self._changed:
            content = msgspec.json.encode(self._tasks[task_id])
            rows[_key(task_id)] = _seal(task_id, content) + content
        try:
            self._write(rows, self._removed)
        except _Damaged as error:  # in what reading did not come to
            kept = {name: row for name, row in self._rows().items() if name not in self._removed}
            self._close()
            self._damage = str(error)
            self._write(kept | rows, ())
        self._rows().update(rows)
        for name in self._removed:
            self._rows().pop(name, None)
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
            self._close()
            self._warn()

    def _warn(self) -> None:
        """Says what of the file could not be used, where nothing was written, either, that took its place."""
        if self._damage:
            _say(f"warning: {self.name} cannot be used ({self._damage}): nothing is remembered of what was done")
            self._damage = ""
        if self._unsealed:
            what = "a record" if self._unsealed == 1 else f"{self._unsealed} records"
            _say(f"warning: {self.name}: {what} in it cannot be used (damaged): taken as if never done")
            self._unsealed = 0

    # The file.

    def check_writable(self) -> None:
        """Raises OutputError: what is done could not be recorded."""
        import sqlite3

        try:
            database = self._open()
            database.execute("begin immediate")  # which a file that may only be read does not refuse
            database.execute(f"pragma user_version = {VERSION}")
            database.rollback()
        except sqlite3.Error as error:
            if not _tells_damage(error):
                raise self._unrecordable(error) from error

    def _write(self, rows: Mapping[bytes, bytes], removed: Collection[bytes]) -> None:
        """Raises _Damaged, OutputError."""
        import sqlite3

        try:
            database = self._open()
            with database:
                database.executemany("delete from task where id = cast(? as text)", [(name,) for name in removed])
                database.executemany("insert or replace into task values (cast(? as text), ?)", rows.items())
        except sqlite3.Error as error:
            if _tells_damage(error):
                raise _Damaged(str(error)) from error
            raise self._unrecordable(error) from error

    def _read(self) -> dict[bytes, bytes]:
        try:
            self._check()
            with open(self.name, "rb") as stream:
                header = stream.read(100)
        except FileNotFoundError:
            header = b""
        except OSError as error:
            raise self._unreadable(error) from error
        if not header:
            self._lost = True
            return {}
        try:
            rows = self._rows_of_file(header)
        except _Damaged as error:
            self._damage = str(error)
            rows = None
        self._lost = rows is None
        return rows or {}

    def _rows_of_file(self, header: bytes) -> dict[bytes, bytes] | None:
        """The rows of the file that begins with `header`; None where it is of a version before ours.

        What SQLite cannot read where it lies it may in a copy: after a run that was killed as it wrote, or where the
        file system has no locks. What the copy lacks, too, the file lacks.

        Raises _Damaged, OutputError.
        """
        import sqlite3
        import tempfile

        if header[:16] != _MAGIC:
            raise _Damaged("file is not a database")
        if header[18] not in (1, 2):
            raise _Damaged("its header is damaged")  # SQLite would take it for one that is only to be read
        if os.stat(self.name).st_size > _MAX_SIZE:
            raise _Damaged(f"it is longer than {_MAX_SIZE} bytes")
        try:
            return self._select(f"{_address(self.name)}?mode=ro{'&immutable=1' * (header[18:20] == _WAL)}")
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_BUSY:
                raise self._trouble("another run is writing it", str(error), hint="run again") from error
        try:
            with tempfile.TemporaryDirectory() as folder:
                _copy(self.name, f"{folder}/copy")
                return self._select(_address(f"{folder}/copy"))
        except OSError as error:
            raise self._unreadable(error) from error
        except sqlite3.Error as error:
            if _tells_damage(error, ours=header[68:72] == _APPLICATION.to_bytes(4)):
                raise _Damaged(str(error)) from error
            raise self._trouble("cannot be read", str(error)) from error

    def _select(self, address: str) -> dict[bytes, bytes] | None:
        """Raises sqlite3.Error, OutputError."""
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as database:
            database.text_factory = bytes
            if self._is_empty(database):
                return None
            return {name: row for name, row in database.execute("select id, data from task") if type(row) is bytes}

    def _is_empty(self, database: sqlite3.Connection) -> bool:
        """Whether the file has nothing of this version yet.

        Raises sqlite3.Error; OutputError for a file that is not ours, or newer than we are.
        """
        (application,) = database.execute("pragma application_id").fetchone()
        (version,) = database.execute("pragma user_version").fetchone()
        if application == _APPLICATION and version > VERSION:
            raise self._trouble(
                f"is of version {version}, and this program knows version {VERSION}",
                hint="use the newer program, or remove the file: all is checked anew then",
            )
        if application == _APPLICATION and version > 0:
            return bool(version < VERSION)
        if database.execute("select count(*) from sqlite_master").fetchone() != (0,):
            raise self._trouble("is a database of another program")
        return True

    def _open(self) -> sqlite3.Connection:
        """Raises sqlite3.Error, OutputError."""
        if self._database is not None:
            return self._database

        self._rows()
        if self._damage:
            self._move_aside()
        database = self._connect()
        try:
            # After a power loss the file may be damaged, or some tasks run again; what is recorded is still true.
            database.execute("pragma synchronous = off")
            database.execute("pragma journal_mode = persist")
            if self._is_empty(database):
                with database:
                    database.execute("drop table if exists task")
                    database.execute("create table task (id text primary key, data blob not null) without rowid")
                    database.execute(f"pragma application_id = {_APPLICATION}")
                    database.execute(f"pragma user_version = {VERSION}")
        except BaseException:
            database.close()
            raise
        self._database = database
        return database

    def _connect(self) -> sqlite3.Connection:
        """Opens the file, which is made where it is not there. SQLite would follow links that others put in its place
        meanwhile: it is held against what lay there before anything is written.

        Raises sqlite3.Error, OutputError.
        """
        import sqlite3

        from c2wtasks.disk import safely

        try:
            self._check()
            path = safely.followed(self.name)
            made = safely.open_file(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM) and os.path.exists(self.name):
                return sqlite3.connect(self.name, timeout=_BUSY_SECONDS, check_same_thread=False)  # it tells more
            raise self._trouble("what was done cannot be recorded", error.strerror or str(error)) from error
        wanted = os.fstat(made)
        os.close(made)  # before SQLite has it: this would give back its locks
        address = f"{_address(path)}?mode=rw"
        database = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)
        if not _has_open(wanted):
            database.close()
            raise self._trouble("another file came in its place meanwhile", hint="run again")
        return database

    def _check(self) -> None:
        """That files lie where SQLite will look: nothing that it would wait for, and no link of another user's.

        Raises OSError, OutputError.
        """
        from c2wtasks.disk import safely

        path = safely.followed(self.name)
        for suffix in ("", *_BESIDE):
            try:
                mode = os.lstat(path + suffix).st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(mode):
                raise self._in_the_way(self.name + suffix, mode)

    def _close(self) -> None:
        if self._database is None:
            return
        import sqlite3

        database, self._database = self._database, None
        try:
            database.execute("pragma journal_mode = delete")  # leaves nothing beside the file
        except sqlite3.Error:
            pass
        database.close()

    def _move_aside(self) -> None:
        """Raises OutputError."""
        from c2wtasks.disk import safely
        from c2wtasks.errors import os_reason

        aside, number = f"{self.name}.unusable", 1
        while os.path.lexists(aside):
            number += 1
            aside = f"{self.name}.unusable-{number}"
        try:
            for suffix in (*_BESIDE, ""):  # a journal must never be left to another file
                if os.path.lexists(self.name + suffix):
                    safely.rename(self.name + suffix, aside + suffix)
        except OSError as error:
            no_way = f"and cannot be moved to {aside}: {os_reason(error)}"
            raise self._trouble(f"cannot be used ({self._damage}), {no_way}") from error
        _say(f"warning: {self.name} cannot be used ({self._damage}); moved to {aside}, and all is checked anew")
        self._damage = ""

    # What else may be wrong with it.

    def _unrecordable(self, error: sqlite3.Error) -> OutputError:
        import sqlite3

        full = _code(error) == sqlite3.SQLITE_FULL
        return self._trouble("what was done cannot be recorded", str(error), full=full)

    def _unreadable(self, error: OSError) -> OutputError:
        from c2wtasks.errors import os_reason

        return self._trouble("cannot be read", os_reason(error))

    def _in_the_way(self, path: str, mode: int) -> OutputError:
        from c2wtasks.errors import OutputError

        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        return OutputError(f"{path}: is {kind}, where the record of what was done must lie", hint="move it away")

    def _trouble(self, what: str, cause: str = "", *, hint: str = "", full: bool = False) -> OutputError:
        from c2wtasks.errors import OutputError

        elsewhere = "--db-file FILE puts the record elsewhere"
        length = len(os.fsencode(os.path.realpath(self.name)))
        owner = _other_owner(self.name)
        if not hint and length > _MAX_PATH:
            hint = f"its whole path has {length} bytes, and SQLite takes {_MAX_PATH}: {elsewhere}"
        elif not hint and full:
            hint = f"make room there, or {elsewhere}"
        elif not hint and owner:
            hint = f"it belongs to {owner}: run as {owner}, or {elsewhere}"
        return OutputError(f"{self.name}: {what}{cause and ': '}{cause}", hint=hint or elsewhere)


def _key(task_id: str) -> bytes:
    return task_id.encode(errors="surrogatepass")


def _seal(task_id: str, content: bytes) -> bytes:
    import xxhash

    return xxhash.xxh3_64_digest(_key(task_id) + content)


def _code(error: sqlite3.Error) -> int:
    """The kind of an error of SQLite's (SQLITE_...); 0 where it is Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _tells_damage(error: sqlite3.Error, *, ours: bool = True) -> bool:
    """Whether SQLite says so of damaged files, and of what is no database, only. In one that is `ours` by its header
    nothing but damage makes it miss our table (SQLITE_ERROR)."""
    import sqlite3

    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG) or (
        ours and _code(error) == sqlite3.SQLITE_ERROR
    )


def _address(path: str) -> str:
    from urllib.parse import quote

    return f"file://{quote(os.fsencode(os.path.join(os.getcwd(), path)))}"


def _has_open(wanted: os.stat_result) -> bool:
    """Whether this process has that file open, as far as the system tells."""
    try:
        return any(os.path.samestat(wanted, found) for found in _open_files())
    except OSError:
        return True


def _open_files() -> Iterator[os.stat_result]:
    """Raises OSError: the system does not tell."""
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            yield os.stat(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:  # closed since
            continue


def _copy(name: str, to: str) -> None:
    """Raises OSError."""
    import shutil

    shutil.copyfile(name, to)
    journal = f"{name}-journal"
    if os.path.isfile(journal):
        shutil.copyfile(journal, f"{to}-journal")


def _other_owner(name: str) -> str:
    """Who the file, or else its folder, belongs to, if that is not this user."""
    import pwd

    try:
        uid = os.stat(name if os.path.exists(name) else os.path.dirname(name) or ".").st_uid
    except OSError:
        return ""
    if uid == os.geteuid():
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _say(line: str) -> None:
    from c2wtasks.notices import tell

    tell(line)


State = Backend  # as environments have it in their entry points that were installed before
