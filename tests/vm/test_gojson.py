"""JSON text as Go's encoder writes it. The known texts are what Go 1.19.8 and 1.26.6 wrote."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.oci.godecode import Number, Object, loads
from c2wtasks.vm.gojson import drop_empty, dumps


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1, "1"),
        (-1, "-1"),
        (2**63, "9223372036854775808"),
        (Number("1.50e3"), "1.50e3"),
        ("", '""'),
        ([], "[]"),
        ((), "[]"),
        ({}, "{}"),
        ([1, [None, "a"], {}], '[1,[null,"a"],{}]'),
        ({"b": 1, "a": {"c": [True]}}, '{"b":1,"a":{"c":[true]}}'),
        (Object([("a", 1), ("a", 2)]), '{"a":1,"a":2}'),
        ("a/b'c", '"a/b\'c"'),
        ('"\\', r'"\"\\"'),
        ("<a>&b", r'"\u003ca\u003e\u0026b"'),
        ("\n\r\t", r'"\n\r\t"'),
        ("\0\x01\x1b\x1f", r'"\u0000\u0001\u001b\u001f"'),
        ("\x7f\x80\x85\xa0", '"\x7f\x80\x85\xa0"'),
        ("\u2027\u2028\u2029\u202a", '"\u2027\\u2028\\u2029\u202a"'),
        ("naïve ☃ 𝄞 \ufeff\uffff", '"naïve ☃ 𝄞 \ufeff\uffff"'),
        ("\ufffd", '"\ufffd"'),
        ("\udcff\ud834", r'"\ufffd\ufffd"'),
        ({"<\udcff>": "<"}, r'{"\u003c\ufffd\u003e":"\u003c"}'),
    ],
)
def test_known_texts(value, text):
    assert dumps(value) == text.encode()
    assert dumps(value, go_before_1_22=True) == text.encode()


def test_backspace_and_form_feed_became_short():
    assert dumps("\b\f") == rb'"\b\f"'
    assert dumps("\b\f", go_before_1_22=True) == rb'"\u0008\u000c"'


@pytest.mark.parametrize("value", [1.5, b"a", {1}, object()])
def test_what_has_no_text(value):
    with pytest.raises(TypeError, match="has no JSON text here"):
        dumps(value)


def test_drop_empty():
    fields = {"a": 0, "b": False, "c": "", "d": None, "e": [], "f": {}, "g": (), "h": [0], "i": "x", "j": {"k": 0}}
    assert drop_empty(fields) == {"h": [0], "i": "x", "j": {"k": 0}}


TEXT = st.text(st.characters(exclude_categories=[]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


def without_surrogates(value):
    match value:
        case str():
            return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in value)
        case list():
            return [without_surrogates(item) for item in value]
        case dict():
            return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value


@given(JSON, st.booleans())
def test_round_trip(value, before_1_22):
    text = dumps(value, go_before_1_22=before_1_22)
    assert json.loads(text) == without_surrogates(value)
    assert dumps(loads(text), go_before_1_22=before_1_22) == text.replace(rb"\ufffd", "\ufffd".encode())


@given(JSON)
def test_is_ascii_safe_html(value):
    text = dumps(value).decode()
    assert not set(text) & set("<>&\u2028\u2029\n\0")
