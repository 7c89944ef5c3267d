"""`doit run`, for any dodo: doit's own, but where DOIT_CONFIG comes from `engine.config`, ours.

doit loads this for every dodo of the environment it is installed in, so nothing else is imported here.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

import doit.cmd_run
from doit.exceptions import InvalidCommand

from c2wtasks import LOCKED, OFFLINE

_SWITCHES = {"--locked": LOCKED, "--offline": OFFLINE}
_CONFIG = "c2wtasks.engine.config"  # loaded by our kind of dodo only


def hooks_of(command: Any) -> Any:
    """The Hooks of the dodo that `command` has loaded; None where it is not ours."""
    config = sys.modules.get(_CONFIG)
    return command.loader.load_doit_config().get(config.KEY) if config else None


class Run(doit.cmd_run.Run):  # type: ignore[misc]
    """Runs tasks.

    With our kind of dodo, `--locked` and `--offline` are options, too. They count while the dodo is loaded, and so
    are taken before doit reads the command line.
    """

    _switches: tuple[str, ...] = ()

    def parse_execute(self, in_args: list[str]) -> Any:
        self._switches = tuple(word for word in in_args if word in _SWITCHES)
        os.environ.update((_SWITCHES[word], "1") for word in self._switches)
        return super().parse_execute([word for word in in_args if word not in _SWITCHES])

    def execute(self, params: Any, args: list[str]) -> Any:
        try:
            return super().execute(params, args)
        except KeyboardInterrupt as stop:
            if _CONFIG not in sys.modules:
                raise
            from c2wtasks.engine.build import say_stopped
            from c2wtasks.engine.interrupt import Stopped

            say_stopped("no task done")
            return (stop if isinstance(stop, Stopped) else Stopped()).exit_code

    @functools.wraps(doit.cmd_run.Run._execute)  # doit passes the options that the signature names
    def _execute(self, **options: Any) -> Any:
        hooks = hooks_of(self)
        if hooks is None:
            if self._switches:
                raise InvalidCommand(f"option {self._switches[0]} not recognized")
            return super()._execute(**options)
        from c2wtasks.engine.build import build

        return build(self, hooks, options)
