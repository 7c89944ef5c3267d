"""initconfig.json for each profile, and what each setting changes in it.

The texts are create-spec's (v0.3 built with Go 1.19.8, v0.8 with Go 1.26.6); so is each row's.
"""

from __future__ import annotations

import itertools
import json

import pytest

from c2wtasks.bundlefile.boot import Boot
from c2wtasks.bundlefile.profile import PROFILES
from c2wtasks.vm.bootconfig import boot_config

TMPFS = (
    '{"mounts":[{"fstype":"proc","src":"proc","dst":"/proc"},'
    '{"fstype":"tmpfs","src":"tmpfs","dst":"/run"},'
    '{"fstype":"tmpfs","src":"tmpfs","dst":"/sys"},'
    '{"fstype":"tmpfs","src":"tmpfs","dst":"/tmp"},'
    '{"fstype":"tmpfs","src":"tmpfs","dst":"/var"},'
    '{"fstype":"tmpfs","src":"tmpfs","dst":"/mnt"},'
    '{"fstype":"cgroup2","src":"none","dst":"/sys/fs/cgroup","dir":[{"path":"/sys/fs/cgroup","mode":438}]},'
)
BUNDLE = '{"fstype":"tmpfs","src":"tmpfs","dst":"/run/bundle","dir":[{"path":"/run/bundle","mode":438}]}'
OVERLAY = (
    '{"fstype":"overlay","src":"overlay","dst":"/run/rootfs",'
    '"data":"lowerdir=/oci/rootfs,upperdir=/run/rootfs-upper,workdir=/run/rootfs-work",'
    '"dir":[{"path":"/run/rootfs","mode":493},'
    '{"path":"/run/rootfs-upper","mode":493},'
    '{"path":"/run/rootfs-work","mode":493}],'
    '"post_dir":[{"path":"/run/rootfs/etc/","mode":420},{"path":"/run/rootfs/etc/","mode":420}],'
    '"post_file":[{"path":"/run/rootfs/etc/hosts","mode":420,"contents":"127.0.0.1\\tlocalhost\\n"},'
    '{"path":"/run/rootfs/etc/resolv.conf","mode":420}]}'
)
DEFAULT = {
    "v0.3": (
        TMPFS + '{"src":"/run/etc/hosts","dst":"/etc/hosts","flags":4096,"data":"bind",'
        '"dir":[{"path":"/run/etc","mode":438}],'
        '"file":[{"path":"/run/etc/hosts","mode":438,"contents":"127.0.0.1\\tlocalhost\\n"}]},'
        '{"src":"/run/etc/resolv.conf","dst":"/etc/resolv.conf","flags":4096,"data":"bind",'
        '"file":[{"path":"/run/etc/resolv.conf","mode":438}]},' + BUNDLE + ","
        '{"fstype":"overlay","src":"overlay","dst":"/run/rootfs",'
        '"data":"lowerdir=/oci/rootfs,upperdir=/run/rootfs-upper,workdir=/run/rootfs-work",'
        '"dir":[{"path":"/run/rootfs","mode":438},'
        '{"path":"/run/rootfs-upper","mode":438},'
        '{"path":"/run/rootfs-work","mode":438}]}],'
        '"cmd_pre_run":[["vmtouch","-tv","/sbin/runc","/sbin/init","/sbin/start-runc"]],'
        '"cmd":[["/sbin/start-runc","-b","/run/bundle","foo"]],'
        '"container":{"bundle_path":"/run/bundle","image_config_path":"/oci/image.json",'
        '"runtime_config_path":"/oci/spec.json"}}'
    ),
    "v0.8": (
        TMPFS + '{"fstype":"tmpfs","src":"tmpfs","dst":"/etc",'
        '"post_file":[{"path":"/etc/hosts","mode":420,"contents":"127.0.0.1\\tlocalhost\\n"},'
        '{"path":"/etc/resolv.conf","mode":420}]},' + BUNDLE + "," + OVERLAY + "],"
        '"cmd_pre_run":[["vmtouch","-tv","/sbin/runc","/sbin/init"]],'
        '"cmd":[["/sbin/runc","run","-b","/run/bundle","foo"]],'
        '"container":{"bundle_path":"/run/bundle","image_config_path":"/oci/image.json",'
        '"image_rootfs_path":"/oci/rootfs","runtime_config_path":"/oci/spec.json","external_bundle":false},'
        '"post_mounts":null}'
    ),
}

PROC = '"dst":"/proc"},'
BINFMT = (
    '{"fstype":"binfmt_misc","src":"binfmt_misc","dst":"/proc/sys/fs/binfmt_misc","cmd":["binfmt","--install","%s"]},'
)
PRE_RUN = {
    "v0.3": '"cmd_pre_run":[["vmtouch","-tv","/sbin/runc","/sbin/init","/sbin/start-runc"]],',
    "v0.8": '"cmd_pre_run":[["vmtouch","-tv","/sbin/runc","/sbin/init"]],',
}
FOO = '"foo"]],'
IMAGE, SPEC, ROOTFS = "/oci/image.json", "/oci/spec.json", "/oci/rootfs"
V03, V08, BOTH = ("v0.3",), ("v0.8",), ("v0.3", "v0.8")

# Profiles, architecture as the config writes it, settings, what is replaced in the default text.
ROWS = [
    (BOTH, "amd64", {}, []),
    (BOTH, "riscv64", {}, []),
    (BOTH, "arm64", {}, [(PROC, PROC + BINFMT % "arm64")]),
    (BOTH, "arm", {}, [(PROC, PROC + BINFMT % "arm")]),
    (BOTH, "aarch64", {}, [(PROC, PROC + BINFMT % "aarch64")]),
    (BOTH, "AMD64", {}, [(PROC, PROC + BINFMT % "AMD64")]),
    (BOTH, 'a"<\u2028', {}, [(PROC, PROC + BINFMT % r"a\"\u003c\u2028")]),
    (V03, "", {}, [(PROC, PROC + BINFMT % "")]),
    (V08, "", {}, []),
    (V08, "arm64", {"binfmt": False}, []),
    (V08, "amd64", {"binfmt": False}, []),
    (BOTH, "amd64", {"debug_init": True}, [(FOO, FOO + '"debug_init":true,')]),
    (V03, "amd64", {"debug": True}, [('"-b"', '"--debug","-b"'), (FOO, FOO + '"debug":true,')]),
    (V08, "amd64", {"debug": True}, [('"run"', '"--debug","run"'), (FOO, FOO + '"debug":true,')]),
    (V03, "amd64", {"vmtouch": False}, [(PRE_RUN["v0.3"], "")]),
    (V08, "amd64", {"vmtouch": False}, [(PRE_RUN["v0.8"], "")]),
    (BOTH, "amd64", {"image_config_path": "/a/i.json"}, [(IMAGE, "/a/i.json")]),
    (BOTH, "amd64", {"runtime_config_path": "/a/<s>"}, [(SPEC, r"/a/\u003cs\u003e")]),
    (BOTH, "amd64", {"rootfs_path": ""}, [(ROOTFS, "")]),
    (BOTH, "amd64", {"rootfs_path": "é\udcff"}, [(ROOTFS, r"é\ufffd")]),
    (V03, "amd64", {"image_config_path": "\b\f"}, [(IMAGE, r"\u0008\u000c")]),
    (V08, "amd64", {"image_config_path": "\b\f"}, [(IMAGE, r"\b\f")]),
    (
        V08,
        "amd64",
        {"external_bundle": True},
        [
            ("," + OVERLAY, ""),
            ('"external_bundle":false', '"external_bundle":true'),
            ('"post_mounts":null', f'"post_mounts":[{OVERLAY}]'),
        ],
    ),
]


@pytest.mark.parametrize(
    ("profile", "architecture", "settings", "changes"),
    [(profile, *row) for profiles, *row in ROWS for profile in profiles],
)
def test_text(profile, architecture, settings, changes):
    want = DEFAULT[profile]
    for old, new in changes:
        assert old in want
        want = want.replace(old, new)
    assert boot_config(architecture, Boot(**settings), PROFILES[profile]) == want.encode()


def test_an_external_bundle_has_no_architecture():
    boot = Boot(external_bundle=True)
    assert boot_config("arm64", boot, PROFILES["v0.8"]) == boot_config("amd64", boot, PROFILES["v0.8"])


@pytest.mark.parametrize("profile", PROFILES)
def test_settings_do_not_meddle(profile):
    """Each of the switches has its own place in the text, whatever the others are."""
    for debug, debug_init, vmtouch, binfmt in itertools.product([False, True], repeat=4):
        boot = Boot(debug=debug, debug_init=debug_init, vmtouch=vmtouch, binfmt=binfmt)
        config = json.loads(boot_config("arm64", boot, PROFILES[profile]))
        assert config.get("debug", False) is debug
        assert config.get("debug_init", False) is debug_init
        assert ("--debug" in config["cmd"][0]) is debug
        assert ("cmd_pre_run" in config) is vmtouch
        assert (config["mounts"][1]["fstype"] == "binfmt_misc") is binfmt
        order = ["mounts", "cmd_pre_run", "cmd", "debug", "debug_init", "container", "post_mounts"]
        assert [key for key in order if key in config] == list(config)
