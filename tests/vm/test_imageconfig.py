"""image.json: verbatim without overrides; with them, all else kept, and spec.json's source says the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.bundlefile.model import Process
from c2wtasks.oci.image import ImageConfig
from c2wtasks.vm.imageconfig import with_overrides


@pytest.mark.parametrize("config", [b"{}", b' {"a": 1e3} \n', b'{"config":{"Env":["\xff"]}}', b"not JSON at all"])
@pytest.mark.parametrize("process", [Process(), Process(terminal=False)])
def test_verbatim_without_overrides(config, process):
    assert with_overrides(config, process) == config


# The image's config, what bundle.yaml overrides, the text that results.
ROWS = [
    # Arguments: all of them, and nothing left of the image's.
    ('{"config":{"Entrypoint":["a"],"Cmd":["b"]}}', {"args": ("x", "y")}, '{"config":{"Cmd":["x","y"]}}'),
    ('{"config":{"Cmd":["b"],"Entrypoint":["a"]}}', {"args": ("x",)}, '{"config":{"Cmd":["x"]}}'),
    ('{"config":{"cmd":["b"],"ENTRYPOINT":["a"]}}', {"args": ("x",)}, '{"config":{"Cmd":["x"]}}'),
    ('{"config":{"Cmd":null,"Entrypoint":null}}', {"args": ()}, '{"config":{"Cmd":[]}}'),
    ('{"config":{"Entrypoint":["a"]},"os":"linux"}', {"args": ("x",)}, '{"config":{"Cmd":["x"]},"os":"linux"}'),
    ('{"config":{"Cmd":["a"],"Cmd":["b"],"User":"c"}}', {"args": ("x",)}, '{"config":{"Cmd":["x"],"User":"c"}}'),
    # No config at all.
    ("{}", {"args": ("x",)}, '{"config":{"Cmd":["x"]}}'),
    ("null", {"user": "app"}, '{"config":{"User":"app"}}'),
    ('{"config":null,"os":"linux"}', {"cwd": "/w"}, '{"config":{"WorkingDir":"/w"},"os":"linux"}'),
    # User and folder.
    ('{"config":{"User":"a","x":1}}', {"user": "b:c"}, '{"config":{"User":"b:c","x":1}}'),
    ('{"config":{"u\u017fer":"a"}}', {"user": "b"}, '{"config":{"User":"b"}}'),
    ('{"config":{"User":"a"}}', {"user": ""}, '{"config":{"User":""}}'),
    ('{"config":{"Wor\u212aingDir":"/a"}}', {"cwd": "/b"}, '{"config":{"WorkingDir":"/b"}}'),
    # Environment: in the place of the first value, or at the end.
    ('{"config":{}}', {"env": (("A", "1"), ("B", ""))}, '{"config":{"Env":["A=1","B="]}}'),
    ('{"config":{"Env":["A=1","B=2","A=3"]}}', {"env": (("A", "x"),)}, '{"config":{"Env":["A=x","B=2"]}}'),
    ('{"config":{"Env":["A=1","B=2"]}}', {"env": (("C", "3"), ("B", "x"))}, '{"config":{"Env":["A=1","B=x","C=3"]}}'),
    ('{"config":{"Env":["A=1","B=2","A=3"]}}', {"env": (("A", None),)}, '{"config":{"Env":["B=2"]}}'),
    ('{"config":{"Env":["A=1"]}}', {"env": (("A", None), ("Z", None))}, '{"config":{"Env":[]}}'),
    ('{"config":{"Env":["A","a=1",""]}}', {"env": (("A", "x=y"),)}, '{"config":{"Env":["A=x=y","a=1",""]}}'),
    ('{"config":{"env":["A=1"],"Env":[null,"B="]}}', {"env": (("C", "3"),)}, '{"config":{"Env":["A=1","B=","C=3"]}}'),
    # A config given twice is one.
    (
        '{"config":{"User":"a"},"os":"x","Config":{"x":1}}',
        {"cwd": "/w"},
        '{"config":{"User":"a","x":1,"WorkingDir":"/w"},"os":"x"}',
    ),
    # All else stays: order, unknown and repeated keys, numbers as written, nulls.
    (
        '{"z":1.50,"config":{"Labels":{"b":"","a":"2"},"Labels":{"c":"3"},"Memory":-0,"X":1e400,"N":null},"a":[{}]}',
        {"user": "u"},
        '{"z":1.50,"config":{"Labels":{"b":"","a":"2"},"Labels":{"c":"3"},"Memory":-0,"X":1e400,"N":null,"User":"u"},'
        '"a":[{}]}',
    ),
    # Strings are written as Go writes them.
    (
        '{"author":"<\\ud834>","config":{}}',
        {"user": "\u2028"},
        r'{"author":"\u003c\ufffd\u003e","config":{"User":"\u2028"}}',
    ),
]


@pytest.mark.parametrize(("config", "overrides", "want"), ROWS)
def test_overrides(config, overrides, want):
    assert with_overrides(config.encode(), Process(**overrides)).decode() == want


@pytest.mark.parametrize("config", [b"", b"[]", b'{"config":1}', b'{"config":{"Env":1}}', b"{} x"])
def test_refused(config):
    with pytest.raises(ValueError):
        with_overrides(config, Process(env=(("A", "1"),)))


def test_nested_too_deeply():
    for depth in (300, 600, 900, 100_000):
        config = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
        try:
            assert with_overrides(config, Process(user="a")) == config[:-1] + b',"config":{"User":"a"}}'
        except ValueError as error:
            assert str(error) == "nested too deeply"
            assert depth > 300


NAMES = st.sampled_from(["A", "B", "PATH", "", "é"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ENTRY = st.one_of(NAMES, st.builds("{}={}".format, NAMES, TEXT))
KEYS = ["User", "user", "Env", "ENV", "Entrypoint", "Cmd", "cmd", "WorkingDir", "Labels", "x"]
VALUES = {"user": TEXT, "workingdir": TEXT, "labels": st.dictionaries(TEXT, TEXT, max_size=2), "x": st.integers()}
FIELDS = st.sampled_from(KEYS).flatmap(
    lambda key: st.tuples(st.just(key), st.none() | VALUES.get(key.lower(), st.lists(ENTRY, max_size=4)))
)
CONFIGS = st.lists(FIELDS, max_size=6).map(
    lambda fields: '{"os":"linux","config":{' + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in fields) + "}}"
)
PROCESSES = st.builds(
    Process,
    args=st.none() | st.lists(TEXT, max_size=3).map(tuple),
    env=st.dictionaries(NAMES.filter(bool), st.none() | TEXT, max_size=3).map(lambda env: tuple(env.items())),
    cwd=st.none() | TEXT,
    user=st.none() | TEXT,
)


@given(CONFIGS, PROCESSES)
def test_what_is_read_of_the_result(config, process):
    """The result says what bundle.yaml says, and else what the image says: to who makes spec.json as to init."""
    image = ImageConfig.parse(config.encode())
    text = with_overrides(config.encode(), process)
    result = ImageConfig.parse(text)
    assert result.user == (image.user if process.user is None else process.user)
    assert result.working_dir == (image.working_dir if process.cwd is None else process.cwd)
    if process.args is None:
        assert (result.entrypoint, result.cmd) == (image.entrypoint, image.cmd)
    else:
        assert (result.entrypoint, result.cmd) == ((), process.args)
    wanted = dict(process.env)
    untouched = [entry for entry in image.env if entry.partition("=")[0] not in wanted]
    assert [entry for entry in result.env if entry.partition("=")[0] not in wanted] == untouched
    overridden = [entry for entry in result.env if entry.partition("=")[0] in wanted]
    assert sorted(overridden) == sorted(f"{name}={value}" for name, value in wanted.items() if value is not None)
    assert with_overrides(text, process) == text
