"""spec.json: what of it depends on the image and the profile. The rest of its text is `tests/reference`'s.

The rows are what create-spec answered (v0.3 built with Go 1.19.8, v0.8 with Go 1.26.6).
"""

from __future__ import annotations

import json

import pytest

from c2wtasks.bundlefile.profile import PROFILES
from c2wtasks.oci.image import ImageConfig
from c2wtasks.vm.runtimespec import runtime_spec
from c2wtasks.vm.users import User

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TERM = "TERM=xterm"
ROOT = User()


def process(profile, *, user=ROOT, terminal=True, **config):
    image = ImageConfig("linux", "amd64", "", (), **config)
    return json.loads(runtime_spec(image, user, PROFILES[profile], terminal=terminal))["process"]


# What v0.8 makes of an image's env. v0.3 takes it as it is.
@pytest.mark.parametrize(
    ("env", "want"),
    [
        ([], [PATH, TERM]),
        ([""], [PATH, TERM]),
        (["A=1"], [PATH, "A=1", TERM]),
        (["PATH=/x"], ["PATH=/x", TERM]),
        (["A=1", "PATH=/x", "B=2"], ["PATH=/x", "A=1", "B=2", TERM]),
        (["PATH=/x", "PATH=/y"], ["PATH=/y", TERM]),
        (["PATH="], ["PATH=", TERM]),
        (["PATH"], [TERM]),
        (["PATH=/x", "PATH"], [TERM]),
        (["PATH", "PATH=/x"], ["PATH=/x", TERM]),
        (["path=/x"], [PATH, "path=/x", TERM]),
        (["PATH =/x"], [PATH, "PATH =/x", TERM]),
        (["A=1", "A=2"], [PATH, "A=1", "A=2", TERM]),
        (["A=1", "A"], [PATH, "A=1", TERM]),
        (["A", "", "B="], [PATH, "B=", TERM]),
        (["=x", "="], [PATH, "=x", "=", TERM]),
        (["TERM=dumb"], [PATH, "TERM=dumb", TERM]),
        (["TERM"], [PATH, TERM]),
    ],
)
def test_env(env, want):
    assert process("v0.8", env=tuple(env))["env"] == want
    assert process("v0.3", env=tuple(env)).get("env", []) == env


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "args"),
    [
        ([], [], None),
        (["a"], [], ["a"]),
        ([], ["b"], ["b"]),
        (["a"], ["b", "c"], ["a", "b", "c"]),
        ([""], [], [""]),
        ([""], [""], ["", ""]),
    ],
)
@pytest.mark.parametrize("profile", PROFILES)
def test_args(profile, entrypoint, cmd, args):
    assert process(profile, entrypoint=tuple(entrypoint), cmd=tuple(cmd)).get("args") == args


@pytest.mark.parametrize(
    ("working_dir", "cwd"), [("", "/"), ("/", "/"), ("srv/app", "srv/app"), ("/a/../b/", "/a/../b/"), (" ", " ")]
)
@pytest.mark.parametrize("profile", PROFILES)
def test_cwd(profile, working_dir, cwd):
    assert process(profile, working_dir=working_dir)["cwd"] == cwd


@pytest.mark.parametrize("profile", PROFILES)
def test_user(profile):
    assert process(profile)["user"] == {"uid": 0, "gid": 0}
    assert process(profile, user=User(1, 2, (3, 3)))["user"] == {"uid": 1, "gid": 2, "additionalGids": [3, 3]}


def test_no_terminal():
    assert process("v0.8")["terminal"] is True
    assert "terminal" not in process("v0.8", terminal=False)
    assert process("v0.8", terminal=False)["env"] == [PATH]
    assert "terminal" not in process("v0.3", terminal=False)


def test_profiles():
    specs = {name: json.loads(runtime_spec(ImageConfig("", "", "", ()), User(), PROFILES[name])) for name in PROFILES}
    old, new = specs["v0.3"], specs["v0.8"]
    assert (old["ociVersion"], new["ociVersion"]) == ("1.1.0-rc.1", "1.1.0")
    assert [space["type"] for space in old["linux"]["namespaces"]] == ["pid", "ipc", "uts", "mount", "network"]
    assert [space["type"] for space in new["linux"]["namespaces"]] == ["pid", "ipc", "uts", "mount"]
    assert [mount["destination"] for mount in old["mounts"] if mount not in new["mounts"]] == ["/run"]
    assert set(new["linux"]["maskedPaths"]) - set(old["linux"]["maskedPaths"]) == {"/sys/devices/virtual/powercap"}
    assert old["process"]["noNewPrivileges"] is True
    assert "noNewPrivileges" not in new["process"]


def test_keys_stand_in_go_order():
    spec = json.loads(runtime_spec(ImageConfig("", "", "", (), cmd=("a",), env=("A=1",)), User(), PROFILES["v0.3"]))
    assert list(spec) == ["ociVersion", "process", "root", "mounts", "linux"]
    assert list(spec["process"]) == [
        "terminal",
        "user",
        "args",
        "env",
        "cwd",
        "capabilities",
        "rlimits",
        "noNewPrivileges",
    ]
