"""How messages call what stands in bundle.yaml, and what was probably meant where it is wrong."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from c2wtasks.bundlefile.nodes import Node, Scalar, Sequence
from c2wtasks.errors import nearest

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEAN = frozenset(("true", "True", "TRUE", "false", "False", "FALSE"))
_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|0[xob][0-9a-fA-F_]+")
# What is no more than itself as an item of a list in brackets.
_PLAIN = re.compile(r"(?!-(?:\Z|-?-?\Z))[A-Za-z0-9_./-](?:[A-Za-z0-9_./+=@%^~*?$-]|:(?=[A-Za-z0-9_./]))*")
# What a shell does not take as it is: outside of quotes, and $ and ` also in double ones.
_QUOTED = re.compile(r"""'[^']*'|"[^"$`\\]*"|\\.""", re.DOTALL)
_SHELLS = re.compile(r"[|&;<>()$`*?\[\]{}~#\n]")
SHOWN = 80


def shown(text: str) -> str:
    """`text` in quotes, its tail cut off where it is long."""
    return f"'{text}'" if len(text) <= SHOWN else f"'{text[:SHOWN]}...'"


def meaning(node: Scalar) -> str:
    """What a scalar means in YAML: "null", "boolean", "number" or "string"."""
    if not node.plain:
        return "string"
    if node.text in NULL:
        return "null"
    if node.text in _BOOLEAN:
        return "boolean"
    return "number" if _NUMBER.fullmatch(node.text) else "string"


def described(node: Node) -> str:
    """What `node` is, for "expected ..., found ..."."""
    if not isinstance(node, Scalar):
        return "a list" if isinstance(node, Sequence) else "a mapping"
    match meaning(node):
        case "null":
            return "nothing (null)"
        case "string":
            return f"the string {shown(node.text)}"
        case word:
            return f"the {word} {node.text[:SHOWN]}"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the one of `known` that was probably meant."""
    found = nearest(word, known)
    return f"did you mean '{found}'?" if found else None


def in_brackets(words: Iterable[str]) -> str | None:
    """A hint to write these words as a list; None where there are none."""
    items = ", ".join(map(item_of, words))
    return f"write [{items}]" if items else None


def item_of(text: str) -> str:
    """`text` as an item of a list in brackets, in quotes where it would be something else without."""
    if _PLAIN.fullmatch(text) and text not in NULL:
        return text
    if not CONTROL.search(text):
        return "'" + text.replace("'", "''") + "'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'


def value_of(text: str) -> str:
    """`text` as a value that is a string, in quotes where it would be something else without."""
    is_other = text in _BOOLEAN or _NUMBER.fullmatch(text)
    return f"'{text}'" if is_other else item_of(text)


def is_number(node: Node) -> bool:
    """Whether a node is a scalar that would be a string in quotes, and is not."""
    return isinstance(node, Scalar) and meaning(node) in ("number", "boolean")


def is_null(node: Node) -> bool:
    """Whether a node is null, as YAML has it: nothing, or a word for it that is not in quotes."""
    return isinstance(node, Scalar) and node.plain and node.text in NULL


def words_of(node: Scalar) -> list[str]:
    """The items of the list that a word was meant to be: `a, b` and `a b` are two items."""
    return re.split(r"[,\s]+", node.text.strip(", \t\n")) if meaning(node) == "string" else []


def whole_of(node: Scalar) -> list[str]:
    """A word as the only item of a list."""
    return [node.text] if meaning(node) == "string" else []


def command_of(node: Scalar) -> list[str]:
    """The words of a command, as a shell takes them; where it would do more than that, the shell's own."""
    if is_null(node):
        return []
    try:
        words = shlex.split(node.text)
    except ValueError:  # quotes that do not end
        return []
    return ["/bin/sh", "-c", node.text] if _SHELLS.search(_QUOTED.sub("", node.text)) else words
