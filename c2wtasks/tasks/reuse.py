"""Results that need not be made here, as other machines made them: taken from the remote cache, and given to it.

A run that has one begins a session before it forks any process; where there is none, nothing of it is loaded.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from c2wtasks.bundlefile.model import Form
from c2wtasks.disk import files, safely
from c2wtasks.layers.indexfile import LAYER_MAGIC
from c2wtasks.layers.receipt import decode_receipt, is_small
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.output.places import PACKAGES
from c2wtasks.output.record import OUTPUT_VERSION
from c2wtasks.sources.model import Layer
from c2wtasks.telling import progress
from c2wtasks.vm.users import User

if TYPE_CHECKING:
    from c2wtasks.remote.claim import Kind
    from c2wtasks.remote.session import Session
    from c2wtasks.tasks.build import Site

_RECEIPT, _INDEX, _USER = "receipt.json", "index", "user.json"
_USERS = msgspec.json.Decoder(User)
_session: Session | None = None


def use(session: Session | None) -> None:
    """Has the actions of tasks use a remote cache, in this process and those that it forks."""
    global _session
    _session = session


def make_layer(store: Store, copies: Sequence[Layer], *, whole: bool) -> None:
    """Makes the store hold a layer: without its tar where it is known elsewhere and the run needs no tar of it. Where
    that is not known of the run, `whole` says so.

    Raises LayerError, OutputError.
    """
    layer = copies[0]
    if _session is None or layer.digest is None or is_small(layer):  # to read it costs less than to ask
        store.ensure(copies)
        return
    key = _layer_key(layer.digest)
    needed = whole if _session.wanted is None else layer.key in _session.wanted
    if not needed and _take_layer(store, copies, layer.digest, key):
        return
    known = _session.find("layer", key) is not None
    began = time.monotonic()
    receipt = store.ensure(copies)
    if not known:
        from c2wtasks.remote.journal import Product

        text = msgspec.json.encode(msgspec.structs.replace(receipt, tar_fingerprint=""))
        index = Product(_INDEX, store.index(Digest.parse(receipt.diff_id)), packed=True)
        _session.offer("layer", key, (Product(_RECEIPT, content=text), index), time.monotonic() - began)


def _take_layer(store: Store, copies: Sequence[Layer], digest: Digest, key: str) -> bool:
    """Whether the layer's receipt and index were to be had. A receipt that does not fit the image is no use: the blob
    tells what is wrong."""
    assert _session is not None
    claim = _session.find("layer", key)
    receipt, index = (claim.output(name) if claim else None for name in (_RECEIPT, _INDEX))
    if claim is None or receipt is None or index is None:
        return False
    text = _session.content(receipt)
    try:
        said = decode_receipt(text or b"")
        fits = said.digest == str(digest) and Digest.parse(said.diff_id) in {copy.diff_id for copy in copies}
    except ValueError:
        return False
    content = _session.content(index) if fits and said.blob_size == copies[0].place.size else None
    if content is None or not content.startswith(LAYER_MAGIC):
        return False
    if store.holds(Digest.parse(said.diff_id)):  # it is known here, and by more than a claim
        return False
    store.take(said, content)
    _session.took(claim)
    return True


def _layer_key(digest: Digest) -> str:
    from c2wtasks.remote.claim import key_of

    return key_of("layer", {"blob": str(digest), "index": LAYER_MAGIC.hex(), "outputVersion": OUTPUT_VERSION})


def user(site: Site, name: str, resolve: Callable[[], User]) -> User:
    """Who `name` is in the image of a bundle. `resolve` looks it up in the image's files, which takes their layers'
    tars: where these are not all here, it may be known elsewhere.

    Raises what `resolve` raises.
    """
    if _session is None:
        return resolve()
    text = _of_root(site, "user", _USER, {"user": name}, lambda: msgspec.json.encode(resolve()), _is_user)
    return _USERS.decode(text)


def _is_user(text: bytes) -> bool:
    try:
        return _USERS.decode(text) is not None
    except msgspec.MsgspecError:
        return False


def packages(site: Site, version: int, make: Callable[[], bytes]) -> bytes:
    """The text of packages.json for the root of a bundle, of this version of the schema. `make` makes it from files
    of the image, as `resolve` of `user`.

    Raises what `make` raises.
    """
    if _session is None:
        return make()
    return _of_root(site, "packages", PACKAGES, {"schema": version}, make, lambda text: text.startswith(b"{"))


def _of_root(
    site: Site,
    kind: Kind,
    name: str,
    more: Mapping[str, Any],
    make: Callable[[], bytes],
    is_one: Callable[[bytes], bool],
) -> bytes:
    """The text that `make` makes of the contents of a root and of what `more` says; or that is known elsewhere, and
    `is_one` of the kind, where the tars of the layers are not all here.

    Raises what `make` raises.
    """
    assert _session is not None
    if all(map(is_small, site.layers)):
        return make()
    from c2wtasks.remote.claim import MAX_INLINE, key_of
    from c2wtasks.remote.journal import Product

    key = key_of(kind, {**_root(site), **more})
    claim = None if all(site.store.has_tar(one.diff_id) for one in site.layers) else _session.find(kind, key)
    output = claim.output(name) if claim else None
    if claim and output and (text := _session.content(output)) is not None and is_one(text):
        _session.took(claim)
        return text
    began = time.monotonic()
    made = make()
    if _session.find(kind, key) is None:
        product = Product(name, content=made, packed=len(made) > MAX_INLINE)
        _session.offer(kind, key, (product,), time.monotonic() - began)
    return made


def _root(site: Site) -> dict[str, Any]:
    """All that the names and contents of a bundle's root come from."""
    layers = [(str(one.diff_id), one.key) for one in site.layers]
    return {"layers": layers, "outputVersion": OUTPUT_VERSION}


def form_key(
    tree: msgspec.Struct, bundle: str, form: Form, given: Mapping[str, Any], json_files: Mapping[str, str]
) -> str:
    """What the files of a form are known by: all that they are made of (`tree` is what the tree is), the SHA-256 of
    the bundle's `json_files` that they hold, and the versions of what compresses them."""
    from c2wtasks.remote.claim import key_of
    from c2wtasks.tree.treefile import MAGIC

    made_of = {"tree": tree, "treeFile": MAGIC.hex(), "bundle": bundle, "kind": form.kind, "given": given}
    return key_of("form", {**made_of, "json": json_files, "versions": _versions(form)})


def json_digests(files_by_name: Mapping[str, str]) -> dict[str, str]:
    """The SHA-256 of each of these files. Raises OSError."""
    found = {}
    for name, path in files_by_name.items():
        with open(safely.open_file(path), "rb", buffering=0) as stream:
            found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def _versions(form: Form) -> dict[str, str]:
    """What the bytes of a form depend on, too, if it is compressed."""
    found = {}
    if form.type.tool:
        found[form.type.tool] = _version(form.type.tool)
    if form.option("compression") and not form.type.tool:
        from importlib.metadata import version

        found = {name: version(name) for name in ("zstandard", "isal")}
    return found


@cache
def _version(tool: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            [tool, "--version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).decode("utf-8", "replace").partition("\n")[0]


def is_known(key: str) -> bool:
    """Whether the files of a form are to be had."""
    return bool(key) and _session is not None and _session.find("form", key) is not None


def take_form(key: Callable[[], str], folder: str) -> dict[str, str] | None:
    """Puts the files of a form into an empty folder, if they are to be had; gives the SHA-256 of each.

    Raises OSError.
    """
    if _session is None or _session.journal.is_off:  # a key is not made for nothing
        return None
    claim = _session.find("form", key())
    if claim is None:
        return None
    progress.step("fetching", sum(one.size for one in claim.outputs))
    for output in claim.outputs:
        path = f"{folder}/{output.name}"
        files.make_folders(os.path.dirname(path))
        if output.unpacked or not _session.bring(output, path):
            for name in files.names(folder):
                files.remove_tree(f"{folder}/{name}")
            return None
    _session.took(claim)
    return {output.name: output.sha256 for output in claim.outputs}


def offer_form(key: Callable[[], str], folder: str, sizes: Mapping[str, int], seconds: float) -> None:
    """Gives the files of a form that was made in so many seconds to the remote cache, if it took longer to make them
    than it takes to fetch them."""
    if _session is None or not _session.writes or not _session.is_worth(seconds, sum(sizes.values())):
        return
    from c2wtasks.remote.journal import Product

    _session.offer("form", key(), [Product(name, f"{folder}/{name}") for name in sizes], seconds)
