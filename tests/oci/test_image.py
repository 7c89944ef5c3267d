"""Image configs, manifests and indexes: what Go refuses is refused, and what it accepts means the same.

What is expected is what create-spec answered, built with Go 1.26.6 (profile v0.8) and with Go 1.19.8 (v0.3).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.oci.digest import Digest
from c2wtasks.oci.godecode import loads
from c2wtasks.oci.image import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    ImageIndex,
    Manifest,
    bound_time,
    is_layer_type,
    layer_problem,
)
from c2wtasks.oci.platform import Platform

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
A, B = (f"sha256:{digit * 64}" for digit in "ab")


def config(text: str) -> ImageConfig:
    return ImageConfig.parse(text.encode())


ACCEPTED = [
    "null",
    "{}",
    '{"config":null}',
    '{"config":{}}',
    '{"config":{"User":null,"Env":null,"Entrypoint":null,"Cmd":null,"WorkingDir":null}}',
    '{"config":{"Labels":null,"ExposedPorts":null,"Volumes":null,"StopSignal":null,"ArgsEscaped":null}}',
    '{"config":{"Labels":{"a":null,"b":""}}}',
    '{"config":{"ExposedPorts":{"80/tcp":{},"":null,"x":{"more":1}},"Volumes":{"/data":{}}}}',
    '{"config":{"Memory":1e3,"MemorySwap":1.5,"CpuShares":-0,"Healthcheck":7,"OnBuild":"x"}}',
    '{"history":null}',
    '{"history":[]}',
    '{"history":[null,{},{"created":null},{"created_by":null,"empty_layer":null,"x":1}]}',
    '{"rootfs":null}',
    '{"rootfs":{"type":null,"diff_ids":null}}',
    '{"os.features":[null,"a"],"os.version":null,"author":null,"created":null}',
    '{"id":1,"parent":{},"container":[],"container_config":"x","docker_version":2,"platform":{"os":1}}',
]

REFUSED = [
    ("[]", "the document: expected an object"),
    ('""', "the document: expected an object"),
    ('{"config":[]}', "config: expected an object"),
    ('{"config":""}', "config: expected an object"),
    ('{"config":1,"config":{}}', "config: expected an object, found a number"),
    ('{"os":1}', "os: expected a string, found a number"),
    ('{"OS":1}', "os: expected a string, found a number"),
    ('{"architecture":{}}', "architecture: expected a string, found an object"),
    ('{"variant":[]}', "variant: expected a string, found an array"),
    ('{"author":true}', "author: expected a string, found a boolean"),
    ('{"os.version":1}', "os.version: expected a string"),
    ('{"os.features":"a"}', "os.features: expected an array"),
    ('{"os.features":[1]}', r"os.features\[0\]: expected a string"),
    ('{"config":{"User":1}}', "User: expected a string"),
    ('{"config":{"USER":1}}', "User: expected a string"),
    ('{"config":{"WorkingDir":["a"]}}', "WorkingDir: expected a string"),
    ('{"config":{"\u017ftop\u017fignal":1}}', "StopSignal: expected a string"),
    ('{"config":{"Env":"A=1"}}', "Env: expected an array, found a string"),
    ('{"config":{"Env":{}}}', "Env: expected an array"),
    ('{"config":{"Env":["A=1",1]}}', r"Env\[1\]: expected a string"),
    ('{"config":{"Cmd":"sh"}}', "Cmd: expected an array"),
    ('{"config":{"Cmd":[["a"]]}}', r"Cmd\[0\]: expected a string"),
    ('{"config":{"Entrypoint":[true]}}', r"Entrypoint\[0\]: expected a string"),
    ('{"config":{"Labels":{"a":1}}}', "Labels.a: expected a string"),
    ('{"config":{"Labels":[]}}', "Labels: expected an object"),
    ('{"config":{"ExposedPorts":{"a":1}}}', "ExposedPorts.a: expected an object"),
    ('{"config":{"ExposedPorts":[]}}', "ExposedPorts: expected an object"),
    ('{"config":{"Volumes":{"a":""}}}', "Volumes.a: expected an object"),
    ('{"config":{"ArgsEscaped":"true"}}', "ArgsEscaped: expected a boolean"),
    ('{"config":{"ArgsEscaped":0}}', "ArgsEscaped: expected a boolean"),
    ('{"history":{}}', "history: expected an array"),
    ('{"history":[1]}', r"history\[0\]: expected an object"),
    ('{"history":[{"created":""}]}', "created: '' is not a time"),
    ('{"history":[{"created_by":1}]}', "created_by: expected a string"),
    ('{"history":[{"empty_layer":1}]}', "empty_layer: expected a boolean"),
    ('{"history":[{"empty_layer":1}],"history":null}', "empty_layer: expected a boolean"),
    ('{"rootfs":{"type":1}}', "type: expected a string"),
    ('{"rootfs":{"diff_ids":[1]}}', r"diff_ids\[0\]: expected a string"),
    ('{"rootfs":{"diff_ids":["x"]}}', r"rootfs.diff_ids\[0\]: 'x' is not a digest"),
    ('{"created":1}', "created: expected a string"),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text):
    parsed = config(text)
    assert (parsed.user, parsed.env, parsed.entrypoint, parsed.cmd, parsed.working_dir) == ("", (), (), (), "")


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_refused(text, problem):
    with pytest.raises(ValueError, match=problem):
        config(text)


def test_all_that_is_used():
    parsed = config(
        '{"created":"1970-01-01T00:00:01Z","OS":"Linux","ARCHITECTURE":"ARM64","variant":"V8","config":{"user":"app",'
        '"env":["A=1",null,""],"ENTRYPOINT":["a"],"cmd":["b"],"workingdir":"/w"},'
        f'"rootfs":{{"type":"layers","diff_ids":["{A}","{B}"]}}}}'
    )
    assert parsed == ImageConfig(
        os="Linux",
        architecture="ARM64",  # as written: it is binfmt's argument
        variant="V8",
        diff_ids=(Digest.parse(A), Digest.parse(B)),
        created_ns=10**9,
        user="app",
        env=("A=1", "", ""),
        entrypoint=("a",),
        cmd=("b",),
        working_dir="/w",
    )
    assert parsed.platform == Platform("linux", "arm64")


def test_a_repeated_config_is_merged():
    parsed = config('{"config":{"User":"1","Env":["A=1"]},"Config":{"Cmd":["x"],"Env":[null,"B=1"]},"config":null}')
    assert (parsed.user, parsed.env, parsed.cmd) == ("1", ("A=1", "B=1"), ("x",))


# RFC 3339, as Go 1.26.6 reads it: seconds and nanoseconds since 1970. Any offset, as Go before 1.20.
TIMES = {
    "2024-01-02T03:04:05Z": (1704164645, 0),
    "2024-01-02T03:04:05+00:00": (1704164645, 0),
    "2024-01-02T03:04:05-00:00": (1704164645, 0),
    "2024-01-02T03:04:05+01:30": (1704159245, 0),
    "2024-01-02T03:04:05-01:30": (1704170045, 0),
    "2024-01-02T03:04:05+24:00": (1704078245, 0),
    "2024-01-02T03:04:05+23:60": (1704078245, 0),
    "2024-01-02T03:04:05-24:60": (1704254645, 0),
    "2024-01-02T03:04:05+00:61": (1704160985, 0),
    "2024-01-02T03:04:05+25:00": (1704074645, 0),
    "2024-01-02T03:04:05-99:99": (1704526985, 0),
    "2024-01-02T03:04:05.1Z": (1704164645, 100000000),
    "2024-01-02T03:04:05.123456789Z": (1704164645, 123456789),
    "2024-01-02T03:04:05.9999999999Z": (1704164645, 999999999),
    "2024-01-02T03:04:05,123+01:00": (1704161045, 123000000),
    "2024-01-02T3:04:05Z": (1704164645, 0),
    "2024-02-29T00:00:00Z": (1709164800, 0),
    "1969-12-31T23:59:59.5Z": (-1, 500000000),
    "0001-01-01T00:00:00Z": (-62135596800, 0),
    "0000-01-01T00:00:00Z": (-62167219200, 0),
    "0000-02-29T00:00:00Z": (-62162121600, 0),
    "0000-12-31T23:59:59-01:00": (-62135593201, 0),
    "9999-12-31T23:59:59.999999999-01:00": (253402304399, 999999999),
}

NO_TIMES = [
    "",
    "Z",
    "2024-01-02",
    "2024-01-02T03:04Z",
    "2024-01-02T03:04:05",
    "2024-01-02t03:04:05Z",
    "2024-01-02T03:04:05z",
    "2024-01-02 03:04:05Z",
    " 2024-01-02T03:04:05Z",
    "2024-01-02T03:04:05Z ",
    "2024-01-02T03:04:05ZZ",
    "2024-01-02T03:04:05.Z",
    "2024-01-02T03:04:05,Z",
    "2024-01-02T03:04:05.1.2Z",
    "2024-01-02T03:04:05+0100",
    "2024-01-02T03:04:05+01",
    "2024-01-02T03:04:05+1:00",
    "2024-01-02T03:04:05+100:00",
    "2024-01-02T03:04:05+00:6",
    "2024-01-02T03:04:05+-1:00",
    "2024-01-02T03:04:05+01:00:00",
    "2024-01-02T03:04:05\u221201:00",
    "2024-01-02T24:00:00Z",
    "2024-01-02T23:60:00Z",
    "2024-01-02T23:59:60Z",
    "2024-01-02T03:4:05Z",
    "2024-01-02T03:04:5Z",
    "2024-1-02T03:04:05Z",
    "2024-01-2T03:04:05Z",
    "2023-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2024-04-31T00:00:00Z",
    "2024-13-01T00:00:00Z",
    "2024-00-01T00:00:00Z",
    "2024-01-00T00:00:00Z",
    "24-01-02T03:04:05Z",
    "-001-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "\uff12024-01-02T03:04:05Z",
]


@pytest.mark.parametrize(("text", "want"), TIMES.items())
def test_created(text, want):
    seconds, nanoseconds = want
    assert config(json.dumps({"created": text})).created_ns == bound_time(seconds * 10**9 + nanoseconds)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("0001-01-01T00:00:00Z", 0),  # Go's zero time
        ("1677-09-21T00:12:43Z", 0),  # before 64 bits
        ("1969-12-31T23:59:59.999999999Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("2262-04-11T23:47:16.854775807Z", 2**63 - 1),
        ("2262-04-11T23:47:16.854775808Z", 0),
        ("2554-07-21T23:34:33.709551616Z", 0),  # beyond 64 bits without sign
        ("9999-12-31T23:59:59Z", 0),
    ],
)
def test_created_fits_what_file_systems_keep(text, want):
    assert config(json.dumps({"created": text})).created_ns == want


@pytest.mark.parametrize("text", NO_TIMES)
def test_not_a_time(text):
    with pytest.raises(ValueError, match=r"created: '.*' is not a time \(RFC 3339\)"):
        config(json.dumps({"created": text}))


def test_created_is_cleared_by_null():
    assert config('{"created":"2024-01-02T03:04:05Z","created":null}').created_ns == 0


@given(st.datetimes(timezones=st.timezones()))
def test_python_and_we_agree_on_times(moment):
    text = moment.isoformat(timespec="microseconds")
    if moment.utcoffset().total_seconds() % 60 == 0:  # Python writes seconds of an offset, RFC 3339 has none
        created = config(json.dumps({"created": text})).created_ns
        assert created == bound_time((moment - EPOCH) // timedelta(microseconds=1) * 1000)


def descriptor(**fields: object) -> dict[str, object]:
    return {"mediaType": "m", "digest": A, "size": 1, **fields}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"digest": None}, "config.digest: '' is not a digest"),
        ({"digest": 1}, "digest: expected a string"),
        ({"size": "1"}, "size: expected a whole number"),
        ({"size": 1.0}, "size: expected a whole number"),
        ({"size": 2**63}, "size: expected a whole number"),
        ({"size": -1}, "config.size: -1 is negative"),
        ({"mediaType": []}, "mediaType: expected a string"),
        ({"artifactType": 1}, "artifactType: expected a string"),
        ({"urls": "u"}, "urls: expected an array"),
        ({"annotations": {"a": 1}}, "annotations.a: expected a string"),
        ({"platform": "linux"}, "platform: expected an object"),
        ({"platform": {"os": 1}}, "os: expected a string"),
        ({"platform": {"os.features": [1]}}, r"os.features\[0\]: expected a string"),
    ],
)
def test_refused_descriptors(fields, problem):
    with pytest.raises(ValueError, match=problem):
        Manifest.parse(json.dumps({"config": descriptor(**fields)}).encode())


def test_descriptor():
    platform = {"os": "Linux", "architecture": "aarch64", "variant": None}
    platform["os.features"] = ["erofs"]
    more = {"platform": platform, "annotations": {"a": None}, "urls": ["u"], "DATA": "!"}
    read = Descriptor.read(loads(json.dumps(descriptor(**more)).encode()), "it")
    assert read == Descriptor("m", Digest.parse(A), 1, Platform("linux", "arm64"), {"a": ""}, ("u",), ("erofs",))


@pytest.mark.parametrize(("parse", "listing"), [(Manifest.parse, "layers"), (ImageIndex.parse, "manifests")])
@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"schemaVersion": "2"}, "schemaVersion: expected a whole number"),
        ({"mediaType": 1}, "mediaType: expected a string"),
        ({"annotations": []}, "annotations: expected an object"),
        ({"subject": ""}, "subject: expected an object"),
        ({"listing": {}}, "expected an array"),
        ({"listing": [1]}, r"\[0\]: expected an object"),
        ({"listing": [None]}, r"\[0\].digest: '' is not a digest"),
    ],
)
def test_refused_documents(parse, listing, fields, problem):
    document = {listing if key == "listing" else key: value for key, value in fields.items()}
    if listing == "layers":
        document["config"] = descriptor()
    with pytest.raises(ValueError, match=problem):
        parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("parse", "fields", "problem"),
    [
        (Manifest.parse, {"manifests": []}, "listed as a manifest and has manifests, so it can be read in two ways"),
        (Manifest.parse, {"Manifests": None}, "has manifests"),
        (Manifest.parse, {"fsLayers": []}, "has fsLayers"),
        (Manifest.parse, {"mediaType": OCI_INDEX}, f"listed as a manifest, its own mediaType is {OCI_INDEX}"),
        (Manifest.parse, {"mediaType": "x/y"}, "its own mediaType is x/y"),
        (ImageIndex.parse, {"layers": []}, "listed as an index and has layers"),
        (ImageIndex.parse, {"config": {}, "LAYERS": []}, "has config and layers"),
        (ImageIndex.parse, {"mediaType": DOCKER_MANIFEST}, f"an index, its own mediaType is {DOCKER_MANIFEST}"),
    ],
)
def test_documents_that_can_be_read_in_two_ways(parse, fields, problem):
    base = {"config": descriptor(), "layers": []} if parse == Manifest.parse else {"manifests": []}
    parse(json.dumps(base).encode())
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse(json.dumps(base | fields).encode())


# The config's media type, the manifest's own, whether it is an image; as moby has them in `imageTypes`.
@pytest.mark.parametrize(
    ("config", "manifest", "is_image"),
    [
        (OCI_CONFIG, "", True),
        (DOCKER_CONFIG, OCI_MANIFEST, True),
        ("application/octet-stream", DOCKER_MANIFEST, True),
        ("application/json", DOCKER_MANIFEST, True),
        ("text/html", DOCKER_MANIFEST, True),
        ("", DOCKER_MANIFEST, True),
        ("application/octet-stream", OCI_MANIFEST, False),
        ("application/octet-stream", "", False),
        ("application/vnd.cncf.helm.config.v1+json", DOCKER_MANIFEST, False),
    ],
)
@pytest.mark.parametrize("layer", ["application/vnd.docker.image.rootfs.diff.tar.gzip", "text/plain"])
def test_what_is_an_image(config, manifest, is_image, layer):
    document = {
        "mediaType": manifest,
        "config": descriptor(mediaType=config),
        "layers": [descriptor(mediaType=layer)],
    }
    other = Manifest.parse(json.dumps(document).encode()).other_content
    assert (other is None) is (is_image and layer != "text/plain")
    if not is_image:
        assert other == f"a config of type {config or 'none'}"
    elif layer == "text/plain":
        assert other == "a layer of type text/plain"


def test_schema_1_is_named():
    with pytest.raises(ValueError, match="a Docker schema 1 manifest"):
        Manifest.parse(b'{"schemaVersion":1,"fsLayers":[]}')


@pytest.mark.parametrize(
    ("media_type", "layer", "problem"),
    [
        ("application/vnd.oci.image.layer.v1.tar", True, None),
        ("application/vnd.oci.image.layer.v1.tar+gzip", True, None),
        ("application/vnd.oci.image.layer.v1.tar+zstd", True, None),
        ("application/vnd.oci.image.layer.v1.tar+encrypted", True, "is encrypted"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", True, "is encrypted"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True, None),
        ("application/vnd.docker.image.rootfs.diff.tar", True, None),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", True, None),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", True, None),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", True, None),
        ("application/vnd.in-toto+json", False, "not a layer's"),
        ("application/vnd.oci.empty.v1+json", False, "not a layer's"),
        ("", False, "not a layer's (none)"),
    ],
)
def test_layer_types(media_type, layer, problem):
    assert is_layer_type(media_type) is layer
    found = layer_problem(media_type)
    assert found is None if problem is None else problem in found
