"""`doit lock`: makes bundle.lock fit bundle.yaml, looks images up again, or only says what has moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from doit.exceptions import InvalidCommand

from c2wtasks.bundlefile.lock import LockEntry, moves
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.commands.base import FINE, NOT_ASKED, NOT_FINE, OurCommand, chosen
from c2wtasks.engine.exclusive import alone
from c2wtasks.errors import UserError
from c2wtasks.graph.hooks import GraphHooks
from c2wtasks.graph.resolved import Resolved
from c2wtasks.process.runoptions import RunOptions
from c2wtasks.sources.locked import NotAsked, entry_of
from c2wtasks.telling import stages
from c2wtasks.telling.notices import tell

_UPDATE = {
    "name": "update",
    "long": "update",
    "type": bool,
    "default": False,
    "help": "look the images up again that are named, or all, and print what moved",
}
_CHECK = {
    "name": "check",
    "long": "check",
    "type": bool,
    "default": False,
    "help": "write nothing; exit with 1 where a tag has moved or the lock does not fit bundle.yaml",
}


class Lock(OurCommand):
    """Brings bundle.lock up to date."""

    name = "lock"
    doc_purpose = "make bundle.lock fit bundle.yaml"
    doc_usage = "[--check | --update [IMAGE|BUNDLE ...]]"
    doc_description = (
        "Adds what bundle.lock lacks and drops what bundle.yaml no longer has. "
        "Exit status 0: done. 1: --check found something. 3: wrong command line. 4: an image could not be looked up, "
        "and --check found nothing with the others."
    )
    cmd_options = (_UPDATE, _CHECK)
    of_all_shards = True
    looks_up = "here"  # it asks by itself, once it is known what for

    def only_looks(self, params: Any) -> bool:
        return bool(params["check"])

    def run_options(self, params: Any) -> RunOptions:
        return replace(super().run_options(params), locked=False)  # it mends what --locked refuses

    def _execute(self, update: bool, check: bool) -> int:
        graph = self.graph
        if update and check:
            raise InvalidCommand("--update writes the lock, --check does not: give one of them")
        if not update:
            names = "" if check else "with --update, names of images and bundles, which it looks up again"
            self.no_words(names)
        if check:
            return self._check(graph)
        words = [] if self.sel_default_tasks else self.sel_tasks
        bundles = _lockable(self.graph_hooks, words) if update else ()
        with alone(self, self.graph_hooks):
            return self._write(graph, bundles)

    def _write(self, graph: Resolved, again: Sequence[Bundle]) -> int:
        """Makes the lock fit, with the bundles `again` looked up anew. Raises UserError."""
        misfit = graph.misfit()
        unfit = {*misfit.missing, *misfit.changed}
        named = set(again)
        unknown = [bundle for bundle in graph.unasked if str(bundle) in unfit and bundle not in named]
        looked_up, failed = _look_up(graph, [*again, *unknown])
        broken = {str(bundle): error for bundle, error in graph.broken if not isinstance(error, NotAsked)}
        failed |= {key: broken[key] for key in unfit if key in broken}
        changes = graph.unlocked() | dict.fromkeys(misfit.gone) | {new.bundle: new for new in looked_up}
        lines = [f"{bundle}: added" for bundle in misfit.missing if bundle in changes]
        lines += [f"{bundle}: changed, as its source has" for bundle in misfit.changed if bundle in changes]
        lines += [f"{bundle}: dropped" for bundle in misfit.gone]
        for new in looked_up:
            old = graph.lock.entries.get(new.bundle)
            if old is not None and old.source == new.source and (moved := moves(old, new)):
                lines.append(f"{new.bundle}: {moved}")
        if changes:
            graph.lock.change(changes)
        if not failed and not lines:
            lines = ["nothing moved" if again else f"{graph.lock.path} fits"]
        self.show(lines)
        tell(*(f"{bundle}: {error}" for bundle, error in sorted(failed.items())))
        return NOT_ASKED if failed else FINE

    def _check(self, graph: Resolved) -> int:
        entries = graph.lock.entries
        lines = graph.misfit().lines()
        fitting = [b for b in graph.lockable if str(b) in entries and entries[str(b)].source == b.source.text]
        looked_up, failed = _look_up(graph, fitting)
        lines += (f"{new.bundle}: {moved}" for new in looked_up if (moved := moves(entries[new.bundle], new)))
        self.show(lines)
        tell(*(f"{bundle}: {error}" for bundle, error in sorted(failed.items())))
        return NOT_FINE if lines else NOT_ASKED if failed else FINE


def _lockable(hooks: GraphHooks, words: Sequence[str]) -> tuple[Bundle, ...]:
    """The bundles that `words` name, all where there are none. Raises InvalidCommand: one is never locked."""
    lockable = hooks.graph.lockable
    if not words:
        return lockable
    found = chosen(hooks, words)
    for bundle in found:
        if bundle not in lockable:
            raise InvalidCommand(f"{bundle}: a local source is in the lock only with lock: all in bundle.yaml")
    return tuple(found)


def _look_up(graph: Resolved, bundles: Sequence[Bundle]) -> tuple[list[LockEntry], dict[str, UserError]]:
    """What the images of bundles are now, whatever the lock says; and of which that cannot be found out, and why."""
    found: list[LockEntry] = []
    failed: dict[str, UserError] = {}
    stages.begin("looking images up", len(bundles))
    for bundle, image in graph.resolver({}).all(bundles):
        if isinstance(image, UserError):
            failed[str(bundle)] = image
        else:
            found.append(entry_of(bundle, image))
    return found, failed
