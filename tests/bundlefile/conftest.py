"""A folder for catalogs, and what loading one gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.problems import BundleFileError

Files = Mapping[str, str | bytes]
Lines = Callable[[Files], list[str]]


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Files], Path]:
    """Writes files into an empty folder, which becomes the working folder."""

    def write(files: Files) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return write


@pytest.fixture
def mistakes(catalog: Callable[[Files], Path]) -> Lines:
    """The lines that loading `bundle.yaml` among these files ends with; none if it loads."""

    def lines(files: Files) -> list[str]:
        catalog(files)
        try:
            load("bundle.yaml", {})
        except BundleFileError as error:
            return list(error.lines)
        return []

    return lines
