"""What decides whether a task is current: doit's own routine, with a short way for those that plainly are."""

from __future__ import annotations

from typing import Any

from doit.dependency import Dependency, DependencyStatus

from c2wtasks.engine.checks import Check
from c2wtasks.engine.targets import TARGET


class Deciding(Dependency):  # type: ignore[misc]
    """doit's manager of dependencies, over the checker and the record of another.

    doit looks at the signature of each check and asks the record for each file: a quarter of a run in which there is
    nothing to do. The short way makes the same comparisons. It only ever says yes; in all other cases doit's decides.
    """

    def __init__(self, other: Any) -> None:
        for name, value in vars(other).items():
            setattr(self, name, value)

    def get_status(self, task: Any, tasks_dict: Any, get_log: bool = False) -> DependencyStatus:
        if not self._is_plainly_current(task):
            return super().get_status(task, tasks_dict, get_log)
        task.dep_changed = []
        return DependencyStatus(get_log)

    def _is_plainly_current(self, task: Any) -> bool:
        record, checker = self.backend.record(task.name), self.checker
        if record.get("checker:") != type(checker).__name__ or set(record.get("deps:") or ()) != task.file_dep:
            return False
        values = record.get("_values_:") or {}
        for check, *_ in task.uptodate:
            if not (isinstance(check, Check) and check.holds(values)):
                return False
        for path in task.file_dep:
            if not checker.is_unchanged(path, record.get(path)):
                return False
        for path in task.targets:
            if not checker.is_as_left(path, record.get(TARGET + path)):
                return False
        return bool(task.file_dep or task.uptodate)
