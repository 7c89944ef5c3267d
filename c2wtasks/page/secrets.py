"""What of a text must not be shown to all: credentials that came into an error or a setting. What cannot be told from
a credential goes, too."""

from __future__ import annotations

import re

from c2wtasks.errors import one_line

HIDDEN = "***"

_MOST = 1000  # characters of a line
_USER_INFO = re.compile(r"(?<=://)[^/\s@]{1,500}@")
_QUERY = re.compile(r"(?<=[^\s?])\?[^\s?\"'<>=]*=(?:[^\s\"'<>]*[^\s\"'<>:;,.])?")
_AUTHORIZATION = re.compile(r"\b(bearer|basic|negotiate|token)(\s+)[A-Za-z0-9+/=._~-]{6,}", re.IGNORECASE)
_NAMED = re.compile(
    r"((?:pass(?:word|wd|phrase)?|secret|token|credentials?|api[_-]?key|access[_-]?key|authorization)"
    r"[A-Za-z0-9_-]{0,20}[\"']?\s*[=:]\s*)[^\s,;]+",
    re.IGNORECASE,
)
_WORD = re.compile("bearer|basic|negotiate|token|pass|secret|credential|key|authorization", re.IGNORECASE)
"""Without one of these the two before find nothing."""
_HOME = re.compile(r"(?<![\w.-])/home/[^/\s:;,]+")
_SECRET_NAME = re.compile(r"pass|secret|token|credential|key|auth|private|dsn|cookie|session", re.IGNORECASE)


def told(text: str) -> str:
    """A line of an error or a note as the page may show it: printable, without credentials, and without the name of
    the user in whose home folder something lies."""
    return without(_HOME.sub("~", text) if "/home/" in text else text)


def without(text: str) -> str:
    """A line without credentials, printable."""
    if "@" in text:
        text = _USER_INFO.sub(f"{HIDDEN}@", text)
    if "?" in text:
        text = _QUERY.sub(f"?{HIDDEN}", text)
    if _WORD.search(text):
        text = _AUTHORIZATION.sub(rf"\1\2{HIDDEN}", text)
        text = _NAMED.sub(rf"\1{HIDDEN}", text)
    return one_line(text, _MOST)


def cause(text: str) -> str:
    """`NAME: OLD -> NEW` as the page may show it: the values only where the name does not look secret."""
    name, colon, _ = text.partition(": ")
    return f"{told(name)}: {HIDDEN}" if colon and _SECRET_NAME.search(name) else told(text)


def variable(text: str) -> str:
    """A variable `NAME=VALUE` as the page may show it: the value only where neither its name nor it itself looks as
    if it were secret."""
    name, _, value = text.partition("=")
    if value and _SECRET_NAME.search(name):
        return f"{one_line(name, _MOST)}={HIDDEN}"
    return without(text)
