"""Changes in words: lines for a terminal, or Markdown for a comment. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from c2wtasks.changes.grouping import Group, causes
from c2wtasks.changes.model import Change, FileChange, Files, Installed, PackageChange, Way
from c2wtasks.errors import one_line, some_of
from c2wtasks.telling.sizes import counted, human

Quote = Callable[[str], str]
"""What a name of an image is written as."""

_FEW = 4  # bundles, files
_SOME = 8  # packages
_WAYS: tuple[tuple[Way, str], ...] = (
    ("down", "down"),
    ("up", "up"),
    ("added", "added"),
    ("removed", "removed"),
    ("other", "otherwise changed"),
)


def plain(text: str) -> str:
    """A name as it is."""
    return text


def code(text: str) -> str:
    """A name in Markdown, in which nothing in it means anything."""
    return "`" + one_line(text).replace("`", "'") + "`"


def summary(change: Change) -> str:
    """`3 packages up, 1 down; 12 files changed; 210.0 kB more`: a change in one line."""
    if change.is_new:
        return f"new, {human(change.size[1])}"
    if change.is_gone:
        return "removed"
    packages = [f"{len(found)} {word}" for word, found in _by_way(change.packages or ())]
    if packages:
        number, _, word = packages[0].partition(" ")
        packages[0] = f"{counted(int(number), 'package')} {word}"
    parts = [", ".join(packages), _counts(change.files) if change.files is not None else "", _size(*change.size)]
    return "; ".join(part for part in parts if part) or ", ".join(causes(change)[:2])


def of_groups(found: Sequence[Group], quote: Quote, *, full: bool) -> Iterator[tuple[str, list[str]]]:
    """What each group has to say: a line, and lines that belong below it. `full` names all packages and files."""
    for group in found:
        which = [quote(bundle) for bundle in group.bundles]
        who = which[0] if len(which) == 1 else f"{counted(len(which), 'bundle')}: {some_of(which, _FEW)}"
        size = f" ({_more(group.size)})" if group.size else ""
        yield f"{'; '.join(map(_quoted(quote), group.causes))}: {who}{size}", list(_below(group, quote, full=full))


def _quoted(quote: Quote) -> Quote:
    """A cause, of which what an image can say is a name."""
    return lambda cause: cause if quote is plain or cause in ("new", "removed") else quote(cause)


def _below(group: Group, quote: Quote, *, full: bool) -> Iterator[str]:
    yield from _packages(group.packages, quote, full=full)
    if group.files is not None:
        yield from of_files(group.files, quote, full=full)
    elif not group.unknown:
        yield "files: others in each"
    for bundle, own in group.own.items():
        lead = f"{quote(bundle)}: " if len(group.bundles) > 1 else ""
        yield from (lead + line for line in _packages(own, quote, full=full))
    yield from group.unknown


def _by_way(found: Sequence[PackageChange]) -> Iterator[tuple[str, list[PackageChange]]]:
    for way, word in _WAYS:
        if some := [one for one in found if one.way == way]:
            yield word, some


def _packages(found: Sequence[PackageChange], quote: Quote, *, full: bool) -> Iterator[str]:
    """A line for each way; packages that went down are all named."""
    for word, some in _by_way(found):
        names = [_package(one, quote) for one in some]
        listed = len(names) if full or word == "down" else _SOME
        yield f"{counted(len(names), 'package')} {word}: {some_of(names, listed)}"


def _package(one: PackageChange, quote: Quote) -> str:
    if one.old is None or one.new is None:
        return f"{quote(one.name)} {_versions(one.old or one.new, quote)}"
    return f"{quote(one.name)} {_versions(one.old, quote)} -> {_versions(one.new, quote)}"


def _versions(side: Installed | None, quote: Quote) -> str:
    return " and ".join(map(quote, side.versions)) if side is not None else ""


def _counts(files: Files) -> str:
    counts = ((files.added, "added"), (files.removed, "removed"), (files.changed, "changed"))
    words = [f"{number} {word}" for number, word in counts if number]
    most = "at most " if files.at_most else ""
    return f"files: {most}{', '.join(words)}" if words else ""


def of_files(files: Files, quote: Quote, *, full: bool) -> Iterator[str]:
    """Which files changed."""
    if files.count:
        names = [_file(one, quote) for one in files.listed]
        if full and len(names) > 1:
            yield _counts(files)
            yield from (f"  {name}" for name in names)
        else:
            left = files.count - min(len(names), _FEW)
            more = f" and {left} more" if left else ""
            yield f"{_counts(files)}: {', '.join(names[:_FEW])}{more}"
        if files.is_cut and full:
            yield f"only the first {len(names)} files are known by name; by folder:"
            yield from (
                f"  {quote(one.folder)}: {one.added} added, {one.removed} removed, {one.changed} changed"
                for one in files.folders
            )
    if files.uncompared:
        yield f"{counted(files.uncompared, 'file')} of the same size and time not compared, as layers are not here"


def _file(one: FileChange, quote: Quote) -> str:
    name = quote(one.path)
    if one.old is None or one.new is None:
        side = one.new or one.old
        size = f", {human(side.size)}" if side is not None and side.kind == "file" else ""
        return f"{name} ({'added' if one.old is None else 'removed'}{size})"
    old, new = one.old, one.new
    pairs = [(old.kind, new.kind), (old.mode, new.mode), (old.owner, new.owner), (old.device, new.device)]
    what = [f"{was} -> {now}" for was, now in pairs if was != now]
    if old.size != new.size:
        what.append(f"{human(old.size)} -> {human(new.size)}")
    if old.target != new.target:
        what.append(f"{quote(old.target)} -> {quote(new.target)}")
    if old.xattrs != new.xattrs:
        what.append("xattrs")
    return f"{name} ({', '.join(what)})" if what else name


def _size(old: int, new: int) -> str:
    return _more(new - old) if new != old else ""


def _more(size: int) -> str:
    return f"{human(abs(size))} {'more' if size > 0 else 'less'}"
