"""A dodo that is not ours behaves as under plain doit: each case is run both ways and compared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import Result, environment, run_doit

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


def run_plain(folder: Path, *args: str) -> Result:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *args],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


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
    loaded = ["c2wtasks", "c2wtasks.engine", "c2wtasks.runoptions"]
    loaded += [f"c2wtasks.engine.{name}" for name in ("streams", "early", "interrupt", "command", "run", "state")]
    assert run_doit(tmp_path, "show").stdout == f".  show\n{loaded}\n"
