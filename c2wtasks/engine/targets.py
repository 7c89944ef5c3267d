"""The states of targets in doit's record, beside those of dependencies, which doit keeps there itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from c2wtasks.engine.checker import FileState

TARGET = "target: "
"""Before a target's path: the key of its state in the record of its task."""


def watch_targets(dep_manager: Any, makers: Mapping[str, str]) -> None:
    """Makes a target count as there only if it is as its task left it. `makers` maps targets to their tasks."""

    def recorded(path: str) -> FileState | None:
        return recorded_target(dep_manager, makers[path], path) if path in makers else None

    dep_manager.checker.watch_targets(recorded)


def recorded_target(dep_manager: Any, task_name: str, path: str) -> FileState | None:
    """The state in which the task left its target `path`, if that is remembered."""
    state: FileState | None = dep_manager._get(task_name, TARGET + path)
    return state


def adopt(dep_manager: Any, tasks: Mapping[str, Any], proven: Iterable[str]) -> None:
    """Remembers of the tasks that are `proven` what it would if they had just run, if all memory is lost. One whose
    dependencies are lost, too, has to run."""
    if not dep_manager.backend.lost:
        return
    for name in proven:
        task = tasks[name]
        if not all(map(os.path.exists, task.file_dep)):
            continue
        task.save_extra_values()
        dep_manager.save_success(task)
        record_targets(dep_manager, task)


def record_targets(dep_manager: Any, task: Any) -> None:
    """Records the states in which the task has left its targets.

    Raises OSError.
    """
    for path in task.targets:
        dep_manager._set(task.name, TARGET + path, dep_manager.checker.target_state(path))


def record_touched(dep_manager: Any, tasks: Mapping[str, Any], touched: Mapping[str, FileState]) -> None:
    """Records the new states of files of which only the times have moved, for every task that names them."""
    if not touched:
        return
    for task in tasks.values():
        keys = [(path, path) for path in task.file_dep if path in touched]
        keys += [(TARGET + path, path) for path in task.targets if path in touched]
        for key, path in keys:
            recorded = dep_manager._get(task.name, key)
            if recorded is not None and recorded[-1] == touched[path][-1]:
                dep_manager._set(task.name, key, touched[path])
