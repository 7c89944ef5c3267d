"""Broken catalogs of several files, and bundle files that are no proper files."""

# ruff: noqa: E501 (the lines are data)

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.position import Position
from c2wtasks.bundlefile.problems import BundleFileError
from c2wtasks.errors import UserError

IMAGES = "images: {a: 'oci:a'}\n"

# what is wrong, the files, the lines
SEVERAL_FILES: list[tuple[str, dict[str, str | bytes], list[str]]] = [
    (
        "all mistakes of all files",
        {
            "bundle.yaml": "include: [teams/*/bundle.yaml]\nimages: {a: 'oci:a', b: }\n",
            "teams/1/bundle.yaml": "images: {a: [\n",
            "teams/2/bundle.yaml": "profil: v0.8\nimages: {c: }\n",
            "teams/3/bundle.yaml": "",
        },
        [
            "bundle.yaml:2:25: images.b: expected a source such as oci:DIR, or a mapping, found nothing (null)",
            "teams/1/bundle.yaml:2:1: not YAML: did not find expected node content",
            "teams/2/bundle.yaml:1:1: profil: unknown key; did you mean 'profile'?",
            "teams/2/bundle.yaml:2:13: images.c: expected a source such as oci:DIR, or a mapping, found nothing (null)",
            "teams/3/bundle.yaml:1:1: the file is empty; name at least one image under 'images'",
        ],
    ),
    (
        "one name in two files",
        {"bundle.yaml": "include: [b.yaml]\n" + IMAGES, "b.yaml": "images:\n  a: oci:b\n"},
        ["b.yaml:2:3: images.a: the name is also used at bundle.yaml:2:10; choose another name"],
    ),
    (
        "keys of the main file",
        {
            "bundle.yaml": "include: [b.yaml]\n",
            "b.yaml": "output: x\ncache: y\nworkers: 2\ncache_max_size: 1G\nmax_layer_size: 1G\n" + IMAGES,
        },
        [
            "b.yaml:1:1: output: only the main file may set this",
            "b.yaml:2:1: cache: only the main file may set this",
            "b.yaml:3:1: workers: only the main file may set this",
            "b.yaml:4:1: cache_max_size: only the main file may set this",
            "b.yaml:5:1: max_layer_size: only the main file may set this",
        ],
    ),
    (
        "no images",
        {"bundle.yaml": "include: [b.yaml]\n", "b.yaml": "profile: v0.3\n"},
        ["b.yaml:1:1: images: is missing; name at least one image"],
    ),
    (
        "include from an included file",
        {"bundle.yaml": "include: [x/b.yaml]\n", "x/b.yaml": "include: [../y/*.yaml, z.yaml]\n", "y/c.yaml": "a: 1"},
        [
            "x/b.yaml:1:24: include[1]: 'z.yaml' matches no file",
            "y/c.yaml:1:1: a: unknown key; known here: profile, platforms, share, defaults, include, images",
            "y/c.yaml:1:1: images: is missing; name at least one image",
        ],
    ),
    (
        "not UTF-8",
        {"bundle.yaml": "include: [b.yaml]\n", "b.yaml": "# ä\n# ü ".encode() + b"\xff\n"},
        ["b.yaml:2:5: not UTF-8 text: byte 0xff; save the file as UTF-8"],
    ),
    (
        "UTF-16",
        {"bundle.yaml": IMAGES.encode("utf-16")},
        ["bundle.yaml:1:1: not UTF-8 text: byte 0xff; save the file as UTF-8"],
    ),
    (
        "mistake behind a byte order mark",
        {"bundle.yaml": b"\xef\xbb\xbfimage: {}\n"},
        [
            "bundle.yaml:1:1: image: unknown key; did you mean 'images'?",
            "bundle.yaml:1:1: images: is missing; name at least one image",
        ],
    ),
    (
        "too large",
        {"bundle.yaml": "include: [b.yaml]\n", "b.yaml": lambda: b"#" * (16 << 20) + b"\n"},
        ["bundle.yaml:1:11: include[0]: the file 'b.yaml' is larger than 16 MB"],
    ),
    (
        "external bundle over files",
        {
            "bundle.yaml": "defaults: {boot: {external_bundle: true}}\ninclude: [b.yaml]\n",
            "b.yaml": "profile: v0.3\n" + IMAGES,
        },
        [
            "b.yaml:2:10: images.a.boot.external_bundle: profile v0.3 cannot have an external bundle "
            "(set at bundle.yaml:1:36); use profile v0.8"
        ],
    ),
]


@pytest.mark.parametrize(("files", "want"), [pytest.param(*row[1:], id=row[0]) for row in SEVERAL_FILES])
def test_several_files(mistakes, files, want):
    assert mistakes({name: text() if callable(text) else text for name, text in files.items()}) == want


def test_no_file(mistakes):
    assert mistakes({}) == [
        "bundle.yaml:1:1: the file is not there; run in the folder that has one, or write one, e.g. images: "
        "{hello: 'oci:DIR'}"
    ]


def test_main_file_is_a_folder(mistakes):
    assert mistakes({"bundle.yaml/x": ""}) == ["bundle.yaml:1:1: the file cannot be read: it is not a regular file"]


@pytest.mark.parametrize("kind", ["fifo", "socket", "dangling link", "circle of links"])
def test_included_file_that_is_none(kind, catalog, mistakes, monkeypatch):
    catalog({})
    if kind == "fifo":
        os.mkfifo("b.yaml")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind("b.yaml")
    else:
        os.symlink("b.yaml" if kind == "circle of links" else "nowhere", "b.yaml")
    reason = {
        "fifo": "cannot be read: it is not a regular file",
        "socket": "cannot be read: No such device or address",
        "dangling link": "is a link to what is not there",
        "circle of links": "cannot be read: Too many levels of symbolic links",
    }[kind]
    want = [f"bundle.yaml:1:11: include[0]: the file 'b.yaml' {reason}"]
    assert mistakes({"bundle.yaml": "include: [b.yaml]\n"}) == want


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_unreadable(catalog, mistakes):
    catalog({"b.yaml": IMAGES})
    os.chmod("b.yaml", 0)
    assert mistakes({"bundle.yaml": "include: [b.yaml]\n"}) == [
        "bundle.yaml:1:11: include[0]: the file 'b.yaml' cannot be read: Permission denied"
    ]


def test_cache_from_the_environment_is_checked(catalog):
    catalog({"bundle.yaml": IMAGES})
    with pytest.raises(BundleFileError) as raised:
        load("bundle.yaml", {"C2WTASKS_CACHE": "bundles"})
    assert raised.value.lines == (
        "bundle.yaml:1:1: C2WTASKS_CACHE: 'bundles' is the output 'bundles', or inside it; name another folder",
    )


def test_places_are_named_from_the_main_files_folder(catalog, monkeypatch):
    folder: Path = catalog({"x/bundle.yaml": "include: [b.yaml]\nimages: {a: }\n", "x/b.yaml": "images: {c: }\n"})
    monkeypatch.chdir("/")
    main = f"{folder}/x/bundle.yaml"
    with pytest.raises(BundleFileError) as raised:
        load(main, {})
    assert [problem.position for problem in raised.value.problems] == [
        Position(main, 2, 13),
        Position("b.yaml", 1, 13),
    ]


def test_the_error_itself_is_one_line(mistakes, catalog):
    catalog({"bundle.yaml": "images: {" + ", ".join(f'"{"x" * n}\\u2028": 1' for n in range(1000, 1010)) + "}\n"})
    with pytest.raises(UserError) as raised:
        load("bundle.yaml", {})
    assert str(raised.value).endswith(" (and 19 more)")
    assert all(len(line) <= 2000 and line.isprintable() for line in (str(raised.value), *raised.value.lines))


def test_json_is_read_too(mistakes):
    assert mistakes({"bundle.yaml": json.dumps({"images": {"a": {"source": "oci:a", "x": 1}}}, indent="\t")}) == [
        "bundle.yaml:5:4: images.a.x: unknown key; known here: source, platforms, profile, rootfs, share, sbom, same_owner, process, "
        "boot"
    ]


def test_many_mistakes_are_all_told(mistakes):
    text = "images:\n" + "".join(f"  i{n}: {{sorce: 'oci:a'}}\n" for n in range(1000))
    assert len(mistakes({"bundle.yaml": text})) == 2000
