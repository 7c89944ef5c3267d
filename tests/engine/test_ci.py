"""What a run tells CI systems."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from junitparser import Failure, JUnitXml

from c2wtasks.engine import ci
from tests.engine import toys
from tests.engine.test_report import PRODUCTS
from tests.support.running import Result, run_doit

HOSTILE = "100% <of>\tit: a|b, `c` & \\x1b[31m]]> \u00e9\U0001f600"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The toy, whose bundles are products, and one of which fails."""
    folder = toys.make(tmp_path / "toy")
    with (folder / "dodo.py").open("a") as dodo:
        dodo.write(PRODUCTS)
    (folder / "blobs/web").write_text("bad")
    return folder


def on(folder: Path, *args: str, **env: str) -> Result:
    return run_doit(folder, *args, env={"GITHUB_ACTIONS": "", "GITLAB_CI": "", **env})


@pytest.mark.parametrize("parallel", ["1", "2"])
def test_github(shop: Path, tmp_path: Path, parallel: str) -> None:
    summary = tmp_path / "summary"
    summary.write_text("before\n")
    done = on(shop, "-n", parallel, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert done.exit == 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert lines == ["::error title=web@linux/amd64::layer web is \\x1b[31mbad; pull it again"]
    text = summary.read_text()
    assert re.match(r"before\n### 2 built, 1 failed in [0-9.]+ s; out/ 8\.4 MB\n\n\| failed \| why \|\n", text)
    assert "| web@linux/amd64 | layer web is &#92;x1b&#91;31mbad; pull it again |\n" in text
    (shop / "blobs/web").write_text("good")
    done = on(shop, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert (done.exit, "::" in done.stdout) == (0, False)
    assert summary.read_text().removeprefix(text).startswith("### 1 built, 2 current in ")


def test_summary_that_cannot_be_written_is_one_line(shop: Path, tmp_path: Path) -> None:
    done = on(shop, "api", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path))
    assert (done.exit, done.stderr) == (0, f"{tmp_path}: cannot be written: Is a directory\n")


def test_a_summary_that_nobody_reads_holds_nothing_up(shop: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = on(shop, "api", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path / "fifo"))
    assert (done.exit, done.stderr) == (0, f"{tmp_path}/fifo: cannot be written: No such device or address\n")


def test_junit_replaces_no_device(shop: Path, tmp_path: Path) -> None:
    """As root it could: `--junit /dev/null`."""
    os.mkfifo(tmp_path / "fifo")
    os.symlink("fifo", tmp_path / "link")
    for name in ("fifo", "link"):
        done = on(shop, "api", "--junit", str(tmp_path / name))
        assert (done.exit, done.stderr) == (
            1,
            f"{tmp_path}/{name}: cannot be written: it is a FIFO; name another file\n",
        )
    assert (tmp_path / "fifo").is_fifo() and (tmp_path / "link").is_symlink()
    os.symlink("report.xml", tmp_path / "own")
    assert on(shop, "api", "--junit", str(tmp_path / "own")).exit == 0
    assert (tmp_path / "own").is_symlink() and JUnitXml.fromfile(str(tmp_path / "report.xml")).tests


def test_gitlab(shop: Path) -> None:
    done = on(shop, GITLAB_CI="true")
    mark = r"\x1b\[0Ksection_%s:\d+:c2wtasks\s\x1b\[0K"
    marks = [re.search(mark % edge, done.stdout) for edge in ("start", "end")]
    begin, end = marks
    assert begin is not None and end is not None
    assert done.stdout[begin.end() :].startswith("What was built\n")
    inside, after = done.stdout[begin.end() : end.start()], done.stdout[end.end() :]
    assert inside.count("built  ") == 2
    assert after.splitlines()[-1].startswith("2 built, 1 failed in ")
    (shop / "blobs/web").write_text("good")
    on(shop, GITLAB_CI="true")
    assert "section" not in on(shop, GITLAB_CI="true").stdout  # nothing to do


@pytest.mark.parametrize("words", [["--junit", "report.xml"], ["--junit=report.xml"]])
def test_junit(shop: Path, words: list[str]) -> None:
    assert on(shop, *words).exit == 1
    (suite,) = JUnitXml.fromfile(str(shop / "report.xml"))
    cases = {case.name: case for case in suite}
    assert (suite.tests, suite.failures, suite.errors) == (3, 1, 0)
    assert set(cases) == {"web@linux/amd64", "web@linux/arm64", "api@linux/amd64"}
    (failure,) = cases["web@linux/amd64"].result
    assert isinstance(failure, Failure)
    assert failure.message == failure.text == "layer web is \\x1b[31mbad; pull it again"
    assert all(not case.result for name, case in cases.items() if name != "web@linux/amd64")


def test_junit_where_it_cannot_be_written(shop: Path) -> None:
    (shop / "blobs/web").write_text("good")
    done = on(shop, "--junit", "out")
    assert done.exit == 1
    assert done.stderr.startswith("out")
    assert "Traceback" not in done.stderr
    assert on(shop, "--junit").exit == on(shop, "-r", "json", "--junit", "x").exit == 3


def test_nothing_that_is_said_breaks_out() -> None:
    assert ci.annotation("a:b,c", "50%\nnext::error::") == "::error title=a%3Ab%2Cc::50%25%0Anext::error::\n"
    assert ci.markdown("all", {"web": HOSTILE}).count("\n") == 6
    assert ci.markdown("all", {"web": HOSTILE}).count("|") == 9
    text = ci.junit({HOSTILE: "failed"}, {HOSTILE: HOSTILE}, {}, 1.5)
    ((case,),) = JUnitXml.fromstring(text)
    assert (case.name, case.result[0].text) == (HOSTILE, HOSTILE)


def test_a_long_summary_ends() -> None:
    text = ci.markdown("all", {f"image{number}": "why" for number in range(1_200)})
    assert text.count("| why |") == 1_001
    assert text.endswith("\nand 200 more\n\n")
