"""The choice of a manifest, against a plain model of the original's recursion on any nest of indexes."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.errors import SourceError
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor, ImageConfig, ImageIndex, Manifest
from c2wtasks.oci.platform import Platform
from c2wtasks.sources.fitting import Unfit
from c2wtasks.sources.select import MAX_READ, find
from tests.support.images import image_config, to_json

ARCHITECTURES = ["amd64", "386", "arm64", "arm", "riscv64"]


class Memory:
    """`Blobs` in a dict."""

    path = "memory"
    looked_at = 20

    def named(self, digest: Digest) -> str:
        return f"memory:@{digest}"

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}

    def put(self, content: bytes, media_type: str, platform: Platform | None = None) -> Descriptor:
        digest = Digest.of(content)
        self.blobs[digest] = content
        return Descriptor(media_type, digest, len(content), platform)

    def read(self, descriptor, document):
        return document.parser(self.blobs[descriptor.digest])


def as_json(descriptor: Descriptor) -> dict:
    fields = {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}
    if descriptor.platform is not None:
        fields["platform"] = {"os": descriptor.platform.os, "architecture": descriptor.platform.architecture}
    return fields


def build(memory: Memory, node) -> Descriptor:
    """`node` is (kind, the platform its descriptor says, its content)."""
    kind, described, content = node
    platform = described and Platform.of("linux", described)
    if kind == "index":
        children = [as_json(build(memory, child)) for child in content]
        return memory.put(to_json({"manifests": children}), OCI_INDEX, platform)
    if kind == "other":
        return memory.put(b"{}", "application/x", platform)
    architecture, number, is_image = content
    config = memory.put(image_config(f"linux/{architecture}", [], {"cmd": [str(number)]}), OCI_CONFIG)
    config = config if is_image else replace(config, media_type="application/x")
    return memory.put(to_json({"config": as_json(config), "layers": []}), OCI_MANIFEST, platform)


def model(memory: Memory, descriptors: list[Descriptor], platform: Platform) -> Digest | str:
    """`unpackOCI`, told as plainly as can be: the digest of the manifest taken, or why there is none."""

    def matches(offered: Platform | None) -> bool:
        return offered is None or platform.rank(offered) is not None

    def order(one: Descriptor, other: Descriptor) -> int:
        if one.platform is None or other.platform is None:
            return (one.platform is None) - (other.platform is None)
        return platform.rank(one.platform) - platform.rank(other.platform)

    children = []
    for descriptor in descriptors:
        content = memory.blobs[descriptor.digest]
        if descriptor.media_type == OCI_MANIFEST:
            manifest = Manifest.parse(content)
            config = ImageConfig.parse(memory.blobs[manifest.config.digest])
            is_image = manifest.config.media_type == OCI_CONFIG
            if matches(descriptor.platform) and is_image and matches(Platform.of(config.os, config.architecture)):
                return descriptor.digest
        elif descriptor.media_type == OCI_INDEX:
            children += ImageIndex.parse(content).manifests
    children = sorted((one for one in children if matches(one.platform)), key=functools.cmp_to_key(order))
    return model(memory, children, platform) if children else "not found"


described = st.sampled_from([None, *ARCHITECTURES])
images = st.tuples(
    st.just("image"), described, st.tuples(st.sampled_from(ARCHITECTURES), st.integers(0, 9), st.booleans())
)
others = st.tuples(st.just("other"), described, st.none())
nodes = st.recursive(
    st.one_of(images, images, images, others),
    lambda inner: st.tuples(st.just("index"), described, st.lists(inner, max_size=4)),
    max_leaves=12,
)


@given(st.lists(nodes, max_size=4), st.sampled_from(ARCHITECTURES))
def test_finds_what_the_model_finds(tops, architecture):
    memory = Memory()
    platform = Platform.of("linux", architecture)
    descriptors = [build(memory, node) for node in tops]
    want = model(memory, descriptors, platform)
    try:
        found = find(memory, descriptors, platform)
    except SourceError as error:
        assert want == "not found", error
    else:
        assert want == found.descriptor.digest
        assert json.loads(found.config)["os"] == "linux"


def test_a_list_without_end_is_not_read_to_its_end() -> None:
    """A registry may answer with ever more that it says no platform of."""
    memory = Memory()
    arm64 = [("manifest", None, ("arm64", number, True)) for number in range(MAX_READ)]
    with pytest.raises(SourceError, match=f"among the first {MAX_READ} images and indexes is none for linux/amd64"):
        find(memory, [build(memory, ("index", None, arm64))], Platform("linux", "amd64"))
    with pytest.raises(Unfit):
        find(memory, [build(memory, ("index", None, arm64[:-1]))], Platform("linux", "amd64"))
