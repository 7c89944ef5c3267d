"""What may go from a cache: what no bundle needs, what killed runs left, and beyond a size the tars that were read
longest ago. Deciding is apart from removing, so that a dry run decides the same."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from c2wtasks.cachedir import lastuse, layout
from c2wtasks.cachedir.lastuse import DAY_NS
from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest

Kind = Literal["receipt", "index", "tar", "blob", "document", "temporary", "abandoned", "orphan", "memo", "catalog"]

GRACE_NS = 3_600 * 10**9  # what somebody used in the last hour may be in use
IDLE_NS = 30 * DAY_NS  # what others may need goes only when nobody has used it for so long

_SUFFIXES: dict[str, Kind] = {".tar": "tar", ".idx": "index"}
_IDENTITY = re.compile("[0-9a-f]{32}")
_PID = re.compile(re.escape(files.TEMPORARY_PREFIX) + r"(\d+)-")


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the cache. A `temporary` one is named after its process; an `abandoned` one is of a layer that nobody
    is reading any more. A `blob` is a compressed layer that was kept, a `document` a manifest or config from a
    registry. An `orphan` says when a tar was used that is gone. A `memo` is of the catalog that its name stands for,
    and a `catalog` says when that used the cache. `digest` is a receipt's blob's, a tar's or index's diffID, or the
    file's own.

    `used_ns` is when a tar was last used, or a memo's catalog, as was noted (see `lastuse`; None: not known), and
    when a temporary file was last written to, as the file system says; of others None."""

    path: str
    kind: Kind
    size: int
    used_ns: int | None = None
    digest: Digest | None = None

    def idle_ns(self, now_ns: int) -> int:
        """How long it was not used; what is not known to be used is just being used."""
        return 0 if self.used_ns is None else now_ns - self.used_ns

    @property
    def catalog(self) -> str:
        """The identity of the catalog that a memo or `catalog` is of."""
        return os.path.basename(self.path).removesuffix(lastuse.SUFFIX)


@dataclass(frozen=True, slots=True)
class Removal:
    """A file of the cache that is to go, and the reason in words."""

    item: Item
    why: str


@dataclass(frozen=True, slots=True)
class Needed:
    """What the bundles of a catalog need: layers by diffID, receipts and blobs by the blob's digest."""

    diff_ids: frozenset[Digest] = frozenset()
    digests: frozenset[Digest] = frozenset()
    documents: frozenset[Digest] = frozenset()

    def needs(self, item: Item) -> bool:
        """Whether an item of the cache is one of these."""
        match item.kind:
            case "receipt" | "blob":
                return item.digest in self.digests
            case "document":
                return item.digest in self.documents
        return item.digest in self.diff_ids


@dataclass(slots=True)
class Sweep:
    """What to remove, in order, and how many bytes stay. `over` are the bytes that stay beyond the size asked for;
    `recent` those of tars that would go, if they could not be in use. `unknown` are paths that stay and of which it
    is not known when they were last used."""

    removals: list[Removal] = field(default_factory=list)
    kept: int = 0
    over: int = 0
    recent: int = 0
    unknown: list[str] = field(default_factory=list)


def items(cache: str, now_ns: int) -> Iterator[Item]:
    """All that we have put into the cache, but for what is noted of tars; what else lies there is left alone.

    Raises OutputError: a folder of it cannot be read.
    """
    store = Store(f"{cache}/{layout.LAYERS}")
    by_digest: tuple[tuple[str, Kind], ...] = (
        (f"{store.root}/{layout.RECEIPTS}", "receipt"),
        (f"{cache}/{layout.BLOBS}", "blob"),
        (f"{cache}/{layout.DOCUMENTS}", "document"),
    )
    for algorithm in layout.ALGORITHMS:
        for path, found in _files(f"{store.root}/{algorithm}"):
            stem, suffix = os.path.splitext(os.path.basename(path))
            if suffix in _SUFFIXES and (digest := _digest(algorithm, stem)) is not None:
                used_ns = lastuse.noted(path, now_ns) if suffix == ".tar" else None
                yield Item(path, _SUFFIXES[suffix], found.st_size, used_ns, digest)
            elif suffix == lastuse.SUFFIX and not safely.exists(tar := path.removesuffix(suffix)):
                if tar.endswith(".tar") and _digest(algorithm, stem.removesuffix(".tar")) is not None:
                    yield Item(path, "orphan", found.st_size)
            elif _PID.match(stem):
                yield Item(path, "temporary", found.st_size, found.st_mtime_ns)
        for place, kind in by_digest:
            for path, found in _files(f"{place}/{algorithm}"):
                name = os.path.basename(path)
                if (digest := _digest(algorithm, name)) is not None:
                    yield Item(path, kind, found.st_size, digest=digest)
                elif _PID.match(name):
                    yield Item(path, "temporary", found.st_size, found.st_mtime_ns)
    for name, found in _entries(f"{store.root}/{layout.UNFINISHED}"):
        if stat.S_ISDIR(found.st_mode) and not _is_locked(f"{store.root}/{layout.LOCKS}/{name}"):
            for path, found in _files(f"{store.root}/{layout.UNFINISHED}/{name}"):
                yield Item(path, "abandoned", found.st_size)
    for path, found in _files(f"{cache}/{layout.MEMO}"):
        name = os.path.basename(path)
        if _PID.match(name):
            yield Item(path, "temporary", found.st_size, found.st_mtime_ns)
        elif _IDENTITY.fullmatch(stem := name.removesuffix(lastuse.SUFFIX)):
            used_ns = lastuse.noted(f"{cache}/{layout.MEMO}/{stem}", now_ns)
            yield Item(path, "memo" if stem == name else "catalog", found.st_size, used_ns)


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    for name, found in _entries(folder):
        if stat.S_ISREG(found.st_mode):
            yield f"{folder}/{name}", found


def _entries(folder: str) -> list[tuple[str, os.stat_result]]:
    try:
        return safely.scan(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"{folder}: cannot be read: {os_reason(error)}") from error


def _is_locked(path: str) -> bool:
    """Whether somebody holds the lock `path`."""
    try:
        descriptor = safely.open_file(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _digest(algorithm: str, text: str) -> Digest | None:
    try:
        return Digest.parse(f"{algorithm}:{text}")
    except ValueError:
        return None


def is_shared(present: Iterable[Item], own: str, *, outside: bool, now_ns: int) -> bool:
    """Whether other catalogs may use the cache: it lies `outside` ours, whose identity is `own`, or another has used
    it lately."""
    others = [item for item in present if item.kind in ("memo", "catalog") and item.catalog != own]
    return outside or any(item.idle_ns(now_ns) < IDLE_NS for item in others)


def plan(
    present: Iterable[Item],
    needed: Needed,
    *,
    shared: bool,
    own: str,
    now_ns: int,
    max_size: int | None = None,
) -> Sweep:
    """Decides what goes of `present`.

    In a cache of our own: all that is not `needed`. In a `shared` one, of that, only the tars that nobody has used
    for a month: their receipts and indexes stay, so nothing becomes stale for those who need them, and a tar is
    made again when it is. Beyond `max_size` the tars go that were used longest ago, needed or not; but in a shared
    cache not those of the last hour, which others may be using. `own` is our catalog's identity.

    No run of ours may be at work.
    """
    grace_ns = GRACE_NS if shared else 0
    sweep = Sweep()
    kept: list[Item] = []
    for item in sorted(present, key=_order):
        why = _why(item, needed, shared=shared, own=own, now_ns=now_ns)
        if why is None:
            kept.append(item)
            sweep.kept += item.size
        else:
            sweep.removals.append(Removal(item, why))
    if max_size is not None:
        tars = [item for item in kept if item.kind == "tar"]
        for item in sorted(tars, key=lambda item: (-item.idle_ns(now_ns), item.path)):
            if sweep.kept <= max_size:
                break
            if item.idle_ns(now_ns) >= grace_ns:
                sweep.removals.append(Removal(item, "used longest ago"))
                sweep.kept -= item.size
            else:
                sweep.recent += item.size
        sweep.over = max(0, sweep.kept - max_size)
    gone = {removal.item.path for removal in sweep.removals}
    sweep.unknown = [
        item.path for item in kept if item.kind in ("tar", "memo") and item.used_ns is None and item.path not in gone
    ]
    return sweep


def _order(item: Item) -> tuple[int, str]:
    """Receipts first: what they vouch for must not go before them."""
    return get_args(Kind).index(item.kind), item.path


def _why(item: Item, needed: Needed, *, shared: bool, own: str, now_ns: int) -> str | None:
    idle_ns = item.idle_ns(now_ns)
    match item.kind:
        case "abandoned":
            return "left by a run that was killed"
        case "temporary":  # one from the future is none that is being written either
            if abs(idle_ns) >= DAY_NS or (not shared and not _is_running(item.path)):
                return "left by a run that was killed"
        case "orphan":
            return "its tar is gone"
        case "memo" | "catalog":
            if item.catalog != own and idle_ns >= IDLE_NS:
                return "of a catalog that was not built for a month"
        case _ if needed.needs(item):
            return None
        case "tar" if shared:
            return "not used for a month" if idle_ns >= IDLE_NS else None
        case _:
            return None if shared else "no bundle needs it"
    return None


def _is_running(path: str) -> bool:
    """Whether the process that a temporary file is named after runs on this machine."""
    match = _PID.match(os.path.basename(path))
    assert match is not None
    try:
        os.kill(int(match[1]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def remove(sweep: Sweep, cache: str, now_ns: int) -> tuple[int, dict[str, OSError]]:
    """Removes the files, but for those that were used since; gives the bytes freed, and what could not be removed
    with the error. Where it is not known when something was used that stays, notes that it is used now: from then on
    it grows old."""
    freed = 0
    failed: dict[str, OSError] = {}
    for removal in sweep.removals:
        item = removal.item
        try:
            if item.kind in ("tar", "memo", "catalog") and lastuse.noted(_subject(item.path), now_ns) != item.used_ns:
                continue
            safely.unlink(item.path)
            freed += item.size
            if item.kind == "tar":
                lastuse.forget(item.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            failed[item.path] = error
    for path in sweep.unknown:
        try:
            lastuse.note(cache, path)
        except OutputError:  # not ours to write; it stays all the same
            pass
    return freed, failed


def _subject(path: str) -> str:
    """The path of what a note on last use is of: for a memo and for its note, that of the memo."""
    return path.removesuffix(lastuse.SUFFIX)
