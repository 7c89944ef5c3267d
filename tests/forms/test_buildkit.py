"""BuildKit takes the form `context` as a build context, as container2wasm's build does: run by docker itself.

It needs a BuildKit that knows image layouts: in Debian from 13 on (docker.io, docker-cli, docker-buildx), with
containerd's image store. What BuildKit changes as it goes, whatever it is given:

- its tars have whole seconds, rounded, and not the root itself;
- `COPY` makes character devices of block devices, and other names of a device or a FIFO become files of their own;
- no path may fill a whole page, for there is a folder of BuildKit's before it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from c2wtasks.rootfs import tar
from tests.graph.catalogs import write_catalog
from tests.rootfs.reading import by_python
from tests.rootfs.test_iso import without
from tests.support.images import Layer, Layout
from tests.support.nasty import nasty
from tests.support.running import run_doit

PROJECT = Path(__file__).parents[2]
TIME = re.compile(r"( [dflcbp] \d{4} \d+:\d+) (-?\d+)")


@pytest.fixture(scope="module")
def docker() -> Iterator[dict[str, str]]:
    """The environment in which `docker` speaks to a daemon of these tests' own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run dockerd")
    for command in (["dockerd", "--version"], ["docker", "buildx", "version"]):
        if shutil.which(command[0]) is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip(
                f"no {' '.join(command)}: install docker.io, docker-cli, docker-buildx (not of Debian 12: too old)"
            )
    with tempfile.TemporaryDirectory(prefix="docker-") as name:  # with a short path, as it has sockets in it
        folder = Path(name)
        (folder / "daemon.json").write_text('{"features": {"containerd-snapshotter": true}}')
        at = {"host": f"unix://{name}/socket", "data-root": f"{name}/data", "exec-root": f"{name}/exec"}
        at |= {"pidfile": f"{name}/pid", "config-file": f"{name}/daemon.json"}
        at |= {"storage-driver": "native", "bridge": "none", "iptables": "false", "ip6tables": "false"}
        env = {**os.environ, "DOCKER_HOST": at["host"], "DOCKER_CONFIG": f"{name}/config"}
        with (folder / "log").open("wb") as log:
            options = [f"--{option}={value}" for option, value in at.items()]
            # In mounts of its own: it may leave some, on which the folder could not be removed.
            daemon = subprocess.Popen(["unshare", "--mount", "dockerd", *options], stdout=log, stderr=log)
        try:
            while subprocess.run(["docker", "version"], env=env, capture_output=True, check=False).returncode != 0:
                if daemon.poll() is not None:
                    pytest.skip(f"dockerd does not run here: {(folder / 'log').read_text().splitlines()[-1]}")
                time.sleep(0.2)
            yield env
        finally:
            daemon.terminate()
            daemon.wait()


def built(dockerfile: str, context: Path, scratch: Path, docker: dict[str, str]) -> list[str]:
    """The lines of what BuildKit makes of a Dockerfile with the layout as its context `bundle-dev`."""
    (scratch / "empty").mkdir()
    (scratch / "Dockerfile").write_text(dockerfile)
    command = ["docker", "buildx", "build", "--file", scratch / "Dockerfile", "--platform=linux/amd64"]
    command += ["--build-context", f"bundle-dev=oci-layout://{context}:latest"]
    command += ["--output", f"type=tar,dest={scratch}/made.tar", scratch / "empty"]
    done = subprocess.run(command, env=docker, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return in_seconds(by_python(scratch / "made.tar"))


def in_seconds(lines: list[str]) -> list[str]:
    def rounded(found: re.Match[str]) -> str:
        return f"{found[1]} {(int(found[2]) + 500_000_000) // 10**9}"

    return [TIME.sub(rounded, line, count=1) for line in lines]


def copied(lines: list[str]) -> list[str]:
    """As COPY leaves them."""
    special = {}
    changed = []
    for line in lines:
        name, _, first = line.partition(" = ")
        if first in special:
            line = f"{name}{special[first]}"
        elif kind := re.match(r"(.*?)( [bcp] \d{4} .*)", line):
            special[kind[1]] = line.removeprefix(kind[1]).replace(" b ", " c ", 1)
            line = f"{kind[1]}{special[kind[1]]}"
        changed.append(line)
    return changed


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles of an image of the nasty tree, and of an example, in the form `context`."""
    folder = tmp_path_factory.mktemp("contexts")
    tree, tars = nasty(folder)
    tar.write(without(tree, lambda name, _: name == b"long"), tars.__getitem__, str(folder / "layer"))
    Layout(folder / "nasty").image(Layer((folder / "layer").read_bytes()), cmd=["nasty"])
    (folder / "examples").symlink_to(PROJECT / "examples")
    hello = {"source": "oci:examples/hello", "platforms": ["linux/amd64", "linux/arm64"], "rootfs": ["context"]}
    images = {
        "nasty": {"source": "oci:nasty", "rootfs": ["context"]},
        "hello": hello,
        "hello-js": {**hello, "boot": {"preset": "js"}},
    }
    write_catalog(folder, images)
    done = run_doit(folder)
    assert done.exit == 0, done.stderr
    return folder / "bundles"


def layer(context: Path) -> list[str]:
    """The lines of a context's only layer, as BuildKit's tars have them."""
    (described,) = json.loads((context / "index.json").read_text())["manifests"]
    manifest = json.loads((context / "blobs" / described["digest"].replace(":", "/")).read_text())
    (described,) = manifest["layers"]
    root, *others = in_seconds(by_python(context / "blobs" / described["digest"].replace(":", "/")))
    assert root.startswith(". d 0755 0:0 ")
    return others


@pytest.mark.parametrize("bundle", ["nasty/linux-amd64", "hello/linux-amd64", "hello/linux-arm64"])
def test_it_is_unpacked_as_it_is(bundle: str, docker: dict[str, str], contexts: Path, tmp_path: Path) -> None:
    context = contexts / bundle / "context"
    assert built("FROM bundle-dev\n", context, tmp_path, docker) == layer(context)


@pytest.mark.parametrize("bundle", ["nasty/linux-amd64", "hello/linux-arm64"])
def test_it_is_copied(bundle: str, docker: dict[str, str], contexts: Path, tmp_path: Path) -> None:
    context = contexts / bundle / "context"
    made = built("FROM scratch\nCOPY --from=bundle-dev / /\n", context, tmp_path, docker)
    assert made == copied(layer(context))


# As container2wasm's has its stages, with one that cannot be built in the place of that which is replaced.
DOCKERFILE = """
FROM scratch AS bundle-dev
COPY not-there /out

FROM scratch AS js
ARG TARGETARCH
COPY --from=bundle-dev /out/ /js-$TARGETARCH/

FROM scratch
ARG TARGETARCH
ARG OUTPUT_NAME
COPY --from=bundle-dev /out/ /$OUTPUT_NAME-$TARGETARCH/
"""


@pytest.mark.parametrize(
    ("bundle", "made"),
    [
        ("hello/linux-amd64", "out.wasm-amd64"),
        ("hello/linux-arm64", "out.wasm-aarch64"),
        ("hello-js/linux-amd64", "js-amd64"),
    ],
)
def test_build_sh(bundle: str, made: str, docker: dict[str, str], contexts: Path, tmp_path: Path) -> None:
    (tmp_path / "c2w").write_text(f"#!/bin/sh\ncat <<'END'{DOCKERFILE}END\n")
    (tmp_path / "c2w").chmod(0o755)
    command = ["sh", contexts / bundle / "context/build.sh", tmp_path / "out"]
    env = {**docker, "PATH": f"{tmp_path}:{docker['PATH']}"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [made]
    inside = tmp_path / "out" / made / "oci"
    assert (inside / "spec.json").read_bytes() == (contexts / bundle / "spec.json").read_bytes()
    assert (inside / "rootfs/hello").stat().st_mode & 0o777 == 0o755
