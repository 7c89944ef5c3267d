"""The commands are found by their files; what the files, the entry points and the classes say is the same."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from doit.cmd_base import Command as DoitCommand

from c2wtasks.commands.base import OurCommand
from c2wtasks.commands.program import Program, found
from tests.engine import toys
from tests.support.running import environment

PROJECT = Path(__file__).parents[2]


def entry_points() -> dict[str, str]:
    named: dict[str, str] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"][
        "doit.COMMAND"
    ]
    return named


@pytest.mark.parametrize(("name", "place"), list(found()))
def test_each_file_is_a_command(name: str, place: str) -> None:
    module, _, attribute = place.partition(":")
    command = getattr(import_module(module), attribute)
    assert issubclass(command, DoitCommand if name in ("init", "completion") else OurCommand)
    assert (command.name, command.get_name()) == (name, name)


def test_the_entry_points_are_of_the_files() -> None:
    """A file needs none, but then `python -m doit` does not know it."""
    doits = {command.get_name() for command in Program.DOIT_CMDS}
    ours = {name: place for name, place in entry_points().items() if name not in doits}
    assert len(ours) > 5
    assert ours.items() <= dict(found()).items()


def test_a_command_that_is_no_entry_point_is_found(tmp_path: Path) -> None:
    toy = toys.make(tmp_path / "toy")
    program = (
        "import sys\n"
        "from doit.plugin import PluginDict\n"
        "known = PluginDict._from_entry_points\n"
        "PluginDict._from_entry_points = lambda self, of: {} if of == 'COMMAND' else known(self, of)\n"
        "from c2wtasks.__main__ import main\n"
        "sys.argv[0] = 'doit'\n"
        "main()\n"
    )

    def doit(*args: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", program, *args],
            cwd=toy,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    assert doit("help", "why")[0] == 0
    status, said = doit("why")
    assert status == 3
    assert "this dodo.py is not one of ours" in said
