"""What doit remembers of finished tasks: a backend that loses nothing of what was done, however the run ends.

One SQLite file, a row a task, a commit a finished task, or all that are published together, or that took less than
a tenth of a second and ended in the same one: a run that is killed has recorded all but what was in flight and what
such tasks did last, and the file is whole. Each row is sealed by a checksum, so damage that SQLite does not see
costs no more than the tasks it is in. Where the file itself is damaged, the bundles prove themselves by what is on
disk, as far as they can.

doit loads this for every dodo of the environment it is installed in, so what it needs is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from c2wtasks.engine.statefile import StateFile

_SEAL = 8  # bytes

Data = dict[str, Any]


class Backend:
    """doit's interface of a backend: (task, key) -> plain data."""

    def __init__(self, name: str, codec: Any = None, *, module_name: str | None = None) -> None:
        from c2wtasks.engine.statefile import StateFile

        self.name = name
        self._file: StateFile = StateFile(name)
        self._tasks: dict[str, Data] = {}
        self._changed: set[str] = set()
        self._removed: set[bytes] = set()
        self._known: dict[bytes, bytes] | None = None  # tasks -> sealed rows, as they were read or written
        self._lost = False
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
            rows = self._file.read()
            self._lost, self._known = rows is None, rows or {}
        return self._known

    def _task(self, task_id: str) -> Data:
        data = self._tasks.get(task_id)
        if data is None:
            row = self._rows().get(_key(task_id))
            data = self._tasks[task_id] = self._decode(task_id, row) if row else {}
        return data

    def get(self, task_id: str, key: str) -> Any:
        """What is remembered of a task under `key`; None where nothing is."""
        return self._task(task_id).get(key)

    def record(self, task_id: str) -> Mapping[str, Any]:
        """All that is remembered of a task."""
        return self._task(task_id)

    def in_(self, task_id: str) -> bool:
        """Whether anything is remembered of a task."""
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
        """Remembers `value`, which JSON can hold."""
        self._task(task_id)[key] = value
        self._changed.add(task_id)
        self._removed.discard(_key(task_id))

    def remove(self, task_id: str) -> None:
        """Forgets a task."""
        if self._task(task_id):
            self._tasks[task_id] = {}
            self._changed.discard(task_id)
            self._removed.add(_key(task_id))

    def remove_all(self) -> None:
        """Forgets all tasks."""
        self._removed |= {*self._rows(), *map(_key, self._tasks)}
        self._tasks, self._known = {}, {}
        self._changed.clear()

    def commit(self) -> None:
        """Puts the changes into the file.

        Raises OutputError: the disk is full, or the like. What is not recorded then will run again.
        """
        if not self._changed and not self._removed:
            return
        import msgspec

        from c2wtasks.engine.statefile import Damaged

        rows = {}
        for task_id in self._changed:
            content = msgspec.json.encode(self._tasks[task_id])
            rows[_key(task_id)] = _seal(task_id, content) + content
        try:
            self._file.write(rows, self._removed)
        except Damaged as error:  # in what reading did not come to
            kept = {name: row for name, row in self._rows().items() if name not in self._removed}
            self._file.close()
            self._file.damage = str(error)
            self._file.write(kept | rows, ())
        self._rows().update(rows)
        for name in self._removed:
            self._rows().pop(name, None)
        self._changed.clear()
        self._removed.clear()

    def check_writable(self) -> None:
        """Sees whether the file can be written. Raises OutputError: what is done could not be recorded."""
        self._rows()
        self._file.check_writable()

    def discard(self) -> None:
        """Forgets the changes since the last commit."""
        self._tasks.clear()
        self._changed.clear()
        self._removed.clear()

    def dump(self) -> None:
        """Commits, closes the file, and warns of what could not be used: doit calls this in the end."""
        try:
            self.commit()
        finally:
            self._file.close()
            self._warn()

    def _warn(self) -> None:
        """Says what of the file could not be used, where nothing was written, either, that took its place."""
        if not self._file.damage and not self._unsealed:
            return
        from c2wtasks.telling.notices import tell

        if self._file.damage:
            tell(f"warning: {self.name} cannot be used ({self._file.damage}): nothing is remembered of what was done")
            self._file.damage = ""
        if self._unsealed:
            what = "a record" if self._unsealed == 1 else f"{self._unsealed} records"
            tell(f"warning: {self.name}: {what} in it cannot be used (damaged): taken as if never done")
            self._unsealed = 0


def _key(task_id: str) -> bytes:
    return task_id.encode(errors="surrogatepass")


def _seal(task_id: str, content: bytes) -> bytes:
    import xxhash

    return xxhash.xxh3_64_digest(_key(task_id) + content)


State = Backend  # as environments have it in their entry points that were installed before
