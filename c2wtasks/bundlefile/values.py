"""What a setting's value may be: one parser a kind of value.

A parser takes a node and gives the value, or None after it has reported what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from c2wtasks.bundlefile.nodes import Node, Scalar, Sequence
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.wording import (
    CONTROL,
    NULL,
    SHOWN,
    command_of,
    described,
    did_you_mean,
    in_brackets,
    is_number,
    item_of,
    meaning,
    shown,
    whole_of,
    words_of,
)
from c2wtasks.oci.imagename import is_host, is_path
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.oci.transport import TRANSPORTS
from c2wtasks.telling import sizes

Parser = Callable[[Problems, Node, str], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: how it is called in messages and on the reference page, and its parser.

    Sections, which are mappings of further settings, have no parser of their own. One of a few words has `words`.
    """

    expects: str
    parse: Parser | None = None
    words: tuple[str, ...] = ()


SECTION = Kind("a mapping")

# What Go knows (GOARCH), as OCI image configs name it, with the aliases that containerd takes.
ARCHITECTURES = (
    *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc", "ppc64"),
    *("ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc64", "wasm"),
)
ARCHITECTURE_ALIASES = ("i386", "x86_64", "x86-64", "aarch64", "armhf", "armel")

_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")
_BOOLEANS = {"true": ("true", "yes", "on", "y", "1"), "false": ("false", "no", "off", "n", "0")}
# Plain numbers that YAML 1.1, YAML 1.2 and a reader may take for different ones: 017, 0o17, 0x11, 1_000.
_AMBIGUOUS = re.compile(r"0[0-9_]+|0[xob][0-9a-fA-F_]+|[0-9]+_[0-9_]*")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")


# -- scalars


def string(report: Problems, node: Node, path: str, expects: str, hint: str | None = None) -> str | None:
    """A string that is not empty and fits on a line. Numbers and booleans must be in quotes to be one."""
    if not isinstance(node, Scalar) or (node.plain and meaning(node) != "string"):
        report.add(node, path, f"expected {expects}, found {described(node)}", hint)
    elif not node.text:
        report.add(node, path, f"expected {expects}, found an empty string")
    elif CONTROL.search(node.text):
        report.add(node, path, f"{shown(node.text)} holds a control character")
    else:
        return node.text
    return None


def _word(report: Problems, node: Node, path: str, expects: str) -> str | None:
    """What goes to a process: any scalar's text as written, number or not; line breaks and all."""
    if not isinstance(node, Scalar) or (node.plain and node.text in NULL):
        program = path.endswith(".args[0]")
        hint = "write '' for an empty one" if isinstance(node, Scalar) and not program else None
        report.add(node, path, f"expected {expects}, found {described(node)}", hint)
    elif _UNENCODABLE.search(node.text):
        report.add(node, path, f"{shown(node.text)} holds a character that no process can be given")
    else:
        return node.text
    return None


def boolean(report: Problems, node: Node, path: str) -> bool | None:
    """true or false, not in quotes."""
    if isinstance(node, Scalar) and node.plain and node.text in ("true", "false"):
        return node.text == "true"
    hint = None
    if isinstance(node, Scalar):
        meant = next((word for word, texts in _BOOLEANS.items() if node.text.lower() in texts), None)
        hint = f"write {meant}" + ("" if node.plain else ", without quotes") if meant else None
    report.add(node, path, f"expected true or false, found {described(node)}", hint)
    return None


def count(report: Problems, node: Node, path: str) -> int | None:
    """A whole number from 1 on, in decimal."""
    if isinstance(node, Scalar) and node.plain and _COUNT.fullmatch(node.text):
        return int(node.text)
    quoted = isinstance(node, Scalar) and not node.plain and _COUNT.fullmatch(node.text)
    hint = f"write {node.text}, without quotes" if isinstance(node, Scalar) and quoted else None
    report.add(node, path, f"expected a number from 1 to 9999, found {described(node)}", hint)
    return None


def size(report: Problems, node: Node, path: str) -> int | None:
    """A size in bytes, as a number or with a unit."""
    if isinstance(node, Scalar) and not (node.plain and _AMBIGUOUS.fullmatch(node.text)):
        try:
            return sizes.parse(node.text)
        except ValueError:
            pass
    report.add(node, path, f"expected {SIZE.expects}, found {described(node)}", "write e.g. 500M, 20G or 1.5T")
    return None


def choice(*allowed: str) -> Kind:
    """The kind of a value that is one of a few words."""
    expects = " or ".join(filter(None, (", ".join(allowed[:-1]), allowed[-1])))

    def parse(report: Problems, node: Node, path: str) -> str | None:
        hint = did_you_mean(node.text, allowed) if isinstance(node, Scalar) and is_number(node) else None
        text = string(report, node, path, expects, hint)
        if text is None or text in allowed:
            return text
        report.add(node, path, f"{shown(text)} is not one of {', '.join(allowed)}", did_you_mean(text, allowed))
        return None

    return Kind(expects, parse, allowed)


def folder(report: Problems, node: Node, path: str) -> str | None:
    """The path of a folder, as written."""
    text = string(report, node, path, FOLDER.expects, "put it in quotes" if is_number(node) else None)
    if text is not None and text.startswith("~"):
        report.add(
            node, path, f"{shown(text)}: '~' is not expanded", "write the path out, or './~' for that very name"
        )
        return None
    return text


def name(report: Problems, node: Node, path: str) -> str | None:
    """A word of one's own."""
    return string(report, node, path, NAME.expects, "put it in quotes" if is_number(node) else None)


def absolute(report: Problems, node: Node, path: str) -> str | None:
    """A path in the VM, which begins with a slash."""
    text = string(report, node, path, ABSOLUTE.expects)
    if text is not None and not text.startswith("/"):
        hint = "write the path out: '~' is not expanded" if text.startswith("~") else "begin it with '/'"
        report.add(node, path, f"{shown(text)} is not an absolute path", hint)
        return None
    return text


def user(report: Problems, node: Node, path: str) -> str | None:
    """`name`, `uid`, `name:group` or `uid:gid`, as in a Dockerfile."""
    number = isinstance(node, Scalar) and node.plain and meaning(node) == "number"
    text = node.text if number and isinstance(node, Scalar) else string(report, node, path, USER.expects)
    if text is None or not isinstance(node, Scalar) or not node.plain:
        return text
    if any(_AMBIGUOUS.fullmatch(part) for part in text.split(":")):
        report.add(
            node, path, f"{text[:SHOWN]} may be read as different numbers", "write it in decimal, or in quotes"
        )
        return None
    if number and not text.isdigit():
        report.add(node, path, f"expected {USER.expects}, found {described(node)}")
        return None
    return text


# -- sources and platforms


def source(report: Problems, node: Node, path: str) -> Reference | None:
    """Where an image is: `TRANSPORT:PATH`, and what may follow it."""
    text = string(report, node, path, SOURCE.expects)
    if text is None:
        return None
    try:
        return Reference.parse(text)
    except ValueError as error:
        transport, colon, _ = text.partition(":")
        hint = did_you_mean(transport, TRANSPORTS) if colon and transport not in TRANSPORTS else None
        report.add(node, path, str(error), hint)
        return None


@lru_cache(512)
def _platform(text: str) -> Platform:
    """The platform that is written as `text`, on which Linux runs. Raises ValueError."""
    platform = Platform.parse(text)
    if platform.os != "linux":
        raise ValueError(f"{text!r}: the VM runs Linux, and so only linux/... can run in it")
    if platform.architecture not in ARCHITECTURES:
        raise ValueError(f"{text!r}: unknown architecture '{platform.architecture}'")
    return platform


def platform(report: Problems, node: Node, path: str) -> Platform | None:
    """A platform on which Linux runs: `linux/ARCHITECTURE[/VARIANT]`."""
    text = string(report, node, path, "a platform (os/architecture or os/architecture/variant)")
    if text is None:
        return None
    try:
        return _platform(text)
    except ValueError as error:
        report.add(node, path, str(error)[:400], _platform_hint(text))
        return None


def _platform_hint(text: str) -> str | None:
    """A hint on what was meant: `linux/aarch64` by `aarch64`, `linux/amd64` by `linux/amd46`."""
    parts = text.lower().split("/")
    names = (*ARCHITECTURES, *ARCHITECTURE_ALIASES)
    if parts[0] in names:
        return f"did you mean 'linux/{'/'.join(parts)}'?"
    if len(parts) not in (2, 3) or not did_you_mean(parts[0], ["linux"]):
        return None
    return did_you_mean(text, ["/".join(("linux", name, *parts[2:])) for name in names])


# -- lists


def list_of(
    item: Parser, expects: str, example: str, *, unique: bool = False, meant: Callable[[Scalar], list[str]] = words_of
) -> Kind:
    """The kind of a list that is not empty, of items that `item` parses. Items with mistakes are reported and left
    out. `meant` gives the items that somebody meant who wrote a word instead."""

    def parse(report: Problems, node: Node, path: str) -> tuple[Any, ...] | None:
        if not isinstance(node, Sequence):
            hint = in_brackets(meant(node)) if isinstance(node, Scalar) else None
            report.add(node, path, f"expected {expects}, found {described(node)}", hint)
            return None
        if not node.items:
            report.add(node, path, "the list is empty", f"leave the key out, or write e.g. {example}")
            return None
        values: dict[Any, None] | list[Any] = {} if unique else []
        for index, child in enumerate(node.items):
            value = item(report, child, f"{path}[{index}]")
            if value is None:
                continue
            if isinstance(values, list):
                values.append(value)
            elif value not in values:
                values[value] = None
            else:
                repeated(report, child, f"{path}[{index}]", str(value))
        return tuple(values)

    return Kind(expects, parse)


def repeated(report: Problems, node: Node, path: str, value: str) -> None:
    """Reports an item of a list that is there already."""
    text = node.text if isinstance(node, Scalar) else value
    report.add(node, path, f"{shown(text)} is given twice" + ("" if text == value else f" (it is {value})"))


class Pattern(NamedTuple):
    """One item of `include`, with its place and key path: files are matched after all is checked."""

    text: str
    node: Node
    path: str


def pattern(report: Problems, node: Node, path: str) -> Pattern | None:
    """A path or a glob pattern, without `**`."""
    text = string(report, node, path, "a path or a glob pattern")
    if text is None:
        return None
    if "**" in text:
        report.add(node, path, f"{shown(text)}: '**' is not supported", "write a '*' for each level")
        return None
    return Pattern(text, node, path)


def argument(report: Problems, node: Node, path: str) -> str | None:
    """A word of a command; the first one is not empty."""
    text = _word(report, node, path, "a string or a number")
    if text == "" and path.endswith(".args[0]"):
        report.add(node, path, "the program's name is empty")
    return text


def variable(report: Problems, node: Node, path: str) -> str | None:
    """A variable's value that is not null."""
    return _word(report, node, path, "a string, a number, true, false or null")


def mirror(report: Problems, node: Node, path: str) -> str | None:
    """`host[:port]`, and perhaps the path below which a mirror has its copies."""
    text = string(report, node, path, "a mirror's host, such as mirror.example:5000")
    if text is None:
        return None
    host, slash, below = text.partition("/")
    if "://" in text:
        report.add(node, path, f"{shown(text)} is a URL", _without_scheme(text))
    elif not is_host(host) or (slash and not is_path(below)):
        report.add(node, path, f"{shown(text)} is not a host, with or without a port and a path")
    else:
        return text
    return None


def _without_scheme(url: str) -> str:
    scheme, _, rest = url.partition("://")
    rest = rest.rstrip("/")
    host, slash, below = rest.partition("/")
    if not is_host(host) or (slash and not is_path(below)):
        return "write the host alone"
    plain = f", and registries: {{'{host}': {{insecure: true}}}}" if scheme == "http" else ""
    return f"write {item_of(rest)}{plain}"


BOOLEAN = Kind("true or false", boolean)
COUNT = Kind("a number", count)
SIZE = Kind("a size", size)
FOLDER = Kind("a folder", folder)
NAME = Kind("a name", name)
ABSOLUTE = Kind("an absolute path", absolute)
USER = Kind("a user's name or number, with or without :group", user)
SOURCE = Kind("a source such as oci:DIR", source)
PLATFORMS = list_of(platform, "a list of platforms", "[linux/amd64]", unique=True)
PATTERNS = list_of(pattern, "a list of paths or glob patterns", "[teams/*/bundle.yaml]", meant=whole_of)
MIRRORS = list_of(mirror, "a list of hosts", "[mirror.example]", unique=True)
ARGUMENTS = list_of(argument, "a list of strings", "[/bin/sh]", meant=command_of)
VARIABLES = Kind("a mapping of names to values")
