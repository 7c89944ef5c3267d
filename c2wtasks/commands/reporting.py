"""What `changes` and `diff` have in common: how changes are shown, and the exit status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from c2wtasks.changes import grouping, wording
from c2wtasks.changes.grouping import Group
from c2wtasks.changes.model import Change
from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand
from c2wtasks.errors import one_line

MARKDOWN = {
    "name": "markdown",
    "long": "markdown",
    "type": bool,
    "default": False,
    "help": "Markdown, for a comment on a pull request",
}
EXIT_CODE = {
    "name": "exit_code",
    "long": "exit-code",
    "type": bool,
    "default": False,
    "help": "exit status 1 where anything changed",
}


class Cause(msgspec.Struct, frozen=True):
    """Bundles that changed for the same causes."""

    causes: tuple[str, ...]
    bundles: tuple[str, ...]


class ChangeReport(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What --json prints. `title` says what is compared, `since` from when on (RFC 3339), `notes` what is unknown."""

    title: str
    groups: tuple[Cause, ...]
    changes: tuple[Change, ...]
    since: str = ""
    notes: tuple[str, ...] = ()


def report(
    command: OurCommand,
    title: str,
    changes: Sequence[Change],
    form: str,
    *,
    full: bool,
    since: str = "",
    notes: Sequence[str] = (),
    exit_code: bool,
) -> int:
    """Shows changes, in the form `json`, `markdown` or "", for people; `full` names all packages and files. Gives the
    exit status."""
    groups = grouping.groups(changes)
    if form == "json":
        causes = tuple(Cause(one.causes, one.bundles) for one in groups)
        made = ChangeReport(title=title, groups=causes, changes=tuple(changes), since=since, notes=tuple(notes))
        command.show_json({"version": 1} | msgspec.to_builtins(made))
    elif form == "markdown":
        command.show(markdown(title, groups, notes, full=full))
    else:
        command.show(text(title, groups, notes, full=full))
    return NOT_FINE if exit_code and changes else FINE


def text(title: str, groups: Iterable[Group], notes: Iterable[str], *, full: bool) -> Iterator[str]:
    """For people: causes, and indented what they changed."""
    yield title
    yield from (f"note: {note}" for note in notes)
    for head, lines in wording.of_groups(list(groups), wording.plain, full=full):
        yield head
        yield from (f"    {line}" for line in lines)


def markdown(title: str, groups: Iterable[Group], notes: Iterable[str], *, full: bool) -> Iterator[str]:
    """The same for a comment. What comes of images is code, in which nothing has a meaning."""
    yield f"**{title}**"
    yield ""
    yield from (f"> {note}" for note in notes)
    for head, lines in wording.of_groups(list(groups), wording.code, full=full):
        yield f"- {head}"
        yield from (f"  - {one_line(line.strip())}" for line in lines)
