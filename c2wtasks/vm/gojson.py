"""Writes JSON as Go's `encoding/json` does, byte for byte: compact, in the order given, with its escapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from c2wtasks.oci.godecode import Number, Object

_ESCAPED = re.compile('[\x00-\x1f"\\\\<>&\u2028\u2029\ud800-\udfff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SHORT_SINCE_1_22 = {"\b": "\\b", "\f": "\\f"}


class Ready(NamedTuple):
    """A value whose text is there already, and which is the same in all versions of Go."""

    text: str


def ready(value: Any) -> Ready:
    """A value that is written again and again."""
    return Ready(dumps(value).decode())


def dumps(value: Any, *, go_before_1_22: bool = False) -> bytes:
    """The text of `value`: dicts (in their order), lists, strings, integers, booleans, None; all of `godecode`;
    what is `ready`.

    A lone surrogate, which is how Python keeps an invalid UTF-8 byte, becomes the escape of U+FFFD, as Go writes
    an invalid byte. Go before 1.22 wrote backspace and form feed as \\u0008 and \\u000c.

    Raises RecursionError: it is nested too deeply.
    """
    short = _SHORT if go_before_1_22 else _SHORT | _SHORT_SINCE_1_22

    def escape(match: re.Match[str]) -> str:
        character = match.group()
        if "\ud800" <= character <= "\udfff":
            return "\\ufffd"
        return short.get(character) or f"\\u{ord(character):04x}"

    def text(value: Any) -> str:
        match value:
            case str():
                return f'"{_ESCAPED.sub(escape, value)}"'
            case None:
                return "null"
            case True:
                return "true"
            case False:
                return "false"
            case int():
                return str(value)
            case Number() | Ready():
                return value.text
            case Object():
                return members(value)
            case Mapping():
                return members(value.items())
            case list() | tuple():
                return "[" + ",".join(map(text, value)) + "]"
        raise TypeError(f"{type(value).__name__} has no JSON text here")

    def members(pairs: Iterable[tuple[str, Any]]) -> str:
        return "{" + ",".join(f"{text(name)}:{text(value)}" for name, value in pairs) + "}"

    return text(value).encode()


def drop_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that Go's `omitempty` leaves: none that is false, 0, "", null, or an empty array or object."""
    return {key: value for key, value in fields.items() if value}
