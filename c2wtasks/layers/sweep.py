"""What may go from a cache: what no bundle needs, what killed runs left, and beyond a size the tars that were read
longest ago. Deciding is apart from removing, so that a dry run decides the same."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from c2wtasks import files
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest

Kind = Literal["receipt", "index", "tar", "blob", "document", "temporary", "abandoned", "memo"]

_HOUR_NS = 3_600 * 10**9
GRACE_NS = _HOUR_NS  # what somebody used in the last hour may be in use
DAY_NS = 24 * _HOUR_NS
IDLE_NS = 30 * DAY_NS  # what others may need goes only when nobody has used it for so long

_SUFFIXES: dict[str, Kind] = {".tar": "tar", ".idx": "index"}
_PID = re.compile(re.escape(files.TEMPORARY_PREFIX) + r"(\d+)-")


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the cache. A `temporary` one is named after its process; an `abandoned` one is of a layer that nobody
    is reading any more. A `blob` is a compressed layer that was kept, a `document` a manifest or config from a
    registry. `digest` is a receipt's blob's, a tar's or index's diffID, or the file's own; `used_ns` is when it was
    last read or written, as far as the file system keeps that."""

    path: str
    kind: Kind
    size: int
    used_ns: int
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    item: Item
    why: str


@dataclass(frozen=True, slots=True)
class Needed:
    """What the bundles of a catalog need: layers by diffID, receipts and blobs by the blob's digest."""

    diff_ids: frozenset[Digest] = frozenset()
    digests: frozenset[Digest] = frozenset()
    documents: frozenset[Digest] = frozenset()

    def needs(self, item: Item) -> bool:
        match item.kind:
            case "receipt" | "blob":
                return item.digest in self.digests
            case "document":
                return item.digest in self.documents
        return item.digest in self.diff_ids


@dataclass(slots=True)
class Sweep:
    """What to remove, in order, and how many bytes stay. `over` are the bytes that stay beyond the size asked for,
    since what holds them was used in the last hour, or is no tar."""

    removals: list[Removal] = field(default_factory=list)
    kept: int = 0
    over: int = 0


def items(cache: str) -> Iterator[Item]:
    """All that we have put into the cache; what else lies there is left alone.

    Raises OutputError: a folder of it cannot be read.
    """
    store = Store(f"{cache}/layers")
    by_digest: tuple[tuple[str, Kind], ...] = (
        (f"{store.root}/receipts", "receipt"),
        (f"{cache}/blobs", "blob"),
        (f"{cache}/documents", "document"),
    )
    for algorithm in ("sha256", "sha512"):
        for path, found in _files(f"{store.root}/{algorithm}"):
            stem, suffix = os.path.splitext(os.path.basename(path))
            if suffix in _SUFFIXES and (digest := _digest(algorithm, stem)) is not None:
                yield Item(path, _SUFFIXES[suffix], found.st_size, _used(found), digest)
            elif _PID.match(stem):
                yield Item(path, "temporary", found.st_size, _used(found))
        for place, kind in by_digest:
            for path, found in _files(f"{place}/{algorithm}"):
                name = os.path.basename(path)
                if (digest := _digest(algorithm, name)) is not None:
                    yield Item(path, kind, found.st_size, _used(found), digest)
                elif _PID.match(name):
                    yield Item(path, "temporary", found.st_size, _used(found))
    for folder in _entries(f"{store.root}/unfinished"):
        if not _is_locked(f"{store.root}/locks/{folder.name}"):
            for path, found in _files(folder.path):
                yield Item(path, "abandoned", found.st_size, _used(found))
    for path, found in _files(f"{cache}/memo"):
        kind = "temporary" if _PID.match(os.path.basename(path)) else "memo"
        yield Item(path, kind, found.st_size, _used(found))


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    for entry in _entries(folder):
        try:
            if entry.is_file(follow_symlinks=False):
                yield entry.path, entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # another run's temporary file
            continue


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise OutputError(f"{folder}: cannot be read: {os_reason(error)}") from error


def _is_locked(path: str) -> bool:
    """Whether somebody holds the lock `path`."""
    try:
        with open(path, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _digest(algorithm: str, text: str) -> Digest | None:
    try:
        return Digest.parse(f"{algorithm}:{text}")
    except ValueError:
        return None


def _used(found: os.stat_result) -> int:
    return max(found.st_atime_ns, found.st_mtime_ns)


def is_shared(present: Iterable[Item], own_memo: str, *, outside: bool, now_ns: int) -> bool:
    """Whether other catalogs may use the cache: it lies `outside` ours, or another's memo in it was used lately."""
    others = [item for item in present if item.kind == "memo" and item.path != own_memo]
    return outside or any(now_ns - item.used_ns < IDLE_NS for item in others)


def plan(
    present: Iterable[Item],
    needed: Needed,
    *,
    shared: bool,
    own_memo: str,
    now_ns: int,
    max_size: int | None = None,
) -> Sweep:
    """Decides what goes of `present`.

    In a cache of our own: all that is not `needed`. In a `shared` one, of that, only the tars that nobody has used
    for a month: their receipts and indexes stay, so nothing becomes stale for those who need them, and a tar is
    made again when it is. Beyond `max_size` the tars go that were used longest ago, needed or not; but in a shared
    cache not those of the last hour, which others may be using.

    No run of ours may be at work.
    """
    grace_ns = GRACE_NS if shared else 0
    sweep = Sweep()
    kept: list[Item] = []
    for item in sorted(present, key=_order):
        why = _why(item, needed, shared=shared, own_memo=own_memo, now_ns=now_ns)
        if why is None:
            kept.append(item)
            sweep.kept += item.size
        else:
            sweep.removals.append(Removal(item, why))
    if max_size is not None:
        for item in sorted((item for item in kept if item.kind == "tar"), key=lambda item: (item.used_ns, item.path)):
            if sweep.kept <= max_size:
                break
            if now_ns - item.used_ns >= grace_ns:
                sweep.removals.append(Removal(item, "used longest ago"))
                sweep.kept -= item.size
        sweep.over = max(0, sweep.kept - max_size)
    return sweep


def _order(item: Item) -> tuple[int, str]:
    """Receipts first: what they vouch for must not go before them."""
    return get_args(Kind).index(item.kind), item.path


def _why(item: Item, needed: Needed, *, shared: bool, own_memo: str, now_ns: int) -> str | None:
    idle_ns = now_ns - item.used_ns
    match item.kind:
        case "abandoned":
            return "left by a run that was killed"
        case "temporary":
            if idle_ns >= DAY_NS or (not shared and not _is_running(item.path)):
                return "left by a run that was killed"
        case "memo":
            if item.path != own_memo and idle_ns >= IDLE_NS:
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


def remove(removals: Iterable[Removal]) -> tuple[int, dict[str, OSError]]:
    """Removes the files, but for those that were used since; gives the bytes freed, and what could not be removed
    with the error."""
    freed = 0
    failed: dict[str, OSError] = {}
    for removal in removals:
        try:
            if _used(os.lstat(removal.item.path)) != removal.item.used_ns:
                continue
            os.unlink(removal.item.path)
            freed += removal.item.size
        except FileNotFoundError:
            pass
        except OSError as error:
            failed[removal.item.path] = error
    return freed, failed
