"""The commands are found by their files; what the files, the entry points and the classes say is the same."""

from __future__ import annotations

import ast
import re
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
from tests.support.running import environment, run_ours

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
    assert issubclass(command, DoitCommand if name in ("init", "completion", "key") else OurCommand)
    assert (command.name, command.get_name()) == (name, name)


def test_the_entry_points_are_of_the_files() -> None:
    """A file needs none, but then `python -m doit` does not know it."""
    doits = {command.get_name() for command in Program.DOIT_CMDS}
    ours = {name: place for name, place in entry_points().items() if name not in doits}
    assert len(ours) > 5
    assert ours.items() <= dict(found()).items()


@pytest.mark.parametrize("words", [["list", "-h"], ["list", "--help"], ["-h"]], ids=" ".join)
def test_help_as_others_ask_for_it(tmp_path: Path, words: list[str]) -> None:
    plain = ["help", "list"] if len(words) == 2 else ["--help"]
    said, wanted = (run_ours(tmp_path, *each) for each in (words, plain))
    assert (said.exit, said.stdout, said.stderr) == (0, wanted.stdout, "")
    assert "list" in said.stdout


BIN = Path(sys.executable).parent
PROGRAMS = {
    "doit": [str(BIN / "doit")],
    "c2wtasks": [str(BIN / "c2wtasks")],
    f"{Path(sys.executable).name} -m c2wtasks": [sys.executable, "-m", "c2wtasks"],
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("--locked", "to make it fit, run: {} lock"),
        ("zzz", "'{} list --all' shows all tasks"),
        ("merge", "{} merge shard-1 shard-2"),
        ("why --zzz", "its options: {} help why"),
        ("web", "to try again: {} web@linux/amd64"),
    ],
)
def test_hints_name_what_was_typed(program: str, words: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "bundle.yaml").write_text("platforms: [linux/amd64]\nlock: all\nimages: {web: 'oci:none'}\n")
    (tmp_path / "dodo.py").write_text("from c2wtasks.dodo import *\n")
    done = subprocess.run(
        [*PROGRAMS[program], *words.split()],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert hint.format(program) in done.stdout + done.stderr


def test_no_hint_names_one_program_for_all() -> None:
    """But for what is written into files, and the texts of pages."""
    one = re.compile(rf"\bdoit (?:{'|'.join(sorted(dict(found())))}|list|run|clean|help)\b")
    said = []
    for path in (PROJECT / "c2wtasks").rglob("*.py"):
        tree = ast.parse(path.read_text())
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in texts:
                said += [(path.name, node.value) for _ in one.finditer(node.value)]
    written = {"lock.py", "settings.py"}
    assert [where for where, _ in said if where not in written] == []
    assert [text for where, text in said if where == "lock.py" and not text.startswith("# ")] == []


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


def test_a_dodo_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "bundle.yaml").write_text("images: {web: 'oci:none'}\n")
    (tmp_path / "dodo.py").mkdir()
    done = run_ours(tmp_path, "list")
    assert (done.exit, done.stdout) == (3, "")
    assert done.stderr == "ERROR: dodo.py is no file; move away what lies there\n"
