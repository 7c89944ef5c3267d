"""JSON is read as Go's decoder reads it. What is expected is what Go 1.19.8 and Go 1.26.6 both answered."""

from __future__ import annotations

import json
import sys
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.oci import godecode
from c2wtasks.oci.godecode import Number, Object, as_integer, as_string, fold, load_object, loads

# Documents that Go refuses, whatever they are decoded into.
NOT_JSON = [
    b"",
    b" ",
    b"{",
    b"{}{}",
    b"{} x",
    b"{}\x00",
    b"{}null",
    b"\xef\xbb\xbf{}",
    b"\x0c{}",
    b"\xff{}",
    b"\xc2\xa0{}",
    b"nul",
    b"nullx",
    b"True",
    b"NaN",
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1,}',
    b"{,}",
    b'{"a"}',
    b'{"a":}',
    b'{"a":1 "b":2}',
    b"{'a':1}",
    b"{a:1}",
    b"[1",
    b"[1,]",
    b"[,]",
    b"/**/{}",
    b"{}//x",
    b'{"a":01}',
    b'{"a":-01}',
    b'{"a":00}',
    b'{"a":1.}',
    b'{"a":.5}',
    b'{"a":-}',
    b'{"a":+1}',
    b'{"a":1e}',
    b'{"a":1e+}',
    b'{"a":0x1}',
    b'{"a":1_000}',
    b'{"a":\xd9\xa3}',
    b'{"a":"\t"}',
    b'{"a":"\n"}',
    b'{"a":"\x00"}',
    b'{"a":"\\x"}',
    b'{"a":"\\u12"}',
    b'{"a":"\\u12G4"}',
    b'{"a":"\\u+123"}',
    b'{"a":"\\u 123"}',
    b'{"a":"\\\'"}',
    b'{"a":"',
]


@pytest.mark.parametrize("content", NOT_JSON)
def test_not_json(content):
    with pytest.raises(ValueError) as caught:
        loads(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"null", b"{}", b" \t\r\n{} \n", b'{"":null}', b'{"a":[],"a":{}}'])
def test_json(content):
    assert isinstance(load_object(content), Object)


@pytest.mark.parametrize("content", [b"[]", b'""', b"1", b"true"])
def test_not_an_object(content):
    with pytest.raises(ValueError, match="the document: expected an object, found"):
        load_object(content)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (rb"\u0000\u001f\u007f", "\0\x1f\x7f"),
        (rb"\b\f\n\r\t\/\\\"", '\b\f\n\r\t/\\"'),
        (rb"\u2028\u2029\u0085", "\u2028\u2029\x85"),
        (rb"\ud834\udd1e", "\U0001d11e"),
        (rb"\uDBFF\uDFFF", "\U0010ffff"),
        (rb"\ud834", "\ufffd"),
        (rb"\udd1e\ud834", "\ufffd\ufffd"),
        (rb"\ud834x\udd1e", "\ufffdx\ufffd"),
        (rb"\ud834\ud834\udd1e", "\ufffd\U0001d11e"),
        (rb"\ud834\u0041", "\ufffdA"),
        (rb"\ud834\n", "\ufffd\n"),
        ("é☃𝄞\ue000\ufeff\ufffe".encode(), "é☃𝄞\ue000\ufeff\ufffe"),
        (b"\xff", "\ufffd"),
        (b"\xc3(", "\ufffd("),
        (b"\xe2\x82", "\ufffd\ufffd"),
        (b"\xf0\x9f\x98", "\ufffd\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # a surrogate, encoded
        (b"\xed\xa0\xb4\xed\xb4\x9e", "\ufffd" * 6),
        (b"\xed\xa0\xb4\\udd1e", "\ufffd" * 4),
        (b"\\ud834\xed\xb4\x9e", "\ufffd" * 4),
        (b"\xf4\x90\x80\x80", "\ufffd" * 4),
        (b"\xc0\x80", "\ufffd\ufffd"),
        (b"\xe1\x80\xc3\xa9", "\ufffd\ufffdé"),
        (b"a\x80\x80b", "a\ufffd\ufffdb"),
    ],
)
def test_strings(text, want):
    document = load_object(b'{"a":"' + text + b'"}')
    assert document.string("a") == want
    keyed = load_object(b'{"a":{"' + text + b'":"x"}}')
    assert keyed.mapping("a", as_string, "") == {want: "x"}


@pytest.mark.parametrize(
    "text", ["0", "-0", "1e5", "1E+5", "1e400", "-1e-400", "1.5e3", "0e0", "0.10", "9" * 5000, "-" + "1" * 400 + ".5"]
)
def test_numbers_are_kept_as_written(text):
    assert loads(text.encode()) == Number(text)


@pytest.mark.parametrize(
    ("text", "want"),
    [("0", 0), ("-0", 0), ("12", 12), ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63))],
)
def test_integers(text, want):
    assert load_object(f'{{"a":{text}}}'.encode()).get("a", as_integer, 7) == want


@pytest.mark.parametrize(
    "text", ["1.0", "1e2", "0e0", "9223372036854775808", "-9223372036854775809", "9" * 5000, '"1"', "true", "[]"]
)
def test_not_integers(text):
    with pytest.raises(ValueError, match="a: expected a whole number of 64 bits, found"):
        load_object(f'{{"a":{text}}}'.encode()).get("a", as_integer, 7)


# Which keys are the same to Go: letters of any case, and the two characters that fold to ASCII letters.
@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("WorkingDir", True),
        ("workingdir", True),
        ("WORKINGDIR", True),
        ("Wor\u212aingDir", True),  # KELVIN SIGN
        ("Work\u0131ngDir", False),  # dotless i
        ("Work\u0130ngDir", False),
        ("WorkingDir\u0307", False),
        ("WorkingDir ", False),
        ("Working_Dir", False),
    ],
)
def test_names(name, same):
    document = load_object(json.dumps({name: "x"}).encode())
    assert document.string("WorkingDir") == ("x" if same else "")


@pytest.mark.parametrize(
    ("key", "name"),
    [("StopSignal", "\u017ftopSignal"), ("User", "u\u017fer"), ("os", "o\u017f"), ("User", "\\u0055ser")],
)
def test_long_s_and_escapes_in_names(key, name):
    assert load_object(f'{{"{name}":"x"}}'.encode()).string(key) == "x"


@pytest.mark.parametrize(
    ("key", "name"), [("diff_ids", "di\ufb00_ids"), ("history", "hi\ufb06ory"), ("config", "con\ufb01g")]
)
def test_ligatures_are_not_their_letters(key, name):
    assert load_object(f'{{"{name}":"x"}}'.encode()).string(key) == ""


def test_only_two_characters_fold_into_ascii():
    found = {chr(code): fold(chr(code)) for code in range(0x80, sys.maxunicode + 1) if fold(chr(code)).isascii()}
    assert found == {"\u212a": "k", "\u017f": "s"}


# A key more than once: what a Go struct holds at the end. Its fields: s is a string, l a slice, m a map, o a struct.
@pytest.mark.parametrize(
    ("content", "strings"),
    [
        ('"l":["A","B"],"l":["C"]', ["C"]),
        ('"l":["A"],"L":["B"]', ["B"]),
        ('"L":["B"],"l":["A"]', ["A"]),
        ('"l":["A"],"l":null', []),
        ('"l":null,"l":["A"]', ["A"]),
        ('"l":["A"],"l":[]', []),
        ('"l":[null,"A"]', ["", "A"]),
        ('"l":["A","B"],"l":[null]', ["A"]),
        ('"l":["A","B"],"l":[null,null,null]', ["A", "B", ""]),
        ('"l":["A","B"],"l":[null,"X"]', ["A", "X"]),
        ('"l":["A","B"],"l":null,"l":[null,null]', ["", ""]),
        ('"l":["A","B"],"l":[],"l":[null,null]', ["", ""]),
        ('"l":["A","B","C"],"l":["Z"],"l":[null,null,null,null]', ["Z", "B", "C", ""]),
    ],
)
def test_repeated_arrays(content, strings):
    assert load_object(f"{{{content}}}".encode()).strings("l") == tuple(strings)


@pytest.mark.parametrize(
    ("content", "want"),
    [
        ('"s":"1","s":"2"', "2"),
        ('"s":"1","S":"2"', "2"),
        ('"S":"1","s":"2"', "2"),
        ('"s":"1","s":null', "1"),
        ('"s":null', ""),
    ],
)
def test_repeated_strings(content, want):
    assert load_object(f"{{{content}}}".encode()).string("s") == want


@pytest.mark.parametrize(
    ("content", "want"),
    [
        ('"m":{"a":"1","b":"2"},"m":{"b":"3"}', {"a": "1", "b": "3"}),
        ('"m":{"a":"1"},"m":{"a":null}', {"a": ""}),
        ('"m":{"a":"1"},"m":null', {}),
        ('"m":{"a":"1","A":"2"}', {"a": "1", "A": "2"}),
        ('"m":{"a":"1","a":"2"}', {"a": "2"}),
    ],
)
def test_repeated_maps(content, want):
    assert load_object(f"{{{content}}}".encode()).mapping("m", as_string, "") == want


@pytest.mark.parametrize(
    ("content", "want"),
    [
        ('"o":{"s":"1"},"o":{"l":["A"]}', ("1", ("A",))),
        ('"o":{"s":"1"},"o":null', ("1", ())),
        ('"o":{"s":"1"},"O":{"s":null}', ("1", ())),
        ('"o":{"s":"1","l":["A"]},"o":{"l":[null,"B"]}', ("1", ("A", "B"))),
        ('"o":{"l":["A"]},"o":{"l":null}', ("", ())),
    ],
)
def test_repeated_objects(content, want):
    inner = load_object(f"{{{content}}}".encode()).object("o")
    assert (inner.string("s"), inner.strings("l")) == want


@pytest.mark.parametrize(
    "content", ['"l":[1],"l":["A"]', '"l":"A","l":null', '"l":["A"],"l":{}', '"L":[{}],"l":[],"l":["A"]']
)
def test_an_overridden_value_must_be_of_the_right_type(content):
    with pytest.raises(ValueError, match=r"l.*: expected .*, found "):
        load_object(f"{{{content}}}".encode()).strings("l")


def test_many_repetitions_take_no_long_time():
    content = b'{"o":{"l":["A"]}' + b',"o":{"l":[null]},"l":["B"]' * 50_000 + b"}"
    document = load_object(content)
    assert document.object("o").strings("l") == ("A",)
    assert document.strings("l") == ("B",)


def test_nested_too_deeply():
    assert loads(b"[" * 200 + b"]" * 200)
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        with pytest.raises(ValueError, match="nested too deeply"):
            loads((opening * 100_000 + "1" + closing * 100_000).encode())


TEXT = st.text(st.characters(exclude_categories=[]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


def plain(value):
    """What godecode made, as `json.loads` would have made it."""
    match value:
        case Object():
            return {key: plain(item) for key, item in value}
        case list():
            return [plain(item) for item in value]
        case Number():
            return int(value.text)
    return value


@given(JSON, st.booleans())
def test_reads_what_python_writes(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    if ascii_only:
        assert plain(loads(text.encode())) == json.loads(text)
    else:
        encoded = text.encode("utf-8", "surrogatepass")
        assert json.dumps(plain(loads(encoded))).encode()  # whatever bytes: no surrogate comes out of it
        if not any("\ud800" <= character <= "\udfff" for character in text):
            assert plain(loads(encoded)) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["[" + "{}," * 260_000 + "{}]", '{"a":0' + ',"a":0' * 260_000 + "}", "[" * 500_001, "[0" + ",0" * 500_000 + "]"],
)
def test_values_are_counted_before_they_are_made(text: str) -> None:
    """Each takes far more memory than text."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="it has more than 500000 values"):
            godecode.loads(text.encode())
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()


def test_as_many_values_as_are_read() -> None:
    assert len(godecode.loads(b"[0" + b",0" * 499_999 + b"]")) == 500_000


def test_long_names_are_not_remembered() -> None:
    godecode.fold("N" * 1000)
    assert godecode.fold("N" * 1000) == "n" * 1000
    before = godecode._fold.cache_info().currsize
    assert godecode.loads(b'{"' + b"x" * 5000 + b'": 1}').get("X" * 5000, godecode.as_integer, 0) == 1
    assert godecode._fold.cache_info().currsize == before


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (rb'{"a": "\ud800"}', {"a": "\ufffd"}),
        (rb'"\uDC00\n"', "\ufffd\n"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\\ud800"', "\\ud800"),
        (b'"\xff\xed\xa0\x80 \xc3\xa9"', "\ufffd" * 4 + " \xe9"),
    ],
)
def test_repaired(content: bytes, want: object) -> None:
    assert msgspec.json.decode(godecode.repaired(content)) == want
