"""`doit why`: for every stale bundle the plain reasons, with the old and the new value."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress

import msgspec
from doit.exceptions import InvalidCommand

from c2wtasks.commands.base import FINE, NOT_FINE, OurCommand, chosen, layer_users, stale_tasks
from c2wtasks.commands.options import JSON
from c2wtasks.engine.stale import Stale
from c2wtasks.errors import program, some_of
from c2wtasks.output.past import Past, last, told
from c2wtasks.tasks import names
from c2wtasks.telling.sizes import counted

_NEVER = "never built"
_GONE = " is gone"
_PLACE = re.compile(r"^layer \d+ of \d+ ")
_NAMED = 4  # bundles of those that share a reason
_FEW = 5  # bundles of which all is told
_OF_BUNDLES = (*names.PART_FAMILIES, "bundle")


class Cause(msgspec.Struct, frozen=True):
    """Why a bundle would be built; or a task that makes no bundle, or more than one, would run."""

    of: str
    reasons: tuple[str, ...]


class Why(OurCommand):
    """Says why bundles would be built. Exit status 0: all is current; 1: something is stale."""

    name = "why"
    doc_purpose = "explain what is stale"
    doc_usage = "[BUNDLE|IMAGE|TASK ...]"
    doc_description = (
        "Each reason once, with the bundle that it is of. With names, first when these bundles failed last, and why, "
        "and when they were last as they should be. "
        "Exit status 0: all is current. 1: something is stale, and a run would do it. 3: wrong command line."
    )
    cmd_options = (JSON,)
    looks_up = "briefly"

    def _execute(self, as_json: bool) -> int:
        stale, looked_at = stale_tasks(self, self.graph_hooks)
        causes = list(causes_of(stale, layer_users(self.graph)))
        past = [] if self.sel_default_tasks else self._past()
        if as_json:
            self.show_json({"current": not stale, "causes": causes, "stale": stale, "past": past})
            return NOT_FINE if stale else FINE
        self.show(told(past))
        if not stale:
            self.show([f"all is current ({looked_at} tasks)"])
        else:
            self.show(grouped(causes, {str(bundle) for bundle in self.graph.file.bundles}))
        return NOT_FINE if stale else FINE

    def _past(self) -> list[Past]:
        """What earlier runs did with the bundles that are named. Raises OutputError."""
        found: dict[str, str] = {}
        for word in self.sel_tasks:
            with suppress(InvalidCommand):  # a task that makes a part
                found |= {str(bundle): bundle.name for bundle in chosen(self.graph_hooks, [word])}
        return last(self.graph.file.output, list(found.items()))


def causes_of(stale: Sequence[Stale], users: Mapping[str, Iterable[str]]) -> Iterator[Cause]:
    """The causes, by bundle. `users` has the bundles that need each layer, by its key. Pure.

    Of what only follows from something else, nothing is said where that is said.
    """
    by_bundle: dict[str, dict[str, list[str]]] = {}
    others: list[Stale] = []  # of no bundle, or of several
    for task in stale:
        family, _, rest = task.task.partition(":")
        if family != "layer" and family in _OF_BUNDLES:
            bundle = rest.partition(":")[0]  # of `web@linux/amd64:ext4`, which is a form's
            reasons = map(_of_form(rest), task.reasons) if family == "rootfs" else task.reasons
            by_bundle.setdefault(bundle, {}).setdefault(family, []).extend(reasons)
        else:
            others.append(task)
    told = {bundle: reasons for bundle, found in by_bundle.items() if (reasons := _once(found))}
    alone = [task for task in others if not _follows(task, set(told), users)]
    for task in alone:
        if task.reasons:
            yield Cause(task.title, task.reasons)
    yield from (Cause(bundle, reasons) for bundle, reasons in told.items())
    if not told and not any(task.reasons for task in alone):
        yield from (Cause(task.title, (_if_different(task),)) for task in stale)


def grouped(causes: Sequence[Cause], bundles: Set[str]) -> Iterator[str]:
    """The lines that tell the causes: each reason that several of the `bundles` share once, then which. Pure.

    Where many images were built anew on another base, each has layers of its own that are replaced, too: that is said
    once, and how they are told.
    """
    causes = [Cause(cause.of, tuple(_by_folder(cause.reasons))) for cause in causes]
    sharing: dict[str, dict[str, str]] = {}  # by the reason: the bundles, with the reason as theirs has it
    for cause in causes:
        for reason in cause.reasons if cause.of in bundles else ():
            sharing.setdefault(_without_place(reason), {})[cause.of] = reason
    shared: dict[tuple[str, ...], list[str]] = {}
    for plain, found in sharing.items():
        if len(found) > 1:
            reasons = set(found.values())
            shared.setdefault(tuple(sorted(found)), []).append(plain if len(reasons) > 1 else reasons.pop())
    for of, common in shared.items():
        yield from common
        yield f"    {counted(len(of), 'bundle')}: {some_of(of, _NAMED)}"
    rebased = {one for of, common in shared.items() if any(map(_is_of_layer, common)) for one in of}
    left_out: set[str] = set()
    for cause in causes:
        for reason in cause.reasons:
            if cause.of in bundles and len(sharing[_without_place(reason)]) > 1:
                continue
            if len(rebased) > _FEW and cause.of in rebased and _is_of_layer(reason):
                left_out.add(cause.of)
            else:
                yield f"{cause.of}: {reason}"
    if left_out:
        more = counted(len(left_out), "bundle")
        yield f"more layers of their own: {more} of these; {program()} why NAME tells which"


def _is_of_layer(reason: str) -> bool:
    return reason.startswith("layer ")


def _without_place(reason: str) -> str:
    """A reason, of which layer whatever it is of the image: `layer replaced: sha256:ab12 -> sha256:cd34`."""
    return _PLACE.sub("layer ", reason)


def _of_form(name: str) -> Callable[[str], str]:
    """What makes reasons of the task of a form those of its bundle. `name` is `web@linux/amd64:ext4`."""
    never = f"the form {name.partition(':')[2]} was never made"
    return lambda reason: never if reason == _NEVER else reason


def _once(found: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The reasons of a bundle, which are `found` by the family of the task, without those that follow from others."""
    of_parts = [reason for family, reasons in found.items() if family != "bundle" for reason in reasons]
    own = found.get("bundle", [])
    if of_parts:  # which say more of the same
        own = [reason for reason in own if not reason.startswith(("layer ", "manifest "))]
    reasons = list(dict.fromkeys([*of_parts, *own]))
    if _NEVER in reasons:
        return (_NEVER,)
    if any(reason.startswith("layer ") for reason in reasons):
        reasons = [reason for reason in reasons if not reason.startswith("image config ")]
    gone = tuple(f"{reason.removesuffix(_GONE)}/" for reason in reasons if reason.endswith(_GONE))
    return tuple(reason for reason in reasons if not any(path.startswith(gone) for path in _that_are_gone(reason)))


def _by_folder(reasons: Sequence[str]) -> Iterator[str]:
    """The reasons; where several files of a folder are gone, as one."""
    folders = Counter(os.path.dirname(reason) for reason in reasons if _is_one_gone(reason))
    for reason in reasons:
        count = folders[os.path.dirname(reason)] if _is_one_gone(reason) else 1
        if count == 1:
            yield reason
        elif count:
            folders[os.path.dirname(reason)] = 0
            yield f"{count} files of {os.path.dirname(reason)} are gone"


def _is_one_gone(reason: str) -> bool:
    return reason.endswith(_GONE) and " and " not in reason and "/" in reason


def _that_are_gone(reason: str) -> list[str]:
    return reason.split(" and ") if reason.endswith((_GONE, " are gone")) else []


def _follows(task: Stale, told: Set[str], users: Mapping[str, Iterable[str]]) -> bool:
    """Whether a task is stale for what is said of bundles already."""
    family, _, key = task.task.partition(":")
    if family == "layer":
        return not told.isdisjoint(users.get(key, ()))
    return family == "catalog" and bool(told)


def _if_different(task: Stale) -> str:
    others = f" or another of {len(task.after)}" if len(task.after) > 1 else ""
    return f"if {task.after[0]}{others} comes out different"
