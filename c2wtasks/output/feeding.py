"""The feeds of a catalog, feed.atom and one an image: which entries each has, and which of them are to be written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from c2wtasks.disk import files
from c2wtasks.disk.syncing import sync_file_system
from c2wtasks.output.chronicle import Edition, together
from c2wtasks.output.places import FEED, FEEDS, PAGE
from c2wtasks.page import feed
from c2wtasks.page.feed import Entry, Feed
from c2wtasks.page.model import Change
from c2wtasks.telling.sizes import counted

_AT_ONCE = 200  # files, open at the same time
_FEW = 8  # files that are put on disk by themselves
_OURS = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\.atom")


def write(
    output: str,
    identity: str,
    title: str,
    images: Sequence[str],
    editions: Sequence[Edition],
    known: Mapping[str, str],
) -> dict[str, str]:
    """Writes the feeds whose entries are not those that they are `known` to have, and removes those of images that
    are no more. `editions` are the last ones first. Gives what is to be known the next time.

    Raises OutputError, OSError.
    """
    there = {found[1] for found in map(_OURS.fullmatch, files.names(f"{output}/{FEEDS}")) if found}
    for gone in there.difference(images):
        files.remove_tree(f"{output}/{FEEDS}/{gone}.atom")
    made = feed.template()
    whole = Feed(feed.tag(identity), title, FEED, PAGE, tuple(_entries(identity, "", editions)))
    files.write_if_changed(f"{output}/{FEED}", feed.render(whole, made), sync=True)
    of_image = _by_image(editions)
    now = {image: f"{title}: {_known_by(of_image.get(image, []))}" for image in images}
    stale = [image for image in images if image not in there or known.get(image) != now[image]]
    for at in range(0, len(stale), _AT_ONCE):
        texts = {}
        for image in stale[at : at + _AT_ONCE]:
            entries = tuple(_entries(identity, image, of_image.get(image, ())))
            one = Feed(
                feed.tag(identity, image), f"{title}: {image}", f"{image}.atom", f"../{PAGE}#q={image}", entries
            )
            texts[f"{output}/{FEEDS}/{image}.atom"] = feed.render(one, made)
        _write_all(f"{output}/{FEEDS}", texts)
    return now


def _write_all(folder: str, texts: Mapping[str, bytes]) -> None:
    """Puts each text at its path in the folder: on disk before any has its name, and not each by itself."""
    with files.at_work_in(folder), ExitStack() as open_files:
        made = {path: open_files.enter_context(files.temporary(folder)) for path in texts}
        for path, text in texts.items():
            made[path].stream.write(text)
            made[path].stream.flush()
        if len(texts) > _FEW:
            sync_file_system(folder)
        for path, one in made.items():
            files.give_name(one, path, sync=len(texts) <= _FEW)


def _by_image(editions: Sequence[Edition]) -> dict[str, list[Edition]]:
    found: dict[str, list[Edition]] = {}
    for edition in editions:
        parted: dict[str, dict[str, Change]] = {}
        for bundle, change in edition.changed.items():
            parted.setdefault(bundle.partition("@")[0], {})[bundle] = change
        for image, changed in parted.items():
            found.setdefault(image, []).append(Edition(edition.began, changed, edition.new, together(changed)))
    return found


def _known_by(editions: Sequence[Edition]) -> str:
    return f"{editions[0].began} {editions[-1].began} {len(editions)}" if editions else ""


def _entries(identity: str, image: str, editions: Sequence[Edition]) -> Iterator[Entry]:
    for edition in editions:
        parts = (identity, image, edition.began) if image else (identity, edition.began)
        yield Entry(feed.tag(*parts), _title(edition, image), edition.began, edition.changes)


def _title(edition: Edition, image: str) -> str:
    new = sum(bundle in edition.new for bundle in edition.changed)
    changed = len(edition.changed) - new
    said = [f"{counted(changed, 'bundle')} changed"] if changed else []
    said += [counted(new, "new bundle")] if new else []
    return f"{image}: {', '.join(said)}" if image else ", ".join(said)
