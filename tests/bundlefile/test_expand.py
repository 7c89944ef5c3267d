"""What good bundle files expand to."""

# ruff: noqa: E501 (the lines are data)

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from c2wtasks.bundlefile.boot import Boot
from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.model import BundleFile, Form, Process
from c2wtasks.bundlefile.position import Position
from c2wtasks.oci.platform import Platform

OWN = replace(Platform.own(), os="linux")
AMD64 = "platforms: [linux/amd64]\n"


def expand(catalog: Any, text: str, **more: str) -> BundleFile:
    catalog({"bundle.yaml": text, **{name.replace("__", "/") + ".yaml": content for name, content in more.items()}})
    return load("bundle.yaml", {})


def test_defaults(catalog):
    loaded = expand(catalog, "images:\n  hello: oci:examples/hello\n")
    assert (loaded.output, loaded.cache, loaded.files) == ("bundles", "cache", ("bundle.yaml",))
    (bundle,) = loaded.bundles
    assert str(bundle) == f"hello@{OWN}"
    assert (bundle.source.text, bundle.path) == ("oci:examples/hello", "examples/hello")
    assert (bundle.profile, bundle.forms, bundle.same_owner) == ("v0.8", (Form("dir"),), True)
    assert (bundle.boot, bundle.process) == (Boot(), Process())
    assert bundle.position == Position("bundle.yaml", 2, 3)


def test_bundles_are_sorted(catalog):
    loaded = expand(
        catalog, AMD64 + "images:\n  b: oci:b\n  a: {source: 'oci:a', platforms: [linux/arm, linux/386]}\n"
    )
    assert [str(bundle) for bundle in loaded.bundles] == ["a@linux/386", "a@linux/arm/v7", "b@linux/amd64"]


@pytest.mark.parametrize(
    ("written", "want"),
    [
        ("oci:x", "x"),
        ("oci:./x/:tag", "x"),
        ("oci:../x/../y", "../y"),
        ("oci:/abs//x:1", "/abs/x"),
        ("oci-archive:a b.tar", "a b.tar"),
        ("docker-archive:web.tar:library/web:1", "web.tar"),
        ("oci:.", "."),
    ],
)
def test_path(catalog, written, want):
    (bundle,) = expand(catalog, f"{AMD64}images: {{a: '{written}'}}\n").bundles
    assert (bundle.path, bundle.source.text) == (want, written)


@pytest.mark.parametrize(
    ("written", "want"),
    [
        ("{}", Boot()),
        ("{debug: true}", Boot(debug=True)),
        ("{preset: wasi-wizer}", Boot(debug_init=True)),
        ("{preset: wasi-native}", Boot(vmtouch=False, binfmt=False)),
        ("{preset: js}", Boot(debug_init=True)),
        ("{preset: js-aarch64}", Boot(debug_init=True, binfmt=False)),
        ("{binfmt: true, preset: wasi-native, rootfs_path: /r}", Boot(vmtouch=False, rootfs_path="/r")),
        (
            "{external_bundle: true, image_config_path: /i, runtime_config_path: /s}",
            Boot(external_bundle=True, image_config_path="/i", runtime_config_path="/s"),
        ),
    ],
)
def test_boot(catalog, written, want):
    (bundle,) = expand(catalog, f"{AMD64}images: {{a: {{source: 'oci:a', boot: {written}}}}}\n").bundles
    assert bundle.boot == want


@pytest.mark.parametrize(
    ("defaults", "image", "want"),
    [
        ("{preset: js}", "{debug: true}", Boot(debug=True, debug_init=True)),
        ("{debug: true, vmtouch: false}", "{debug: false}", Boot(vmtouch=False)),
        ("{debug: true, preset: js}", "{preset: wasi-native}", Boot(vmtouch=False, binfmt=False)),
        ("{debug: true}", "{preset: js, debug_init: false}", Boot()),
        ("{debug: true}", "{}", Boot(debug=True)),
    ],
)
def test_boot_over_defaults(catalog, defaults, image, want):
    text = f"{AMD64}defaults: {{boot: {defaults}}}\nimages: {{a: {{source: 'oci:a', boot: {image}}}}}\n"
    (bundle,) = expand(catalog, text).bundles
    assert bundle.boot == want


@pytest.mark.parametrize(
    ("written", "want"),
    [
        ("{args: [sh, -c, 1, 0755, 1.10, true, no, '', 2001-01-01]}", Process(
            args=("sh", "-c", "1", "0755", "1.10", "true", "no", "", "2001-01-01")
        )),
        ("{env: {A: b, N: 1.0, E: '', Z: , Y: null, X: ~, W: 'null', ON: on, H: 0x1F, T: 12:30}}", Process(
            env=(("A", "b"), ("N", "1.0"), ("E", ""), ("Z", None), ("Y", None), ("X", None), ("W", "null"),
                 ("ON", "on"), ("H", "0x1F"), ("T", "12:30"))
        )),
        ('{env: {"<<": x, L: "a\\nb", a.b: c}}', Process(env=(("<<", "x"), ("L", "a\nb"), ("a.b", "c")))),
        ("{user: 1000}", Process(user="1000")),
        ("{user: 0}", Process(user="0")),
        ("{user: 1000:100}", Process(user="1000:100")),
        ("{user: 1:1}", Process(user="1:1")),
        ("{user: '017'}", Process(user="017")),
        ("{user: !!str 017}", Process(user="017")),
        ("{user: www-data:staff}", Process(user="www-data:staff")),
        ("{user: no}", Process(user="no")),
        ("{cwd: /srv, terminal: false}", Process(cwd="/srv", terminal=False)),
    ],
)  # fmt: skip
def test_process(catalog, written, want):
    (bundle,) = expand(catalog, f"{AMD64}images: {{a: {{source: 'oci:a', process: {written}}}}}\n").bundles
    assert bundle.process == want


def test_process_over_defaults(catalog):
    (bundle,) = expand(
        catalog,
        AMD64
        + "defaults: {process: {args: [a, b], cwd: /x, env: {A: 1, B: 2}, terminal: false}}\n"
        + "images: {a: {source: 'oci:a', process: {args: [c], env: {B: , C: 3}}}}\n",
    ).bundles
    assert bundle.process == Process(args=("c",), cwd="/x", env=(("A", "1"), ("B", None), ("C", "3")), terminal=False)


@pytest.mark.parametrize("place", ["share: true", "defaults: {share: true}"])
def test_share(catalog, place):
    loaded = expand(catalog, place + "\nimages: {a: 'oci:a', b: {source: 'oci:b', share: false}}\n")
    assert [bundle.share for bundle in loaded.bundles] == [True, False]
    assert not expand(catalog, "images: {a: 'oci:a'}\n").bundles[0].share


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("images: {a: 'oci:a'}\n", [()]),
        ("images: {a: {source: 'oci:a', sbom: [cyclonedx, spdx]}, b: 'oci:b'}\n", [("spdx", "cyclonedx"), ()]),
        ("defaults: {sbom: [spdx]}\nimages: {a: 'oci:a', b: {source: 'oci:b', sbom: []}}\n", [("spdx",), ()]),
        ("defaults: {sbom: [spdx]}\nimages: {a: {source: 'oci:a', sbom: [cyclonedx]}}\n", [("cyclonedx",)]),
    ],
)
def test_sbom(catalog, text, formats):
    assert [bundle.sbom for bundle in expand(catalog, text).bundles] == formats


@pytest.mark.parametrize(
    "place", ["profile: v0.3\nplatforms: [linux/s390x]", "defaults: {profile: v0.3, platforms: [linux/s390x]}"]
)
def test_profile_and_platforms(catalog, place):
    loaded = expand(
        catalog, place + "\nimages: {a: 'oci:a', b: {source: 'oci:b', profile: v0.8, platforms: [linux/arm64]}}\n"
    )
    assert [(str(b), b.profile) for b in loaded.bundles] == [("a@linux/s390x", "v0.3"), ("b@linux/arm64", "v0.8")]


def test_included_files_inherit_and_override(catalog):
    loaded = expand(
        catalog,
        "profile: v0.3\nplatforms: [linux/amd64]\ndefaults: {same_owner: false, boot: {preset: js}}\n"
        "include: [x/*.yaml]\nimages: {m: 'oci:m'}\n",
        x__b="defaults: {boot: {debug: true}}\nplatforms: [linux/arm64]\ninclude: [y/c.yaml]\nimages: {b: 'oci:b:1'}\n",
        x__y__c="profile: v0.8\ndefaults: {same_owner: true}\nimages: {c: 'docker-archive:../c.tar'}\n",
    )
    assert loaded.files == ("bundle.yaml", "x/b.yaml", "x/y/c.yaml")
    js = Boot(debug_init=True)
    assert [(str(b), b.path, b.profile, b.same_owner, b.boot, str(b.position)) for b in loaded.bundles] == [
        ("b@linux/arm64", "x/b", "v0.3", False, replace(js, debug=True), "x/b.yaml:4:10"),
        ("c@linux/arm64", "x/c.tar", "v0.8", True, replace(js, debug=True), "x/y/c.yaml:3:10"),
        ("m@linux/amd64", "m", "v0.3", False, js, "bundle.yaml:5:10"),
    ]  # fmt: skip


def test_what_is_included_may_overlap_and_form_circles(catalog):
    catalog(
        {
            "bundle.yaml": AMD64 + "include: [x/*.yaml, x/b.yaml, bundle.yaml, '*.yaml']\n",
            "x/a.yaml": "profile: v0.3\ninclude: [b.yaml, a.yaml, ../bundle.yaml]\nimages: {a: 'oci:a'}\n",
            "x/b.yaml": "include: [a.yaml]\nimages: {b: 'oci:b'}\n",
        }
    )
    os.symlink("x/b.yaml", "link.yaml")
    loaded = load("bundle.yaml", {})
    assert loaded.files == ("bundle.yaml", "x/a.yaml", "x/b.yaml")
    # b is read for x/a.yaml, and so inherits its profile
    assert [(bundle.name, bundle.path, bundle.profile) for bundle in loaded.bundles] == [
        ("a", "x/a", "v0.3"),
        ("b", "x/b", "v0.3"),
    ]


def test_from_another_folder(catalog, monkeypatch):
    folder = catalog(
        {
            "r/bundle.yaml": AMD64 + "include: [t/b.yaml]\nimages: {m: 'oci:m'}\n",
            "r/t/b.yaml": "images: {b: 'oci:b'}\n",
        }
    )
    for main, prefix in (("r/bundle.yaml", "r/"), (f"{folder}/r/bundle.yaml", f"{folder}/r/")):
        loaded = load(main, {})
        assert [bundle.path for bundle in loaded.bundles] == ["t/b", "m"]
        assert [str(bundle.position) for bundle in loaded.bundles] == ["t/b.yaml:1:10", f"{main}:3:10"]
        assert loaded.files == (main, f"{prefix}t/b.yaml")


def test_absolute_include(catalog, tmp_path):
    loaded = expand(catalog, f"{AMD64}include: ['{tmp_path}/x/*.yaml']\n", x__b="images: {b: 'oci:b'}\n")
    assert (loaded.bundles[0].path, loaded.files[1]) == (f"{tmp_path}/x/b", f"{tmp_path}/x/b.yaml")


def test_long_chain_of_includes(catalog):
    files = {f"{n}.yaml": f"include: [{n + 1}.yaml]\nimages: {{i{n}: 'oci:x'}}\n" for n in range(2000)}
    catalog({"bundle.yaml": AMD64 + "include: [0.yaml]\n", **files, "2000.yaml": "images: {z: 'oci:z'}\n"})
    assert len(load("bundle.yaml", {}).bundles) == 2001


def test_aliases_and_merge_keys(catalog):
    loaded = expand(
        catalog,
        """
platforms: &p [linux/amd64]
images:
  a: &a {source: oci:a, platforms: *p, process: &process {user: 1, cwd: /}}
  b: {<<: *a, source: oci:b, same_owner: false}
  c: {<<: [{same_owner: false}, *a], process: {<<: *process, user: 2}}
""",
    )
    assert [(b.name, b.path, b.same_owner, b.process.user, b.process.cwd) for b in loaded.bundles] == [
        ("a", "a", True, "1", "/"), ("b", "b", False, "1", "/"), ("c", "a", False, "2", "/"),
    ]  # fmt: skip


def test_many_aliases_of_a_large_catalog(catalog):
    text = f"{AMD64}images:\n  a0: {{source: oci:x, boot: &b {{preset: js, debug: true}}, process: &p {{args: [a, b, c]}}}}\n"
    text += "".join(f"  a{n}: {{source: oci:x, boot: *b, process: *p}}\n" for n in range(1, 5000))
    assert len(expand(catalog, text).bundles) == 5000


@pytest.mark.parametrize(
    ("text", "variable", "want"),
    [
        ("", "", ("bundles", "cache")),
        ("output: ./out/\ncache: ../c\n", "", ("out", "../c")),
        ("output: /o\n", "/c/", ("/o", "/c")),
        ("cache: mine\n", "/shared", ("bundles", "/shared")),
        ("cache: bundles\n", "../shared", ("bundles", "../shared")),
        ("output: '12'\n", "", ("12", "cache")),
    ],
)
def test_folders(catalog, text, variable, want):
    catalog({"bundle.yaml": text + "images: {a: 'oci:a'}\n"})
    loaded = load("bundle.yaml", {"C2WTASKS_CACHE": variable})
    assert (loaded.output, loaded.cache) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", None),
        ("cache_max_size: 20G\n", 20 << 30),
        ("cache_max_size: '20 GB'\n", 20 * 10**9),
        ("cache_max_size: 4096\n", 4096),
        ("cache_max_size: 0\n", 0),
    ],
)
def test_sizes(catalog, text, want):
    catalog({"bundle.yaml": text + text.replace("cache_max_size", "max_layer_size") + "images: {a: 'oci:a'}\n"})
    loaded = load("bundle.yaml", {})
    assert loaded.cache_max_size == loaded.max_layer_size == want


@pytest.mark.parametrize(("text", "want"), [("", 0), ("workers: 1\n", 1), ("workers: 9999\n", 9999)])
def test_workers(catalog, text, want):
    catalog({"bundle.yaml": text + "images: {a: 'oci:a'}\n"})
    assert load("bundle.yaml", {}).workers == want


def test_names_are_text(catalog):
    loaded = expand(catalog, AMD64 + "images: {1.10: 'oci:a', 017: 'oci:a', null: 'oci:a', a_b-c.d: 'oci:a'}\n")
    assert [bundle.name for bundle in loaded.bundles] == ["017", "1.10", "a_b-c.d", "null"]


@pytest.mark.parametrize(
    "text", ["\ufeffimages: {a: 'oci:a'}\n", "---\nimages:\r\n  a: oci:a\r\n...\n", '{"images": {"a": "oci:a"}}']
)
def test_ways_to_write_it(catalog, text):
    assert [bundle.path for bundle in expand(catalog, text).bundles] == ["a"]
