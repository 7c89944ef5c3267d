"""Reading JSON as Go's `encoding/json` does, so that odd documents mean to us what they mean to the programs
that wrote and read them: keys match whatever their case, a later key overrides an earlier one, null changes
nothing, each invalid UTF-8 byte or lone surrogate is U+FFFD, and a value of the wrong type is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
Pairs = list[tuple[str, Any]]
_SURROGATE = re.compile("[\ud800-\udfff]")
_KIND = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "an array",
    tuple: "an object",
}


class Object(tuple[tuple[str, Any], ...]):
    """A JSON object: its pairs in the order of the text, repeated keys and all."""

    __slots__ = ()

    def get(self, key: str, read: Callable[[Any, str], T], default: T) -> T:
        """The field `key`, read by `read(value, key)`; `default` where it is absent or null.

        Raises ValueError.
        """
        found = default
        folded = key.casefold()
        for name, value in self:
            if (name == key or name.casefold() == folded) and value is not None:
                found = read(value, key)
        return found

    def string(self, key: str) -> str:
        return self.get(key, as_string, "")

    def strings(self, key: str) -> tuple[str, ...]:
        return self.get(key, list_of(as_string, ""), ())

    def object(self, key: str) -> Object:
        return self.get(key, as_object, Object())

    def objects(self, key: str) -> tuple[Object, ...]:
        return self.get(key, list_of(as_object, Object()), ())

    def boolean(self, key: str) -> bool:
        return self.get(key, as_boolean, False)

    def mapping(self, key: str, read: Callable[[Any, str], T], null: T) -> dict[str, T]:
        return self.get(key, map_of(read, null), {})


class Float(float):
    """A number that is not whole, with its text as written."""

    text: str

    def __new__(cls, text: str) -> Float:
        number = super().__new__(cls, text)
        number.text = text
        return number


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def loads(content: bytes) -> Any:
    """The document in `content`: objects as `Object`, all else as Python's own types.

    Raises ValueError.
    """
    text = content.decode("utf-8", "surrogateescape")
    if _SURROGATE.search(text):
        text = _SURROGATE.sub("\ufffd", text)
    try:
        return json.loads(text, object_pairs_hook=Object, parse_float=Float, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def load_object(content: bytes) -> Object:
    """Like `loads`, for a document that must be an object (or null, which is one without fields).

    Raises ValueError.
    """
    value = loads(content)
    return Object() if value is None else as_object(value, "the document")


def _wrong(value: Any, key: str, wanted: str) -> ValueError:
    base = float if isinstance(value, Float) else type(value)
    kind = "null" if value is None else _KIND.get(base, "an object")
    return ValueError(f"{key}: expected {wanted}, found {kind}")


def as_object(value: Any, key: str) -> Object:
    if not isinstance(value, Object):
        raise _wrong(value, key, "an object")
    return value


def as_string(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, key, "a string")
    return _SURROGATE.sub("\ufffd", value)


def as_integer(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise _wrong(value, key, "a whole number of 64 bits")
    return value


def as_boolean(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, key, "a boolean")
    return value


def list_of(read: Callable[[Any, str], T], null: T) -> Callable[[Any, str], tuple[T, ...]]:
    """A reader of arrays whose elements `read` reads; a null element is `null`."""

    def read_list(value: Any, key: str) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise _wrong(value, key, "an array")
        return tuple(null if item is None else read(item, f"{key}[{at}]") for at, item in enumerate(value))

    return read_list


def map_of(read: Callable[[Any, str], T], null: T) -> Callable[[Any, str], dict[str, T]]:
    """A reader of objects used as maps."""

    def read_map(value: Any, key: str) -> dict[str, T]:
        pairs = as_object(value, key)
        return {as_string(k, key): null if v is None else read(v, f"{key}.{k}") for k, v in pairs}

    return read_map
