"""The form `context`: what takes the place of the stage `bundle-dev` in container2wasm's build, and how to run that.

An image layout with one uncompressed layer, as BuildKit's `oci-layout://` takes it: a plain folder as a build context
would lose the owners.
"""

from __future__ import annotations

import shlex

import msgspec

from c2wtasks.bundlefile.model import Bundle, Form
from c2wtasks.disk import safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.oci.digest import Digest
from c2wtasks.rootfs.forms import Maker, Making
from c2wtasks.rootfs.writing import imagelayout
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.tree.treefile import TreeFile

SCRIPT = "build.sh"


def write(tree: TreeFile, tars: TarByNumber, folder: str, bundle: Bundle) -> dict[str, str]:
    """Makes the context in `folder`, which is there and empty. `tree` is the whole content, `out/oci/...`. Gives what
    `imagelayout.write` gives.

    Raises OutputError, and what `tars` raises.
    """

    def config(diff_id: Digest) -> bytes:
        fields = {
            **imagelayout.platform_fields(bundle.platform),
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(diff_id)]},
        }
        return msgspec.json.encode(fields)

    known = imagelayout.write(folder, bundle.platform, config, tree, tars)
    path = f"{folder}/{SCRIPT}"
    try:
        with open(safely.create(path), "w", encoding="utf-8") as stream:
            stream.write(script(bundle))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {os_reason(error)}") from error
    return known


def script(bundle: Bundle) -> str:
    """The text of build.sh. Follows container2wasm's `c2w` (cmd/c2w, `build`) in what it passes."""
    arguments = _arguments(bundle)
    lines = [f"  {' '.join(map(shlex.quote, words))} \\" for words in arguments]
    is_js = bundle.preset.startswith("js")
    result = "the files for a browser" if is_js else "out.wasm"
    return "\n".join(
        [
            "#!/bin/sh",
            f"# Builds {result} of {bundle} with container2wasm, from the image layout beside this script:",
            "#",
            f"#     sh {SCRIPT} [FOLDER]     puts it into FOLDER, ./out where none is given",
            "#",
            "# It takes docker with buildx, and c2w, which gives the Dockerfile. Docker's own builder reads layouts",
            "# only with containerd's image store, as this in /etc/docker/daemon.json turns it on:",
            '# {"features": {"containerd-snapshotter": true}}',
            "set -eu",
            'here=$(cd "$(dirname "$0")" && pwd)',
            "for tool in docker c2w; do",
            '  command -v "$tool" >/dev/null || { echo "$0: $tool is not here" >&2; exit 1; }',
            "done",
            "work=$(mktemp -d)",
            "trap 'rm -rf \"$work\"' EXIT",
            'mkdir "$work/empty"',
            'c2w --show-dockerfile >"$work/Dockerfile"',
            'docker buildx build -f "$work/Dockerfile" --platform=linux/amd64 \\',
            *lines,
            f'  --build-context "bundle-dev=oci-layout://$here:{imagelayout.TAG}" \\',
            '  --output "type=local,dest=${1:-out}" "$work/empty"',
            "",
        ]
    )


def _arguments(bundle: Bundle) -> list[tuple[str, ...]]:
    # c2w writes aarch64 where OCI writes arm64.
    architecture = {"arm64": "aarch64"}.get(bundle.platform.architecture, bundle.platform.architecture)
    debug = bundle.boot.debug
    values = {
        "TARGETARCH": architecture,
        "TARGETPLATFORM": f"linux/{architecture}",
        "LINUX_LOGLEVEL": "7" if debug else "0",
        "INIT_DEBUG": "true" if debug else "false",
    }
    target: list[tuple[str, ...]] = []
    if bundle.preset.startswith("js"):
        target.append(("--target=js",))
        if architecture == "aarch64":
            values["NO_BINFMT"] = "true"
    else:
        values["OUTPUT_NAME"] = "out.wasm"
        if bundle.preset == "wasi-native":
            values["OPTIMIZATION_MODE"] = "native"
    return target + [("--build-arg", f"{name}={value}") for name, value in values.items()]


def _make(making: Making, _form: Form, folder: str) -> dict[str, str]:
    safely.make_folder(f"{folder}/context")
    known = write(*making.whole("out/"), f"{folder}/context", making.bundle)
    return {f"context/{path}": digest for path, digest in known.items()}


MAKER = Maker(_make)
