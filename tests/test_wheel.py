"""The wheel is all that one needs: installed alone, it begins a catalog, builds it, sees a change and says why; and
the workflow for GitHub that it writes does what it says, as does the job for GitLab of the page on CI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.support.pages import blocks
from tests.support.running import Result

PROJECT = Path(__file__).parents[1]
NEEDED = {"py.typed", "dodo.py", "templates/bundle.yaml", "templates/hello/index.json", "page/templates/page.html"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        PROJECT, folder / "copy", symlinks=True, ignore=shutil.ignore_patterns(".*", "bundles", "*.egg-info")
    )
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--wheel-dir", folder, folder / "copy"]
    subprocess.run(pip, check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of an environment with the wheel, what it needs, and nothing else."""
    made = tmp_path_factory.mktemp("env") / "venv"
    subprocess.run([sys.executable, "-m", "venv", made], check=True)
    pip = [
        made / "bin/python",
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "install",
        "--only-binary",
        ":all:",
    ]
    subprocess.run([*pip, "--no-binary", "doit", wheel], check=True)
    return made / "bin/python"


def run(python: Path, folder: Path, *command: str, **env: str) -> Result:
    """A command, where `python` is the one of the environment."""
    around = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    around |= {"PATH": f"{python.parent}:{os.environ['PATH']}", **env}
    done = subprocess.run(command, cwd=folder, env=around, capture_output=True, text=True, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def test_what_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        dodo = packed.read("c2wtasks/dodo.py")
    assert {f"c2wtasks/{name}" for name in NEEDED} <= names
    assert dodo == (PROJECT / "dodo.py").read_bytes()
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"c2wtasks"}
    hello = {f"c2wtasks/templates/hello/{path.relative_to(PROJECT / 'examples/hello')}" for path in _files("hello")}
    assert hello <= names


def _files(image: str) -> list[Path]:
    return [path for path in (PROJECT / "examples" / image).rglob("*") if path.is_file()]


def test_from_nothing_to_a_change(python: Path, tmp_path: Path) -> None:
    began = run(python, tmp_path, "c2wtasks", "init")
    assert (began.exit, began.stderr) == (0, "")
    (tmp_path / "dodo.py").unlink()
    assert run(python, tmp_path, "c2wtasks").exit == 0
    assert (tmp_path / "bundles/hello/linux-amd64/spec.json").exists()
    assert run(python, tmp_path, "c2wtasks", "why").exit == 0
    text = (tmp_path / "bundle.yaml").read_text()
    (tmp_path / "bundle.yaml").write_text(text.replace("wasi-wizer", "wasi-native"))
    why = run(python, tmp_path, "c2wtasks", "why", "hello")
    assert why.exit == 1
    assert "boot.vmtouch" in why.stdout
    assert run(python, tmp_path, "python", "-m", "c2wtasks").exit == 0
    assert run(python, tmp_path, "c2wtasks", "why").exit == 0
    ours, doits = run(python, tmp_path, "c2wtasks", "--version").stdout.splitlines()
    assert ours.startswith("c2wtasks 0.")
    assert re.fullmatch(r"doit \d+\.\d+\.\d+, in /.*/doit", doits)


def yaml_on_page(name: str) -> str:
    """The content of the file `name`, as the how-to on CI has it."""
    (found,) = [one.text for one in blocks((PROJECT / "docs/how-to/ci.md").read_text()) if one.file == name]
    return found


def run_all(python: Path, wheel: Path, folder: Path, commands: list[str]) -> None:
    """One after another, as runners have bash run them."""
    bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
    for command in commands:
        variables = {"PIP_FIND_LINKS": str(wheel.parent), "CI_PIPELINE_SOURCE": "schedule"}
        done = run(python, folder, *bash, command, **variables)
        assert done.exit == 0, (command, done)
    assert (folder / "bundles.tar").stat().st_size > 1000


def test_the_workflow(python: Path, wheel: Path, tmp_path: Path) -> None:
    assert run(python, tmp_path, "c2wtasks", "init").exit == 0
    text = (tmp_path / ".github/workflows/bundles.yml").read_text()
    assert yaml_on_page(".github/workflows/bundles.yml") == text
    (job,) = yaml.safe_load(text)["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert len(commands) >= 5
    run_all(python, wheel, tmp_path, commands)
    assert {step["uses"].split("@")[0] for step in job["steps"] if "uses" in step} == {
        "actions/checkout",
        "actions/setup-python",
        "actions/cache",
        "actions/upload-artifact",
    }


def test_the_job_for_gitlab(python: Path, wheel: Path, tmp_path: Path) -> None:
    assert run(python, tmp_path, "c2wtasks", "init").exit == 0
    (job,) = yaml.safe_load(yaml_on_page(".gitlab-ci.yml")).values()
    run_all(python, wheel, tmp_path, job["script"])
    made = {"bundles.tar", "bundles.xml", "cache"}
    named = [*job["cache"]["paths"], *job["artifacts"]["paths"], *job["artifacts"]["reports"].values()]
    assert set(named) == made <= {path.name for path in tmp_path.iterdir()}
