"""Names are read as docker reads them."""

from __future__ import annotations

import pytest

from c2wtasks.oci.imagename import ImageName

HEX = "ab" * 32
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("user/app", "docker.io/user/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("docker.io/user/app:x", "docker.io/user/app:x"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("registry.example/a/b/c", "registry.example/a/b/c:latest"),
        ("registry.example:5000/app", "registry.example:5000/app:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("Registry/app", "Registry/app:latest"),
        ("a__b/c-d--e.f", "docker.io/a__b/c-d--e.f:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"h.example/a:1@{DIGEST}", f"h.example/a:1@{DIGEST}"),
    ],
)
def test_normal_form(text: str, want: str) -> None:
    name = ImageName.parse(text)
    assert str(name) == want
    assert ImageName.parse(want) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'library/' is not the name of a repository"),
        ("Busybox", "must be in lower case"),
        ("h.example/", "is not the name of a repository"),
        ("a//b", "is not the name of a repository"),
        ("a/../b", "is not the name of a repository"),
        ("a___b", "is not the name of a repository"),
        ("a:", "'' is not a tag"),
        ("a:-x", "'-x' is not a tag"),
        ("a:" + "x" * 129, "is not a tag"),
        ("a@sha256:12", "64 lower-case hex digits"),
        ("a@", "'' is not a digest"),
        (HEX, "looks like the id of an image"),
        ("-h.example/a", "is not a host"),
        ("h.example:port/a", "is not a host"),
        ("a/" * 130 + "a", "longer than 255"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="") as caught:
        ImageName.parse(text)
    assert message in str(caught.value)
