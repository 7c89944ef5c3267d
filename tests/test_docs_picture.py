"""The picture of README shows what a run says today."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.pages import alike_lines

DOCS = Path(__file__).parents[1] / "docs"


def words(picture: Path) -> list[str]:
    """The lines of text of an SVG, from the top."""
    lines: dict[float, list[tuple[float, str]]] = defaultdict(list)
    for element in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text"):
        lines[float(element.get("y", 0))].append((float(element.get("x", 0)), "".join(element.itertext())))
    return ["".join(text for _, text in sorted(line)).replace("\xa0", " ") for _, line in sorted(lines.items())]


def test_the_picture_is_of_today(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the picture shows what root sees: run as root")
    made = tmp_path / "run.svg"
    subprocess.run([sys.executable, DOCS / "picture.py", made], check=True)
    now = alike_lines(words(made))
    assert "$ doit why" in now
    assert alike_lines(words(DOCS / "run.svg")) == now, "run: python docs/picture.py docs/run.svg"
    assert "http" not in made.read_text().replace("http://www.w3.org/2000/svg", "")
