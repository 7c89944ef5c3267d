"""What our commands have in common: they are for our dodo.py only, print a report, and end without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.engine.command import Command, hooks_of
from c2wtasks.engine.exclusive import told
from c2wtasks.engine.select import resolve, selected
from c2wtasks.engine.stale import Stale, find_stale, in_order
from c2wtasks.engine.state import Backend
from c2wtasks.engine.targets import adopt
from c2wtasks.errors import one_line, program
from c2wtasks.graph.hooks import GraphHooks
from c2wtasks.graph.resolved import Resolved
from c2wtasks.process.runoptions import RunOptions

FINE, NOT_FINE = 0, 1
NOT_ASKED = 4
"""What a registry was to be asked for is not known."""


class OurCommand(Command, DoitCmdBase):  # type: ignore[misc]
    """A command on our graph. Results go to stdout, the rest to stderr."""

    of_all_shards = False
    """Whether it is for the whole catalog, also on a machine that builds one shard of it."""

    def only_looks(self, params: Any) -> bool:
        return True

    def run_options(self, params: Any) -> RunOptions:
        options = super().run_options(params)
        return replace(options, shard="" if self.of_all_shards else options.shard)

    def execute(self, params: Any, args: list[str]) -> int:
        self.signs_on(sys.stderr)
        try:
            return int(told(lambda: super(OurCommand, self).execute(params, args)))
        finally:
            if self.dep_manager is not None:
                if self.only_looks(params) and isinstance(self.dep_manager.backend, Backend):
                    self.dep_manager.backend.discard()
                self.dep_manager.close()

    @property
    def graph_hooks(self) -> GraphHooks:
        """What the engine asks of the graph of the dodo.

        Raises InvalidCommand where the dodo is not ours.
        """
        hooks = hooks_of(self)
        if not isinstance(hooks, GraphHooks):
            if any(task.name == self.name for task in self.task_list):
                hint = f"its task '{self.name}' is run by: {program()} run {self.name}"
            else:
                hint = "copy the one that comes with c2wtasks"
            raise InvalidCommand(f"this dodo.py is not one of ours; {hint}")
        return hooks

    @property
    def graph(self) -> Resolved:
        """The bundles of the dodo's graph.

        Raises InvalidCommand where the dodo is not ours.
        """
        return self.graph_hooks.graph

    def show(self, lines: Iterable[str]) -> None:
        """Prints lines of the result."""
        text = "".join(f"{one_line(line)}\n" for line in lines)
        self.make_room()  # only now: it may take long until all lines are known
        self.outstream.write(text)
        self.outstream.flush()

    def show_json(self, report: object) -> None:
        """Prints a result as one line of JSON. What is not UTF-8 in a path is written as `\\xNN`."""
        try:
            text = msgspec.json.encode(report)
        except UnicodeEncodeError:
            text = msgspec.json.encode(_as_utf8(msgspec.to_builtins(report)))
        self.make_room()
        self.outstream.write(text.decode() + "\n")

    def no_words(self, hint: str = "") -> None:
        """Raises InvalidCommand, which ends with `hint`, where something stands after the options."""
        if not self.sel_default_tasks:
            more = f"; {hint}" if hint else ""
            raise InvalidCommand(f"'{one_line(self.sel_tasks[0])}': this command takes options only{more}")


def _as_utf8(value: Any) -> Any:
    """What JSON is made of, with all texts as ones that it can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {_as_utf8(name): _as_utf8(one) for name, one in value.items()}
    return [_as_utf8(one) for one in value] if isinstance(value, list | tuple) else value


def chosen(hooks: GraphHooks, words: Sequence[str]) -> list[Bundle]:
    """The bundles that `words` name: images, bundles, `bundle:` tasks, or patterns over these.

    Raises InvalidCommand: a word names none.
    """
    tasks = {f"bundle:{bundle}": bundle for bundle in hooks.graph.file.bundles}
    names = resolve(words, {}, (), hooks.aliases | {task: (task,) for task in tasks})
    return [tasks[name] for name in dict.fromkeys(names) if name in tasks]


def layer_users(graph: Resolved) -> dict[str, list[str]]:
    """The bundles that need each layer, by the layer's key."""
    users: dict[str, list[str]] = {}
    for build in graph.buildable:
        for key in dict.fromkeys(layer.key for layer in build.image.layers if build.has_rootfs):
            users.setdefault(key, []).append(str(build.bundle))
    return users


def stale_tasks(command: Any, hooks: GraphHooks) -> tuple[list[Stale], int]:
    """The tasks that a run of the command's selection would execute, in that order; and how many were looked at.

    Raises InvalidCommand: a word names nothing.
    """
    control, selection = selected(command, hooks)
    control.process(selection)
    adopt(command.dep_manager, control.tasks, hooks.proven())
    names = in_order(control)
    found = find_stale(command.dep_manager, control, names)
    return found, len(names)
