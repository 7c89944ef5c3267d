"""doit's commands that take tasks, taking what our `run` takes: `web`, `web@linux/amd64`, patterns.

For a dodo that is not ours they are doit's own. With ours they also see what our runner sees: an edited target is
not up to date.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from doit.action import PythonAction
from doit.cmd_clean import Clean as DoitClean
from doit.cmd_forget import Forget as DoitForget
from doit.cmd_info import Info as DoitInfo
from doit.cmd_list import List as DoitList
from doit.exceptions import InvalidCommand

from c2wtasks.commands.options import JSON, YES
from c2wtasks.engine.command import Command
from c2wtasks.process.runoptions import RunOptions

_OF_TASKS = ("subtasks", "quiet", "status", "private", "list_deps", "template")
"""Options of `list` that are for tasks."""


def _resolved(command: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The command's options, with the tasks that the words on the command line mean."""
    hooks = command.hooks()
    if hooks is None:
        return options
    from c2wtasks.engine.select import selected
    from c2wtasks.engine.targets import watch_targets

    control, names = selected(command, hooks)
    watch_targets(command.dep_manager, control.targets)
    if command.sel_default_tasks or names is None:
        return options
    command.sel_tasks = [name if name in control.tasks else control.targets[name] for name in names]
    return options | ({"pos_args": command.sel_tasks} if "pos_args" in options else {})


def _exclusively(command: Any, change: Callable[[], Any]) -> Any:
    hooks = command.hooks()
    if hooks is None:
        return change()
    from c2wtasks.engine.exclusive import exclusively

    return exclusively(command, hooks, change)


def _told(command: Command, look: Callable[[], Any]) -> Any:
    if command.hooks() is None:
        return look()
    from c2wtasks.engine.exclusive import told

    return told(look)


class Clean(Command, DoitClean):  # type: ignore[misc]
    """Removes what tasks have made. Exit status 1: some of it could not be removed."""

    cmd_options = (*DoitClean.cmd_options, YES)
    looks_up = "here"
    _failed: list[str]
    _cleaned: list[str]
    _yes = False

    def only_looks(self, params: Any) -> bool:
        return bool(params["dryrun"])

    def execute(self, params: Any, args: list[str]) -> Any:
        self._yes = params["yes"]
        return super().execute(params, args)

    @functools.wraps(DoitClean._execute)  # doit passes the options that the signature names
    def _execute(self, **options: Any) -> Any:
        self._failed, self._cleaned = [], []
        hooks = self.hooks()
        clean = super()._execute
        if hooks is None:
            return clean(**options)
        if options["dryrun"]:
            return clean(**_resolved(self, options))
        if self.sel_default_tasks and not self._yes:
            self._ask()
        from c2wtasks.engine.exclusive import exclusively
        from c2wtasks.telling.notices import tell

        def change() -> int:
            clean(**_resolved(self, options))
            hooks.cleaned(frozenset(self._cleaned))
            tell(*self._failed)
            return 1 if self._failed else 0

        return exclusively(self, hooks, change)

    def _ask(self) -> None:
        """Asks whether all bundles may go. Raises InvalidCommand: they may not, or there is nobody to be asked."""
        from c2wtasks.commands.table import published
        from c2wtasks.telling.sizes import counted, human

        hooks = _of_catalog(self)
        if hooks is None:
            return
        count, size = published(hooks.graph.file.output, hooks.graph.file.bundles)
        if not count:
            return
        what = f"all bundles in {hooks.graph.file.output} ({counted(count, 'bundle')}, {human(size)})"
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise InvalidCommand(f"without names, this removes {what}: give --yes, or names")
        print(f"This removes {what}. Remove them? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise InvalidCommand("nothing was removed")

    def clean_tasks(self, tasks: Iterable[Any], dryrun: bool, cleanforget: bool) -> None:
        """Cleans tasks as doit does, but of our dodos what cannot be removed is one line, and not forgotten."""
        if self.hooks() is None:
            super().clean_tasks(tasks, dryrun, cleanforget)
            return
        for task in {task.name: task for task in tasks}.values():
            before = len(self._failed)
            for action in task.clean_actions:
                if isinstance(action, PythonAction):
                    action.py_callable = self._noting(action.py_callable)
            family, _, bundle = task.name.partition(":")
            ours = family == "bundle" and bundle != ""
            self._noting(task.clean)(io.StringIO() if ours else self.outstream, dryrun)
            if len(self._failed) > before:
                continue
            if ours:
                self.outstream.write(f"{'would remove' if dryrun else 'removed'} {bundle}\n")
            if not dryrun:
                self._cleaned.append(task.name)
                if cleanforget:
                    self.dep_manager.remove(task.name)
        self.dep_manager.close()

    def _noting(self, remove: Callable[..., Any]) -> Callable[..., Any]:
        from c2wtasks.errors import UserError, one_line, os_reason

        @functools.wraps(remove)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return remove(*args, **kwargs)
            except UserError as error:
                self._failed.append(str(error))
            except OSError as error:
                self._failed.append(one_line(f"{error.filename}: cannot be removed: {os_reason(error)}"))

        return call


class Forget(Command, DoitForget):  # type: ignore[misc]
    """Forgets that tasks have run."""

    looks_up = "briefly"

    @functools.wraps(DoitForget._execute)
    def _execute(self, **options: Any) -> Any:
        if self.sel_tasks is None and not options["forget_disable_default"]:
            options["forget_all"] = True  # no names: all that a run would run
        return _exclusively(self, lambda: super(Forget, self)._execute(**_resolved(self, options)))


class Info(Command, DoitInfo):  # type: ignore[misc]
    """Shows a task, and whether it would run."""

    looks_up = "briefly"

    def only_looks(self, params: Any) -> bool:
        return True

    @functools.wraps(DoitInfo._execute)
    def _execute(self, **options: Any) -> Any:
        return _told(self, lambda: super(Info, self)._execute(**_resolved(self, options)))


class List(Command, DoitList):  # type: ignore[misc]
    """Lists the bundles of our dodos, with what became of them; of others, or where an option asks for it, tasks."""

    cmd_options = (*DoitList.cmd_options, JSON)
    doc_purpose = "list bundles, or tasks"
    _json = False

    def run_options(self, params: Any) -> RunOptions:
        of_tasks = any(params[name] for name in _OF_TASKS) or any(":" in word for word in self._words)
        return replace(super().run_options(params), looks_up="briefly" if of_tasks else "here")

    def only_looks(self, params: Any) -> bool:
        return True

    def execute(self, params: Any, args: list[str]) -> Any:
        self._json = params["as_json"]
        self.signs_on(sys.stderr)
        return super().execute(params, args)

    @functools.wraps(DoitList._execute)
    def _execute(self, **options: Any) -> Any:
        hooks = _of_catalog(self)
        asked = {name for name in _OF_TASKS if options[name]}
        if self._json and (hooks is None or asked):
            raise InvalidCommand("--json lists bundles: not with options for tasks, nor with another's dodo.py")
        if hooks is None or asked or _names_tasks(self, options["pos_args"], hooks):
            return _told(self, lambda: super(List, self)._execute(**_resolved(self, options)))
        return _told(self, lambda: self._bundles(hooks, options["pos_args"]))

    def _bundles(self, hooks: Any, words: list[str]) -> int:
        from c2wtasks.commands import rows, table

        found = table.rows(self, hooks, words)
        self.dep_manager.backend.discard()
        text = f"{rows.as_json(found)}\n" if self._json else "".join(f"{line}\n" for line in rows.lines(found))
        self.make_room()
        self.outstream.write(text)
        return 0


def _of_catalog(command: Any) -> Any:
    """The GraphHooks of the dodo; None where it is another's, or of another graph."""
    hooks = command.hooks()
    graphs = sys.modules.get("c2wtasks.graph.hooks")
    return hooks if hooks is not None and graphs and isinstance(hooks, graphs.GraphHooks) else None


def _names_tasks(command: Any, words: list[str], hooks: Any) -> bool:
    """Whether one of the words is the name of a task, and not of an image or a bundle."""
    return any(word not in hooks.aliases and any(task.name == word for task in command.task_list) for word in words)
