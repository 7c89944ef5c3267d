"""`doit run`, for any dodo: doit's own, but where DOIT_CONFIG comes from `engine.config`, ours.

doit loads this for every dodo of the environment it is installed in, so little else is imported here.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import doit.cmd_run
from doit.cmdparse import CmdOption, CmdParseError
from doit.exceptions import InvalidCommand

from c2wtasks.engine.command import Command
from c2wtasks.engine.parsing import Parser
from c2wtasks.process.runoptions import RunOptions

_SWITCHES = {
    "--locked": "refuse a bundle.lock that does not fit; C2WTASKS_LOCKED=1 says the same for all commands",
    "--offline": "ask no registry; C2WTASKS_OFFLINE=1 says the same for all commands",
    "--strict": "fail what a run would only note: what a root or a form lacks, what keeps an image from starting",
}
_JUNIT = "--junit"
_JUNIT_HELP = "write what became of each bundle into FILE, as JUnit's XML, which CI systems read"
_DEFAULTS: dict[str, tuple[str, Any]] = {  # of our kind of dodo
    "num_process": ("how many tasks run at once [default: `workers` of bundle.yaml, or the CPUs it may use]", 0),
    "continue": ("go on after a failure [default: %(default)s]", True),
    "par_type": ("how tasks run at once; heavy work is done in processes anyway [default: %(default)s]", "thread"),
}
_TOO_LATE = ("dep_file", "backend", "codec_cls", "check_file_uptodate", "dodoFile", "cwdPath", "seek_file")
NO_TASK = "interrupted: no task done; the next run goes on from here"


class Run(Command, doit.cmd_run.Run):  # type: ignore[misc]
    """Runs tasks.

    With our kind of dodo, `--locked` and `--offline` are options, too. They count while the dodo is loaded, and so
    are taken before doit reads the command line.
    """

    interrupted = NO_TASK
    any_order = False  # what stands after a task may be the task's own
    looks_up = "meanwhile"
    switches = (*_SWITCHES, _JUNIT)
    _switches: tuple[str, ...] = ()
    sel_tasks: Any
    sel_default_tasks: Any
    junit = ""

    def parse_execute(self, in_args: list[str]) -> Any:
        words = self._without_junit(in_args)
        self._switches = tuple(word for word in words if word in _SWITCHES)
        return super().parse_execute([word for word in words if word not in _SWITCHES])

    def _without_junit(self, words: list[str]) -> list[str]:
        """The words of the command line without `--junit FILE`, which is noted.

        Raises InvalidCommand.
        """
        left, rest = [], iter(words)
        for word in rest:
            option, equals, value = word.partition("=")
            if option != _JUNIT:
                left.append(word)
                continue
            self.junit = value if equals else next(rest, "")
            if not self.junit:
                raise InvalidCommand(f"{_JUNIT} needs the name of a file")
        return left

    def run_options(self, params: Any) -> RunOptions:
        options = super().run_options(params)
        return replace(
            options,
            locked=options.locked or "--locked" in self._switches,
            offline=options.offline or "--offline" in self._switches,
            strict="--strict" in self._switches,
        )

    def names_in(self, words: Sequence[str]) -> Sequence[str]:
        try:
            return list(self.parser(any_order=True).parse_only(words)[1])
        except CmdParseError:  # a task's own options, or a mistake that is told once that is known
            return words

    def execute(self, params: Any, args: list[str]) -> Any:
        if not isinstance(params["outfile"], str):
            params["outfile"] = sys.stdout  # doit has it as it was when the process began
            if params["reporter"] == "console" and not any(word.startswith(("-r", "--r")) for word in args):
                self.signs_on(sys.stdout)
        return super().execute(params, args)

    def settled(self, status: Any) -> Any:
        super().settled(status)
        return status  # the work's, whatever became of its output

    @functools.wraps(doit.cmd_run.Run._execute)  # doit passes the options that the signature names
    def _execute(self, **options: Any) -> Any:
        hooks = self.hooks()
        if hooks is None:
            if unknown := [*self._switches, *[_JUNIT] * bool(self.junit)]:
                raise InvalidCommand(f"option {unknown[0]} not recognized")
            return super()._execute(**options)
        from c2wtasks.engine.build import build

        return build(self, hooks, options | self._after_names()).status

    def _after_names(self) -> dict[str, Any]:
        """The options that stand after names, by the names that doit has for them; `sel_tasks` is left without them.

        Raises CmdParseError, InvalidCommand.
        """
        words = self.sel_tasks
        if self.sel_default_tasks or not any(word.startswith("-") for word in words):
            return {}
        own = {task.name for task in self.task_list if task.params or task.creator_params or task.pos_arg}
        if not own.isdisjoint(words):
            return {}
        given: dict[str, Any]
        given, names = self.parser(any_order=True).parse_only(words)
        for late in given.keys() & set(_TOO_LATE):
            raise InvalidCommand(f"--{self.cmdparser[late].long} must stand before the names")
        self.sel_default_tasks, self.sel_tasks = not names, names or None
        if "verbosity" in given:
            given["force_verbosity"] = True
        return {f"{name}_" if name == "continue" else name: value for name, value in given.items()}

    def help(self) -> str:
        """doit's text; beside a bundle.yaml with our options and defaults."""
        if os.path.lexists("bundle.yaml"):
            options = {option.name: option for option in self.get_options()}
            for name, (text, default) in _DEFAULTS.items():
                options[name].help, options[name].default = text, default
            for switch, text in _SWITCHES.items():
                name = switch.strip("-")
                options[name] = CmdOption(
                    {"name": name, "long": name, "type": bool, "default": False, "help": text, "section": "c2wtasks"}
                )
            junit = {"name": "junit", "long": "junit", "type": str, "default": "", "help": _JUNIT_HELP}
            options["junit"] = CmdOption({**junit, "section": "c2wtasks"})
            self._parser = Parser(list(options.values()), "")
        return str(super().help())
