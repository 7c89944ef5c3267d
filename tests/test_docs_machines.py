"""The pipelines of docs/how-to/many-machines.md: their commands are run as they stand, shard by shard."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.graph.catalogs import small_catalog
from tests.support.disks import NEEDS_ROOT
from tests.support.running import environment

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "many-machines.md"
INSTALL = "pip install c2wtasks"
*_, GITHUB, GITLAB = (
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a job begins with; the commands are those of this environment."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    small_catalog(folder)
    (folder / "dodo.py").unlink()
    return folder


def job(checkout: Path, name: str) -> Path:
    return Path(shutil.copytree(checkout, checkout.parent / name))


def shell(folder: Path, command: str, **variables: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment({"PATH": path, **variables}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def commands(steps: list[dict[str, Any]]) -> Iterator[str]:
    """Those of a job on GitHub but for the first, which installs."""
    found = [step["run"] for step in steps if "run" in step]
    assert found[0] == INSTALL
    yield from found[1:]


def is_whole(folder: Path) -> None:
    listed = json.loads((folder / "bundles/catalog.json").read_text())["bundles"]
    assert [(line["name"], line["status"]) for line in listed] == [(name, "built") for name in ("db", "other", "web")]
    shell(folder, "doit verify")


@NEEDS_ROOT
def test_github(checkout: Path) -> None:
    jobs = GITHUB["jobs"]
    plan, output = job(checkout, "plan"), checkout.parent / "output"
    for command in commands(jobs["plan"]["steps"]):
        shell(plan, command, GITHUB_OUTPUT=str(output))
    name, _, matrix = output.read_text().partition("=")
    assert jobs["plan"]["outputs"] == {name: f"${{{{ steps.plan.outputs.{name} }}}}"}
    assert jobs["build"]["strategy"]["matrix"] == f"${{{{ fromJSON(needs.plan.outputs.{name}) }}}}"
    assert jobs["build"]["env"] == {"C2WTASKS_SHARD": "${{ matrix.shard }}"}
    merge = job(checkout, "merge")
    for index, one in enumerate(json.loads(matrix)["include"]):
        build = job(checkout, f"build-{index}")
        for command in commands(jobs["build"]["steps"]):
            shell(build, command, C2WTASKS_SHARD=one["shard"])
        artifact = merge / "shards" / f"shard-{index}"
        artifact.mkdir(parents=True)
        shutil.copy(build / "shard.tar", artifact)
    for command in commands(jobs["merge"]["steps"]):
        shell(merge, command)
    is_whole(merge)


@NEEDS_ROOT
def test_gitlab(checkout: Path) -> None:
    build, merge = GITLAB["build"], job(checkout, "merge")
    for index in range(1, build["parallel"] + 1):
        folder = job(checkout, f"build-{index}")
        node = {"CI_NODE_INDEX": str(index), "CI_NODE_TOTAL": str(build["parallel"])}
        assert build["script"][0] == INSTALL
        shell(folder, "\n".join(build["script"][1:]), **node)
        shell(folder, "\n".join(build["after_script"]), **node)
        for tar in folder.glob(build["artifacts"]["paths"][0]):
            shutil.copy(tar, merge)
    assert GITLAB["merge"]["script"][0] == INSTALL
    shell(merge, "\n".join(GITLAB["merge"]["script"][1:]))
    is_whole(merge)
