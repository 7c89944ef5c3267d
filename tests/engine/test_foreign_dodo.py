"""A dodo that is not ours behaves as under plain doit: each case is run both ways and compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doit.doit_cmd import DoitMain

from c2wtasks.commands.program import found
from tests.support.running import Result, run_python

DODO = """
import sys
def fail():
    return False
def bug():
    raise ValueError("oh")
def task_good():
    return {"actions": ["echo good"], "verbosity": 2}
def task_failing():
    return {"actions": [fail]}
def task_erring():
    return {"actions": [bug]}
def task_after():
    return {"actions": ["echo after"], "task_dep": ["failing"], "verbosity": 2}
def task_sub():
    for name in "ab":
        yield {"name": name, "actions": [f"echo {name}"], "verbosity": 2}
def task_made():
    return {"actions": ["echo x > made"], "targets": ["made"], "file_dep": ["dodo.py"]}
"""

# doit as it is without any of our entry points
PLAIN = """
import sys
from doit.plugin import PluginDict
PluginDict._from_entry_points = lambda self, category: {}
from doit.doit_cmd import DoitMain
DoitMain.BIN_NAME = "-m"
sys.exit(DoitMain().run(sys.argv[1:]))
"""


def run_doit(folder: Path, *args: str) -> Result:
    """With nothing loaded but what doit itself loads."""
    return run_python(folder, "-m", "doit", *args)


def run_plain(folder: Path, *args: str) -> Result:
    return run_python(folder, "-c", PLAIN, *args)


def comparable(output: str, folder: str) -> list[str]:
    """The lines of `output` without what differs by chance: addresses, the folder, the order of threads. That our
    backend is on offer is the one thing that a foreign dodo may see of us."""
    text = re.sub(r"0x[0-9a-f]+", "ADDRESS", output.replace(folder, "FOLDER"))
    return sorted(text.replace("choices: c2wtasks, ", "choices: ").splitlines())


@pytest.mark.parametrize(
    ("args", "exit_code"),
    [
        ("good", 0),
        ("failing good", 1),
        ("erring good", 2),
        ("-c failing good after", 2),
        ("-n 2 good made", 0),
        ("-n 2 -P thread sub", 0),
        ("-n 1 -c failing good", 1),
        ("sub:*", 0),
        ("nothing:*", 0),
        ("nothing", 3),
        ("made", 0),
        ("-a made", 0),
        ("-s after", 0),
        ("-r executed-only sub", 0),
        ("-r zero failing", 1),
        ("-P bogus -n 2 good", 3),
        ("help run", 0),
    ],
)
def test_as_plain_doit(tmp_path: Path, args: str, exit_code: int) -> None:
    got = []
    for name, run in (("without-us", run_plain), ("with-us", run_doit)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "dodo.py").write_text(DODO)
        for _run in range(2 if "made" in args else 1):
            result = run(folder, *args.split())
            got.append((result.exit, comparable(result.stdout, name), comparable(result.stderr, name)))
    assert got[: len(got) // 2] == got[len(got) // 2 :]
    assert got[0][0] == exit_code


def test_nothing_of_ours_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text(
        "import sys\n"
        "def show():\n"
        "    print([name for name in sys.modules if name.startswith(('c2wtasks', 'msgspec', 'xxhash'))])\n"
        "def task_show():\n    return {'actions': [show], 'verbosity': 2}\n"
    )
    names = (
        "engine",
        "engine.streams",
        "engine.early",
        "engine.interrupt",
        "engine.parsing",
        "process",
        "process.runoptions",
        "telling",
    )
    names += ("telling.stages", "engine.command", "engine.run", "engine.state")
    loaded = ["c2wtasks", *(f"c2wtasks.{name}" for name in names)]
    assert run_doit(tmp_path, "show").stdout == f".  show\n{loaded}\n"


OURS = sorted(set(dict(found())) - {command.get_name() for command in DoitMain.DOIT_CMDS})
CLASHING = "".join(
    f"def task_{name}():\n    return {{'actions': ['echo {name}'], 'verbosity': 2}}\n" for name in OURS
)


@pytest.mark.parametrize("args", ["list", "list --all -s", "run", "", *(f"run {name}" for name in OURS), "help run"])
def test_tasks_with_the_names_of_our_commands(tmp_path: Path, args: str) -> None:
    (tmp_path / "dodo.py").write_text(CLASHING)
    plain = run_plain(tmp_path, *args.split())
    for file in tmp_path.glob(".doit.db*"):
        file.unlink()
    assert plain.exit == 0
    assert len(OURS) >= 8
    name = str(tmp_path)
    got = run_doit(tmp_path, *args.split())
    assert (got.exit, comparable(got.stdout, name), comparable(got.stderr, name)) == (
        plain.exit,
        comparable(plain.stdout, name),
        comparable(plain.stderr, name),
    )


def test_the_name_of_a_command_of_doit_is_refused_as_ever(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text("def task_list():\n    return {'actions': []}\n")
    assert run_doit(tmp_path, "run") == run_plain(tmp_path, "run")
    assert run_doit(tmp_path, "run").exit == 3


@pytest.mark.parametrize("name", [name for name in OURS if name not in ("init", "completion", "key")])
def test_the_command_itself_says_how_to_run_the_task(tmp_path: Path, name: str) -> None:
    (tmp_path / "dodo.py").write_text(CLASHING)
    done = run_doit(tmp_path, name)
    assert done.exit == 3
    assert done.stderr == f"ERROR: this dodo.py is not one of ours; its task '{name}' is run by: doit run {name}\n"
