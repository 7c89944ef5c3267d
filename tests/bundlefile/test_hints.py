"""Each hint, applied to the input that caused it, gives what was meant."""

# ruff: noqa: E501 (the lines are data)

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.lockfile import LockFile
from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.bundlefile.problems import BundleFileError
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.images import Layout
from tests.support.running import run_doit

A = "images: {a: 'oci:a'}\n"
ARGS = "defaults: {process: {args: %s}}\n" + A
Want = Callable[[BundleFile], Any]


def first(of: str) -> Want:
    """Of the first bundle, an attribute of an attribute."""

    def get(file: BundleFile) -> Any:
        value: Any = file.bundles[0]
        for name in of.split("."):
            value = getattr(value, name)
        return value

    return get


def platforms(file: BundleFile) -> list[str]:
    return [str(bundle.platform) for bundle in file.bundles]


def forms(file: BundleFile) -> list[str]:
    return [form.name for form in file.bundles[0].forms]


args, boot, user = first("process.args"), first("boot"), first("process.user")
sh = ("/bin/sh", "-c")
WRITE, MEAN = r"; write (?:it as )?(.+)$", r"; did you mean '(.+)'\?$"

# What is written wrong; the part of it to replace; where the hint says by what; what is then loaded.
REPLACED: list[tuple[str, str, str, Want, Any]] = [
    # a word where a list should be
    (ARGS % "ls -l", "ls -l", WRITE, args, ("ls", "-l")),
    (ARGS % "'ls -l'", "'ls -l'", WRITE, args, ("ls", "-l")),
    (ARGS % "8080", "8080", WRITE, args, ("8080",)),
    (ARGS % "httpd", "httpd", WRITE, args, ("httpd",)),
    (ARGS % "sh -c 'echo it''s'", "sh -c 'echo it''s'", WRITE, args, ("sh", "-c", "echo its")),
    (ARGS % '"echo \\"a, b\\" [c]"', '"echo \\"a, b\\" [c]"', WRITE, args, (*sh, 'echo "a, b" [c]')),
    (ARGS % '"echo \\"a, b\\""', '"echo \\"a, b\\""', WRITE, args, ("echo", "a, b")),
    (ARGS % "'echo null ~'", "'echo null ~'", WRITE, args, (*sh, "echo null ~")),
    (ARGS % "'echo null'", "'echo null'", WRITE, args, ("echo", "null")),
    (ARGS % "a && b", "a && b", WRITE, args, (*sh, "a && b")),
    (ARGS % "'echo $HOME'", "'echo $HOME'", WRITE, args, (*sh, "echo $HOME")),
    (ARGS % '\'echo "$HOME"\'', '\'echo "$HOME"\'', WRITE, args, (*sh, 'echo "$HOME"')),
    (ARGS % "'cat - key: -'", "'cat - key: -'", WRITE, args, ("cat", "-", "key:", "-")),
    (A + "platforms: linux/amd64\n", "linux/amd64", WRITE, platforms, ["linux/amd64"]),
    (A + "platforms: linux/amd64, linux/arm64\n", "linux/amd64, linux/arm64", WRITE, platforms, ["linux/amd64", "linux/arm64"]),
    (A + "platforms: linux/amd64 linux/arm64\n", "linux/amd64 linux/arm64", WRITE, platforms, ["linux/amd64", "linux/arm64"]),
    (A + "defaults: {rootfs: dir}\n", "dir", WRITE, forms, ["dir"]),
    (A + "defaults: {rootfs: dir ext4}\n", "dir ext4", WRITE, forms, ["dir", "ext4"]),
    (A + "include: more.yaml\n", "more.yaml", WRITE, platforms, ["linux/amd64"] * 2),
    (A + "include: 'mo*.yaml'\n", "'mo*.yaml'", WRITE, platforms, ["linux/amd64"] * 2),
    (A + "include: 'of us, all.yml'\n", "'of us, all.yml'", WRITE, platforms, ["linux/amd64"] * 2),
    (A + "registries: {h.example: {mirrors: m.example}}\n", "m.example", WRITE, lambda file: file.registries[0][1].mirrors, ("m.example",)),
    # true and false
    (A + "defaults: {same_owner: yes}\n", "yes", WRITE, first("same_owner"), True),
    (A + "defaults: {same_owner: 'no'}\n", "'no'", r"; write (.+), without quotes$", first("same_owner"), False),
    (A + "defaults: {same_owner: 'true'}\n", "'true'", r"; write (.+), without quotes$", first("same_owner"), True),
    (A + "defaults: {same_owner: False}\n", "False", WRITE, first("same_owner"), False),
    (A + "defaults: {boot: {vmtouch: 0}}\n", "0", WRITE, first("boot.vmtouch"), False),
    # numbers and sizes
    (A + "workers: '2'\n", "'2'", r"; write (.+), without quotes$", lambda file: file.workers, 2),
    (A + "cache_max_size: lots\n", "lots", r"e\.g\. (\w+),", lambda file: file.cache_max_size, 500 << 20),
    (A + "cache_max_size: lots\n", "lots", r"or (\S+)$", lambda file: file.cache_max_size, 3 << 39),
    # slips of the hand
    (A + "profil: v0.3\n", "profil", MEAN, first("profile"), "v0.3"),
    (A + "profile: 0.3\n", "0.3", MEAN, first("profile"), "v0.3"),
    (A + "platforms: [linux/amd46]\n", "linux/amd46", MEAN, platforms, ["linux/amd64"]),
    (A + "platforms: [aarch64]\n", "aarch64", MEAN, platforms, ["linux/arm64"]),
    (A + "platforms: [linx/arm/v6]\n", "linx/arm/v6", MEAN, platforms, ["linux/arm/v6"]),
    (A + "defaults: {rootfs: [dri]}\n", "dri", MEAN, forms, ["dir"]),
    (A + "defaults: {rootfs: [{form: iso, tree: VM}]}\n", "VM", MEAN, forms, ["iso-vm"]),
    (A + "defaults: {rootfs: [{form: iso, tre: vm}]}\n", "tre", MEAN, forms, ["iso-vm"]),
    (A + "defaults: {boot: {preset: wasi-wiser}}\n", "wasi-wiser", MEAN, first("preset"), "wasi-wizer"),
    (A + "defaults: {same-owner: false}\n", "same-owner", MEAN, first("same_owner"), False),
    ("images: {a: 'oci-archiv:x'}\n", "oci-archiv", MEAN, first("source.transport"), "oci-archive"),
    # what stands elsewhere
    (A + "rootfs: [ext4]\n", "rootfs: [ext4]", WRITE, forms, ["ext4"]),
    (A + "debug: true\n", "debug: true", WRITE, first("boot.debug"), True),
    (A + "args: [ls]\n", "args: [ls]", WRITE, args, ("ls",)),
    (A + "defaults: {cwd: /x}\n", "cwd: /x", WRITE, first("process.cwd"), "/x"),
    ("images: {a: {source: 'oci:a', preset: js}}\n", "preset: js", WRITE, first("preset"), "js"),
    # registries
    (A + "registries: {'https://h.example:5000/': {insecure: true}}\n", "'https://h.example:5000/'", WRITE, lambda file: file.registries[0][0], "h.example:5000"),
    (A + "registries: {h.example: {mirrors: ['https://m.example/hub']}}\n", "'https://m.example/hub'", WRITE, lambda file: file.registries[0][1].mirrors, ("m.example/hub",)),
    # the rest
    ("images: {a: {profile: v0.3}}\n", "profile: v0.3", r"e\.g\. (source: \S+)$", first("source.path"), "DIR"),
    (A + "defaults: {rootfs: [{size: 1G}]}\n", "{size: 1G}", r"e\.g\. (\{.+\})$", forms, ["iso-vm"]),
    (A + "platforms: []\n", "[]", r"e\.g\. (.+)$", platforms, ["linux/amd64"]),
    (ARGS % "[]", "[]", r"e\.g\. (.+)$", args, ("/bin/sh",)),
    (ARGS % "[a, ~]", "~", r"; write ('') for an empty one$", args, ("a", "")),
]  # fmt: skip


def mistakes(text: str) -> list[str]:
    Path("bundle.yaml").write_text(text)
    with pytest.raises(BundleFileError) as raised:
        load("bundle.yaml", {})
    return list(raised.value.lines)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("more.yaml", "of us, all.yml"):
        (tmp_path / name).write_text("images: {z: 'oci:z'}\n")
    return tmp_path


@pytest.mark.parametrize(("text", "word", "hint", "get", "want"), REPLACED, ids=[row[0] for row in REPLACED])
@pytest.mark.usefixtures("folder")
def test_what_a_hint_says_is_what_was_meant(text: str, word: str, hint: str, get: Want, want: Any) -> None:
    (line,) = mistakes(text)
    found = re.search(hint, line)
    assert found is not None, line
    new = text.replace(word, found[1].replace("...", word.partition(": ")[2]), 1)
    if "platforms" not in new:
        new += "platforms: [linux/amd64]\n"
    Path("bundle.yaml").write_text(new)
    assert get(load("bundle.yaml", {})) == want


def test_a_mirror_by_plain_http(folder: Path) -> None:
    (line,) = mistakes(A + "registries: {h.example: {mirrors: ['http://m.example']}}\n")
    assert line.endswith("; write m.example, and registries: {'m.example': {insecure: true}}")
    (folder / "bundle.yaml").write_text(
        A + "registries: {h.example: {mirrors: [m.example]}, 'm.example': {insecure: true}}\n"
    )
    hosts = dict(load("bundle.yaml", {}).registries)
    assert hosts["h.example"].mirrors == ("m.example",)
    assert hosts["m.example"].insecure


# What is written; that, as the hint says; the end of the line.
BY_HAND = [
    (A + "include: [*.yaml]\n", A + "include: ['*.yaml']\n", "put what begins with * in quotes"),
    (A + "defaults: {process: {args: [a, @x]}}\n", A + "defaults: {process: {args: [a, '@x']}}\n", "put what begins with @ in quotes"),
    (A + "defaults: {process: {args: [a, *x]}}\n", A + "defaults: {process: {args: [a, '*x']}}\n", "if it is none: put it in quotes"),
    ("images: {a: !x 'oci:a'}\n", A, "leave it out"),
    (A + "include: !include more.yaml\n", A + "include: [more.yaml]\n", "name the file under 'include', at the top level"),
    ("images:\n\ta: oci:a\n", "images:\n  a: oci:a\n", "indent with spaces, not tabs"),
    (A + "output: 12\n", A + "output: '12'\n", "put it in quotes"),
    (A + "name: 2024\n", A + "name: '2024'\n", "put it in quotes"),
    (A + "output: .\n", A + "output: out\n", "name a folder of its own"),
    (A + "cache: bundles/cache\n", A + "cache: cache\n", "name another folder"),
    (A + "include: ['**/more.yaml']\n", A + "include: ['more.yaml']\n", "write a '*' for each level"),
    (A + "platforms: [linux/amd64]\ndefaults: {platforms: [linux/arm64]}\n", A + "platforms: [linux/amd64]\n", "keep one of them"),
    ("images: {a: {source: 'oci:a', boot: {external_bundle: true}, profile: v0.3}}\n", "images: {a: {source: 'oci:a', boot: {external_bundle: true}, profile: v0.8}}\n", "use profile v0.8"),
    (A + "defaults: {process: {user: 017}}\n", A + "defaults: {process: {user: '017'}}\n", "write it in decimal, or in quotes"),
    (A + "defaults: {process: {user: 017}}\n", A + "defaults: {process: {user: 17}}\n", "write it in decimal, or in quotes"),
    (A + "defaults: {process: {env: {[a]: b}}}\n", A + "defaults: {process: {env: {'[a]': b}}}\n", "put a key with special signs in quotes"),
    (A + "defaults: {rootfs: [dir, 9p]}\n", A + "defaults: {rootfs: [9p]}\n", "name one of them"),
    ("images: {catalog.json: 'oci:a'}\n", A, "choose another name"),
    ("images: {a/b: 'oci:a'}\n", "images: {a-b: 'oci:a'}\n", "use letters, digits, '.', '_' and '-', the first a letter or digit"),
    (A + "defaults: {rootfs: {form: tar, compression: zstd}}\n", A + "defaults: {rootfs: [{form: tar, compression: zstd}]}\n", "put brackets around it: [{form: ...}]"),
    (A + "defaults: {rootfs: [{form: tar, level: 9}]}\n", A + "defaults: {rootfs: [{form: tar, level: 9, compression: zstd}]}\n", "add compression: zstd"),
    (A + "defaults: {process: {cwd: srv}}\n", A + "defaults: {process: {cwd: /srv}}\n", "begin it with '/'"),
    (A + "defaults: {process: {cwd: ~/x}}\n", A + "defaults: {process: {cwd: /root/x}}\n", "write the path out: '~' is not expanded"),
    (A + "cache: ~/x\n", A + "cache: /root/x\n", "write the path out, or './~' for that very name"),
    (A + "cache: ~/x\n", A + "cache: ./~/x\n", "write the path out, or './~' for that very name"),
    ("\n", A, "name at least one image under 'images'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "mended", "end"), BY_HAND)
@pytest.mark.usefixtures("folder")
def test_what_a_hint_asks_for_can_be_loaded(text: str, mended: str, end: str) -> None:
    assert any(line.endswith(f"; {end}") for line in mistakes(text)), mistakes(text)
    Path("bundle.yaml").write_text(mended)
    load("bundle.yaml", {})


# Nothing is said to be meant that is another thing.
@pytest.mark.parametrize(
    "text",
    [
        A + "defaults: {rootfs: [{form: tar, compression: bzip2}]}\n",
        A + "defaults: {rootfs: [{form: squashfs, compression: lzo}]}\n",
        A + "profile: v0.9\n",
        A + "defaults: {rootfs: [ext3]}\n",
        A + "platforms: [windows/amd64]\n",
        A + "platforms: 12\n",
        "images: {a: 'docker-image:x'}\n",
        ARGS % "[~]",
        ARGS % "'it''s'",
        ARGS % "~",
    ],
)
@pytest.mark.usefixtures("folder")
def test_nothing_else_is_said_to_be_meant(text: str) -> None:
    (line,) = mistakes(text)
    assert not re.search("did you mean|; write", line)


@given(st.lists(st.text(min_size=1), min_size=1))
def test_words_in_brackets_are_these_words(words: list[str]) -> None:
    """Whatever they hold, as long as YAML can hold it."""
    from c2wtasks.bundlefile.nodes import Scalar, Sequence, parse
    from c2wtasks.bundlefile.problems import Problems
    from c2wtasks.bundlefile.wording import in_brackets, is_null

    hint = in_brackets(words)
    assert hint is not None
    text = hint.removeprefix("write ")
    report = Problems()
    node = parse(f"{{a: {text}}}", "x", report)
    if any(
        re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]", one)
        for one in words
    ):
        return
    report.raise_if_any()
    value = node.pairs[0][1]  # type: ignore[union-attr]
    assert isinstance(value, Sequence)
    assert [item.text for item in value.items if isinstance(item, Scalar) and not is_null(item)] == words


def test_a_folder_without_a_bundle_file(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    (tmp_path / "bundle.yaml").unlink()
    done = run_doit(tmp_path)
    assert done.exit == 3
    assert "the file is not there; run in the folder that has one, or write one, e.g. images: {" in done.stderr
    example = done.stderr.partition("e.g. ")[2].partition("\n")[0]
    (tmp_path / "bundle.yaml").write_text(example.replace("DIR", "web"))
    assert run_doit(tmp_path).exit == 0


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    """One team's folder fails that team's image, in one line; with another name it is built."""
    small_catalog(tmp_path)
    odd = tmp_path / "teams" / os.fsdecode(b"x\xff")
    odd.mkdir(parents=True)
    shutil.copytree(tmp_path / "web", odd / "img")
    (odd / "bundle.yaml").write_text("images: {t: 'oci:img'}\n")
    write_catalog(tmp_path, {"web": "oci:web"}, include=["teams/*/bundle.yaml"])
    done = run_doit(tmp_path)
    assert done.exit == 1
    assert done.stderr == (
        "t@linux/amd64: teams/x\\udcff/img: a name in this path is not UTF-8; give that folder another name\n"
    )
    assert (tmp_path / "bundles/web/linux-amd64/bundle.json").exists()
    os.rename(odd, tmp_path / "teams/x")
    assert run_doit(tmp_path).exit == 0
    assert (tmp_path / "bundles/t/linux-amd64/bundle.json").exists()


DAMAGE: dict[str, Callable[[str], str]] = {
    "a field is missing": lambda text: text.replace("  manifest ", "  # ", 1),
    "a field twice": lambda text: re.sub("(  config .*\n)", r"\1\1", text, count=1),
    "a digest": lambda text: text.replace("  config sha256:", "  config sha256:x", 1),
    "a layer": lambda text: re.sub("(  layer .*) [0-9]+\n", r"\1 x\n", text, count=1),
    "indentation": lambda text: text.replace("  config", "config", 1),
    "a newer version": lambda text: text.replace("version 1", "version 2"),
    "no image": lambda text: text.replace("image ", "imag ", 1),
    "empty": lambda _: "",
    "a merge": lambda text: text.replace("  manifest", "<<<<<<< HEAD\n=======\n  manifest", 1) + ">>>>>>> other\n",
    "an image twice": lambda text: text + "\nimage " + text.split("image ", 2)[1],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_lock(tmp_path: Path, damage: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_catalog(tmp_path, small_catalog(tmp_path), lock="all")
    assert run_doit(tmp_path, "lock").exit == 0
    lock = tmp_path / "bundle.lock"
    good = lock.read_text()
    lock.write_text(damage(good))
    with pytest.raises(BundleFileError) as raised:
        LockFile.read("bundle.lock")
    assert run_doit(tmp_path, "lock").exit == 3, "it does not mend itself: nothing that was locked is lost"
    hints = {problem.hint or "" for problem in raised.value.problems}
    (hint, *_) = sorted(hints)
    if "delete the file" in hint:
        lock.unlink()
    elif "keep one side" in hint:
        lock.write_text(re.sub("^(<<<<|====|>>>>).*\n", "", lock.read_text(), flags=re.MULTILINE))
    elif "first at" in hint:
        lock.write_text(good)
    else:
        assert hint == "mend it, or delete this image's lines, and run: doit lock"
        blocks = lock.read_text().split("\n\n")
        at = raised.value.problems[0].position.line
        ends = [sum(block.count("\n") + 2 for block in blocks[: n + 1]) for n in range(len(blocks))]
        del blocks[next(n for n, end in enumerate(ends) if at < end)]
        lock.write_text("\n\n".join(blocks))
    assert run_doit(tmp_path, "lock").exit == 0
    assert lock.read_text() == good


def test_what_commands_ask_for(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)

    def refused(*words: str) -> str:
        done = run_doit(tmp_path, *words)
        assert done.exit == 3
        return done.stderr

    assert "takes options only; with --update, names of images and bundles" in refused("lock", "web")
    assert "only with lock: all in bundle.yaml" in refused("lock", "--update", "web")
    write_catalog(tmp_path, images, lock="all")
    assert "to make it fit, run: doit lock\n" in refused("--locked")
    assert run_doit(tmp_path, "lock").exit == 0
    assert run_doit(tmp_path, "lock", "--update", "web").exit == 0
    assert run_doit(tmp_path, "--locked").exit == 0
    shutil.rmtree(tmp_path / "web")
    Layout(tmp_path / "web").image({"srv/": None}, cmd=["httpd"])
    done = run_doit(tmp_path)
    assert done.exit == 1
    hint = re.search(r"; run: doit (lock --update web)\n", done.stderr)
    assert hint is not None
    assert run_doit(tmp_path, *hint[1].split()).exit == 0
    assert run_doit(tmp_path).exit == 0
    assert "larger than 1K: no more tars can go" in run_doit(tmp_path, "gc", "--max-size", "1K").stderr
    assert "is not a size" in refused("gc", "--max-size", "lots")
