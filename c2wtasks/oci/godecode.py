"""Reading JSON as Go's `encoding/json` does, so that odd documents mean to us what they mean to the programs
that wrote and read them: keys match whatever their case, a repeated key is decoded over what the earlier one left,
null changes nothing, each invalid UTF-8 byte or lone surrogate is U+FFFD, and a value of the wrong type is refused.

Not as there: documents nested deeper than Python's own reader goes (some 900 levels; Go's goes 10,000) are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
MAX_VALUES = 500_000
_LONG_NAME = 100
_SURROGATE = re.compile("[\ud800-\udfff]")
_HALF = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F]..)|.)", re.DOTALL)
"""An escape in a string of JSON; `half` is one for a surrogate that is none of a pair."""
_INTEGER = re.compile("-?[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Number:
    """A number, as written."""

    text: str


class Object(tuple[tuple[str, Any], ...]):
    """A JSON object: its pairs in the order of the text, repeated keys and all."""

    @cached_property
    def _fields(self) -> dict[str, list[Any]]:
        """What each field was given, in turn, by its folded name."""
        fields: dict[str, list[Any]] = {}
        for name, value in self:
            fields.setdefault(fold(name), []).append(value)
        return fields

    def get(self, key: str, read: Callable[[Any, str], T], default: T, *, null_clears: bool = False) -> T:
        """The field `key`, read by `read(value, key)`; `default` where it is absent or null.

        `null_clears` says whether null undoes earlier values, as for what is a pointer, map or slice in Go.

        Raises ValueError.
        """
        found = self._fields.get(fold(key), ())
        if len(found) == 1 and found[0] is not None:
            return read(found[0], key)
        counting: list[Any] = []
        for value in found:
            if value is not None:
                read(value, key)  # what is overridden must be of the right type, too
                counting.append(value)
            elif null_clears:
                counting.clear()
        return read(_decoded_in_turn(counting), key) if counting else default

    def string(self, key: str) -> str:
        """The string `key`, "" where it is absent or null. Raises ValueError."""
        return self.get(key, as_string, "")

    def strings(self, key: str) -> tuple[str, ...]:
        """The strings in the array `key`, none where it is absent or null. Raises ValueError."""
        return self.array(key, as_string, "")

    def object(self, key: str) -> Object:
        """The object `key`, an empty one where it is absent or null. Raises ValueError."""
        return self.get(key, as_object, Object())

    def objects(self, key: str) -> tuple[Object, ...]:
        """The objects in the array `key`, none where it is absent or null. Raises ValueError."""
        return self.array(key, as_object, Object())

    def boolean(self, key: str) -> bool:
        """The boolean `key`, false where it is absent or null. Raises ValueError."""
        return self.get(key, as_boolean, False)

    def array(self, key: str, read: Callable[[Any, str], T], null: T) -> tuple[T, ...]:
        """The array `key`, its elements read by `read`, a null one as `null`. Raises ValueError."""
        return self.get(key, list_of(read, null), (), null_clears=True)

    def mapping(self, key: str, read: Callable[[Any, str], T], null: T) -> dict[str, T]:
        """The map `key`, its values read by `read`, a null one as `null`. Raises ValueError."""
        return self.get(key, map_of(read, null), {}, null_clears=True)


def fold(name: str) -> str:
    """What is equal for names that are the same to Go, as far as one of them is ASCII (`strings.EqualFold`)."""
    return _fold(name) if len(name) < _LONG_NAME else _fold.__wrapped__(name)  # which are not to be kept


@lru_cache(maxsize=1024)
def _fold(name: str) -> str:
    return name.lower().replace("\u017f", "s")


def _decoded_in_turn(values: list[Any]) -> Any:
    """What a Go variable holds after `values`, of one type and none of them null, were decoded into it."""
    last = values[-1]
    if len(values) == 1:
        return last
    if isinstance(last, Object):
        return Object(pair for value in values for pair in value)
    if not isinstance(last, list):
        return last
    places: list[list[Any]] = []  # what was decoded into each element; a shorter array leaves the others in memory
    for value in values:
        if not value:
            places = []
        places += [[] for _ in range(len(places), len(value))]
        for place, item in zip(places, value, strict=False):
            if item is not None:
                place.append(item)
    return [_decoded_in_turn(place) if place else None for place in places[: len(last)]]


_KIND: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    Number: "a number",
    list: "an array",
    Object: "an object",
    type(None): "null",
}


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def loads(content: bytes) -> Any:
    """The document in `content`: objects as `Object`, numbers as `Number`, all else as Python's own types.

    Raises ValueError; also where there may be more than MAX_VALUES values in it, each of which takes far more memory
    than text.
    """
    if sum(map(content.count, (b",", b":", b"[", b"{"))) > MAX_VALUES:
        raise ValueError(f"it has more than {MAX_VALUES} values")
    text = _text(content)
    try:
        return json.loads(
            text,
            object_pairs_hook=Object,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _text(content: bytes) -> str:
    text = content.decode("utf-8", "surrogateescape")
    return _SURROGATE.sub("\ufffd", text) if _SURROGATE.search(text) else text


def repaired(content: bytes) -> str:
    """The same JSON document for a reader that is strict about Unicode: what Go reads as U+FFFD is U+FFFD."""
    return _HALF.sub(lambda escape: "\ufffd" if escape["half"] else escape[0], _text(content))


def load_object(content: bytes) -> Object:
    """Like `loads`, for a document that must be an object (or null, which is one without fields).

    Raises ValueError.
    """
    value = loads(content)
    return Object() if value is None else as_object(value, "the document")


def _wrong(value: Any, key: str, wanted: str) -> ValueError:
    return ValueError(f"{key}: expected {wanted}, found {_KIND[type(value)]}")


def as_object(value: Any, key: str) -> Object:
    """The value of `key`, which must be an object. Raises ValueError."""
    if not isinstance(value, Object):
        raise _wrong(value, key, "an object")
    return value


def as_string(value: Any, key: str) -> str:
    """The value of `key`, which must be a string. Raises ValueError."""
    if not isinstance(value, str):
        raise _wrong(value, key, "a string")
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


def as_integer(value: Any, key: str) -> int:
    """The value of `key`, which must be a whole number of 64 bits with its sign. Raises ValueError."""
    if not isinstance(value, Number) or not _INTEGER.fullmatch(value.text) or not -(2**63) <= int(value.text) < 2**63:
        raise _wrong(value, key, "a whole number of 64 bits")
    return int(value.text)


def as_boolean(value: Any, key: str) -> bool:
    """The value of `key`, which must be a boolean. Raises ValueError."""
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
