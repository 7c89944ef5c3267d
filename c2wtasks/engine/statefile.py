"""The SQLite file in which doit's record lies: names -> rows of bytes.

It has a rollback journal: unlike a write-ahead log, that needs no memory shared by processes, which not all file
systems offer, and who reads writes nothing. A file that is damaged is moved aside before the first row is written.
Nothing else is moved: a full disk, or a file that may not be written, says nothing against what it holds.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from c2wtasks.engine.stateerrors import code_of, in_the_way, tells_damage, trouble, unreadable, unrecordable

if TYPE_CHECKING:
    import sqlite3

VERSION = 2
_APPLICATION = 0x63_32_77_74  # "c2wt", in the header of the file
_BUSY_SECONDS = 60
_BESIDE = ("-journal", "-wal", "-shm")  # what belongs to the file; the last two are of version 1
_MAX_SIZE = 4 << 30  # bytes
_MAGIC = b"SQLite format 3\0"
_WAL = b"\x02\x02"  # at 18 in the header


class Damaged(Exception):
    """The file is none, or no longer one, that SQLite can read."""


class StateFile:
    """The file `name`, which is read once, whole, before the first row is written. `damage` says what of it cannot be
    used; the next `write` moves it aside then."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.damage = ""
        self._database: sqlite3.Connection | None = None

    def read(self) -> dict[bytes, bytes] | None:
        """All rows; None where there are none to be had, as the file is not there, is damaged (then `damage` is set),
        or is of a version before ours.

        Raises OutputError.
        """
        try:
            _check(self.name)
            with open(self.name, "rb") as stream:
                header = stream.read(100)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(self.name, error) from error
        if not header:
            return None
        try:
            return self._rows_of_file(header)
        except Damaged as error:
            self.damage = str(error)
            return None

    def _rows_of_file(self, header: bytes) -> dict[bytes, bytes] | None:
        """The rows of the file that begins with `header`; None where it is of a version before ours.

        What SQLite cannot read where it lies it may in a copy: after a run that was killed as it wrote, or where the
        file system has no locks. What the copy lacks, too, the file lacks.

        Raises Damaged, OutputError.
        """
        import sqlite3
        import tempfile

        if header[:16] != _MAGIC:
            raise Damaged("file is not a database")
        if header[18] not in (1, 2):
            raise Damaged("its header is damaged")  # SQLite would take it for one that is only to be read
        if os.stat(self.name).st_size > _MAX_SIZE:
            raise Damaged(f"it is longer than {_MAX_SIZE} bytes")
        try:
            return self._select(f"{_address(self.name)}?mode=ro{'&immutable=1' * (header[18:20] == _WAL)}")
        except sqlite3.Error as error:
            if code_of(error) == sqlite3.SQLITE_BUSY:
                raise trouble(self.name, "another run is writing it", str(error), hint="run again") from error
        try:
            with tempfile.TemporaryDirectory() as folder:
                _copy(self.name, f"{folder}/copy")
                return self._select(_address(f"{folder}/copy"))
        except OSError as error:
            raise unreadable(self.name, error) from error
        except sqlite3.Error as error:
            if tells_damage(error, ours=header[68:72] == _APPLICATION.to_bytes(4)):
                raise Damaged(str(error)) from error
            raise trouble(self.name, "cannot be read", str(error)) from error

    def _select(self, address: str) -> dict[bytes, bytes] | None:
        """The rows of the database at an address. Raises sqlite3.Error, OutputError."""
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as database:
            database.text_factory = bytes
            if _is_empty(self.name, database):
                return None
            return {name: row for name, row in database.execute("select id, data from task") if type(row) is bytes}

    def write(self, rows: Mapping[bytes, bytes], removed: Collection[bytes]) -> None:
        """Puts `rows` into the file, and takes those called `removed` out of it, in one transaction.

        Raises Damaged, OutputError: the disk is full, or the like.
        """
        import sqlite3

        try:
            database = self._open()
            with database:
                database.executemany("delete from task where id = cast(? as text)", [(name,) for name in removed])
                database.executemany("insert or replace into task values (cast(? as text), ?)", rows.items())
        except sqlite3.Error as error:
            if tells_damage(error):
                raise Damaged(str(error)) from error
            raise unrecordable(self.name, error) from error

    def check_writable(self) -> None:
        """Sees whether the file can be written. Raises OutputError: what is done could not be recorded."""
        import sqlite3

        try:
            database = self._open()
            database.execute("begin immediate")  # which a file that may only be read does not refuse
            database.execute(f"pragma user_version = {VERSION}")
            database.rollback()
        except sqlite3.Error as error:
            if not tells_damage(error):
                raise unrecordable(self.name, error) from error

    def _open(self) -> sqlite3.Connection:
        """The open database, made ready to be written. Raises sqlite3.Error, OutputError."""
        if self._database is not None:
            return self._database
        if self.damage:
            self._move_aside()
        database = self._connect()
        try:
            # After a power loss the file may be damaged, or some tasks run again; what is recorded is still true.
            database.execute("pragma synchronous = off")
            database.execute("pragma journal_mode = persist")
            if _is_empty(self.name, database):
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
            _check(self.name)
            path = safely.followed(self.name)
            made = safely.open_file(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM) and os.path.exists(self.name):
                return sqlite3.connect(self.name, timeout=_BUSY_SECONDS, check_same_thread=False)  # it tells more
            raise trouble(self.name, "what was done cannot be recorded", error.strerror or str(error)) from error
        wanted = os.fstat(made)
        os.close(made)  # before SQLite has it: this would give back its locks
        address = f"{_address(path)}?mode=rw"
        database = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, check_same_thread=False)
        if not _has_open(wanted):
            database.close()
            raise trouble(self.name, "another file came in its place meanwhile", hint="run again")
        return database

    def _move_aside(self) -> None:
        """Gives a damaged file another name, and says so. Raises OutputError."""
        from c2wtasks.disk import safely
        from c2wtasks.errors import os_reason
        from c2wtasks.telling.notices import tell

        aside = _free_name(self.name)
        try:
            for suffix in (*_BESIDE, ""):  # a journal must never be left to another file
                if os.path.lexists(self.name + suffix):
                    safely.rename(self.name + suffix, aside + suffix)
        except OSError as error:
            no_way = f"and cannot be moved to {aside}: {os_reason(error)}"
            raise trouble(self.name, f"cannot be used ({self.damage}), {no_way}") from error
        tell(f"warning: {self.name} cannot be used ({self.damage}); moved to {aside}, and all is checked anew")
        self.damage = ""

    def close(self) -> None:
        """Closes the file, and leaves nothing beside it."""
        if self._database is None:
            return
        import sqlite3

        database, self._database = self._database, None
        try:
            database.execute("pragma journal_mode = delete")  # leaves nothing beside the file
        except sqlite3.Error:
            pass
        database.close()


def _is_empty(name: str, database: sqlite3.Connection) -> bool:
    """Whether the file has nothing of this version yet.

    Raises sqlite3.Error; OutputError for a file that is not ours, or newer than we are.
    """
    (application,) = database.execute("pragma application_id").fetchone()
    (version,) = database.execute("pragma user_version").fetchone()
    if application == _APPLICATION and version > VERSION:
        raise trouble(
            name,
            f"is of version {version}, and this program knows version {VERSION}",
            hint="use the newer program, or remove the file: all is checked anew then",
        )
    if application == _APPLICATION and version > 0:
        return bool(version < VERSION)
    if database.execute("select count(*) from sqlite_master").fetchone() != (0,):
        raise trouble(name, "is a database of another program")
    return True


def _check(name: str) -> None:
    """Checks that files lie where SQLite will look: nothing that it would wait for, and no link of another user's.

    Raises OSError, OutputError.
    """
    from c2wtasks.disk import safely

    path = safely.followed(name)
    for suffix in ("", *_BESIDE):
        try:
            mode = os.lstat(path + suffix).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise in_the_way(name + suffix, mode)


def _free_name(name: str) -> str:
    """Where a file that cannot be used may be moved to."""
    aside, number = f"{name}.unusable", 1
    while os.path.lexists(aside):
        number += 1
        aside = f"{name}.unusable-{number}"
    return aside


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
    """What this process has open. Raises OSError: the system does not tell."""
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            yield os.stat(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:  # closed since
            continue


def _copy(name: str, to: str) -> None:
    """Copies the file and its journal. Raises OSError."""
    import shutil

    shutil.copyfile(name, to)
    journal = f"{name}-journal"
    if os.path.isfile(journal):
        shutil.copyfile(journal, f"{to}-journal")
