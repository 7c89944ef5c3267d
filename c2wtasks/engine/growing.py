"""A run whose tasks are not all known when it begins: it does those that are, and takes in the others meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from doit.action import PythonAction
from doit.control import TaskControl, TaskDispatcher

_MORE = object()  # what is waited for while something is late


def without_groups(names: Sequence[str], tasks: Any) -> list[str]:
    """`names`, with the tasks that a group has in its place: what it has is not all known yet."""
    found: dict[str, None] = {}
    for name in names:
        task = tasks[name]
        found.update(dict.fromkeys(task.task_dep if task.has_subtask else [name]))
    return list(found)


class Growing(TaskDispatcher):  # type: ignore[misc]
    """doit's dispatcher, for the tasks of `control` first.

    Whenever all of these are done or under way it calls `more`, with whether they are done: then that has to wait for
    what is late. It gives a new control, with all tasks that there are by now, or None where nothing has come; and
    whether nothing is late any more.
    """

    def __init__(self, control: TaskControl, more: Callable[[bool], tuple[TaskControl | None, bool]]) -> None:
        super().__init__(control.tasks, control.targets, without_groups(control.selected_tasks, control.tasks))
        self._more = more
        self.waiting.add(_MORE)  # so that it holds on where it would end

    def _get_next_node(self, ready: Any, tasks_to_run: list[str]) -> Any:
        node = super()._get_next_node(ready, tasks_to_run)
        while node is None and _MORE in self.waiting:
            done = all(known.run_status != "run" for known in self.nodes.values())
            control, complete = self._more(done)
            if complete:
                self.waiting.remove(_MORE)
            if control is not None:
                tasks_to_run += reversed(self._grow(control, complete))
                node = super()._get_next_node(ready, tasks_to_run)
            if not done:
                break
        return node

    def _grow(self, control: TaskControl, complete: bool) -> list[str]:
        """Takes in what is new in `control`; gives what of that is selected, in the order in which to do it."""
        self.targets.update(control.targets)
        new = {name: task for name, task in control.tasks.items() if name not in self.nodes}
        for task in new.values():
            for name in () if task.has_subtask else task.task_dep:
                node = self.nodes.get(name)
                if node and node.run_status == "failure" and _does_more(control.tasks[name], node.task):
                    del self.nodes[name]  # it is tried once more
                    self.tasks[name] = control.tasks[name]
        self.tasks.update(new)
        selected = control.selected_tasks
        if not complete:
            selected = without_groups(selected, control.tasks)
        return [name for name in selected if name not in self.nodes]


def _does_more(task: Any, than: Any) -> bool:
    """Whether the task is done with something else: of a layer that was bad there may be another copy now."""
    of_one, of_other = (
        [action.args for action in one.actions if isinstance(action, PythonAction)] for one in (task, than)
    )
    return of_one != of_other
