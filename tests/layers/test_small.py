"""Small layers: read in memory, stored without a lock and a sync, believed only as far as they prove themselves."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.disk import fingerprint
from c2wtasks.errors import LayerError
from c2wtasks.layers import small
from c2wtasks.layers.receipt import MAX_SMALL_BLOB, MAX_SMALL_TAR
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import BlobPlace, Layer
from tests.support.images import digest_of
from tests.support.tars import Compression, compress, tar

TAR = tar({"etc/": None, "etc/motd": "hi\n" * 1000})


def layer(folder: Path, content: bytes = TAR, compression: Compression = "gzip", **claims: str) -> Layer:
    blob = compress(content, compression)
    path = folder / f"blob{len(os.listdir(folder))}"
    path.write_bytes(blob)
    digest, diff_id = claims.get("digest") or digest_of(blob), claims.get("diff_id") or digest_of(content)
    return Layer(Digest.parse(digest), Digest.parse(diff_id), BlobPlace(str(path), 0, len(blob)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache/layers"))


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_stored_as_a_large_one_is(
    tmp_path: Path, store: Store, compression: Compression, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = layer(tmp_path, compression=compression)
    receipt = store.ensure([one])
    assert receipt.tar_fingerprint == fingerprint.of_bytes(TAR)
    monkeypatch.setattr("c2wtasks.layers.receipt.MAX_SMALL_BLOB", -1)
    usual = Store(str(tmp_path / "usual/layers"))
    as_usual = usual.ensure([one])
    assert as_usual.tar_fingerprint == ""
    for name in ("digest", "diff_id", "blob_size", "tar_size", "fingerprint"):
        assert getattr(receipt, name) == getattr(as_usual, name)
    for path in (Store.tar, Store.index):
        assert Path(path(store, one.diff_id)).read_bytes() == Path(path(usual, one.diff_id)).read_bytes()
    assert not (tmp_path / "cache/layers/locks").exists()
    assert os.listdir(tmp_path / "cache/layers/unfinished") == []


def noise(size: int) -> bytes:
    return tar({"noise": random.Random(1).randbytes(size).hex()})


WRONG: dict[str, Callable[[Path], Layer]] = {
    "its digest": lambda folder: layer(folder, digest=digest_of(b"another")),
    "its diffID": lambda folder: layer(folder, diff_id=digest_of(b"another")),
    "a large blob": lambda folder: layer(folder, noise(MAX_SMALL_BLOB), "gzip"),
    "a large tar": lambda folder: layer(folder, tar({"zeros": "0" * MAX_SMALL_TAR}), "gzip"),
    "no tar": lambda folder: layer(folder, b"no tar" * 100),
}


@pytest.mark.parametrize("what", WRONG)
def test_left_to_the_usual_way(tmp_path: Path, what: str) -> None:
    assert small.read(WRONG[what](tmp_path), None) is None


def test_no_longer_than_what_is_asked_for(tmp_path: Path, store: Store) -> None:
    one = layer(tmp_path)
    assert small.read(one, len(TAR)) is not None
    assert small.read(one, len(TAR) - 1) is None
    with pytest.raises(LayerError, match="max_layer_size"):
        Store(store.root, max_layer_size=len(TAR) - 1).ensure([one])


@pytest.mark.parametrize("damage", [b"", bytes(len(TAR)), TAR[:-1] + b"x"], ids=["empty", "zeros", "a byte"])
def test_a_damaged_tar_is_none(tmp_path: Path, store: Store, damage: bytes) -> None:
    one = layer(tmp_path)
    receipt = store.ensure([one])
    assert store.has_tar(one.diff_id, receipt)
    path = Path(store.tar(one.diff_id))
    path.write_bytes(damage)
    assert not store.has_tar(one.diff_id, receipt)
    store.ensure([one])
    assert path.read_bytes() == TAR


def test_a_tar_that_another_blob_has_left_is_compared(tmp_path: Path, store: Store) -> None:
    first, second = layer(tmp_path), layer(tmp_path, compression="zstd")
    store.ensure([first])
    path = Path(store.tar(first.diff_id))
    before = path.stat().st_ino
    store.ensure([second])
    assert path.stat().st_ino == before
    Path(store.receipt_file(second.digest or first.diff_id)).unlink()
    path.write_bytes(bytes(len(TAR)))
    store.ensure([second])
    assert path.read_bytes() == TAR
