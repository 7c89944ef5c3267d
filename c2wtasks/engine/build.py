"""A run of our own graph: which tasks, in which way, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from doit.action import PythonAction
from doit.control import TaskControl
from doit.exceptions import InvalidCommand
from doit.task import Stream

from c2wtasks.engine import interrupt
from c2wtasks.engine.checker import Checker
from c2wtasks.engine.config import Hooks
from c2wtasks.engine.reporter import Console
from c2wtasks.engine.runner import Runner, ThreadRunner
from c2wtasks.engine.select import resolve
from c2wtasks.errors import UserError, one_line, os_reason

DONE = 0
FAILED = 1


def build(command: Any, hooks: Hooks, options: dict[str, Any]) -> int:
    """Runs what was selected, as doit's `run` does, and gives the exit code.

    Raises InvalidCommand where the command line is wrong.
    """
    if not isinstance(command.dep_manager.checker, Checker):
        raise InvalidCommand("check_file_uptodate cannot be chosen here: files are always compared by content")
    control = _control(command, hooks, options)
    PythonAction.pm_pdb = options["pdb"]
    with _output(options["outfile"]) as stream, interrupt.stoppable():
        with _own_streams():
            runner = _runner(command, stream, options)
            runner.run_all(control.task_dispatcher())
        with interrupt.shielded():
            stream.flush()
            finished = _finish(hooks, runner)
    if runner.stopped is not None:
        say_stopped(f"{runner.executed} task{'' if runner.executed == 1 else 's'} done")
        return runner.stopped.exit_code
    return DONE if finished and runner.final_result == 0 else FAILED


def say_stopped(what_was_done: str) -> None:
    """The one line that ends an interrupted run."""
    print(f"interrupted: {what_was_done}; the next run goes on from here", file=sys.stderr)


def _control(command: Any, hooks: Hooks, options: dict[str, Any]) -> Any:
    control = TaskControl(command.task_list, auto_delayed_regex=options["auto_delayed_regex"])
    selected = command.sel_tasks
    if selected is not None:
        selected = resolve(selected, control.tasks, control.targets, hooks.aliases)
    control.process(selected)
    if options["single"]:
        for name in control.selected_tasks:
            task = control.tasks[name]
            for alone in [control.tasks[sub] for sub in task.task_dep] if task.has_subtask else [task]:
                alone.task_dep = []
    return control


def _runner(command: Any, stream: TextIO, options: dict[str, Any]) -> Runner:
    workers = options["num_process"]
    if workers < 0:
        raise InvalidCommand(f"-n {workers}: the number of tasks to run at once cannot be negative")
    if options["par_type"] not in ("thread", "process"):
        raise InvalidCommand(f"-P {options['par_type']}: tasks run in threads")
    if workers and options["par_type"] == "process":
        print("note: tasks run in threads, not in processes", file=sys.stderr)
    reporter = options["reporter"]
    if isinstance(reporter, str):
        reporter = Console if reporter == "console" else command.reporters[reporter]
    arguments = (
        command.dep_manager,
        reporter(stream, {"failure_verbosity": options["failure_verbosity"]}),
        options["continue_"],
        options["always"],
        Stream(options["verbosity"], options["force_verbosity"]),
    )
    return ThreadRunner(*arguments, num_process=workers) if workers else Runner(*arguments)


def _finish(hooks: Hooks, runner: Runner) -> bool:
    lines: list[str] = []
    try:
        for line in hooks.finish(runner.failed, runner.current):
            lines.append(line)  # those given before an error count
    except UserError as error:
        lines.append(str(error))
        return False
    finally:
        _say(lines)
    return True


def _say(lines: Iterable[str]) -> None:
    sys.stderr.write("".join(f"{one_line(line)}\n" for line in lines))
    sys.stderr.flush()


@contextmanager
def _output(outfile: str | TextIO) -> Iterator[TextIO]:
    if not isinstance(outfile, str):
        yield outfile
        return
    try:
        stream = open(outfile, "w", encoding="utf-8")  # noqa: SIM115 - what fails within the block is another matter
    except OSError as error:
        raise InvalidCommand(f"{outfile}: cannot be written: {os_reason(error)}") from error
    with stream:
        yield stream


@contextmanager
def _own_streams() -> Iterator[None]:
    """sys.stdout and sys.stderr are afterwards what they were: doit's JSON reporter replaces them."""
    before = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
