"""Which image serves which platform: containerd's rules as tables, and a config's own platform."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import OCI_MANIFEST, Descriptor, ImageConfig
from c2wtasks.oci.platform import Platform
from c2wtasks.sources.fitting import Misses, image_platform
from c2wtasks.sources.select import by_preference

# Asked for -> all that serve it, best first (containerd platforms, `Only`).
SERVED_BY = {
    "linux/amd64": ["linux/amd64", "linux/386"],
    "linux/x86_64": ["linux/amd64", "linux/386"],
    "linux/amd64/v1": ["linux/amd64", "linux/386"],
    "linux/amd64/v3": ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"],
    "linux/386": ["linux/386"],
    "linux/i386": ["linux/386"],
    "linux/arm64": ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    "linux/arm64/v8": ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    "linux/aarch64": ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    "linux/arm": ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    "linux/arm/7": ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    "linux/armhf": ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    "linux/armel": ["linux/arm/v6", "linux/arm/v5"],
    "linux/arm/v6": ["linux/arm/v6", "linux/arm/v5"],
    "linux/arm/v5": ["linux/arm/v5"],
    "linux/riscv64": ["linux/riscv64"],
    "linux/s390x": ["linux/s390x"],
    "linux/amd64/v999999999": ["linux/amd64/v999999999", "linux/386"],
}


@pytest.mark.parametrize(("asked", "served_by"), SERVED_BY.items())
def test_served_by(asked, served_by):
    assert [str(platform) for platform in Platform.parse(asked).served_by()] == served_by


@pytest.mark.parametrize(
    ("asked", "offered", "serves"),
    [
        ("linux/amd64", "linux/386", True),
        ("linux/386", "linux/amd64", False),
        ("linux/amd64", "linux/amd64/v2", False),
        ("linux/amd64/v2", "linux/amd64/v1", True),
        ("linux/arm64", "linux/arm/v7", True),
        ("linux/arm64/7", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm64", False),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm/v6", "linux/arm", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/amd64", "LINUX/X86-64", True),
        ("linux/riscv64", "linux/amd64", False),
    ],
)
def test_rank(asked, offered, serves):
    assert (Platform.parse(asked).rank(Platform.parse(offered)) is not None) is serves


# What the config says, what the index says, what the image is for.
@pytest.mark.parametrize(
    ("os", "architecture", "variant", "described", "want"),
    [
        ("linux", "amd64", "", None, "linux/amd64"),
        ("", "amd64", "", None, "linux/amd64"),  # Go's Normalize: no OS means the program's own
        ("linux", "", "", None, None),
        ("linux", "", "", "linux/amd64", "linux/amd64"),  # containerd: an index that names the platform is believed
        ("linux", "arm", "", None, "linux/arm/v7"),
        ("linux", "arm", "v6", None, "linux/arm/v6"),
        ("linux", "arm", "", "linux/arm/v6", "linux/arm/v6"),
        ("linux", "arm", "v7", "linux/arm/v6", "linux/arm/v7"),
        ("linux", "arm64", "", "linux/arm/v6", "linux/arm64"),
        ("linux", "arm64", "v8", None, "linux/arm64"),
    ],
)
def test_image_platform(os, architecture, variant, described, want):
    config = ImageConfig(os, architecture, variant, ())
    found = image_platform(config, Platform.parse(described) if described else None)
    assert (None if found is None else str(found)) == want


platforms = st.sampled_from([None, *(Platform.parse(text) for text in SERVED_BY), Platform("unknown", "unknown")])


@given(st.lists(platforms, max_size=12), st.sampled_from(sorted(SERVED_BY)))
def test_preference_is_stable_and_drops_only_what_does_not_serve(offered, asked):
    platform = Platform.parse(asked)
    children = [
        Descriptor(OCI_MANIFEST, Digest.of(str(at).encode()), at, platform=one) for at, one in enumerate(offered)
    ]
    misses = Misses()
    chosen = by_preference(children, platform, misses)

    def rank(child: Descriptor) -> float:
        found = None if child.platform is None else platform.rank(child.platform)
        return float("inf") if found is None else found

    assert [(rank(child), child.size) for child in chosen] == sorted((rank(child), child.size) for child in chosen)
    serving = [child for child in children if child.platform is None or platform.rank(child.platform) is not None]
    assert {child.size for child in chosen} == {child.size for child in serving}
    assert Platform("unknown", "unknown") not in [one.platform for one in misses.passed]
