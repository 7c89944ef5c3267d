"""The layer store: each blob read once and checked, each tar kept once, nothing named that is not whole."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.disk import files
from c2wtasks.disk.sealed import seal
from c2wtasks.errors import LayerError
from c2wtasks.layers import indexfile
from c2wtasks.layers.content import read_content
from c2wtasks.layers.fragments import pack
from c2wtasks.layers.store import Store
from c2wtasks.sources.model import BlobPlace, Layer
from tests.layers.storing import TAR, Blobs, all_of, names, short
from tests.support import headers
from tests.support.tars import Compression, compress


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_keeps_the_tar_its_index_and_a_receipt(
    store: Store, blobs: Blobs, compression: Compression, algorithm: str
) -> None:
    layer = blobs.layer(TAR, compression, algorithm=algorithm)
    receipt = store.ensure([layer])
    content = Path(store.tar(layer.diff_id)).read_bytes()
    assert content == TAR
    assert hashlib.new(algorithm, content).hexdigest() == layer.diff_id.hex
    assert [entry.name for entry in store.entries(layer.diff_id)] == [b"etc/", b"etc/motd"]
    assert names(store) == all_of(layer)
    assert layer.digest is not None
    assert store.receipt(layer.digest) == receipt
    said = json.loads(Path(store.receipt_file(layer.digest)).read_text())
    assert (
        said.items()
        >= {
            "digest": str(layer.digest),
            "diffId": str(layer.diff_id),
            "blobSize": layer.place.size,
            "tarSize": len(TAR),
        }.items()
    )


def test_empty_blob_is_an_empty_layer(store: Store, blobs: Blobs) -> None:
    layer = blobs.layer(b"", "none")
    assert store.ensure([layer]).tar_size == 0
    assert list(store.entries(layer.diff_id)) == []


def test_blob_within_an_archive(store: Store, blobs: Blobs) -> None:
    layer = blobs.layer(TAR)
    path = Path(layer.place.path)
    path.write_bytes(b"before" + path.read_bytes() + b"after")
    inside = Layer(layer.digest, layer.diff_id, BlobPlace(str(path), len(b"before"), layer.place.size))
    assert store.ensure([inside]).blob_size == layer.place.size


def test_each_blob_is_read_once(store: Store, blobs: Blobs, bytes_read: Callable[[], int]) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    assert bytes_read() == layer.place.size
    assert store.ensure([layer, layer]) == store.ensure([layer])
    assert bytes_read() == 0


def test_a_blob_is_read_to_its_end(store: Store, blobs: Blobs, bytes_read: Callable[[], int]) -> None:
    """Its digest covers what decompression does not look at."""
    layer = blobs.layer(blob=compress(TAR, "gzip") + bytes(5 << 20))
    store.ensure([layer])
    assert bytes_read() == layer.place.size


def test_two_blobs_of_one_diff_id_are_kept_once(
    store: Store, blobs: Blobs, bytes_read: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = blobs.layer(TAR, "gzip"), blobs.layer(TAR, "zstd")
    store.ensure([first])
    before = os.stat(store.tar(first.diff_id))
    bytes_read()
    written: list[int] = []
    created = files._created
    monkeypatch.setattr(files, "_created", lambda *where: (written.append(where[0]), created(*where))[1])
    store.ensure([second])
    assert bytes_read() == second.place.size
    assert len(written) == 1  # the receipt
    assert os.stat(store.tar(first.diff_id)) == before
    assert names(store) == sorted([*all_of(first), f"receipts/{short(second.digest)}"])


def test_without_a_digest_there_is_no_receipt(store: Store, blobs: Blobs, bytes_read: Callable[[], int]) -> None:
    layer = blobs.layer(TAR, "none", digest=None)
    for _ in range(2):  # only reading it tells what it is
        assert store.ensure([layer]).diff_id == str(layer.diff_id)
        assert bytes_read() == len(TAR)
    assert names(store) == [f"{short(layer.diff_id)}.idx", f"{short(layer.diff_id)}.tar"]


DAMAGED_RECEIPTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no JSON": lambda _: b"no JSON",
    "no object": lambda _: b"[]",
    "fields missing": lambda _: b'{"digest":"x"}',
    "diffID is a path": lambda text: text.replace(b'"diffId":"sha256:', b'"diffId":"sha256:../'),
    "of another blob": lambda text: text.replace(b'"digest":"sha256:', b'"digest":"sha256:0'),
    "wrong type": lambda text: text.replace(b'"tarSize":', b'"tarSize":"many","x":'),
    "cut": lambda text: text[:-9],
}


@pytest.mark.parametrize("damage", DAMAGED_RECEIPTS.values(), ids=DAMAGED_RECEIPTS)
def test_damaged_receipt(
    store: Store, blobs: Blobs, bytes_read: Callable[[], int], damage: Callable[[bytes], bytes]
) -> None:
    layer = blobs.layer()
    receipt = store.ensure([layer])
    assert layer.digest is not None
    path = Path(store.receipt_file(layer.digest))
    path.write_bytes(damage(path.read_bytes()))
    assert store.receipt(layer.digest) is None
    bytes_read()
    assert store.ensure([layer]) == receipt
    assert bytes_read() == layer.place.size
    assert store.receipt(layer.digest) == receipt


@pytest.mark.parametrize("which", ["tar", "index"])
def test_evicted_is_made_again(store: Store, blobs: Blobs, which: str, bytes_read: Callable[[], int]) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    path = Path(getattr(store, which)(layer.diff_id))
    before = path.read_bytes()
    path.unlink()
    bytes_read()
    store.ensure([layer])
    assert bytes_read() == layer.place.size
    assert path.read_bytes() == before


def test_index_of_another_version_is_made_again(store: Store, blobs: Blobs) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    path = Path(store.index(layer.diff_id))
    before = path.read_bytes()
    path.write_bytes(before[: len(indexfile.LAYER_MAGIC) - 1] + b"\0" + before[len(indexfile.LAYER_MAGIC) :])
    with pytest.raises(LayerError, match="it is of another version"):
        list(store.entries(layer.diff_id))
    store.ensure([layer])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda good: good[:-1], "it is damaged"),
        (lambda good: good[:9], "it is damaged"),
        (lambda good: good[:-4], "it is damaged"),
        (lambda good: good[:40] + b"\xc1" + good[41:], "it is damaged"),
        (lambda good: good + b"\0", "it is damaged"),
        (lambda good: good[:8] + b"\xff\xff\xff\xff" + good[12:], "it is damaged"),
        (lambda good: good[:8] + b"\x1c\0\0\0" + seal(b"", "not entries"), "Expected `array`, got `str`"),
    ],
    ids=["cut", "all but gone", "without an end", "changed", "longer", "of a vast batch", "of another shape"],
)
def test_a_damaged_index_is_made_again(
    store: Store, blobs: Blobs, content: Callable[[bytes], bytes], reason: str
) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    path = Path(store.index(layer.diff_id))
    before = path.read_bytes()
    path.write_bytes(content(before))
    with pytest.raises(LayerError) as caught:
        list(store.entries(layer.diff_id))
    assert str(caught.value) == (
        f"{path}: the index of layer {layer.diff_id.short} cannot be used: {reason}; run: doit verify --repair"
    )
    store.mend_index(layer)
    assert path.read_bytes() == before


def test_index_is_the_same_every_time(store: Store, blobs: Blobs, tmp_path: Path) -> None:
    layer = blobs.layer()
    store.ensure([layer])
    other = Store(str(tmp_path / "other"))
    other.ensure([blobs.layer(TAR, "zstd")])
    assert Path(store.index(layer.diff_id)).read_bytes() == Path(other.index(layer.diff_id)).read_bytes()


@pytest.mark.parametrize("umask", [0, 0o077])
def test_modes_whatever_the_umask(store: Store, blobs: Blobs, umask: int) -> None:
    layer = blobs.layer()
    before = os.umask(umask)
    try:
        store.ensure([layer])
    finally:
        os.umask(before)
    paths = [path for path in Path(store.root).rglob("*") if path.is_file()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o644] * 4


def test_read(store: Store, blobs: Blobs) -> None:
    content = headers.archive(headers.file(b"f", b"0123456789"))
    layer = blobs.layer(content)
    store.ensure([layer])
    (entry,) = store.entries(layer.diff_id)
    assert read_content(store.tar(layer.diff_id), entry.offset, 10, None) == b"0123456789"
    assert read_content(store.tar(layer.diff_id), entry.offset, 8, pack([(1, 2), (5, 3)])) == b"\x0001\0\x00234"
    assert read_content(store.tar(layer.diff_id), entry.offset, 3, b"") == bytes(3)
    os.truncate(store.tar(layer.diff_id), entry.offset + 9)
    with pytest.raises(OSError, match="the layer's tar in the cache is too short"):
        read_content(store.tar(layer.diff_id), entry.offset, 10, None)
