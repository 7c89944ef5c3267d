"""What the last runs changed, in words for people: told once, and then kept, as what is noted of it may be large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from c2wtasks.changes import stored, wording
from c2wtasks.changes.grouping import Group, groups
from c2wtasks.changes.model import Change
from c2wtasks.output import changelog
from c2wtasks.output.chronicle import EDITIONS, Told
from c2wtasks.page import secrets

_TOGETHER = 200  # groups of a run
_LINES = 20  # of a group, or of a bundle


def told(output: str, known: Mapping[str, Told]) -> dict[str, Told]:
    """What the last runs changed, by when they began; what is `known` is not read again."""
    found: dict[str, Told] = {}
    room = stored.Room(stored.MAX_FILES)
    for began, content in islice(changelog.read(output), EDITIONS):
        one = known.get(began)
        found[began] = one if one is not None else _told(list(stored.decode(content, room)))
    return found


def _told(changes: Sequence[Change]) -> Told:
    together = tuple(
        (secrets.told(text), _shown(lines)) for text, lines in islice(_worded(groups(changes)), _TOGETHER)
    )
    numbers: dict[tuple[str, ...], int] = {}
    bundles = {one.bundle: numbers.setdefault(_of_bundle(one), len(numbers)) for one in changes}
    return Told(together, tuple(numbers), bundles)


def _of_bundle(change: Change) -> tuple[str, ...]:
    """What a bundle's change says of itself: its causes, and what they brought."""
    if change.is_new:
        return ()
    found = groups([change])
    causes = "; ".join(secrets.cause(cause) for group in found for cause in group.causes)
    lines = [line for _, below in _worded(found) for line in below]
    return _shown([causes, *lines])


def _worded(found: Sequence[Group]) -> list[tuple[str, list[str]]]:
    safe = [replace(group, causes=tuple(map(secrets.cause, group.causes))) for group in found]
    return list(wording.of_groups(safe, wording.plain, full=False))


def _shown(lines: Sequence[str]) -> tuple[str, ...]:
    left = len(lines) - _LINES
    more = [f"and {left} more"] if left > 0 else []
    return (*map(secrets.told, lines[:_LINES]), *more)
