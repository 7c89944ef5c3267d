"""doit with the commands of this package, found by their files: a new one needs no new installation."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import doit.loader
from doit.cmd_base import DodoTaskLoader
from doit.doit_cmd import DoitMain
from doit.exceptions import InvalidDodoFile
from doit.plugin import PluginEntry

from c2wtasks.commands import words
from c2wtasks.errors import program

NAME = "c2wtasks"
_PACKAGE = __name__.rpartition(".")[0]
_DODO = "dodo.py"
_BUNDLE_FILE = "bundle.yaml"
_WRONG = 3  # the exit status of doit for a command line


def found() -> Iterator[tuple[str, str]]:
    """The name of each of our own commands, and where its class is, as doit writes that: `why.py` has `Why`."""
    for name in words.commands():
        yield name, f"{_PACKAGE}.{name}:{name.capitalize()}"


class Loader(DodoTaskLoader):  # type: ignore[misc]
    """Loads dodo.py; where there is none beside a bundle.yaml, the one that comes with this package."""

    def setup(self, opt_values: Any) -> None:
        folder = opt_values["cwdPath"] or "."
        found = [path for path in (_DODO, f"{folder}/{_DODO}") if os.path.lexists(path)]
        if any(os.path.exists(path) and not os.path.isfile(path) for path in found):
            raise InvalidDodoFile(f"{_DODO} is no file; move away what lies there")
        if found or opt_values["dodoFile"] != _DODO or opt_values["seek_file"]:
            super().setup(opt_values)
        elif os.path.lexists(f"{folder}/{_BUNDLE_FILE}"):
            doit.loader.initial_workdir = os.getcwd()
            os.chdir(folder)
            self.namespace = dict(inspect.getmembers(import_module("c2wtasks.dodo")))
        elif program() != "doit":
            raise InvalidDodoFile(f"no {_BUNDLE_FILE} here; to begin one, run: {program()} init")
        else:
            super().setup(opt_values)


class Program(DoitMain):  # type: ignore[misc]
    """doit's main program, which loads only the command that is named."""

    def __init__(self) -> None:
        self.BIN_NAME = program()
        super().__init__(Loader())

    def run(self, all_args: list[str]) -> Any:
        """Runs the command line, and gives the exit status. `-h` and `--help` after a command are for its help."""
        if "" in all_args:  # doit takes none
            print("ERROR: a word of the command line is empty; is a variable of the shell not set?", file=sys.stderr)
            return _WRONG
        match all_args:
            case ["-h"]:
                all_args = ["--help"]
            case [name, "-h" | "--help"] if not name.startswith("-"):
                all_args = ["help", name]
        return super().run(all_args)

    def get_cmds(self) -> Any:
        """doit's commands, those that are entry points, and ours."""
        commands = super().get_cmds()
        for name, place in found():
            commands.setdefault(name, PluginEntry("COMMAND", name, place))
        return commands

    @staticmethod
    def print_version() -> None:
        """Prints our version, and below it that of doit and where it lies."""
        from importlib.metadata import version

        print(NAME, version(NAME))
        print(f"doit {version('doit')}, in {os.path.dirname(doit.loader.__file__)}")
