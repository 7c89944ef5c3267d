"""Pieces of an archive in a file: what they say, and the digests of that."""

from __future__ import annotations

import gzip
import random
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from c2wtasks.errors import OutputError
from c2wtasks.rootfs.writing import copying, sending
from c2wtasks.rootfs.writing.compressing import compressor
from c2wtasks.rootfs.writing.pieces import Piece, TarPiece, Zeros
from c2wtasks.tree import model, treefile
from c2wtasks.tree.treefile import TreeFile

EMPTY = treefile.flatten(model.new_directory(), [], default_mtime_ns=0)
SIZES = st.one_of(
    st.integers(0, 2000),
    st.integers(copying.SMALL - 2, copying.SMALL + 2),
    st.integers(sending._HASHED_AT_ONCE - 2, sending._HASHED_AT_ONCE + 2),
)
ENDING = b"\0" * 1024
PIECES = st.lists(st.tuples(st.sampled_from(["bytes", "extent", "zeros"]), SIZES), max_size=8)


@pytest.fixture(scope="module")
def content() -> bytes:
    return random.Random(5).randbytes(20 << 20)


@pytest.fixture(scope="module")
def source(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("layer") / "tar"
    path.write_bytes(content)
    return str(path)


def made(content: bytes, recipe: list[tuple[str, int]]) -> tuple[list[Piece], bytes]:
    """Pieces, and what they say."""
    pieces: list[Piece] = []
    says: list[bytes] = []
    for number, (kind, size) in enumerate(recipe):
        if kind == "bytes":
            pieces.append(content[number : number + size])
        else:
            pieces.append(Zeros(size) if kind == "zeros" else TarPiece(0, number, size, 0))
        says.append(bytes(size) if kind == "zeros" else content[number : number + size])
    return [*pieces, ENDING], b"".join(says) + ENDING


@settings(max_examples=25, deadline=None)
@given(recipe=PIECES)
@example(recipe=[("zeros", sending._HASHED_AT_ONCE), ("extent", copying.SMALL + 1)])
def test_the_file_and_its_digest(content: bytes, source: str, recipe: list[tuple[str, int]]) -> None:
    pieces, says = made(content, recipe)

    def sent(_tree: TreeFile) -> Iterator[Piece]:
        return iter(pieces)

    with tempfile.TemporaryDirectory() as folder:
        out, same = Path(folder, "out"), Path(folder, "same")
        digests = sending.to_hashed_file(str(out), sent, EMPTY, lambda _: source)
        sending.to_file(str(same), sent, EMPTY, lambda _: source)
        assert out.read_bytes() == same.read_bytes() == says
        assert {str(digest) for digest in digests} == {f"sha256:{sha256(says).hexdigest()}"}


@settings(max_examples=10, deadline=None)
@given(recipe=PIECES)
def test_compressed_it_has_two(content: bytes, source: str, recipe: list[tuple[str, int]]) -> None:
    pieces, says = made(content, recipe)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        plain, stored = sending.to_hashed_file(
            str(out), lambda _: iter(pieces), EMPTY, lambda _: source, compressor("gzip")
        )
        assert gzip.decompress(out.read_bytes()) == says
        assert plain.hex == sha256(says).hexdigest()
        assert stored.hex == sha256(out.read_bytes()).hexdigest()


def test_a_source_that_ends_too_early(source: str, tmp_path: Path) -> None:
    """While another thread hashes what is there already."""
    pieces: list[Piece] = [TarPiece(0, 0, 9 << 20, 0), TarPiece(0, 15 << 20, 9 << 20, 0), ENDING]
    with pytest.raises(OutputError, match="too short"):
        sending.to_hashed_file(str(tmp_path / "out"), lambda _: iter(pieces), EMPTY, lambda _: source)
