"""How a task's failure is kept: as one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any

from doit.action import PythonAction
from doit.exceptions import BaseFail, TaskFailed

from c2wtasks.engine.executor import Executor, InProcess
from c2wtasks.engine.meta import is_brief, is_heavy
from c2wtasks.errors import UserError, one_line
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.telling import progress

_HERE = InProcess()


class UserFailure(TaskFailed):  # type: ignore[misc]
    """A task that failed: its text is one line, without a traceback."""

    def __init__(self, error: BaseException) -> None:
        self.error: UserError = as_user_error(error)
        super().__init__(str(self.error))

    def get_name(self) -> str:
        """The name doit's reporters print, which is that of any failed task."""
        return "TaskFailed"


class Interrupted(BaseFail):  # type: ignore[misc]
    """A task was at work when a signal ended the run."""

    def __init__(self) -> None:
        super().__init__("interrupted", report=False)


def reason(failure: Any) -> str:
    """Why a task failed (a doit BaseFail), on one line."""
    if failure.traceback:
        return one_line(f"unexpected {failure.traceback[-1].strip()}")
    return one_line(str(failure.message).strip())


def guard(task: Any, executor: Executor) -> None:
    """Makes the Python actions of `task` end in a UserFailure where they raise anything.

    doit's own PythonAction would make a traceback of it and drop the exception. The actions of a task whose `meta`
    says that they are heavy, and not brief, are run by `executor`.
    """
    heavy = is_heavy(task)
    executor = _HERE if is_brief(task) else executor
    for action in task.actions:
        if isinstance(action, PythonAction):
            own = function = action.py_callable
            if heavy:
                function = _handed_over(function, executor, task)
            action.py_callable = guarded = _guarded(function)
            if isinstance(own, FunctionType):  # doit asks for it each time, and many tasks have one function
                guarded.__signature__ = _signature(own)  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=64)
def _signature(function: FunctionType) -> inspect.Signature:
    return inspect.signature(function)


def _handed_over(function: Callable[..., Any], executor: Executor, task: Any) -> Callable[..., Any]:
    label = task.title() if task.custom_title else task.name.partition(":")[0]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with progress.job(task.name) as number:
            return executor.run(label, progress.within, (number, function, args, kwargs), {})

    return call


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)  # doit looks at the signature to pass `task`, `targets` and the like
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            return UserFailure(error)

    return call
