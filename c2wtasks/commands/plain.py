"""doit's other commands, as they are."""

from __future__ import annotations

import dbm
from typing import Any

from doit.cmd_completion import TabCompletion as DoitTabCompletion
from doit.cmd_dumpdb import DumpDB as DoitDumpDB
from doit.cmd_help import Help as DoitHelp
from doit.cmd_ignore import Ignore as DoitIgnore
from doit.cmd_resetdep import ResetDep as DoitResetDep
from doit.cmd_strace import Strace as DoitStrace
from doit.exceptions import InvalidCommand

from c2wtasks.engine.command import Command


class DumpDB(Command, DoitDumpDB):  # type: ignore[misc]
    """doit's dumpdb; a record that cannot be read gets one line."""

    def execute(self, params: Any, args: list[str]) -> Any:
        try:
            return super().execute(params, args)
        except dbm.error[0] as error:  # of doit's own backends it knows one
            raise InvalidCommand(f"{params['dep_file']}: {error}") from error


class Help(Command, DoitHelp):  # type: ignore[misc]
    """doit's help."""

    def only_looks(self, params: Any) -> bool:
        return True


class Ignore(Command, DoitIgnore):  # type: ignore[misc]
    """doit's ignore."""

    looks_up = "briefly"


class ResetDep(Command, DoitResetDep):  # type: ignore[misc]
    """doit's reset-dep."""


class Strace(Command, DoitStrace):  # type: ignore[misc]
    """doit's strace."""


class TabCompletion(Command, DoitTabCompletion):  # type: ignore[misc]
    """doit's tabcompletion."""
