"""Putting a bundle where its consumers look, in one step: they see the old one or the new one, never a mixture."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from c2wtasks.disk import files, safely, syncing
from c2wtasks.disk.holding import held_if_there
from c2wtasks.errors import OutputError
from c2wtasks.output import times
from c2wtasks.output.places import NEW, OLD, READY, Places
from c2wtasks.output.remove import remove_in_place, remove_with_empty
from c2wtasks.output.staged import staging, unpublished

# What a rename to the name of another folder is refused with; the last three by SFTP, CIFS and others, which have few
# words.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EPERM, errno.EACCES, errno.EIO)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failed` are the bundles that could not be published, `in_place` those of which the old folder could not be
    renamed, so that it was removed before the new one had its name."""

    failed: dict[Places, OutputError] = field(default_factory=dict)
    in_place: list[Places] = field(default_factory=list)


def publish(staged: Sequence[Places]) -> Outcome:
    """Replaces the published folders by the staged ones. Those for which it cannot are as they were.

    All that is staged is on disk before it gets the published name, and that name is before the old folder goes.
    That takes two syncs of each file system, however many bundles they are for: as a rule there is one.
    """
    outcome = Outcome()
    together: dict[int, dict[Places, str]] = {}
    for places in staged:
        try:
            with held_if_there(places.parts):
                new = f"{staging(places)}/{NEW}"
                together.setdefault(safely.lstat(new).st_dev, {})[places] = new
        except OSError as error:
            outcome.failed[places] = unpublished(places, error)
    for group in together.values():
        _publish_together(group, outcome)
    return outcome


def _publish_together(staged: Mapping[Places, str], outcome: Outcome) -> None:
    """Publishes bundles that are on one file system, by the folders in which they were put together."""
    from c2wtasks.output import spare  # most runs publish nothing

    folder = os.path.dirname(next(iter(staged)).published)
    stamped: dict[Places, dict[str, int]] = {}
    written: dict[Places, spare.Written | None] = {}
    try:
        syncing.sync_file_system(folder)
        for places, new in staged.items():
            with _failing_alone(places, outcome), held_if_there(places.parts, os.path.dirname(places.published)):
                written[places] = spare.settle(places, new)
                stamped[places] = times.stamp(new, places.published)  # no sooner: what is copied must look older
                if _take_place(new, places.published):
                    outcome.in_place.append(places)
        syncing.sync_file_system(folder)
    except OSError as error:
        outcome.failed.update((places, unpublished(places, error)) for places in staged)
        return
    for places in staged:
        with _failing_alone(places, outcome), held_if_there(places.parts):
            spare.keep(places, written.get(places))
            files.remove_tree(places.part(NEW))
            times.note_published(places, stamped.get(places, {}))
            remove_with_empty(f"{places.beside}/{NEW}", os.path.dirname(places.published))


@contextmanager
def _failing_alone(places: Places, outcome: Outcome) -> Iterator[None]:
    """Notes an error as that of one bundle."""
    try:
        yield
    except OutputError as error:
        outcome.failed[places] = error
    except OSError as error:
        outcome.failed[places] = unpublished(places, error)


def _take_place(new: str, published: str) -> bool:
    """Gives the folder `new` the name `published`; what had that name, if anything, is called `new` afterwards, or,
    if it could not be renamed, is gone: says whether that is so.

    Raises OSError, OutputError.
    """
    ready = f"{os.path.dirname(new)}/{READY}"
    if not safely.is_folder(ready) and _renamed(new, published):
        return False
    if not _renamed(new, ready):  # one that is there was to be published in place, and could not
        files.remove_tree(ready)
        safely.rename(new, ready)
    syncing.sync_folder(os.path.dirname(new))
    replace(ready, published)
    return True


def _renamed(new: str, published: str) -> bool:
    """Gives `new` the name `published`, and what has that, if anything, the name `new`; False where the latter cannot
    be renamed, since it is a folder in a lower layer of an overlay.

    Raises OSError, OutputError.
    """
    try:
        safely.rename(new, published)
        return True
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
    try:
        if not safely.exchange(new, published):
            _swap(new, published)
        return True
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False


def _swap(new: str, published: str) -> None:
    """The same by way of a third name, where a file system does not exchange names (NFS, some FUSE): the name is gone
    for an instant, the content never."""
    old = f"{os.path.dirname(new)}/{OLD}"
    files.remove_tree(old)
    safely.rename(published, old)
    try:
        safely.rename(new, published)
    except OSError:
        safely.rename(old, published)
        raise
    safely.rename(old, new)


def replace(ready: str, published: str) -> None:
    """Removes `published`, which cannot be renamed, and gives `ready` its name. Should this be cut short, `recover`
    goes on with it: what is called `.ready` is whole and on disk.

    Raises OSError, OutputError.
    """
    remove_in_place(published)
    safely.rename(ready, published)
