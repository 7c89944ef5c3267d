"""Programs with some of root's rights: with a few capabilities, as another user, as root of a user namespace.

subprocess.run(with_capabilities({"chown"}, ["doit"]))
subprocess.run(in_user_namespace(65536, ["doit"]))
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence

import pytest

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give its rights away")
NEEDS_SETPRIV = pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (Debian: util-linux)")

# What these give to a container's root by default.
DOCKER = {
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *("net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"),
}
PODMAN = {
    *("chown", "dac_override", "fowner", "fsetid", "kill", "net_bind_service"),
    *("setfcap", "setgid", "setpcap", "setuid", "sys_chroot"),
}
OPENSHIFT_ANYUID = {
    *("chown", "dac_override", "fsetid", "fowner", "setgid", "setuid", "setpcap", "net_bind_service", "kill"),
}
KANIKO = {"chown", "setuid", "setgid", "fowner", "dac_override"}

FIRST_ID = 100_000
"""The id that the root of `in_user_namespace` has outside."""


def with_capabilities(kept: Iterable[str], command: Sequence[str]) -> list[str]:
    """As root who has none but the capabilities `kept`."""
    bounding = ",".join(("-all", *(f"+{name}" for name in sorted(kept))))
    return ["setpriv", f"--bounding-set={bounding}", "--inh-caps=-all", *command]


def without_capability(name: str, command: Sequence[str]) -> list[str]:
    """As root who has all but one."""
    return ["setpriv", f"--bounding-set=-{name}", "--inh-caps=-all", *command]


def as_user(uid: int, gid: int, command: Sequence[str]) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--inh-caps=-all", *command]


def in_user_namespace(ids: int, command: Sequence[str]) -> list[str]:
    """As root of a user namespace in which `ids` ids are mapped, to those from FIRST_ID on. The folder that the
    command works in must belong to FIRST_ID."""
    return [sys.executable, "-c", _IN_USER_NAMESPACE, str(FIRST_ID), str(ids), *command]


_IN_USER_NAMESPACE = """
import ctypes, os, sys

first, ids, *command = sys.argv[1:]
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.setgroups([])
    if ctypes.CDLL(None).unshare(0x10000000) != 0:  # CLONE_NEWUSER
        os._exit(120)
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    os.setgid(0)
    os.setuid(0)
    os.execvp(command[0], command)
os.close(ready[1])
if os.read(ready[0], 1):
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{child}/{name}", "w") as stream:
            stream.write(f"0 {first} {ids}")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
