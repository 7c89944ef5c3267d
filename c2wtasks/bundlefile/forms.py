"""The forms of a root that `rootfs:` may name: each a word, or a mapping with `form` and the options of that form."""

from __future__ import annotations

from c2wtasks.bundlefile.entries import entries
from c2wtasks.bundlefile.model import DIR, NINE_P, Form
from c2wtasks.bundlefile.nodes import Mapping, Node, Scalar, Sequence
from c2wtasks.bundlefile.problems import Report
from c2wtasks.bundlefile.values import (
    BOOLEAN,
    COUNT,
    SIZE,
    Kind,
    choice,
    did_you_mean,
    list_of,
    repeated,
    shown,
    string,
)

# The options of each form. A value that is the default counts as not given.
OPTIONS: dict[str, dict[str, Kind]] = {
    DIR: {},
    "tar": {"compression": choice("gzip", "zstd"), "level": COUNT, "sparse": BOOLEAN},
    "cpio": {},
    "iso": {"tree": choice("rootfs", "vm")},
    "ext4": {"size": SIZE, "journal": BOOLEAN},
    "squashfs": {"compression": choice("gzip", "lz4", "xz", "zstd")},
    "erofs": {},
    "context": {},
    "imagemounter": {"compression": choice("gzip")},
    NINE_P: {},
}
_DEFAULTS: dict[tuple[str, str], str | bool] = {
    ("tar", "sparse"): True,
    ("iso", "tree"): "rootfs",
    ("ext4", "journal"): False,
    ("squashfs", "compression"): "gzip",
}
_LEVELS = {"gzip": 3, "zstd": 19}


def form(report: Report, node: Node, path: str) -> Form | None:
    if not isinstance(node, Mapping):
        kind = _kind(report, node, path)
        return None if kind is None else Form(kind)
    given = {key.text: (key, value) for key, value in entries(report, node, path)}
    if "form" not in given:
        report.add(node, path, "'form' is missing", "write e.g. {form: iso, tree: vm}")
        return None
    kind = _kind(report, given.pop("form")[1], f"{path}.form")
    if kind is None:
        return None
    known = OPTIONS[kind]
    options = []
    for name, (key, value) in sorted(given.items()):
        if name not in known:
            hint = did_you_mean(name, known) or (f"known: {', '.join(known)}" if known else "it has none")
            report.add(key, f"{path}.{name}", f"form '{kind}' has no such option", hint)
            continue
        parse = known[name].parse
        assert parse is not None
        option = parse(report, value, f"{path}.{name}")
        if option is not None and option != _DEFAULTS.get((kind, name)):
            options.append((name, option))
    made = Form(kind, tuple(options))
    if "level" in given:
        _check_level(report, given["level"][1], f"{path}.level", made, "compression" in given)
    return made


def _kind(report: Report, node: Node, path: str) -> str | None:
    text = string(report, node, path, "the name of a form")
    if text is not None and text not in OPTIONS:
        report.add(
            node, path, f"unknown form {shown(text)}", did_you_mean(text, OPTIONS) or f"known: {', '.join(OPTIONS)}"
        )
        return None
    return text


def _check_level(report: Report, node: Node, path: str, form: Form, is_compressed: bool) -> None:
    compression, level = form.option("compression"), form.option("level")
    if not is_compressed:
        report.add(node, path, "there is no compression", "add compression: zstd")
    elif compression is not None and isinstance(level, int) and level > (most := _LEVELS[str(compression)]):
        report.add(node, path, f"{compression} has the levels 1 to {most}")


def _forms(report: Report, node: Node, path: str) -> tuple[Form, ...] | None:
    if isinstance(node, Mapping):
        report.add(node, path, f"expected {_LIST.expects}, found a mapping", "put brackets around it: [{form: ...}]")
        return None
    assert _LIST.parse is not None
    found: tuple[Form, ...] | None = _LIST.parse(report, node, path)
    if found is None or not isinstance(node, Sequence) or len(found) != len(node.items):
        return found
    kept: dict[str, Form] = {}
    for index, (one, item) in enumerate(zip(found, node.items, strict=True)):
        if one.name in kept:
            where = f"{path}[{index}]"
            if isinstance(item, Scalar):
                repeated(report, item, where, one.name)
            else:
                report.add(item, where, f"form '{one.name}' is given twice")
        kept.setdefault(one.name, one)
    if DIR in kept and NINE_P in kept:
        report.add(node, path, "'9p' has the folder of 'dir' in it", "name one of them")
    return tuple(kept.values())


_LIST = list_of(form, "a list of forms", "[dir]")
ROOTFS = Kind(_LIST.expects, _forms)
