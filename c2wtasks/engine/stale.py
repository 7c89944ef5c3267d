"""What is stale and why: found by the very routine that decides in a run, asked for all its reasons."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from doit.control import TaskControl

from c2wtasks.engine.checks import Fails
from c2wtasks.engine.deciding import Deciding
from c2wtasks.engine.targets import watch_targets
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.telling import stages


@dataclass(frozen=True, slots=True)
class Stale:
    """A task that would run. With `reasons` it surely would; with `after` alone only if what one of those tasks
    makes comes out different."""

    task: str
    title: str
    reasons: tuple[str, ...]
    after: tuple[str, ...]


def find_stale(dep_manager: Any, control: TaskControl, names: Iterable[str]) -> list[Stale]:
    """Those of the tasks `names`, in the order of a run, that it would execute."""
    looking = _aside(dep_manager, control)
    found: dict[str, Stale] = {}
    remade: set[str] = set()  # what they make
    names = list(names)
    stages.begin("comparing tasks with what was done", len(names))
    for name in stages.counted(names):
        task = control.tasks[name]
        if task.has_subtask or not task._actions:  # `actions` makes objects of them
            continue
        try:
            reasons = _reasons(looking, task, control.tasks, found, remade)
        except Exception as error:  # a run would fail this task, and do the others
            reasons = [str(as_user_error(error))]
        after = tuple(dep for dep in task.task_dep if dep in found)
        if reasons or after:
            found[name] = Stale(name, task.title(), tuple(reasons), after)
            remade.update(task.targets)
    return list(found.values())


def surely_stale(dep_manager: Any, control: TaskControl, names: Iterable[str]) -> list[str]:
    """Those of the tasks `names` that a run would execute whatever other tasks make. A run may be under way."""
    looking = _aside(dep_manager, control)
    tasks = control.tasks
    # Not "error": a file that it needs is gone, which comes again as it was, for all that can be told.
    return [name for name in names if _status(looking, tasks[name], tasks) == "run"]


def _status(looking: Deciding, task: Any, tasks: Mapping[str, Any]) -> str:
    try:
        status: str = looking.get_status(task, tasks).status
    except Exception:  # the task tells of it when it is its turn
        return "error"
    return status


def _aside(dep_manager: Any, control: TaskControl) -> Deciding:
    """What decides as `dep_manager` does, with a look at the files of its own."""
    looking = Deciding(dep_manager)
    looking.checker = type(dep_manager.checker)()
    watch_targets(looking, control.targets)
    return looking


def in_order(control: TaskControl) -> list[str]:
    """The tasks that are selected and all that they need, each after what it needs."""
    tasks = control.tasks
    done: dict[str, None] = {}
    todo = [(name, False) for name in reversed(control.selected_tasks)]
    while todo:
        name, ready = todo.pop()
        if ready:
            done[name] = None
        elif name not in done:
            todo.append((name, True))
            todo += [(dep, False) for dep in reversed(tasks[name].task_dep) if dep not in done]
    return list(done)


def _reasons(
    dep_manager: Any, task: Any, tasks: Mapping[str, Any], stale: Mapping[str, Stale], made_by_stale: Set[str]
) -> list[str]:
    """Why `task` would run whatever other tasks make; empty where it would not."""
    status = dep_manager.get_status(task, tasks, get_log=True)
    if status.status == "up-to-date":
        return []
    why, values = status.reasons, dep_manager.get_values(task.name)
    if doomed := [check.why for check, *_ in why["uptodate_false"] if isinstance(check, Fails)]:
        return doomed
    if not values:
        return ["never built"]
    remade = any(dep in stale for dep in task.task_dep)  # what is gone then comes again, target or not
    reasons = ["it runs every time"] if why["has_no_dependencies"] else []
    for check, _args, _kwargs in why["uptodate_false"]:
        reasons += check.explain(values) if hasattr(check, "explain") else ["its own check says so"]
    reasons += [f"{path} {'was edited' if os.path.lexists(path) else 'is gone'}" for path in why["missing_target"]]
    reasons += [f"{path} has changed" for path in sorted(why["changed_file_dep"] or ()) if path not in made_by_stale]
    reasons += [f"{path} is gone" for path in sorted(why["missing_file_dep"] or ()) if not remade]
    if not reasons:  # else it follows from them
        reasons += [f"{path} is needed now" for path in why["added_file_dep"] or ()]
        reasons += [f"{path} is needed no more" for path in why["removed_file_dep"] or ()]
    return list(dict.fromkeys(reasons))
