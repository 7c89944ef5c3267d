"""bundle.lock as text: what is written is read again, and what is wrong is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.bundlefile.lock import LockedLayer, LockEntry, compare, moves, parse, render
from c2wtasks.bundlefile.lockfile import LockFile
from c2wtasks.bundlefile.problems import BundleFileError
from c2wtasks.oci.digest import Digest

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))
WEB = LockEntry("web@linux/amd64", "docker://h.example/web:1", A, B, (LockedLayer(B, C, 12), LockedLayer(C, A, 0)))
OLD = LockEntry("old@linux/arm/v7", "docker-archive:a b.tar", None, B, (LockedLayer(None, C, 7),))
TEXT = f"""\
# Which images bundle.yaml means. Written by `doit lock`; to be reviewed and committed.
version 1

image old@linux/arm/v7
  source docker-archive:a b.tar
  manifest -
  config {B}
  layer - {C} 7

image web@linux/amd64
  source docker://h.example/web:1
  manifest {A}
  config {B}
  layer {B} {C} 12
  layer {C} {A} 0
"""


def test_text() -> None:
    assert render([WEB, OLD]) == render([OLD, WEB]) == TEXT
    assert list(parse(TEXT, "bundle.lock").values()) == [OLD, WEB]
    assert parse(TEXT, "bundle.lock")["web@linux/amd64"].line == 10


def test_line_ends_of_windows_and_another_order() -> None:
    assert parse(TEXT.replace("\n", "\r\n"), "x") == parse(TEXT, "x")
    head, old, web = TEXT.split("\nimage ")
    assert parse(f"{head}\nimage {web}\n\n# a word\nimage {old}", "x") == parse(TEXT, "x")


_DIGESTS = st.builds(Digest.of, st.binary(max_size=2), st.sampled_from(["sha256", "sha512"]))
_LAYERS = st.builds(LockedLayer, st.none() | _DIGESTS, _DIGESTS, st.integers(0, 2**63 - 1))
_WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
_ENTRIES = st.builds(
    LockEntry, _WORDS, _WORDS, st.none() | _DIGESTS, _DIGESTS, st.lists(_LAYERS, max_size=3).map(tuple)
)


@given(st.lists(_ENTRIES, max_size=5, unique_by=lambda entry: entry.bundle))
def test_what_is_written_is_read(entries: list[LockEntry]) -> None:
    assert parse(render(entries), "x") == {entry.bundle: entry for entry in entries}


@given(st.lists(st.sampled_from([*TEXT.splitlines(), "  layer x", "image", "\t", "  source", "x"]), max_size=20))
def test_any_lines_are_read_or_refused(lines: list[str]) -> None:
    try:
        parse("\n".join(lines), "bundle.lock")
    except BundleFileError as error:
        assert all(line.startswith("bundle.lock:") for line in error.lines)


def lines_of(text: str) -> list[str]:
    with pytest.raises(BundleFileError) as caught:
        parse(text, "bundle.lock")
    return list(caught.value.lines)


MEND = "; mend it, or delete this image's lines, and run: doit lock"
ANEW = "delete the file, and run: doit lock"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", ["1:1: expected 'version 1', found nothing; delete the file, and run: doit lock"]),
        ("version 2\n", [f"1:1: expected 'version 1', found 'version 2'; use the c2wtasks that wrote it, or {ANEW}"]),
        (
            TEXT.replace("  manifest -\n", "<<<<<<< HEAD\n  manifest -\n=======\n>>>>>>> other\n"),
            ["6:1: a merge was left unfinished here; keep one side, or both; then run: doit lock"],
        ),
        (TEXT.replace(f"  layer - {C} 7", f"  layer - {C}"), ["8:1: expected digest, diffID and size, found '- "]),
        (TEXT.replace(" 7\n", " -7\n"), ["8:1: expected digest, diffID and size, found '- "]),
        (TEXT.replace("  manifest -\n", ""), [f"4:1: image old@linux/arm/v7: manifest is missing{MEND}"]),
        (TEXT.replace("manifest -", "manifest -\n  manifest -"), [f"7:1: 'manifest' is given twice{MEND}"]),
        (TEXT.replace("manifest -", "manifest sha256:1"), ["6:1: 'sha256:1' is not 64 lower-case hex digits"]),
        (TEXT.replace("manifest -", "manifes -"), ["4:1: image old@", "6:1: expected 'image', or one of source, "]),
        (TEXT.replace("  config", "config"), ["4:1: ", "7:1: expected 'image', or one of", "10:1: ", "13:1: "]),
        (
            TEXT.replace("web@linux/amd64", "old@linux/arm/v7"),
            ["10:1: image old@linux/arm/v7 is given twice; first at bundle.lock:4"],
        ),
        ("version 1\n  source x\n", [f"2:1: 'source' before the first 'image'; {ANEW}"]),
    ],
)
def test_mistakes(text: str, want: list[str]) -> None:
    found = lines_of(text)
    assert len(found) == len(want)
    assert all(line.startswith(f"bundle.lock:{start}") for line, start in zip(found, want, strict=True)), found


def test_compare() -> None:
    entries = {entry.bundle: entry for entry in (WEB, OLD)}
    assert not compare(entries, {WEB.bundle: WEB.source, OLD.bundle: OLD.source})
    misfit = compare(entries, {WEB.bundle: "docker://h.example/web:2", "new@linux/amd64": "x"})
    assert (misfit.missing, misfit.changed, misfit.gone) == (("new@linux/amd64",), (WEB.bundle,), (OLD.bundle,))
    assert len(misfit.lines()) == 3


def test_moves() -> None:
    assert moves(WEB, WEB) == ""
    assert moves(OLD, WEB) == f"manifest - -> {A}"


def test_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "bundle.lock")
    lock = LockFile.read(path)
    assert lock.entries == {}
    lock.change({WEB.bundle: WEB})
    lock.change({OLD.bundle: OLD, "gone": None})
    assert (tmp_path / "bundle.lock").read_text() == TEXT
    LockFile.read(path).change({OLD.bundle: None})
    assert list(LockFile.read(path).entries) == [WEB.bundle]
    (tmp_path / "bundle.lock").write_bytes(b"version 1\n\xff")
    with pytest.raises(BundleFileError, match=r"bundle\.lock:2:1: not UTF-8 text"):
        LockFile.read(path)
    (tmp_path / "bundle.lock").unlink()
    (tmp_path / "bundle.lock").mkdir()
    with pytest.raises(BundleFileError, match="not a regular file"):
        LockFile.read(path)
