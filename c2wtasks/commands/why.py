"""`doit why`: for every stale bundle the plain reasons, with the old and the new value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress

import msgspec
from doit.exceptions import InvalidCommand

from c2wtasks.commands.base import OurCommand, chosen, layer_users, stale_tasks
from c2wtasks.commands.options import JSON
from c2wtasks.engine.stale import Stale
from c2wtasks.output.past import Past, last, told
from c2wtasks.tasks import names

_NEVER = "never built"
_GONE = " is gone"
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

    def _execute(self, as_json: bool) -> int:
        stale, looked_at = stale_tasks(self, self.graph_hooks)
        causes = list(causes_of(stale, layer_users(self.graph)))
        past = [] if self.sel_default_tasks else self._past()
        if as_json:
            self.show_json({"current": not stale, "causes": causes, "stale": stale, "past": past})
            return 1 if stale else 0
        self.show(told(past))
        if not stale:
            self.show([f"all is current ({looked_at} tasks)"])
        else:
            self.show(f"{cause.of}: {reason}" for cause in causes for reason in cause.reasons)
        return 1 if stale else 0

    def _past(self) -> list[Past]:
        """Of the bundles that are named."""
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
            by_bundle.setdefault(bundle, {}).setdefault(family, []).extend(task.reasons)
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


def _that_are_gone(reason: str) -> list[str]:
    return reason.split(" and ") if reason.endswith((_GONE, " are gone")) else []


def _follows(task: Stale, told: Set[str], users: Mapping[str, Iterable[str]]) -> bool:
    """Whether what is said of bundles tells all."""
    family, _, key = task.task.partition(":")
    if family == "layer":
        return not told.isdisjoint(users.get(key, ()))
    return family == "catalog" and bool(told)


def _if_different(task: Stale) -> str:
    others = f" or another of {len(task.after)}" if len(task.after) > 1 else ""
    return f"if {task.after[0]}{others} comes out different"
