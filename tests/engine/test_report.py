"""What a run shows where nobody chose another report, on streams that are no terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from c2wtasks.engine.tally import Tally, duration
from tests.engine import toys
from tests.support.running import run_doit

PARALLEL = pytest.mark.parametrize("parallel", [["-n", "1"], ["-n", "2"]], ids=" ".join)
SECONDS = re.compile(r"\b[0-9]+\.[0-9] s\b")
PRODUCTS = """
for task in (task_bundle, task_tree, task_layer):
    def with_meta(task=task):
        for one in task():
            product = one["name"] if task.__name__ == "task_bundle" else ""
            yield {**one, "meta": {"product": product}}
    globals()[task.__name__] = with_meta
HOOKS.size_of = lambda product: 4_200_000 if product.startswith("web") else None
HOOKS.totals = lambda: "out/ 8.4 MB"
"""


@pytest.fixture
def shop(toy: Path) -> Path:
    """The toy, whose bundles are products."""
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(PRODUCTS)
    return toy


def shown(folder: Path, *args: str) -> list[str]:
    """The lines of a run on stdout, without its times."""
    return SECONDS.sub("N s", run_doit(folder, *args).stdout).splitlines()


@PARALLEL
def test_each_product_is_a_line_and_what_is_current_is_not(shop: Path, parallel: list[str]) -> None:
    lines = shown(shop, *parallel)
    assert sorted(lines[:-1]) == [
        "built    api@linux/amd64  N s",
        "built    web@linux/amd64  N s  4.2 MB",
        "built    web@linux/arm64  N s  4.2 MB",
    ]
    assert lines[-1] == "3 built in N s; out/ 8.4 MB"
    (shop / "blobs/web").write_text("other")
    assert shown(shop, *parallel) == [
        "built    web@linux/amd64  N s  4.2 MB",
        "1 built, 2 current in N s; out/ 8.4 MB",
    ]
    assert shown(shop, *parallel) == ["3 current in N s; out/ 8.4 MB"]


@PARALLEL
def test_what_fails_is_told_at_once_and_how_to_go_on_at_the_end(shop: Path, parallel: list[str]) -> None:
    (shop / "blobs/web").write_text("bad")
    lines = shown(shop, *parallel)
    assert "failed   layer:web  layer web is \\x1b[31mbad; pull it again" in lines[:-2]
    assert lines[-2:] == ["to try again: doit web@linux/amd64", "2 built, 1 failed in N s; out/ 8.4 MB"]
    (shop / "blobs/web").write_text("good")
    again = lines[-2].removeprefix("to try again: doit ")
    assert shown(shop, again) == ["built    web@linux/amd64  N s  4.2 MB", "1 built in N s; out/ 8.4 MB"]


def test_a_reason_does_not_repeat_the_title(shop: Path) -> None:
    dodo = shop / "dodo.py"
    dodo.write_text(
        dodo.read_text().replace('"file_dep": [f"blobs', '"title": lambda task: "layer web", "file_dep": [f"blobs')
    )
    dodo.write_text(dodo.read_text().replace("layer {name} is", "layer {name}: it is"))
    (shop / "blobs/web").write_text("bad")
    assert "failed   layer web  it is \\x1b[31mbad; pull it again" in shown(shop)


def test_tasks_that_are_no_parts_of_products_are_shown_by_name(toy: Path) -> None:
    lines = shown(toy)
    assert sorted(lines[:-1]) == sorted(f"done     {name}  N s" for name in toys.ALL)
    assert lines[-1] == f"{len(toys.ALL)} done in N s"
    assert shown(toy, "tree") == ["6 current in N s"]


def test_parts_alone_are_counted(shop: Path) -> None:
    assert shown(shop, "tree:api@linux/amd64") == ["2 done in N s; out/ 8.4 MB"]


def test_signs_of_life_while_a_step_is_long(shop: Path) -> None:
    dodo = (shop / "dodo.py").read_text()
    (shop / "dodo.py").write_text(f"import c2wtasks.engine.report as report\nreport.SILENCE = 0.2\n{dodo}")
    done = run_doit(shop, "-n", "2", "api", env={"slow": "3.5"})
    found = (re.fullmatch(r"working  (.*) \(.* s\)", line) for line in done.stdout.splitlines())
    # On a busy machine other steps may take long, too.
    assert sum(line is not None and line[1] == "tree:api@linux/amd64" for line in found) >= 2


def test_report_goes_into_a_file(shop: Path) -> None:
    assert shown(shop, "-o", "report", "api") == []
    assert (
        SECONDS.sub("N s", (shop / "report").read_text())
        == "built    api@linux/amd64  N s\n1 built in N s; out/ 8.4 MB\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (12.44, "12.4 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_command_that_tries_again_stays_short() -> None:
    tally = Tally()
    for number in range(5):
        tally.products[f"image{number}@linux/amd64"] = "failed"
    assert tally.again().split() == ["doit", *tally.products]
    tally.products["one more"] = "failed"
    assert tally.again() == "doit"
