"""Each exit status of the table in docs/commands.md, from a run that ends so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.hooking import SHORT_WAITS, hooked
from tests.support.running import run_doit

PAGE = (Path(__file__).parents[2] / "docs/commands.md").read_text()
OF_SIGNALS = {129, 130, 143}  # tests/engine/test_interrupt.py

# The state of the catalog, the command, its exit status.
ENDS = [
    ("new", "why", 1),
    ("new", "plan", 0),
    ("new", "verify", 1),
    ("new", "list", 0),
    ("new", "gc", 0),
    ("new", "prune", 0),
    ("new", "doctor", 0),
    ("new", "lock", 0),
    ("new", "lock --check", 0),
    ("new", "clean", 0),
    ("new", "completion bash", 0),
    ("new", "help run", 0),
    ("new", "init", 3),
    ("new", "wep", 3),
    ("new", "--nope", 3),
    ("new", "gc --max-size much", 3),
    ("built", "run", 0),
    ("built", "why", 0),
    ("built", "verify", 0),
    ("built", "clean", 3),
    ("built", "clean --yes", 0),
    ("broken", "run", 1),
    ("broken", "why", 1),
    ("broken", "plan", 0),
    ("remote", "run --offline", 1),
    ("remote", "run --locked", 3),
    ("remote", "lock", 4),
    ("wrong", "run", 3),
    ("wrong", "plan", 3),
    ("wrong", "lock", 3),
]


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A catalog in each state."""
    made = {}
    for state in ("new", "built", "broken", "remote", "wrong"):
        folder = made[state] = tmp_path_factory.mktemp(state)
        images = small_catalog(folder)
        if state == "built":
            assert run_doit(folder).exit == 0
        if state == "broken":
            write_catalog(folder, images | {"bad": {"source": "oci:nowhere"}})
        if state == "remote":
            write_catalog(folder, {"far": "docker://localhost:1/none:1"})
        if state == "wrong":
            (folder / "bundle.yaml").write_text("images: [")
    return made


@pytest.mark.parametrize(("state", "command", "status"), ENDS)
def test_it_ends_so(catalogs: dict[str, Path], tmp_path: Path, state: str, command: str, status: int) -> None:
    env = hooked(tmp_path / "hook", SHORT_WAITS) if state == "remote" else {}
    done = run_doit(catalogs[state], *command.split(), env=env)
    assert done.exit == status, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert bool(done.stderr) >= (status == 3), "what is wrong is said"


def test_each_status_of_the_page_is_met() -> None:
    (table,) = re.findall(r"^## Exit status\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
    documented = {int(number) for cell in cells for number in cell.split(",")}
    assert documented - OF_SIGNALS == {status for _, _, status in ENDS}
