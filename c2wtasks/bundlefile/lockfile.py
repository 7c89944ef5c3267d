"""The file `bundle.lock` beside bundle.yaml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from c2wtasks.bundlefile import lock
from c2wtasks.bundlefile.lock import Entries, LockEntry
from c2wtasks.bundlefile.position import Position
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.read import content_of, decoded
from c2wtasks.disk import files


@dataclass(frozen=True, slots=True)
class LockFile:
    """The lock at `path`, with what it said when it was read."""

    path: str
    entries: Entries

    @classmethod
    def read(cls, path: str) -> LockFile:
        """The lock at `path`; one that is not there says nothing. Raises BundleFileError, with all its mistakes."""
        if not os.path.lexists(path):
            return cls(path, {})
        report = Problems()
        content = content_of(path)
        if isinstance(content, str):
            report.add(Position(path, 1, 1), "", f"the file {content}")
        text = decoded(content, path, report) if isinstance(content, bytes) else None
        report.raise_if_any()
        assert text is not None, "no text and no mistake"
        return cls(path, lock.parse(text, path))

    def change(self, changes: Mapping[str, LockEntry | None]) -> None:
        """Puts entries in, and takes out those that are None, of what the file says by now.

        Raises BundleFileError, OutputError.
        """
        entries = {**LockFile.read(self.path).entries, **changes}
        text = lock.render(entry for entry in entries.values() if entry is not None)
        files.write_if_changed(self.path, text.encode(), sync=True)
