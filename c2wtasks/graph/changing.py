"""What a run changes of bundles, noted before it publishes them: so nothing is lost of a run that is killed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from msgspec.structs import replace

from c2wtasks.changes import records, stored
from c2wtasks.changes.model import UNKNOWN, Change
from c2wtasks.changes.records import NO_DETAILS
from c2wtasks.disk import safely
from c2wtasks.errors import OutputError
from c2wtasks.output import record
from c2wtasks.output.changelog import Log
from c2wtasks.output.places import NEW, RECORD, Places
from c2wtasks.output.staged import staging
from c2wtasks.tasks import changed

_NOT_LEFT = "what changed in the root is not known: the one that stood was not as it had been left"


class Changing:
    """What a run changes, as it is noted. `note` tells where that could not be done."""

    def __init__(self, output: str) -> None:
        self.log = Log(output)
        self.note = ""
        self._written: set[str] = set()  # details

    def begin(self, staged: Iterable[tuple[str, Places]]) -> dict[str, str]:
        """Notes what changes of these bundles (`name@platform`), which are to be published. Gives of each the SHA-256
        of the bundle.json that stands, "" where none does.

        What cannot be noted (the disk is full, say) keeps nothing from being published.
        """
        documents: list[bytes] = []
        changes: list[Change] = []
        before: dict[str, str] = {}
        for bundle, places in staged:
            new = f"{staging(places)}/{NEW}"
            texts = _text(places.record), _text(f"{new}/{RECORD}")
            before[bundle] = records.digest(texts[0]) if texts[0] else ""
            change, document = _change(bundle, places, new, texts, before[bundle])
            if change is None:
                continue
            changes.append(change)
            if document and change.details not in self._written:
                self._written.add(change.details)
                documents.append(document)
        if changes:
            try:
                self.log.append(b"".join((*documents, stored.encode_changes(changes))))
            except OutputError as error:
                self.note = f"note: what changed is not noted: {error}"
        return before


def _text(path: str) -> bytes:
    try:
        return safely.read(path, record.MAX_SIZE)
    except OSError:
        return b""


def _change(
    bundle: str, places: Places, folder: str, texts: tuple[bytes, bytes], before: str
) -> tuple[Change | None, bytes]:
    """What the bundle in `folder` changes, None where that is nothing; and the document of its details, if it has
    any."""
    after = records.digest(texts[1])
    if before == after:
        return None, b""
    old, new = map(records.parse, texts)
    if new is None:
        return None, b""
    if old is None:
        return records.new(bundle, after, new), b""
    is_known = records.has_same_root(old, new)
    noted = None if is_known else changed.take(places, before, after)
    is_known = is_known or noted is not None
    read = partial(changed.small, places.published), partial(changed.small, folder)
    found = records.compare(bundle, (before, after), (old, new), read, NO_DETAILS if is_known else UNKNOWN)
    if noted is not None:
        return replace(found, details=noted.details), noted.document
    return found if is_known else replace(found, unknown=(*found.unknown, _NOT_LEFT)), b""
