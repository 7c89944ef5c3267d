"""What the page shows of errors and settings: nothing that looks like a credential, and all else."""

from __future__ import annotations

import pytest

from c2wtasks.page import secrets

LINES = [
    ("https://alice:s3cret@reg.example/v2/: 401", "https://***@reg.example/v2/: 401"),
    ("https://tok-en@reg.example/v2/", "https://***@reg.example/v2/"),
    ("GET https://s3.example/b/k?X-Amz-Signature=abc&x=y: 403", "GET https://s3.example/b/k?***: 403"),
    ("sent Authorization: Bearer eyJhbGciOi.x.y", "sent Authorization: *** ***"),
    ("Bearer eyJhbGciOi.x.y was refused", "Bearer *** was refused"),
    ("login with password=hunter2, then", "login with password=***, then"),
    ('{"token": "abcdef"}', '{"token": ***'),
    ("AWS_SECRET_ACCESS_KEY: abc/def", "AWS_SECRET_ACCESS_KEY: ***"),
    ("/home/alice/images/web: cannot be read", "~/images/web: cannot be read"),
    ("oci:/srv/home/web: cannot be read", "oci:/srv/home/web: cannot be read"),
    ("web@linux/amd64: what? nothing", "web@linux/amd64: what? nothing"),
    ("docker://reg.example/web:1@sha256:" + "0" * 64, "docker://reg.example/web:1@sha256:" + "0" * 64),
    ("a\x1b[31m\u202eb", "a\\x1b[31m\\u202eb"),
]


@pytest.mark.parametrize(("line", "shown"), LINES)
def test_lines(line: str, shown: str) -> None:
    assert secrets.told(line) == shown


def test_variables_and_causes() -> None:
    assert secrets.variable("PATH=/usr/bin:/home/app") == "PATH=/usr/bin:/home/app"
    assert secrets.variable("DB_PASSWORD=hunter2") == "DB_PASSWORD=***"
    assert secrets.variable("URL=https://a:b@c.example/") == "URL=https://***@c.example/"
    assert secrets.variable("NO_VALUE") == "NO_VALUE"
    assert secrets.cause("option process.env.API_KEY: old -> new") == "option process.env.API_KEY: ***"
    assert secrets.cause("option process.env.TZ: UTC -> none") == "option process.env.TZ: UTC -> none"
    assert secrets.cause("layer 012345678901 new") == "layer 012345678901 new"


def test_long_and_odd_lines_are_no_trouble() -> None:
    assert len(secrets.told("://" + "a" * 100_000 + "@x token=" + "?=" * 50_000)) <= 1000
