"""Whom a config's User means. Every row is what create-spec answered (Go 1.19.8 and 1.26.6 alike)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.errors import SpecError
from c2wtasks.vm.users import User, resolve

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# comment:x:5:5

app:x:1001:1002:App:/home/app:/bin/sh
app:x:2001:2002:the second is never met
other1001:x:1001:7
 lead:x:11:12
1234:x:77:78
neg:x:-1:-5
big:x:4294967295:4294967296
huge:x:99999999999999999999:99999999999999999999
text:x:abc:def
plus:x:+15:+16
short
short3:x:21
:x:23:24
white:x: 25 : 26
crlf:x:31:32:a:b:c\r
#hash:x:33:34
uni\xc3\xa9:x:35:36
bad\xff:x:37:38
under:x:1_0:1_1
zero:x:007:008
\xc2\xa0nbsp:x:41:42\xc2\xa0
\x1cfs:x:47:48
99999999999999999999:x:51:52
"""
GROUP = b"""root:x:0:
#c:x:9:app
staff:x:50:app,root
extra:x:60:app,app
extra:x:61:app
spaces:x:62: app ,x
  lead:x:63:app
wheel:x:10
short:x
55:x:56:
neg:x:-3:app
big:x:4294967295:lead
huge:x:99999999999999999999:lead
text:x:abc:lead
:x:64:lead
none:x:65:,
crlf:x:67:zz,crlf\r
five:x:68:1234:more
bad\xff:x:73:bad\xff
nbsp:x:76:nbsp\xe3\x80\x80
"""
_APP = [50, 60, 61, 63, 4294967293]
_LEAD = [4294967295, 4294967295, 0, 64]

ROWS = [
    ("root", 0, 0, [50]),
    ("0", 0, 0, [50]),
    ("00", 0, 0, [50]),
    ("-0", 0, 0, [50]),
    ("0:0", 0, 0, []),
    ("0:", 0, 0, [50]),
    (":", 0, 0, [50]),
    (":5", 0, 5, []),
    (":staff", 0, 50, []),
    ("app", 1001, 1002, _APP),
    ("app:", 1001, 1002, _APP),
    ("app::x", 1001, 1002, _APP),
    ("app:extra", 1001, 60, []),
    ("app:staff:x", 1001, 50, []),
    ("app:50", 1001, 50, []),
    ("app:+50", 1001, 50, []),
    ("app:9999", 1001, 9999, []),
    ("app:55", 1001, 55, []),
    ("app:wheel", 1001, 10, []),
    ("app:short", 1001, 0, []),
    ("app:lead", 1001, 63, []),
    ("app:neg", 1001, 4294967293, []),
    ("app:big", 1001, 4294967295, []),
    ("app:huge", 1001, 4294967295, []),
    ("1001", 1001, 1002, _APP),
    ("+1001", 1001, 1002, _APP),
    ("1001:staff", 1001, 50, []),
    ("1001:9999", 1001, 9999, []),
    ("2001", 2001, 2002, _APP),
    ("lead", 11, 12, _LEAD),
    ("+5", 5, 5, []),
    ("# comment", 5, 5, []),
    ("#hash", 33, 34, []),
    ("1234", 1234, 0, []),
    ("77", 77, 78, [68]),
    ("neg", 4294967295, 4294967291, []),
    ("-1", 4294967295, 4294967291, []),
    ("-1:-3", 4294967295, 4294967293, []),
    ("big", 4294967295, 0, []),
    ("4294967295", 4294967295, 0, []),
    ("4294967295:4294967295", 4294967295, 4294967295, []),
    ("huge", 4294967295, 4294967295, []),
    ("9223372036854775807", 4294967295, 4294967295, []),
    ("99999999999999999999", 51, 52, []),  # too big for a number, so a name
    ("text", 0, 0, []),
    ("plus", 15, 16, []),
    ("short", 0, 0, []),
    ("short3", 21, 0, []),
    ("23", 23, 24, []),
    ("white", 0, 0, []),
    ("crlf", 31, 32, [67]),
    ("unié", 35, 36, []),
    ("under", 0, 0, []),
    ("007", 7, 8, []),
    ("nbsp", 41, 42, [76]),
    ("\x1cfs", 47, 48, []),
    ("4242", 4242, 0, []),
    ("4242:4242", 4242, 4242, []),
    ("2147483647:2147483647", 2147483647, 2147483647, []),
    ("0000000000000000000000000000000000004242", 4242, 0, []),
]

REFUSED = [
    ("ghost", "unable to find user ghost: /etc/passwd has no such entry"),
    ("ghost:root", "unable to find user ghost"),
    (" app", "unable to find user  app"),
    ("app ", "unable to find user app "),
    ("\u00a0nbsp", "unable to find user"),
    ("bad\ufffd", "unable to find user"),
    ("comment", "unable to find user comment"),
    ("0x10", "unable to find user 0x10"),
    ("1_0", "unable to find user 1_0"),
    ("1e3", "unable to find user 1e3"),
    ("+", "unable to find user +"),
    ("++5", "unable to find user ++5"),
    ("\u0663", "unable to find user"),
    ("app:ghost", "unable to find group ghost: /etc/group has no such entry"),
    (":ghost", "unable to find group ghost"),
    ("app: 50", "unable to find group  50"),
    ("app:#c", "unable to find group #c"),
    ("app:99999999999999999999", "unable to find group 99999999999999999999"),
    ("2147483648", "uids and gids must be in range 0-2147483647"),
    ("-2", "uids and gids must be in range 0-2147483647"),
    ("app:-1", "uids and gids must be in range 0-2147483647"),
    ("0:2147483648", "uids and gids must be in range 0-2147483647"),
]


@pytest.mark.parametrize(("spec", "uid", "gid", "additional"), ROWS)
def test_resolve(spec, uid, gid, additional):
    assert resolve(spec, PASSWD, GROUP) == User(uid, gid, tuple(additional))


@pytest.mark.parametrize(("spec", "problem"), REFUSED)
def test_refused(spec, problem):
    with pytest.raises(SpecError) as caught:
        resolve(spec, PASSWD, GROUP)
    assert caught.value.message.startswith(f"user {spec!r}: ")
    assert problem in caught.value.message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("", User()),
        ("1000", User(1000)),
        ("1000:1000", User(1000, 1000)),
        (":5", User(0, 5)),
        ("app", "unable to find user app: the image has no /etc/passwd"),
        ("0:staff", "unable to find group staff: the image has no /etc/group"),
        ("2147483648", "must be in range"),
    ],
)
def test_numbers_need_no_files(spec, want):
    """Here we do better than the original, which opens the files first."""
    if isinstance(want, User):
        assert resolve(spec, None, None) == want
    else:
        with pytest.raises(SpecError, match=want):
            resolve(spec, None, None)


def test_a_user_without_a_group_file_has_no_additional_groups():
    assert resolve("app", PASSWD, None) == User(1001, 1002)


LIMIT = 64 * 1024


# A line of passwd may have 65,535 bytes, a carriage return included, wherever it is and whoever is asked for.
@pytest.mark.parametrize("end", [b"", b"\n", b"\nroot:x:0:0\n"])
@pytest.mark.parametrize(
    ("line", "fits"),
    [
        (b"g" * (LIMIT - 1), True),
        (b"g" * (LIMIT - 2) + b"\r", True),
        (b" " * (LIMIT - 1), True),
        (b"g" * LIMIT, False),
        (b"g" * (LIMIT - 1) + b"\r", False),
        (b" " * LIMIT, False),
    ],
)
@pytest.mark.parametrize("spec", ["app", "5", ":5"])
def test_long_lines_of_passwd(line, fits, end, spec):
    passwd = b"app:x:5:5\n" + line + end
    if fits:
        resolve(spec, passwd, b"")
    else:
        with pytest.raises(SpecError, match="/etc/passwd: a line is longer than 64 KiB"):
            resolve(spec, passwd, b"")


def test_long_lines_of_group():
    assert resolve("app", b"app:x:5:5", b"g:x:6:" + b"x," * LIMIT + b"app\r\n").additional_gids == (6,)


@pytest.mark.parametrize(
    ("passwd", "want"),
    [
        (b"app:x:1:2\r\n", User(1, 2)),
        (b"\r\napp:x:1:2", User(1, 2)),
        (b"app:x:1:2\rfoo:x:3:4\n", User(1, 0)),
        (b"app:x:1:2\x00\n", User(1, 0)),
        (b"app:x:1:2\x0b\x0c\n", User(1, 2)),
        (b"app:x:1:2\x1c\n", User(1, 0)),
        (b"app:x:1:2\xc2\x85\n", User(1, 2)),
        (b"app:x:1:2\x85\n", User(1, 0)),
        (b"app:x:1:2\xe2\x80\x80\n", User(1, 2)),
        (b"app:x:1:2\xe2\x80\x8b\n", User(1, 0)),
    ],
)
def test_white_space(passwd, want):
    assert resolve("app", passwd, b"") == want


def test_a_byte_order_mark_belongs_to_the_name():
    with pytest.raises(SpecError, match="unable to find user app"):
        resolve("app", b"\xef\xbb\xbfapp:x:1:2\n", b"")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(max_size=60), st.binary(max_size=60))
def test_any_files_give_a_user_or_one_line(spec, passwd, group):
    try:
        user = resolve(spec, passwd, group)
    except SpecError as error:
        assert "\n" not in str(error)
    else:
        assert all(0 <= number < 2**32 for number in (user.uid, user.gid, *user.additional_gids))
