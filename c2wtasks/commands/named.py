"""doit's commands that take tasks, taking what our `run` takes: `web`, `web@linux/amd64`, patterns.

For a dodo that is not ours they are doit's own. With ours they also see what our runner sees: an edited target is
not up to date.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from doit.cmd_clean import Clean as DoitClean
from doit.cmd_forget import Forget as DoitForget
from doit.cmd_info import Info as DoitInfo
from doit.cmd_list import List as DoitList
from doit.control import TaskControl

from c2wtasks.engine.run import hooks_of


def _resolved(command: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The command's options, with the tasks that the words on the command line mean."""
    hooks = hooks_of(command)
    if hooks is None:
        return options
    from c2wtasks.engine.runner import watch_targets
    from c2wtasks.engine.select import resolve

    control = TaskControl(command.task_list)
    watch_targets(command.dep_manager, control.targets)
    if command.sel_default_tasks:
        return options
    names = resolve(command.sel_tasks, control.tasks, control.targets, hooks.aliases)
    command.sel_tasks = [name if name in control.tasks else control.targets[name] for name in names]
    return options | ({"pos_args": command.sel_tasks} if "pos_args" in options else {})


def _exclusively(command: Any, change: Callable[[], Any]) -> Any:
    hooks = hooks_of(command)
    if hooks is None:
        return change()
    from c2wtasks.engine.build import exclusively

    return exclusively(command, hooks, change)


def _told(command: Any, look: Callable[[], Any]) -> Any:
    if hooks_of(command) is None:
        return look()
    from c2wtasks.engine.build import told

    return told(look)


class Clean(DoitClean):  # type: ignore[misc]
    """Removes what tasks have made."""

    @functools.wraps(DoitClean._execute)  # doit passes the options that the signature names
    def _execute(self, **options: Any) -> Any:
        return _exclusively(self, lambda: super(Clean, self)._execute(**_resolved(self, options)))


class Forget(DoitForget):  # type: ignore[misc]
    """Forgets that tasks have run."""

    @functools.wraps(DoitForget._execute)
    def _execute(self, **options: Any) -> Any:
        if self.sel_tasks is None and not options["forget_disable_default"]:
            options["forget_all"] = True  # no names: all that a run would run
        return _exclusively(self, lambda: super(Forget, self)._execute(**_resolved(self, options)))


class Info(DoitInfo):  # type: ignore[misc]
    """Shows a task, and whether it would run."""

    @functools.wraps(DoitInfo._execute)
    def _execute(self, **options: Any) -> Any:
        return _told(self, lambda: super(Info, self)._execute(**_resolved(self, options)))


class List(DoitList):  # type: ignore[misc]
    """Lists tasks."""

    @functools.wraps(DoitList._execute)
    def _execute(self, **options: Any) -> Any:
        return _told(self, lambda: super(List, self)._execute(**_resolved(self, options)))
