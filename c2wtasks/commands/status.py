"""What is stale and why: found by the very routine that decides in a run, asked for all its reasons."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from doit.control import TaskControl
from doit.exceptions import InvalidCommand

from c2wtasks.engine.run import hooks_of
from c2wtasks.engine.runner import adopt, watch_targets
from c2wtasks.engine.select import resolve
from c2wtasks.errors import SourceError
from c2wtasks.graph import Graph


@dataclass(frozen=True, slots=True)
class Stale:
    """A task that would run. With `reasons` it surely would; with `after` alone only if what one of those tasks
    makes comes out different."""

    task: str
    title: str
    reasons: tuple[str, ...]
    after: tuple[str, ...]


def our_graph(command: Any) -> Graph:
    """The graph of the dodo that `command` has loaded.

    Raises InvalidCommand where it is not ours.
    """
    graph = hooks_of(command)
    if not isinstance(graph, Graph):
        raise InvalidCommand("this dodo.py is not one of ours; copy the one that comes with c2wtasks")
    return graph


def stale_tasks(command: Any) -> tuple[list[Stale], int]:
    """The tasks that a run of the command's selection would execute, in that order; and how many were looked at.

    Raises InvalidCommand: a word names nothing.
    """
    graph = our_graph(command)
    control = TaskControl(command.task_list)
    watch_targets(command.dep_manager, control.targets)
    adopt(command.dep_manager, control.tasks, graph.proven())
    selected = command.sel_tasks
    if selected is not None:
        selected = resolve(selected, control.tasks, control.targets, graph.aliases)
    control.process(selected)
    order = _in_order(control.selected_tasks, control.tasks)
    found: dict[str, Stale] = {}
    for name in order:
        task = control.tasks[name]
        if task.has_subtask or not task.actions:
            continue
        reasons = _reasons(command.dep_manager, task, control.tasks, found)
        after = tuple(dep for dep in task.task_dep if dep in found)
        if reasons or after:
            found[name] = Stale(name, task.title(), tuple(reasons), after)
    return list(found.values()), len(order)


def _in_order(selected: Iterable[str], tasks: Mapping[str, Any]) -> list[str]:
    """`selected` and all that they need, each after what it needs."""
    done: dict[str, None] = {}
    todo = [(name, False) for name in reversed(list(selected))]
    while todo:
        name, ready = todo.pop()
        if ready:
            done[name] = None
        elif name not in done:
            todo.append((name, True))
            todo += [(dep, False) for dep in reversed(tasks[name].task_dep) if dep not in done]
    return list(done)


def _reasons(dep_manager: Any, task: Any, tasks: Mapping[str, Any], stale: Mapping[str, Stale]) -> list[str]:
    """Why `task` would run whatever other tasks make; empty where it would not."""
    try:
        status = dep_manager.get_status(task, tasks, get_log=True)
    except SourceError as error:
        return [str(error)]
    if status.status == "up-to-date":
        return []
    why, values = status.reasons, dep_manager.get_values(task.name)
    if not values:
        return ["never built"]
    made_by_stale = {target for name in stale for target in tasks[name].targets}
    reasons = ["its source cannot be read"] if why["has_no_dependencies"] else []
    for check, _args, _kwargs in why["uptodate_false"]:
        reasons += check.explain(values)
    reasons += [f"{path} {'was edited' if os.path.exists(path) else 'is gone'}" for path in why["missing_target"]]
    for key, text in (("changed_file_dep", "has changed"), ("missing_file_dep", "is gone")):
        reasons += [f"{path} {text}" for path in sorted(why[key] or ()) if path not in made_by_stale]
    reasons += [f"{path} is needed now" for path in why["added_file_dep"] or ()]
    reasons += [f"{path} is needed no more" for path in why["removed_file_dep"] or ()]
    return list(dict.fromkeys(reasons))
