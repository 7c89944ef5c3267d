"""Broken inputs, end to end through `doit`: what the user is told, and that nothing else suffers."""

# ruff: noqa: E501 (the lines are data)

from __future__ import annotations

import bz2
import json
import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from zstandard import ZstdCompressor

from c2wtasks.bundlefile.load import load
from tests.graph.broken import (
    BASE,
    Blob,
    Maker,
    archive,
    docker,
    entry,
    flip,
    image,
    layer,
    layout,
    listed,
    made_by,
    nothing,
    replace,
)
from tests.graph.catalogs import write_catalog
from tests.graph.outcomes import check_clean, read_catalog, states, temporary_files
from tests.support.headers import GNU, file, folder, hardlink, header, pax, symlink
from tests.support.images import OCI, Fifo, Layer, Layout, Symlink, compress, digest_of
from tests.support.running import Result, executed, run_doit

MANIFEST = f"{OCI}.manifest.v1+json"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
ENCRYPTED = f"{OCI}.layer.v1.tar+gzip+encrypted"
BYTES = bytes(range(256)) * 8
ANSI = "\x1b[31m\n"
COPY = "copy the image again"
COPY_ALL = "copy the image again, with all its blobs"
REBUILD = "the blob's digest is right, so the image was built wrong: build it again"
ADD_USER = "set process.user in bundle.yaml, or add the entry to the image"
MEND_FILE = "build the image again with a proper one"


@dataclass(frozen=True)
class Row:
    """A broken image. `line` is what the run says of it after its bundle's name; what stands in braces there is of
    `make`'s giving. It lies at the place `name`, where `settings` have no other source."""

    name: str
    what: str
    make: Maker
    line: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def entry(self) -> dict[str, Any]:
        transport = {".tar": "oci-archive", ".save": "docker-archive"}.get(Path(self.name).suffix, "oci")
        return {"source": f"{transport}:{self.name}", **self.settings}


def gzip(content: bytes) -> bytes:
    return compress(content, "gzip")


def zstd(content: bytes) -> bytes:
    return compress(content, "zstd")


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def text(name: str, content: str) -> Callable[[Any], object]:
    return lambda made: (made.layout.folder / name).write_text(content)


ROWS = [
    # -- image layouts
    Row("absent", "no such folder", nothing, "absent does not exist; put it there, or mend the source of absent ({place})"),
    Row("colon", "a colon in the path", nothing, "colon does not exist; a path ends at the first colon; what follows, 'v1/web', was taken as the tag ({place})", {"source": "oci:colon:v1/web"}),
    Row("loop", "a link to itself", made_by(lambda path: path.symlink_to(path.name)), "cannot read loop: Too many levels of symbolic links"),
    Row("a-file", "a file, not a folder", made_by(lambda path: path.write_text("x")), "a-file is a file, so it is not an image layout"),
    Row("a-docker-folder", "the folder of a docker archive", docker(packed=False), "a-docker-folder has no index.json: it is a docker archive; use docker-archive:a-docker-folder"),
    Row("no-index", "index.json is missing", layout(lambda made: (made.layout.folder / "index.json").unlink()), "no-index has no index.json, so it is not an image layout"),
    Row("index-cut", "index.json ends too early", layout(text("index.json", '{"manifests": [')), "index-cut: index.json is not JSON: Expecting value: line 1 column 16 (char 15)"),
    Row("index-type", "index.json holds other things", layout(text("index.json", '{"manifests": {}}')), "index-type: index.json: manifests: expected an array, found an object"),
    Row("index-deep", "index.json nested without end", layout(text("index.json", "[" * 100_000)), "index-deep: index.json: nested too deeply"),
    Row("index-empty", "index.json lists nothing", made_by(Layout), "index-empty holds no image at all; copy one into it"),
    Row("later-layout", "a later version of layouts", layout(text("oci-layout", '{"imageLayoutVersion": "2.0.0"}')), "later-layout: oci-layout says version 2.0.0; only 1.x is supported"),
    Row("bad-digest", "a digest that is none", listed(b"{}", MANIFEST, digest="sha256:../../x"), "bad-digest: index.json: manifests[0].digest: 'sha256:../../x' is not a digest (algorithm:hex)"),
    Row("md5", "a digest of an unsafe kind", listed(b"{}", MANIFEST, digest="md5:" + "0" * 32), "md5 holds no container image: md5:000000000000: digest algorithm 'md5' is not supported (sha256 and sha512 are)"),
    Row("no-tag", "a tag that is not there, among odd ones", layout(tag=f"v1{ANSI}"), "no-tag has no tag 'v2'; there are: v1\\x1b[31m\\n", {"source": "oci:no-tag:v2"}),
    Row("two-tags", "two images, and no tag asked for", layout(lambda made: made.layout.image({"a": "b"}, tag="v2", compression="none"), tag="v1"), "two-tags holds several images that fit: v1 (linux/amd64, {manifest}, created 2024-01-02T03:04:05Z), v2 (linux/amd64, sha256:fd042a280859, created 2024-01-02T03:04:05Z); name one of them, such as oci:two-tags:v1"),
    Row("arm", "an image for another platform", layout(platform="linux/arm64"), "arm: the image is for linux/arm64, linux/amd64 was asked for; ask for linux/arm64, or copy the image for linux/amd64"),
    Row("arms", "images for other platforms", layout(lambda made: made.layout.image(BASE, platform="linux/s390x"), platform="linux/arm64"), "arms: no image for linux/amd64; there are: linux/arm64, linux/s390x; ask for one of these, or copy the image with all its platforms"),
    Row("claims-amd64", "config and index disagree on the platform", layout(platform="linux/arm64", described="linux/amd64"), "claims-amd64: manifest {manifest} is for linux/amd64 by the index that lists it, for linux/arm64 by its own config; both must serve linux/amd64, which was asked for; build it again so that both agree; or take it for what its config says: oci:claims-amd64:@{manifest_now} for linux/arm64"),
    Row("no-architecture", "a config without architecture", layout(platform="linux"), "no-architecture: the image's config names no architecture, linux/amd64 was asked for; build it again with one that does"),
    Row("media-type", "a manifest of an unknown type", listed(b"{}", f"application/x{ANSI}"), "media-type holds no container image: {blob} has an unsupported media type (application/x\\x1b[31m\\n)"),
    Row("schema-1", "a schema 1 manifest, by its type", listed(b"{}", SCHEMA_1), "schema-1 holds no container image: manifest {blob} is of Docker schema 1, which is not supported; push the image again with a newer docker"),
    Row("schema-1-inside", "a schema 1 manifest, by its content", layout(manifest={"schemaVersion": 1}), "schema-1-inside: manifest {manifest}: a Docker schema 1 manifest, which is not supported; push the image again"),
    Row("no-manifest", "the manifest's blob is missing", layout(lambda made: made.manifest.unlink()), f"no-manifest: manifest {{manifest}} is not in the layout; {COPY_ALL}"),
    Row("manifest-flipped", "the manifest is damaged", layout(lambda made: made.manifest.write_bytes(made.manifest.read_bytes().replace(b"config", b"conFig", 1)), config={"author": "flipped"}), "manifest-flipped: manifest {manifest} has another digest: its content is {manifest_now:.19}; the blob is damaged; " + COPY),
    Row("manifest-cut", "the manifest is cut off", layout(lambda made: os.truncate(made.manifest, 10)), f"manifest-cut: manifest {{manifest}} is 10 bytes, its descriptor says 401; the blob is damaged; {COPY}"),
    Row("manifest-text", "the manifest is no JSON", listed(b"<html>", MANIFEST), "manifest-text: manifest {blob} is an HTML page, not the file itself; download it again"),
    Row("no-config", "the config's blob is missing", layout(lambda made: made.config.unlink()), f"no-config: config {{config}} is not in the layout; {COPY_ALL}"),
    Row("config-time", "a time that is none in the config", layout(config={"created": f"now{ANSI}"}), "config-time: config {config}: created: 'now\\x1b[31m\\n' is not a time (RFC 3339)"),
    Row("config-env", "wrong types in the config", layout(env="A=b"), "config-env: config {config}: Env: expected an array, found a string"),
    Row("artifact", "a config of something else than an image", layout(config_type="application/vnd.oci.empty.v1+json"), "artifact holds no container image: manifest {manifest} has a config of type application/vnd.oci.empty.v1+json"),
    Row("few-diff-ids", "fewer diffIDs than layers", layout(lambda _: None, BASE, {"x": "y"}, config={"rootfs": {"type": "layers", "diff_ids": [digest_of(b"")]}}), "few-diff-ids: manifest {manifest} has 2 layers, its config has diffIDs of 1; the image is damaged; build or copy it again"),
    Row("bad-diff-id", "a diffID that is none", layout(config={"rootfs": {"type": "layers", "diff_ids": ["x"]}}), "bad-diff-id: config {config}: rootfs.diff_ids[0]: 'x' is not a digest (algorithm:hex)"),
    Row("encrypted", "an encrypted layer", layout(lambda _: None, Layer(b"x", "gzip", ENCRYPTED)), f"encrypted: layer {{layer}} is encrypted ({ENCRYPTED}), which is not supported; decrypt the image first"),
    Row("no-layer", "a layer's blob is missing", layout(lambda made: made.layer.unlink()), f"no-layer: layer {{layer}} is not in the layout; {COPY_ALL}"),
    Row("layer-cut", "a layer's blob is cut off", layout(lambda made: os.truncate(made.layer, 5), Blob(b"", raw=b"0123456789")), f"layer-cut: layer {{layer}} is 5 bytes, its descriptor says 10; the blob is damaged; {COPY}"),
    Row("window", "a zstd window beyond what is read", layout(lambda _: None, Blob(b"", raw=bytes.fromhex("28b52ffd 00 a0 010000"))), "layer {layer}: its zstd data has a window of 1073741824 bytes, and 536870912 are read at most; build the image again with a smaller one, as zstd has it without --long and --ultra"),
    Row("layer-fifo", "a layer's blob is a FIFO", layout(lambda made: replace(made.layer, os.mkfifo)), "layer-fifo/blobs/sha256/{hex} is a FIFO, not a regular file"),
    # -- archives
    Row("absent.tar", "no such file", nothing, "absent.tar does not exist; put it there, or mend the source of absent.tar ({place})"),
    Row("folder.tar", "a folder, not a file", layout(), "folder.tar is a folder: it is an image layout; use oci:folder.tar"),
    Row("cut.tar", "ends inside an entry", archive(lambda content: content[:1100]), "cut.tar ends inside the entry at offset 512, which has 240 bytes; it is truncated"),
    Row("cut-header.tar", "ends inside a header", archive(lambda content: content[:2600]), "cut-header.tar ends inside the header at offset 2560; it is truncated"),
    Row("flipped.tar", "a damaged header", archive(lambda content: flipped(content, 1536)), "flipped.tar is damaged: the header at offset 1536 has a wrong checksum"),
    Row("empty.tar", "an empty file", archive(lambda _: b""), "empty.tar is too short for a tar archive"),
    Row("text.tar", "a text file", archive(lambda _: b"hello\n" * 100), "text.tar is not a tar archive"),
    Row("gzip.tar", "compressed, and cut", archive(lambda content: gzip(content)[:200]), "cannot read gzip.tar: the gzip data ends too early"),
    Row("zstd.tar", "compressed, and no tar", archive(lambda _: zstd(b"hello" * 500)), "zstd.tar is not a tar archive"),
    Row("pointer.tar", "a Git LFS pointer", archive(lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "pointer.tar is a Git LFS pointer, not the file itself; fetch it: git lfs pull"),
    Row("wrapped.tar", "packed one folder too high", archive(prefix="web/"), "wrapped.tar has index.json not at its top but in web/; unpack it: tar -xf wrapped.tar; then use oci:web"),
    Row("oci.save", "an archive of a layout", archive(), "oci.save has no manifest.json: it is a tar of an image layout; use oci-archive:oci.save"),
    Row("fifo.save", "a FIFO", made_by(os.mkfifo), "fifo.save is a FIFO, not a regular file"),
    Row("outside.save", "a layer's name leads out of it", docker(entry(Layers=["../../etc/passwd"])), "outside.save: the file '../../etc/passwd' lies outside of the archive"),
    Row("link-out.save", "a layer is a link out of it", docker(lambda saved: replace(saved.folder / saved.entries[0]["Layers"][0], lambda path: path.symlink_to("/etc/passwd"))), "link-out.save: the file '{layer}' is a link to '/etc/passwd', outside of the archive"),
    Row("link-out-folder.save", "the same, unpacked", docker(lambda saved: replace(saved.folder / saved.entries[0]["Layers"][0], lambda path: path.symlink_to("/etc/passwd")), packed=False), "link-out-folder.save: the file '{layer}' lies outside of this folder"),
    Row("no-layer.save", "a layer is missing, of an odd name", docker(entry(Layers=[f"gone{ANSI}/layer.tar"])), "no-layer.save: layer 'gone\\x1b[31m\\n/layer.tar' is not there; the copy is incomplete; docker save it again"),
    Row("no-config.save", "the config is missing", docker(entry(Config="gone.json")), "no-config.save: config 'gone.json' is not there; the copy is incomplete; docker save it again"),
    Row("manifest.save", "manifest.json is no JSON", docker(lambda saved: (saved.folder / "manifest.json").write_text("[")), "manifest.save: manifest.json is not JSON: Expecting value: line 1 column 2 (char 1)"),
    Row("no-layers.save", "fewer layers than diffIDs", docker(entry(Layers=[])), "no-layers.save: the image of config '{config}' has 0 layers, its config has diffIDs of 1; the image is damaged; build or copy it again"),
    Row("riscv.save", "for another platform", docker(platform="linux/riscv64"), "riscv.save: the image is for linux/riscv64, linux/amd64 was asked for; ask for linux/riscv64, or copy the image for linux/amd64"),
    Row("no-name.save", "a name that is not there", docker(), "no-name.save has no image 'web:v2'; there are: web:latest", {"source": "docker-archive:no-name.save:web:v2"}),
    Row("layer.save", "a damaged layer without digest", docker(lambda saved: flip(saved.folder / saved.entries[0]["Layers"][0], 520)), "layer diffID {short}: uncompressed it is {layer_now}, the image config says {diff_id}; layer.save is damaged, or the image was built wrong: fetch or build it again"),
    Row("blob.save", "a damaged layer with a digest", docker(lambda saved: flip(saved.folder / saved.entries[0]["Layers"][0], 520), style="new"), "layer {short}: the blob in blob.save is damaged: its digest is {layer_now}, not {diff_id}; fetch the image again"),
    # -- blobs of layers
    Row("blob-flipped", "a byte of a blob changed", layout(lambda made: flip(made.layer), {"only": "here"}), "layer {layer}: the blob in blob-flipped/blobs/sha256/{hex} is damaged: its digest is {layer_now}, not {digest}; fetch the image again"),
    Row("gzip-cut", "gzip data cut off, its digest right", layer(file(b"a", b"1"), raw=lambda tar: gzip(tar)[:-9]), f"layer {{layer}}: the gzip data ends too early; {REBUILD}"),
    Row("gzip-flipped", "gzip data damaged", layer(file(b"a", BYTES), raw=lambda tar: flipped(gzip(tar), -5)), f"layer {{layer}}: the gzip data is damaged: Incorrect checksum found; {REBUILD}"),
    Row("gzip-more", "gzip data, and then something else", layer(file(b"a", b"3"), raw=lambda tar: gzip(tar) + b"else"), f"layer {{layer}}: the gzip data is followed by something else; {REBUILD}"),
    Row("zstd-cut", "zstd data cut off", layer(file(b"a", b"4"), raw=lambda tar: zstd(tar)[:-5]), f"layer {{layer}}: the zstd data ends too early; {REBUILD}"),
    Row("zstd-flipped", "zstd data damaged", layer(file(b"a", BYTES), raw=lambda tar: flipped(ZstdCompressor(write_checksum=True).compress(tar), -1)), f"layer {{layer}}: the zstd data is damaged: Restored data doesn't match checksum; {REBUILD}"),
    Row("zstd-more", "zstd data, and then something else", layer(file(b"a", b"5"), raw=lambda tar: zstd(tar) + b"else"), f"layer {{layer}}: the zstd data is followed by something else; {REBUILD}"),
    Row("bzip2", "another compression", layer(file(b"a", b"6"), raw=bz2.compress), "layer {layer}: its blob is bzip2 data, and layers are gzip, zstd or not compressed; build the image again with one of these"),
    Row("page", "an HTML page that its digest names", layer(file(b"a", b"9"), raw=lambda _: b"<!DOCTYPE html><p>"), "layer {layer} is an HTML page, not the file itself; download it again"),
    Row("xz", "another compression", layer(file(b"a", b"7"), raw=lzma.compress), "layer {layer}: its blob is xz data, and layers are gzip, zstd or not compressed; build the image again with one of these"),
    Row("diff-id", "a diffID that is another layer's", layout(lambda _: None, {"a": "8"}, config={"rootfs": {"type": "layers", "diff_ids": [Layer.of(BASE, "none").diff_id]}}), f"layer {{layer}}: uncompressed it is {Layer.of({'a': '8'}, 'none').diff_id}, the image config says {{diff_id}}; {REBUILD}"),
    Row("diff-id-of-good", "a wrong diffID for a blob that is good elsewhere", layout(config={"rootfs": {"type": "layers", "diff_ids": [digest_of(b"")]}}), f"layer {{layer}}: uncompressed it is {Layer.of(BASE, 'none').diff_id}, the image config says {{diff_id}}; {REBUILD}"),
    # -- tars in layers
    Row("html", "no tar at all", layout(lambda _: None, Layer(b"<html>" * 100)), f"layer {{layer}}: no tar header at offset 0: b'l><html>' is not an octal number; {REBUILD}"),
    Row("tar-cut", "ends inside a file", layer(header(b"a\x1b", size=5000), b"x" * 600, end=b""), f"layer {{layer}}: the tar ends inside the content at offset 512 (entry 'a\\x1b'): 600 of 5000 bytes; {REBUILD}"),
    Row("tar-cut-header", "ends inside a header", layer(file(b"a", b"hi"), b"x" * 100, end=b""), f"layer {{layer}}: the tar ends inside the header at offset 1024; {REBUILD}"),
    Row("tar-checksum", "a wrong checksum", layer(file(b"a"), header(b"b", checksum=b"000001")), f"layer {{layer}}: no tar header at offset 512: its checksum is 1, the block's is 3807; {REBUILD}"),
    Row("tar-octal", "a size that is no number", layer(header(b"a", size=b"zzz")), f"layer {{layer}}: no tar header at offset 0: b'zzz\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00' is not an octal number; {REBUILD}"),
    Row("tar-negative", "a size below 0", layer(header(b"a", size=b"\xff" * 12)), f"layer {{layer}}: negative size at offset 0 (entry 'a'); {REBUILD}"),
    Row("tar-zeros", "one block of zeros, and more", layer(file(b"a"), bytes(512), file(b"b"), end=b""), f"layer {{layer}}: a zero block at offset 512 is not followed by another; {REBUILD}"),
    Row("pax-garbage", "an extended header of garbage", layer(pax(b"garbage"), header(b"a")), f"layer {{layer}}: malformed PAX record in the extended header at offset 0; {REBUILD}"),
    Row("pax-huge", "an extended header of 2 MiB", layer(header(b"x", b"x", size=2 << 20), bytes(2 << 20)), f"layer {{layer}}: extended header of 2097152 bytes at offset 0 (at most 1048576); {REBUILD}"),
    Row("pax-time", "a time that is none", layer(pax([(b"mtime", b"soon\x1b")]), header(b"a")), f"layer {{layer}}: PAX record mtime has the value b'soon\\x1b' at offset 1024 (entry 'a'); {REBUILD}"),
    Row("pax-sparse", "a map of half a fragment", layer(pax([(b"GNU.sparse.major", b"0"), (b"GNU.sparse.minor", b"1"), (b"GNU.sparse.map", b"0,5,1")]), header(b"a")), f"layer {{layer}}: malformed sparse map at offset 0 (entry 'a'); {REBUILD}"),
    # -- entries that cannot be applied
    Row("old-sparse", "an old-GNU sparse file", layer(header(b"a", b"S", magic=GNU)), "layer {layer}: entry 'a': an old-GNU sparse file, which container runtimes refuse; build the image again"),
    Row("unknown-type", "an entry of unknown type, of an odd name", layer(header(b"a\x1b[31m\n\xe2\x80\xae", b"D")), "layer {layer}: entry 'a\\x1b[31m\\n\\u202e': of type 0x44, which container runtimes refuse; build the image again"),
    Row("link-to-nothing", "a hard link to nothing", layer(hardlink(b"bin/a", b"bin/gone")), "layer {layer}: entry 'bin/a': its hard link target 'bin/gone' does not exist; build the image again"),
    Row("link-out", "a hard link to outside", layer(hardlink(b"a", b"../../etc/shadow")), "layer {layer}: entry 'a': its hard link target '../../etc/shadow' does not exist; build the image again"),
    Row("link-to-folder", "a hard link to a folder", layer(hardlink(b"bin/a", b"etc")), "layer {layer}: entry 'bin/a': its hard link target 'etc' is a directory; build the image again"),
    Row("symlink-to-empty", "a symlink without target", layer(symlink(b"a", b"")), "layer {layer}: entry 'a': a symlink without a target; build the image again"),
    Row("whiteout-dot", "a whiteout of the folder itself", layer(file(b"etc/.wh..")), "layer {layer}: entry 'etc/.wh..': invalid whiteout name; build the image again"),
    Row("whiteout-dots", "a whiteout of the folder above", layer(file(b"etc/.wh...")), "layer {layer}: entry 'etc/.wh...': invalid whiteout name; build the image again"),
    Row("parent-file", "below a file", layer(file(b"bin/sh/x")), "layer {layer}: entry 'bin/sh/x': its parent 'bin/sh': Not a directory; build the image again"),
    Row("parent-loop", "below a circle of symlinks", layer(symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x")), "layer {layer}: entry 'a/x': its parent 'a': Too many levels of symbolic links; build the image again"),
    Row("long-name", "a name of 300 bytes", layer(file(b"n" * 300)), f"layer {{layer}}: entry '{'n' * 300}': File name too long; build the image again"),
    Row("removed-folder", "a folder that the layer removes again", layer(folder(b"d/"), file(b".wh.d")), "layer {layer}: entry 'd': the directory is removed again by the same layer (No such file or directory); build the image again"),
    Row("capability", "a malformed file capability", layer(file(b"a", xattrs={b"security.capability": b"x"})), "layer {layer}: entry 'a': xattr 'security.capability' is malformed; build the image again"),
    # -- users
    Row("user", "an unknown user", layout(user="app"), f"user 'app': unable to find user app: /etc/passwd has no such entry; {ADD_USER}"),
    Row("user-set", "an unknown user, of bundle.yaml", layout(), f"user 'app': unable to find user app: /etc/passwd has no such entry; {ADD_USER}", {"process": {"user": "app"}}),
    Row("user-odd", "an unknown user of an odd name", layout(user=ANSI), f"user '\\x1b[31m\\n': unable to find user \\x1b[31m\\n: /etc/passwd has no such entry; {ADD_USER}"),
    Row("group", "an unknown group", layout(user="root:staff"), f"user 'root:staff': unable to find group staff: /etc/group has no such entry; {ADD_USER}"),
    Row("user-number", "a number beyond 31 bits", layout(user="4294967296"), f"user '4294967296': uids and gids must be in range 0-2147483647; {ADD_USER}"),
    Row("no-passwd", "a name, and no passwd", layout(lambda _: None, {"a": "b"}, user="app"), f"user 'app': unable to find user app: the image has no /etc/passwd; {ADD_USER}"),
    Row("passwd-folder", "passwd is a folder", layout(lambda _: None, {"etc/passwd/": None}, user="app"), f"user 'app': /etc/passwd is not a regular file in this image; {MEND_FILE}"),
    Row("passwd-fifo", "passwd is a FIFO", layout(lambda _: None, {"etc/passwd": Fifo()}, user="app"), f"user 'app': /etc/passwd is not a regular file in this image; {MEND_FILE}"),
    Row("passwd-loop", "passwd is a link to itself", layout(lambda _: None, {"etc/passwd": Symlink("passwd")}, user="app"), f"user 'app': /etc/passwd cannot be reached in this image: Too many levels of symbolic links; {MEND_FILE}"),
    Row("etc-file", "etc is a file", layout(lambda _: None, {"etc": "x"}, user="app"), f"user 'app': /etc/passwd cannot be reached in this image: Not a directory; {MEND_FILE}"),
    Row("passwd-line", "a line of passwd has 70,000 bytes", layout(lambda _: None, {"etc/passwd": "x" * 70_000}, user="app"), "/etc/passwd: a line is longer than 64 KiB"),
]  # fmt: skip


@dataclass(frozen=True)
class Night:
    """The catalog of all rows and a good image, run twice."""

    folder: Path
    lines: dict[str, str]  # expected, by row
    runs: list[Result]
    catalogs: list[dict[str, Any]]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    folder = tmp_path_factory.mktemp("night")
    image(folder / "good")
    write_catalog(folder, {"good": "oci:good"} | {row.name: row.entry for row in ROWS})
    loaded = load(str(folder / "bundle.yaml")).bundles
    places = {one.name: f"bundle.yaml:{one.position.line}:{one.position.column}" for one in loaded}
    lines = {}
    for row in ROWS:
        facts = {"place": places[row.name], **row.make(folder / row.name)}
        lines[row.name] = f"{row.name}@linux/amd64: {row.line.format_map(facts)}"
    runs, catalogs = [], []
    for options in ([], ["-n", "2"]):
        runs.append(run_doit(folder, *options))
        catalogs.append(read_catalog(folder))
    return Night(folder, lines, runs, catalogs)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_broken_image(night: Night, row: Row) -> None:
    begin = f"{row.name}@linux/amd64: "
    for run, catalog in zip(night.runs, night.catalogs, strict=True):
        said = [line for line in run.stderr.splitlines() if line.startswith(begin)]
        assert said == [night.lines[row.name]]
        assert catalog[row.name]["status"] == "failed"
        assert f"{begin}{catalog[row.name]['error']}" == night.lines[row.name]
        assert "bundle" not in catalog[row.name]
    assert not (night.folder / "bundles" / row.name).exists()


def test_all_that_is_said(night: Night) -> None:
    check_clean(*night.runs)
    for run, catalog in zip(night.runs, night.catalogs, strict=True):
        assert run.exit == 1
        assert sorted(run.stderr.splitlines()) == sorted(night.lines.values())
        assert set(catalog) == {"good", *night.lines}
    assert len(ROWS) >= 45


def test_the_good_bundle_beside_them(night: Night) -> None:
    published = night.folder / "bundles/good/linux-amd64"
    assert (published / "rootfs/bin/sh").read_text() == "#!"
    assert {path.name for path in published.iterdir()} == {
        "rootfs", "image.json", "spec.json", "initconfig.json", "packages.json", "bundle.json", "SHA256SUMS"
    }  # fmt: skip
    for catalog in night.catalogs:
        assert catalog["good"]["status"] == "built"
    assert night.catalogs[0] == night.catalogs[1]


def test_nothing_is_left_lying_about(night: Night) -> None:
    assert temporary_files(night.folder) == []


def test_the_graph_of_broken_images_can_be_looked_at(night: Night) -> None:
    listed_tasks = run_doit(night.folder, "list", "--all")
    info = run_doit(night.folder, "info", "bundle:no-tag@linux/amd64")
    assert (listed_tasks.exit, info.exit) == (0, 1)  # 1: it is not up to date
    check_clean(listed_tasks, info)
    assert all(f"bundle:{name}@linux/amd64" in listed_tasks.stdout for name in night.lines)


def test_the_report_for_programs(night: Night) -> None:
    run = run_doit(night.folder, "-r", "json")
    result = {task["name"]: task["result"] for task in json.loads(run.stdout)["tasks"]}
    assert result["bundle:good@linux/amd64"] == "up-to-date"
    assert {result[f"bundle:{name}@linux/amd64"] for name in night.lines} == {"fail"}
    assert sorted(run.stderr.splitlines()) == sorted(night.lines.values())
    assert "Traceback" not in run.stdout


def test_a_line_without_end(tmp_path: Path) -> None:
    image(tmp_path / "long", user=f"{ANSI}{'x' * 5000}")
    write_catalog(tmp_path, {"long": "oci:long"})
    run = run_doit(tmp_path)
    (line,) = run.stderr.splitlines()
    assert line.startswith("long@linux/amd64: user '\\x1b[31m\\nxxx")
    assert line.endswith(f"xxx: /etc/passwd has no such entry; {ADD_USER}")
    assert len(line) <= 2000
    check_clean(run)


# A bad copy of a blob fails only the bundles that name it.


@pytest.mark.parametrize("order", [("bad", "good"), ("good", "bad")])
def test_a_bad_copy_of_a_blob(tmp_path: Path, order: tuple[str, str]) -> None:
    """In the order of bundle.yaml, and in that of names: the bad one is first or last in both."""
    names = dict(zip(order, ("a", "b"), strict=True))
    made = {which: image(tmp_path / name) for which, name in names.items()}
    flip(made["bad"].layer, 30)
    write_catalog(tmp_path, {names[which]: f"oci:{names[which]}" for which in order})
    facts = made["bad"].facts()
    bad = names["bad"]
    for run in (run_doit(tmp_path), run_doit(tmp_path, "-n", "2")):
        assert run.exit == 1
        assert run.stderr == (
            f"{bad}@linux/amd64: layer {facts['layer']}: the blob in {bad}/blobs/sha256/{facts['hex']} is damaged: "
            "another copy of it is good, this one differs; fetch the image again\n"
        )
        check_clean(run)
        assert states(tmp_path) == {names["good"]: "built", bad: "failed"}
    assert (tmp_path / "bundles" / names["good"] / "linux-amd64/rootfs/bin/sh").exists()
    assert not (tmp_path / "bundles" / bad).exists()
    shutil.copy(made["good"].layer, made["bad"].layer)
    assert f"bundle:{bad}@linux/amd64" in executed(tmp_path)
    assert set(states(tmp_path).values()) == {"built"}


def test_two_bad_copies_of_a_blob(tmp_path: Path) -> None:
    for name in ("a", "b"):
        flip(image(tmp_path / name).layer, 30)
    image(tmp_path / "c", {"c": "c"})
    write_catalog(tmp_path, {name: f"oci:{name}" for name in "abc"})
    run = run_doit(tmp_path)
    assert [line.partition(": the blob in ")[0].partition(" ")[0] for line in run.stderr.splitlines()] == [
        "a@linux/amd64:", "b@linux/amd64:"
    ]  # fmt: skip
    assert states(tmp_path) == {"a": "failed", "b": "failed", "c": "built"}


def test_a_wrong_diff_id_for_a_blob_that_was_read_before(tmp_path: Path) -> None:
    """The receipt tells it, whether or not the image of the right one is still in the catalog."""
    image(tmp_path / "good")
    wrong = image(tmp_path / "wrong", BASE, config={"rootfs": {"type": "layers", "diff_ids": [digest_of(b"")]}})
    both = {"good": "oci:good", "wrong": "oci:wrong"}
    for images in ({"good": "oci:good"}, {"wrong": "oci:wrong"}, both, both):
        write_catalog(tmp_path, images)
        run = run_doit(tmp_path)
        check_clean(run)
        gone = "note: bundles has what bundle.yaml no longer has (good@linux/amd64): doit prune removes it\n"
        assert run.stderr.replace(gone, "") == (
            ""
            if "wrong" not in images
            else f"wrong@linux/amd64: layer {wrong.facts()['layer']}: uncompressed it is {Layer.of(BASE, 'none').diff_id}, "
            f"the image config says {digest_of(b'')}; {REBUILD}\n"
        )
        assert states(tmp_path) == {name: {"good": "built", "wrong": "failed"}[name] for name in images}


# Last night's bundle of an image that breaks.


def breaks(folder: Path, kind: str) -> tuple[dict[str, Any], str]:
    """Breaks an image that was good. Gives its entry in bundle.yaml, and what is said."""
    path = folder / kind
    if kind == "source":
        (path / "index.json").write_text("{")
        return {}, "source: index.json is not JSON"
    if kind == "user":
        return {"process": {"user": "app"}}, "user 'app': unable to find user app"
    shutil.rmtree(path)
    if kind == "blob":
        made = image(path, BASE, {"new": "tonight"})
        flip(made.layer)
        return {}, f"layer {made.facts()['layer']}: the blob in blob/blobs/sha256/{made.facts()['hex']} is damaged"
    facts = layer(hardlink(b"a", b"gone"))(path)
    return {}, f"layer {facts['layer']}: entry 'a': its hard link target 'gone' does not exist"


def test_last_nights_bundle_stays(tmp_path: Path) -> None:
    kinds = ["applying", "blob", "source", "user"]
    for name in [*kinds, "well"]:
        image(tmp_path / name)
    images: dict[str, Any] = {name: {"source": f"oci:{name}"} for name in [*kinds, "well"]}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path).exit == 0
    last_night, records = snapshot(tmp_path, kinds), read_catalog(tmp_path)
    shutil.copytree(
        tmp_path, tmp_path / "kept", symlinks=True, ignore=shutil.ignore_patterns("bundles", "cache", ".doit*")
    )

    settings, said = {}, {}
    for kind in kinds:
        settings[kind], said[kind] = breaks(tmp_path, kind)
    write_catalog(tmp_path, {name: one | settings.get(name, {}) for name, one in images.items()})
    for run in (run_doit(tmp_path), run_doit(tmp_path)):
        assert run.exit == 1
        check_clean(run)
        lines = run.stderr.splitlines()
        assert len(lines) == len(kinds)
        for kind, line in zip(kinds, lines, strict=True):
            assert line.startswith(f"{kind}@linux/amd64: {said[kind]}")
            found = read_catalog(tmp_path)[kind]
            assert (found["status"], found["bundle"]) == ("failed", records[kind]["bundle"])
            assert line == f"{kind}@linux/amd64: {found['error']}"
        assert states(tmp_path)["well"] == "built"
        assert snapshot(tmp_path, kinds) == last_night
        assert temporary_files(tmp_path) == []

    # A run that leaves them out does not forget that they failed.
    assert run_doit(tmp_path, "well").exit == 0
    assert states(tmp_path) == dict.fromkeys(kinds, "failed") | {"well": "built"}

    # Mended: the same image again, or another.
    for kind in ("blob", "applying"):
        shutil.rmtree(tmp_path / kind)
        image(tmp_path / kind, BASE, {"new": "mended"})
    shutil.copy(tmp_path / "kept/source/index.json", tmp_path / "source/index.json")
    write_catalog(tmp_path, images)
    run = run_doit(tmp_path, *kinds)  # by name: the catalog is written all the same
    assert (run.exit, run.stderr) == (0, "")
    assert set(states(tmp_path).values()) == {"built"}
    assert all("error" not in line for line in read_catalog(tmp_path).values())
    assert (tmp_path / "bundles/applying/linux-amd64/rootfs/new").read_text() == "mended"
    assert run_doit(tmp_path).exit == 0
    assert executed(tmp_path) == set()


def snapshot(folder: Path, names: list[str]) -> dict[str, tuple[object, ...]]:
    """All that is published under these names: content, and what stat says but for the time of reading."""

    def entries() -> Iterator[tuple[str, tuple[object, ...]]]:
        for name in names:
            top = folder / "bundles" / name
            for path in [top, *sorted(top.rglob("*"))]:
                found = path.lstat()
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                yield str(path.relative_to(folder)), (*found[:4], *found[4:7], found.st_mtime_ns, content)

    return dict(entries())
