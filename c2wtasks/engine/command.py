"""What each command has beyond doit's own, whatever the dodo: it outlives its output, ends in good order when a
signal asks it to, and writes nothing where it only looks.

doit loads this for every dodo of the environment it is installed in, so little else is imported here.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from doit.exceptions import InvalidCommand

from c2wtasks.engine import streams
from c2wtasks.engine.interrupt import Stopped, signals
from c2wtasks.engine.parsing import Parser
from c2wtasks.process import runoptions
from c2wtasks.process.runoptions import LooksUp, RunOptions
from c2wtasks.telling import stages

_CONFIG = "c2wtasks.engine.config"  # loaded by our kind of dodo only
_COMMANDS = "c2wtasks.commands."
BACKEND = "c2wtasks"
"""What doit calls our backend."""


def hooks_of(command: Any) -> Any:
    """The Hooks of the dodo that `command` has loaded; None where it is not ours."""
    config = sys.modules.get(_CONFIG)
    return command.loader.load_doit_config().get(config.KEY) if config else None


def _allow_names(loader: Any, commands: Mapping[str, Any]) -> None:
    """Lets a dodo have tasks with the names of our commands, which plain doit does not know; doit refuses them."""
    from doit.doit_cmd import DoitMain

    own = {command.get_name() for command in DoitMain.DOIT_CMDS}
    ours = {name for name, entry in commands.items() if getattr(entry, "location", "").startswith(_COMMANDS)}
    loader.cmd_names = [name for name in loader.cmd_names if name in own or name not in ours]


class Command:
    """A base class for each command, which stands before that of doit's own command."""

    interrupted = "interrupted"
    """What is said where a signal has ended the command."""

    switches: Sequence[str] = ()
    """Options that are taken before the command line is parsed."""

    any_order = True
    """Whether options may stand after names, too."""

    looks_up: LooksUp = "patiently"
    """How it needs to know the images of the bundles."""

    loader: Any = None
    commands: Sequence[str] = ()
    _parser: Parser | None = None
    began = 0.0  # on the monotonic clock
    _sign: Any = None
    _params: Any = None
    _words: Sequence[str] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        streams.secure()
        super().__init__(*args, **kwargs)
        if self.loader is not None:
            self.commands = tuple(kwargs.get("cmds") or ())
            _allow_names(self.loader, kwargs.get("cmds") or {})

    @property
    def cmdparser(self) -> Parser:
        """What takes the command line apart."""
        if self._parser is None:
            self._parser = self.parser(any_order=self.any_order)
            self._parser.overwrite_defaults(self.config_vals)  # type: ignore[attr-defined]
        return self._parser

    def parser(self, *, any_order: bool) -> Parser:
        """A new parser, with the defaults that the options have by themselves."""
        name = f"{self.bin_name} {self.name}"  # type: ignore[attr-defined]
        return Parser(self.get_options(), name, any_order=any_order, more=self.switches)  # type: ignore[attr-defined]

    def only_looks(self, params: Any) -> bool:
        """Whether the command, with these options, is to write nothing."""
        return False

    def run_options(self, params: Any) -> RunOptions:
        """How the graph is to be loaded for the command with these options."""
        return replace(RunOptions.of(os.environ), looks=self.only_looks(params), looks_up=self.looks_up)

    def names_in(self, words: Sequence[str]) -> Sequence[str]:
        """Of the words after the command, those that are no options."""
        return words

    def load_tasks(self) -> Any:
        """The dodo's tasks, made anew."""
        return self.loader.load_tasks(cmd=self, pos_args=self._words)

    def signs_on(self, stream: Any) -> None:
        """Gives a sign of life on the stream, from the first stage on: only our kind of dodo has stages."""

        def follow() -> None:
            from c2wtasks.engine.sign import sign

            self._sign = sign
            sign.follow(stream, self.began, on_terminal=streams.suits(stream, os.environ))

        stages.follow(follow)

    def make_room(self) -> None:
        """Called before something is written to stdout: takes the sign of life away from where that comes."""
        if self._sign is not None:
            self._sign.clear()

    def hooks(self) -> Any:
        """The Hooks of the dodo. Of one that is not ours all is as doit has it, once it is loaded."""
        found = hooks_of(self)
        if found is None:
            signals.restore()
        return found

    def parse_execute(self, in_args: list[str]) -> Any:
        """Parses the command line, executes the command, and gives its exit status.

        A signal ends it with a line and 128 + its number.
        """
        self.began = time.monotonic()
        try:
            status = self._caught(in_args)
        except KeyboardInterrupt as stop:
            if getattr(self.loader, "namespace", None) is not None and hooks_of(self) is None:  # a dodo of others
                raise
            signals.ignore()
            print(self.interrupted, file=sys.stderr)
            status = (stop if isinstance(stop, Stopped) else Stopped()).exit_code
        if isinstance(status, int) and status > 128 and threading.active_count() > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # the threads that are left sit in system calls, and nobody waits for what they do
        return self.settled(status)

    def _caught(self, in_args: list[str]) -> Any:
        """Raises KeyboardInterrupt."""
        signals.catch()
        try:
            status = super().parse_execute(in_args)  # type: ignore[misc]
        except Exception:
            signals.check()  # Python makes other errors of it where a class is made
            raise
        finally:
            if self._sign is not None:
                self._sign.leave()
        signals.ignore()  # it is done
        return status

    def settled(self, status: Any) -> Any:
        """The exit status, now that all is written: what a command shows is what it is for."""
        return streams.settled(status)

    def get_checker_cls(self, given: Any) -> Any:
        """What doit asks for before it opens its record: with our dodo, checker and backend are ours.

        Raises InvalidCommand.
        """
        hooks = hooks_of(self)
        if hooks is not None and not isinstance(given, type):
            raise InvalidCommand("check_file_uptodate cannot be chosen here: files are always compared by content")
        if hooks is not None and self._params["backend"] != BACKEND:
            raise InvalidCommand("backend cannot be chosen here: what was done is always kept in SQLite")
        return super().get_checker_cls(given)  # type: ignore[misc]

    def execute(self, params: Any, args: list[str]) -> Any:
        """Executes the command, when the options of the run are where the dodo finds them."""
        self._params, self._words = params, args
        options = replace(self.run_options(params), words=tuple(self.names_in(args)))
        runoptions.use(options)
        if options.looks:
            sys.dont_write_bytecode = True  # beside the dodo
        return super().execute(params, args)  # type: ignore[misc]
