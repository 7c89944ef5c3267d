"""doit with the commands of this package, found by their files: a new one needs no new installation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from doit.doit_cmd import DoitMain
from doit.plugin import PluginEntry

_FOLDER, _PACKAGE = os.path.dirname(__file__), __name__.rpartition(".")[0]
_NO_COMMANDS = ("__init__", "base", "doit_own", "options", "plain", "program")


def found() -> Iterator[tuple[str, str]]:
    """The name of each of our own commands, and where its class is, as doit writes that: `why.py` has `Why`."""
    for file in sorted(os.listdir(_FOLDER)):
        name, ending = os.path.splitext(file)
        if ending == ".py" and name not in _NO_COMMANDS:
            yield name, f"{_PACKAGE}.{name}:{name.capitalize()}"


class Program(DoitMain):  # type: ignore[misc]
    """doit's main program, which loads only the command that is named."""

    def get_cmds(self) -> Any:
        """doit's commands, those that are entry points, and ours."""
        commands = super().get_cmds()
        for name, place in found():
            commands.setdefault(name, PluginEntry("COMMAND", name, place))
        return commands
