"""A run of our own graph: which tasks, in which way, and how it ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

from doit.action import PythonAction
from doit.control import TaskControl
from doit.exceptions import InvalidCommand, InvalidDodoFile, InvalidTask
from doit.task import Stream

from c2wtasks.engine import executor as executors
from c2wtasks.engine import interrupt, settled, streams
from c2wtasks.engine.config import Hooks
from c2wtasks.engine.deciding import Deciding
from c2wtasks.engine.exclusive import alone, told
from c2wtasks.engine.executor import Executor
from c2wtasks.engine.growing import Growing
from c2wtasks.engine.meta import blob_bytes, is_heavy, urgency, work_bytes
from c2wtasks.engine.outcome import DONE, FAILED, Outcome, Ran
from c2wtasks.engine.report import Report
from c2wtasks.engine.reporter import Console
from c2wtasks.engine.runner import Runner
from c2wtasks.engine.select import selected
from c2wtasks.engine.sign import sign
from c2wtasks.engine.targets import adopt
from c2wtasks.engine.threads import ThreadRunner
from c2wtasks.errors import OutputError, one_line, os_reason, some_of
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.telling import progress, stages
from c2wtasks.telling.notices import tell

_UNKNOWN = 1 << 62  # bytes


def build(command: Any, hooks: Hooks, options: dict[str, Any], *, last: bool = True) -> Outcome:
    """Runs what was selected, as doit's `run` does. Where that is not the `last` thing that the command does,
    `Hooks.after_good_run` is not called, and signals are heeded again.

    Raises InvalidCommand where the command line is wrong, KeyboardInterrupt where it was interrupted before it began.
    """
    _check(options)
    outcome: Outcome = told(lambda: _build(command, hooks, options, last), Outcome(FAILED))
    if not last:
        interrupt.signals.heed()
    return outcome


def _build(command: Any, hooks: Hooks, options: dict[str, Any], last: bool) -> Outcome:
    clock = getattr(command, "began", 0.0) or time.monotonic()
    began = time.time() - (time.monotonic() - clock)
    control = _control(command, hooks, options)
    PythonAction.pm_pdb = options["pdb"]
    junit: str = getattr(command, "junit", "")
    if junit and options["reporter"] is not Report:
        raise InvalidCommand("--junit goes with the usual report, not with -r")
    with alone(command, hooks) as held, _output(options["outfile"]) as stream:
        with _own_streams(), _executor(options["num_process"]) as executor:
            adopt(command.dep_manager, control.tasks, hooks.proven())
            so_far = _SoFar(command, hooks, options, control)

            def before_heavy() -> None:
                work = _prepare(command, hooks, so_far.control, options, executor)
                if isinstance(runner.reporter, Report):
                    runner.reporter.work.bytes.update(work)

            runner = _runner(
                command,
                stream,
                options,
                executor=executor,
                before_work=hooks.before_work,
                before_heavy=before_heavy,
                publish=hooks.publish,
            )
            if hooks.late:
                hooks.before_work()
                progress.begin()
                executor.prepare(_UNKNOWN)  # there may be threads by the time that it is known
                runner.run_all(Growing(control, partial(so_far.more, runner)))
            else:
                runner.run_all(control.task_dispatcher())
        stages.begin("finishing")
        sign.begin()
        with interrupt.shielded():
            stream.flush()
            said: list[str] = []
            finished = _tell(lambda: _unsaid(runner, hooks.end_of_run(runner.failed, runner.current)), said)
            ended_well = finished and runner.final_result == 0 and runner.stopped is None
            status = runner.stopped.exit_code if runner.stopped else DONE if ended_well else FAILED
            _tell(lambda: hooks.remember(_ran(command, so_far.control, runner, status, began, clock)))
            if ended_well and last:
                _tell(hooks.after_good_run)
            if isinstance(runner.reporter, Report) and not _concluded(runner, hooks.totals(), junit):
                status = status or FAILED
        held.unfinished = executor.lost or runner.stopped is not None
    if ended_well and last:
        _seal(command, hooks, runner, so_far.control, said)
    if runner.stopped is not None:
        done = f"{runner.executed or 'no'} task{'s' * (runner.executed > 1)} done"
        tell(f"interrupted: {done}; the next run goes on from here")
    return Outcome(status, runner.failed)


def _ran(command: Any, control: TaskControl, runner: Runner, status: int, began: float, clock: float) -> Ran:
    """What is to be remembered of the run."""
    tasks = control.tasks
    selected = set(control.selected_tasks)
    for name in control.selected_tasks:
        if tasks[name].has_subtask:
            selected.update(tasks[name].task_dep)
    asked = () if command.sel_tasks is None else tuple(command.sel_tasks)
    return Ran(
        began,
        time.monotonic() - clock,
        status,
        asked,
        frozenset(selected),
        runner.done,
        runner.current,
        runner.failed,
        lambda name: runner.times.seconds(tasks[name], tasks) if name in tasks else 0.0,
    )


def _concluded(runner: Runner, totals: str, junit: str) -> bool:
    """Writes the last lines, and the file `junit`, if any; tells whether that could be written."""
    report: Report = runner.reporter
    reasons = report.reasons(runner.failed)
    report.tally.cut_short = runner.stopped is not None
    report.conclude(totals, reasons)
    if not junit:
        return True
    from c2wtasks.engine import ci

    try:
        ci.write(junit, ci.junit(report.tally.products, reasons, report.seconds, report.seconds_in_all))
    except OutputError as error:
        tell(str(error))
        return False
    return True


def _seal(command: Any, hooks: Hooks, runner: Runner, control: TaskControl, said: list[str]) -> None:
    """Leaves a seal for the next run, if this one has looked at all and found it current. `said` are the lines that
    it ended with."""
    report = runner.reporter
    if not settled.leaves or runner.executed or not isinstance(report, Report):
        return
    if "GITHUB_STEP_SUMMARY" in os.environ:  # a seal writes none
        return
    looked_at = hooks.looked_at()
    if looked_at is not None:
        from c2wtasks.engine import sealing  # not needed by a run that was told by a seal, nor by one that builds

        tasks = {name: control.tasks[name] for name in runner.current}
        found = sealing.found(command, control.tasks, runner.current, report.tally.counts(), quiet=not said)
        answers = settled.encoded("".join(f"{one_line(line)}\n" for line in said), looked_at.output, found)
        sealing.seal(tasks, command.dep_manager.backend.name, hooks.sealed_until, answers, looked_at)


@dataclass(slots=True)
class _SoFar:
    """The tasks of a run, where not all are known when it begins."""

    command: Any
    hooks: Hooks
    options: dict[str, Any]
    control: TaskControl
    told: bool = False

    def more(self, runner: Runner, wait: bool) -> tuple[TaskControl | None, bool]:
        """The control with what has come, if anything has, and whether that is all (see Growing)."""
        hooks = self.hooks
        if not (hooks.arrive(wait=False) or (wait and self._waited(runner))):
            return None, False
        known = self.control.tasks
        self.control = _reloaded(self.command, hooks, self.options)
        adopt(self.command.dep_manager, self.control.tasks, [one for one in hooks.proven() if one not in known])
        return self.control, not hooks.late

    def _waited(self, runner: Runner) -> bool:
        runner.publish_staged()  # it may be long until more comes
        if not self.told:
            tell(f"waiting for {some_of(self.hooks.late)}")
            self.told = True
        with stages.meanwhile("looking images up", len(self.hooks.late)):
            return self.hooks.arrive(wait=True)


def _control(command: Any, hooks: Hooks, options: dict[str, Any]) -> TaskControl:
    """doit's control of what is selected; where something is late, of the tasks that there are, if they are
    enough."""
    try:
        if not (hooks.late and options["single"]):
            return _selected(command, hooks, options)
    except (InvalidCommand, InvalidDodoFile, InvalidTask):  # it may be what is late that is missing
        if not hooks.late:
            raise
    while hooks.late:
        hooks.arrive(wait=True)
    return _reloaded(command, hooks, options)


def _reloaded(command: Any, hooks: Hooks, options: dict[str, Any]) -> TaskControl:
    """doit's control of what is selected of the tasks that there are by now."""
    command.task_list = command.load_tasks()
    return _selected(command, hooks, options)


def _selected(command: Any, hooks: Hooks, options: dict[str, Any]) -> TaskControl:
    control, names = selected(command, hooks, command.commands, auto_delayed_regex=options["auto_delayed_regex"])
    control.process(names)
    if names is None:
        control.selected_tasks.sort(key=lambda name: -urgency(control.tasks[name]))
    if options["single"]:
        for name in control.selected_tasks:
            task = control.tasks[name]
            for alone in [control.tasks[sub] for sub in task.task_dep] if task.has_subtask else [task]:
                alone.task_dep = []
    return control


@contextmanager
def _executor(workers: int) -> Iterator[Executor]:
    executor = executors.Workers(workers) if workers > 1 else executors.InProcess()
    try:
        yield executor
    finally:
        executor.close()


def _check(options: dict[str, Any]) -> None:
    workers = options["num_process"]
    if workers < 0:
        raise InvalidCommand(f"-n {workers}: the number of tasks to run at once cannot be negative")
    if options["par_type"] not in ("thread", "process"):
        raise InvalidCommand(f"-P {options['par_type']}: tasks run in threads")
    if workers and options["par_type"] == "process":
        tell("note: heavy steps run in processes anyway, all else in threads")


def _runner(command: Any, stream: TextIO, options: dict[str, Any], **more: Any) -> Runner:
    reporter = options["reporter"]
    if isinstance(reporter, str):
        reporter = Console if reporter == "console" else command.reporters[reporter]
    if reporter is Report:
        reporter = _report_for(stream)
    else:
        sign.leave()  # what others write may be for programs
    arguments = (
        Deciding(command.dep_manager),
        reporter(stream, {"failure_verbosity": options["failure_verbosity"]}),
        options["continue_"],
        options["always"],
        Stream(options["verbosity"], options["force_verbosity"]),
    )
    workers = options["num_process"]
    threads = {"num_process": workers} if workers > 1 else {}
    runner = (ThreadRunner if threads else Runner)(*arguments, **more, **threads)
    if isinstance(runner.reporter, Report):
        runner.reporter.follow(runner.times, command.hooks(), command.began)
    return runner


def _report_for(stream: TextIO) -> type[Report]:
    if os.environ.get("GITHUB_ACTIONS") or os.environ.get("GITLAB_CI"):
        from c2wtasks.engine import ci

        return ci.OnCI
    if not os.environ.get("TERM") or not stream.isatty():  # no module is loaded for that
        return Report
    from c2wtasks.engine import screen

    return screen.Screen if streams.suits(stream, os.environ) else Report


def _prepare(
    command: Any, hooks: Hooks, control: TaskControl, options: dict[str, Any], executor: Executor
) -> dict[str, int]:
    """Makes ready for heavy tasks. Gives those that will surely run, with the bytes that each moves."""
    from c2wtasks.engine.stale import in_order, surely_stale  # only ever needed where there is much to do

    # Of a user's own tasks nothing is asked out of turn: their checks may need what tasks before them make.
    names = [name for name in in_order(control) if is_heavy(control.tasks[name])]
    if not options["always"]:
        with stages.meanwhile("planning", len(names)):
            names = surely_stale(command.dep_manager, control, stages.counted(names))
    command.dep_manager.backend.check_writable()
    progress.begin()
    _tell(lambda: hooks.warn_before(frozenset(names)))
    executor.prepare(sum(blob_bytes(control.tasks[name]) for name in names))
    return {name: work_bytes(control.tasks[name]) for name in names}


def _unsaid(runner: Any, lines: Iterable[str]) -> Iterator[str]:
    """Those of the lines that do not stand on the screen already."""
    report = runner.reporter
    return (line for line in lines if not (isinstance(report, Report) and report.still_shows(line)))


def _tell(lines_of: Callable[[], Iterable[str]], said: list[str] | None = None) -> bool:
    """Says the lines that a hook gives, adds them to `said`, and tells whether there was no error."""
    lines: list[str] = [] if said is None else said
    try:
        for line in lines_of():
            lines.append(line)  # those given before an error count
    except Exception as error:
        lines.append(str(as_user_error(error)))
        return False
    finally:
        tell(*lines)
    return True


@contextmanager
def _output(outfile: str | TextIO) -> Iterator[TextIO]:
    if not isinstance(outfile, str):
        yield outfile
        return
    try:
        stream = streams.writing(outfile)
    except OSError as error:
        raise InvalidCommand(f"{outfile}: cannot be written: {os_reason(error)}") from error
    with stream:
        yield stream
    if why := streams.lost(stream):
        tell(f"{outfile}: cannot be written: {why}")


@contextmanager
def _own_streams() -> Iterator[None]:
    """Puts sys.stdout and sys.stderr back after the block: doit's JSON reporter replaces them."""
    before = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
