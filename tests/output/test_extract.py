"""What the page shows of the files of bundles: what many have alike is looked at once, and told as of each alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from c2wtasks.output.extract import Extracts
from c2wtasks.output.outputs import of_bytes
from c2wtasks.output.record import Record
from tests.support import outputs

BASH = {"type": "deb", "name": "bash", "version": "5.2", "architecture": "amd64", "layer": 1}
CURL = {"type": "deb", "name": "curl", "version": "8.0", "layer": None, "files": 7}


def told(output: Path, name: str, layers: int, **texts: Any) -> tuple[str, Record]:
    """The folder and the record of a bundle with these files."""
    made = outputs.write_bundle(output, name, "linux/amd64", [outputs.layer(n, 10) for n in range(layers)])
    for file, value in texts.items():
        content = msgspec.json.encode(value)
        (output / name / "linux-amd64" / f"{file}.json").write_bytes(content)
        made.outputs[f"{file}.json"] = of_bytes(content)
    return f"{name}/linux-amd64", made


def test_a_package_stands_by_the_layers_of_each_bundle_that_has_it(tmp_path: Path) -> None:
    extracts = Extracts(str(tmp_path))
    for name, layers, wanted in (
        ("two", 2, [[], ["bash"], ["curl"]]),
        ("one", 1, [[], ["bash", "curl"]]),  # that has no second layer
        ("three", 3, [[], ["bash"], [], ["curl"]]),
    ):
        report = extracts.report(*told(tmp_path, name, layers, packages={"of": name, "packages": [BASH, CURL]}))
        assert report is not None
        groups = [[extracts.packages[one].split()[1] for one in extracts.groups[group]] for group in report]
        assert groups == wanted
        assert extracts.count(report) == 2
    assert extracts.packages == ("deb bash 5.2 amd64", "deb curl 8.0")


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ({**BASH, "name": "a b"}, "deb a_b 5.2 amd64"),
        ({**BASH, "name": "a\nb"}, r"deb a\nb 5.2 amd64"),
        ({**BASH, "name": "", "version": "x y"}, "deb  x_y amd64"),
        ({**BASH, "version": "1" * 201}, f"deb bash {'1' * 97}_..._{'1' * 97} amd64"),
        ({**BASH, "name": "n" * 100, "version": "1" * 100}, f"deb {'n' * 100} {'1' * 100} amd64"),
    ],
)
def test_a_package_is_a_line_of_four_words(tmp_path: Path, package: dict[str, Any], line: str) -> None:
    extracts = Extracts(str(tmp_path))
    assert extracts.report(*told(tmp_path, "one", 2, packages={"packages": [package]})) is not None
    assert extracts.packages == (line,)


@pytest.mark.parametrize("wrong", [{**BASH, "version": 5}, {"name": "bash"}, "bash", None])
def test_a_report_with_what_is_no_package_is_none_and_others_stand(tmp_path: Path, wrong: object) -> None:
    extracts = Extracts(str(tmp_path))
    assert extracts.report(*told(tmp_path, "bad", 2, packages={"packages": [BASH, wrong]})) is None
    assert extracts.report(*told(tmp_path, "good", 2, packages={"packages": [BASH]})) is not None


def test_equal_mounts_have_one_number_however_they_are_written(tmp_path: Path) -> None:
    extracts = Extracts(str(tmp_path))
    proc = {"destination": "/proc", "type": "proc"}
    process = {"args": ["sh", 7], "env": ["A=1", "TOKEN=x"], "cwd": "/", "user": {"uid": 1, "gid": 2}}
    numbers = []
    for name, mounts in (("a", [proc]), ("b", [{**proc, "source": "proc"}]), ("c", []), ("d", [proc])):
        config = extracts.config(*told(tmp_path, name, 1, spec={"process": process, "mounts": mounts, "root": {}}))
        assert config is not None
        assert (config.args, config.env, config.user) == (("sh", "7"), ("A=1", "TOKEN=***"), "1:2")
        numbers.append(config.mounts)
    assert numbers == [0, 0, 1, 0]
    assert extracts.mounts == (("/proc proc",), ())


@pytest.mark.parametrize("change", [{"args": None}, {"env": {}}, {"user": None}, {"user": {"uid": 1}}])
def test_a_spec_that_is_none_is_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    process = {"args": [], "env": [], "cwd": "/", "user": {"uid": 1, "gid": 2}, **change}
    bundle = told(tmp_path, "one", 1, spec={"process": process, "mounts": []})
    assert Extracts(str(tmp_path)).config(*bundle) is None
    no_mount = {"process": {"args": [], "env": [], "cwd": "/", "user": {"uid": 1, "gid": 2}}, "mounts": ["/proc"]}
    assert Extracts(str(tmp_path)).config(*told(tmp_path, "two", 1, spec=no_mount)) is None
