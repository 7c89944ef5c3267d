"""`doit why` and `doit plan`: the reasons, in plain words, and that a run then does just that."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.commands.why import Cause, grouped
from tests.graph.catalogs import BASE, small_catalog, write_catalog
from tests.support.images import Layer, Layout
from tests.support.running import executed, run_doit

WEB = "web@linux/amd64"
Images = dict[str, Any]


@pytest.fixture
def catalog(tmp_path: Path) -> tuple[Path, Images]:
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    return tmp_path, images


def why(folder: Path, *words: str) -> tuple[int, list[str]]:
    done = run_doit(folder, "why", *words)
    assert done.stderr == ""
    return done.exit, [line for line in done.stdout.splitlines() if ": last good " not in line]  # test_history has it


def test_all_is_current(catalog: tuple[Path, Images]) -> None:
    assert why(catalog[0]) == (0, ["all is current (26 tasks)"])
    assert run_doit(catalog[0], "plan").stdout == "nothing to do\n"


def boot(folder: Path, images: Images) -> None:
    images["web"]["boot"] = {"vmtouch": False}
    write_catalog(folder, images)


def args(folder: Path, images: Images) -> None:
    images["web"]["process"] = {"args": ["x"]}
    write_catalog(folder, images)


def edited(folder: Path, images: Images) -> None:
    (folder / "bundles/web/linux-amd64/spec.json").write_text("{}")


def deleted(folder: Path, images: Images) -> None:
    (folder / "bundles/web/linux-amd64/spec.json").unlink()


def published_gone(folder: Path, images: Images) -> None:
    shutil.rmtree(folder / "bundles/web/linux-amd64")


ROWS: list[tuple[Callable[[Path, Images], None], list[str]]] = [
    (boot, [f"{WEB}: option boot.vmtouch: true -> false"]),
    (args, [f'{WEB}: option process.args: null -> ["x"]']),
    (edited, [f"{WEB}: bundles/web/linux-amd64/spec.json was edited"]),
    (deleted, [f"{WEB}: bundles/web/linux-amd64/spec.json is gone"]),
    (published_gone, [f"{WEB}: bundles/web/linux-amd64 is gone"]),
]


@pytest.mark.parametrize(("change", "lines"), ROWS, ids=[row[0].__name__ for row in ROWS])
def test_reasons(catalog: tuple[Path, Images], change: Callable[[Path, Images], None], lines: list[str]) -> None:
    folder, images = catalog
    change(folder, images)
    status, said = why(folder)
    assert status == 1
    assert set(lines) <= set(said)
    assert [
        line for line in said if line not in lines and not line.startswith(f"{WEB}: bundles/web/linux-amd64")
    ] == []
    told = json.loads(run_doit(folder, "why", "--json").stdout)["stale"]
    ran = executed(folder)
    assert {task["task"] for task in told if task["reasons"]} <= ran <= {task["task"] for task in told}
    assert why(folder)[0] == 0


def test_a_replaced_layer(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    old, new = (Layer.of({"srv/": None, "srv/index": text}, "gzip").diff_id[:19] for text in ("web\n", "new\n"))
    shutil.rmtree(folder / "web")
    Layout(folder / "web").image(BASE, {"srv/": None, "srv/index": "new\n"}, cmd=["httpd"], user="app")
    said = why(folder, "web")[1]
    assert said == [f"{WEB}: layer 2 of 2 replaced: {old} -> {new}"]
    plan = run_doit(folder, "plan").stdout.splitlines()
    assert plan[0].startswith("  layer sha256:")
    assert plan[-1].startswith("6 tasks, ")


def test_a_layer_that_only_moves_is_not_named(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    first = Layer.of({"opt/": None}, "gzip")
    top = Layer.of({"srv/": None, "srv/index": "web\n"}, "gzip")
    shutil.rmtree(folder / "web")
    layout = Layout(folder / "web")
    layout.image(BASE, first, top, cmd=["httpd"], user="app")
    assert why(folder, "web")[1] == [f"{WEB}: layer 2 of 3 added: {first.diff_id[:19]}"]
    assert executed(folder) >= {f"bundle:{WEB}"}
    shutil.rmtree(folder / "web")
    Layout(folder / "web").image(BASE, top, cmd=["httpd"], user="app")
    assert why(folder, "web")[1] == [f"{WEB}: layer 2 of 3 gone: {first.diff_id[:19]}"]


def test_a_form_more(catalog: tuple[Path, Images]) -> None:
    folder, images = catalog
    images["web"] |= {"rootfs": ["dir", "cpio"], "process": {"args": ["x"]}}
    write_catalog(folder, images)
    status, said = why(folder)
    assert status == 1
    assert sorted(said) == [
        f'{WEB}: option process.args: null -> ["x"]',
        f'{WEB}: option rootfs: ["dir"] -> ["dir","cpio"]',
        f"{WEB}: the form cpio was never made",
    ]


def test_a_bundle_more_and_one_less(catalog: tuple[Path, Images]) -> None:
    folder, images = catalog
    images["new"] = images.pop("db")
    write_catalog(folder, images)
    assert why(folder) == (1, ["new@linux/amd64: never built"])
    del images["new"]
    write_catalog(folder, images)
    assert why(folder) == (1, ["catalog: db@linux/amd64 gone"])


def test_before_the_first_build(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    plan = run_doit(tmp_path, "plan")
    assert plan.exit == 0
    assert any("shared by 2 bundles" in line for line in plan.stdout.splitlines())
    steps = json.loads(run_doit(tmp_path, "plan", "--json").stdout)["steps"]
    assert {step["task"] for step in steps} == executed(tmp_path)
    assert not (tmp_path / "probe").exists()


def test_what_is_to_be_written(catalog: tuple[Path, Images]) -> None:
    """Of layers that were read before, to the byte: roots hold what their tars do, and the tars are there."""
    folder, _ = catalog
    assert json.loads(run_doit(folder, "plan", "--json").stdout)["bytesToWrite"] == 0
    record = json.loads((folder / "bundles/web/linux-amd64/bundle.json").read_text())
    shutil.rmtree(folder / "bundles")
    plan = json.loads(run_doit(folder, "plan", "--json", WEB).stdout)
    assert plan["bytesToWrite"] == sum(layer["tarSize"] for layer in record["layers"])
    shutil.rmtree(folder / "cache")
    again = json.loads(run_doit(folder, "plan", WEB, "--json").stdout)
    assert again["bytesToWrite"] > again["bytesToRead"] > 0


def test_words(catalog: tuple[Path, Images]) -> None:
    folder, images = catalog
    boot(folder, images)
    assert why(folder, "db") == (0, ["all is current (7 tasks)"])
    assert why(folder, WEB)[0] == 1
    assert run_doit(folder, "why", "nope").exit == 3


def test_a_foreign_dodo(tmp_path: Path) -> None:
    (tmp_path / "dodo.py").write_text("def task_x():\n    return {'actions': ['true']}\n")
    for command in ("why", "plan"):
        done = run_doit(tmp_path, command)
        assert done.exit == 3
        assert done.stderr.startswith("ERROR: this dodo.py is not one of ours")


def test_checks_of_ones_own(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    with (tmp_path / "dodo.py").open("a") as dodo:
        dodo.write(
            "from doit.tools import config_changed\n"
            "def task_note():\n"
            "    with open('option') as stream:\n"
            "        return {'actions': ['date > note'], 'uptodate': [config_changed(stream.read())]}\n"
        )
    (tmp_path / "option").write_text("a")
    assert run_doit(tmp_path).exit == 0
    (tmp_path / "option").write_text("b")
    assert run_doit(tmp_path, "why").stdout == "note: its own check says so\n"


def test_a_source_that_cannot_be_read(catalog: tuple[Path, Images]) -> None:
    """Whether the bundle was ever built or not."""
    folder, images = catalog
    images["new"] = {"source": "oci:nowhere"}
    images["web"] = {"source": "oci:nowhere"}
    write_catalog(folder, images)
    _, said = why(folder)
    for name in ("new", WEB.partition("@")[0]):
        (line,) = [one for one in said if one.startswith(f"{name}@")]
        assert line.startswith(f"{name}@linux/amd64: ")
        assert "nowhere" in line
    assert run_doit(folder, "run", WEB).exit == 1


def names(*numbers: int) -> list[str]:
    return [f"app{number}@linux/amd64" for number in numbers]


A, B, C = names(1, 2, 3)
GROUPS: list[tuple[list[Cause], list[str]]] = [
    ([Cause(A, ("x", "y"))], [f"{A}: x", f"{A}: y"]),
    ([Cause(A, ("x",)), Cause(B, ("y",))], [f"{A}: x", f"{B}: y"]),
    ([Cause(B, ("x",)), Cause(A, ("x",))], ["x", f"    2 bundles: {A}, {B}"]),
    (
        [Cause(A, ("x", "y")), Cause(B, ("x", "y", "z")), Cause(C, ("y",))],
        ["x", f"    2 bundles: {A}, {B}", "y", f"    3 bundles: {A}, {B}, {C}", f"{B}: z"],
    ),
    ([Cause("catalog", ("x",)), Cause(A, ("x",))], ["catalog: x", f"{A}: x"]),
    ([Cause(A, ("a/b is gone",))], [f"{A}: a/b is gone"]),
    ([Cause(A, ("a/b is gone", "x", "a/c is gone"))], [f"{A}: 2 files of a are gone", f"{A}: x"]),
    (
        [Cause(A, ("a/b is gone", "b/c is gone", "a/d and a/e are gone"))],
        [f"{A}: a/b is gone", f"{A}: b/c is gone", f"{A}: a/d and a/e are gone"],
    ),
    (
        [Cause(A, ("layer 1 of 2 replaced: a -> b",)), Cause(B, ("layer 1 of 2 replaced: a -> b",))],
        ["layer 1 of 2 replaced: a -> b", f"    2 bundles: {A}, {B}"],
    ),
    (
        [
            Cause(A, ("layer 1 of 2 replaced: a -> b", "layer 2 of 2 gone: c")),
            Cause(B, ("layer 1 of 1 replaced: a -> b",)),
        ],
        ["layer replaced: a -> b", f"    2 bundles: {A}, {B}", f"{A}: layer 2 of 2 gone: c"],
    ),
    (
        [
            Cause(one, ("layer 1 of 2 replaced: a -> b", f"layer 2 of 2 replaced: c{at} -> d{at}", "x"[: at == 3]))
            for at, one in enumerate(names(*range(1, 42)))
        ],
        [
            "layer 1 of 2 replaced: a -> b",
            f"    41 bundles: {', '.join(sorted(names(*range(1, 42)))[:4])} and 37 more",
            "app4@linux/amd64: x",
            "more layers of their own: 41 bundles of these; doit why NAME tells which",
        ],
    ),
]


@pytest.mark.parametrize(("causes", "lines"), GROUPS)
def test_what_bundles_share_is_told_once(causes: list[Cause], lines: list[str]) -> None:
    causes = [Cause(cause.of, tuple(filter(None, cause.reasons))) for cause in causes]
    assert list(grouped(causes, {cause.of for cause in causes} - {"catalog"})) == lines


def test_another_base_is_told_once(catalog: tuple[Path, Images]) -> None:
    folder, _ = catalog
    for name, own in (("web", {"srv/": None, "srv/index": "web\n"}), ("db", {"var/": None, "var/data": "db\n"})):
        shutil.rmtree(folder / name)
        Layout(folder / name).image({**BASE, "etc/version": "2"}, own, cmd=[name])
    old, new = (Layer.of(tree, "gzip").diff_id[:19] for tree in (BASE, {**BASE, "etc/version": "2"}))
    assert why(folder)[1][:2] == [
        f"layer 1 of 2 replaced: {old} -> {new}",
        "    2 bundles: db@linux/amd64, web@linux/amd64",
    ]
