"""`doit run`, for any dodo: doit's own, but where DOIT_CONFIG comes from `engine.config`, ours.

doit loads this for every dodo of the environment it is installed in, so little else is imported here.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import doit.cmd_run
from doit.exceptions import InvalidCommand

from c2wtasks.engine.command import Command
from c2wtasks.runoptions import RunOptions

_SWITCHES = ("--locked", "--offline")
NO_TASK = "interrupted: no task done; the next run goes on from here"


class Run(Command, doit.cmd_run.Run):  # type: ignore[misc]
    """Runs tasks.

    With our kind of dodo, `--locked` and `--offline` are options, too. They count while the dodo is loaded, and so
    are taken before doit reads the command line.
    """

    interrupted = NO_TASK
    _switches: tuple[str, ...] = ()
    _words: Sequence[str] = ()

    def parse_execute(self, in_args: list[str]) -> Any:
        self._switches = tuple(word for word in in_args if word in _SWITCHES)
        return super().parse_execute([word for word in in_args if word not in _SWITCHES])

    def run_options(self, params: Any) -> RunOptions:
        options = super().run_options(params)
        return replace(
            options,
            locked=options.locked or "--locked" in self._switches,
            offline=options.offline or "--offline" in self._switches,
            may_be_late=True,
        )

    def load_tasks(self) -> Any:
        """The dodo's tasks, made anew."""
        return self.loader.load_tasks(cmd=self, pos_args=self._words)

    def execute(self, params: Any, args: list[str]) -> Any:
        self._words = args
        if not isinstance(params["outfile"], str):
            params["outfile"] = sys.stdout  # doit has it as it was when the process began
        return super().execute(params, args)

    def settled(self, status: Any) -> Any:
        super().settled(status)
        return status  # the work's, whatever became of its output

    @functools.wraps(doit.cmd_run.Run._execute)  # doit passes the options that the signature names
    def _execute(self, **options: Any) -> Any:
        hooks = self.hooks()
        if hooks is None:
            if self._switches:
                raise InvalidCommand(f"option {self._switches[0]} not recognized")
            return super()._execute(**options)
        from c2wtasks.engine.build import build

        return build(self, hooks, options).status
