"""What the tasks of a bundle do before it is published: each reads what the step before left, calls the pure
functions, writes its part. (`forming`: the forms that are files. `staging`: the bundle.)

Every step may be killed at any moment and run again: its outputs appear whole or not at all, and what it finds
of an earlier try it removes.
"""

from __future__ import annotations

import os
from collections.abc import Set
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from c2wtasks import fingerprint
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.bundlefile.profile import PROFILES
from c2wtasks.disk import files, safely, syncing
from c2wtasks.errors import OutputError, SpecError, TreeError, os_reason
from c2wtasks.layers import sameness
from c2wtasks.layers.content import read_content
from c2wtasks.layers.refusal import UnusableIndex, damaged, wrong_diff_id
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import ImageConfig
from c2wtasks.output import record, standing, waiting
from c2wtasks.output.places import IMAGE, INITCONFIG, ROOTFS, SPEC, Places
from c2wtasks.output.record import RootfsFacts, WrittenRootfs
from c2wtasks.rootfs import dir as directory
from c2wtasks.rootfs.dir import Previous
from c2wtasks.rootfs.rights import builder
from c2wtasks.sources.model import BlobPlace, Image, Layer
from c2wtasks.tree import difference, model, treefile
from c2wtasks.tree.apply import apply
from c2wtasks.tree.lookup import lookup
from c2wtasks.tree.model import FILE, Content, Inode
from c2wtasks.tree.treefile import TreeFile
from c2wtasks.tree.weight import Scales
from c2wtasks.vm import users
from c2wtasks.vm.bootconfig import boot_config
from c2wtasks.vm.imageconfig import with_overrides
from c2wtasks.vm.runtimespec import runtime_spec

_MAX_USER_FILE = 16 << 20
_WORTH_SYNCING = 16 << 20  # of small roots, one sync of many is enough: each ends a transaction of the file system


@dataclass(frozen=True, slots=True)
class Work:
    """A bundle with its image, where its files lie, and the store its layers are in.

    `copied` are the keys of blobs that lie in several places.
    """

    bundle: Bundle
    image: Image
    places: Places
    store: Store
    copied: Set[str] = frozenset()

    @property
    def has_rootfs(self) -> bool:
        """An external bundle is its initconfig.json alone, as a rule: the VM gets the rest from elsewhere."""
        return bool(self.bundle.forms)

    @property
    def blobs_size(self) -> int:
        """A measure of the work that the bundle makes."""
        return sum(layer.place.size for layer in self.image.layers) if self.has_rootfs else 0

    # tree:

    @property
    def default_mtime_ns(self) -> int:
        """That of directories which no layer names, and of what we write beside the root."""
        return self.image.parsed.created_ns

    def make_tree(self) -> None:
        """An index that cannot be used is made again, by reading the layer again.

        Raises LayerError, TreeError, OutputError.
        """
        mended: set[Digest] = set()
        while True:
            try:
                files.write(self.places.tree, treefile.encode(self._merged()))
                return
            except UnusableIndex as error:
                if error.diff_id in mended:
                    raise
                mended.add(error.diff_id)
                self.store.mend_index(next(one for one in self.image.layers if one.diff_id == error.diff_id))

    def _merged(self) -> TreeFile:
        root = model.new_directory()
        scales = Scales(root)
        for number, layer in enumerate(self.image.layers):
            self._check_claim(layer)
            try:
                entries = scales.watch(self.store.entries(layer.diff_id))
                scales.add(apply(root, entries, number, same_owner=self.bundle.same_owner))
                if number == len(self.image.layers) - 1:
                    scales.finish()
            except TreeError as error:
                hint = error.hint or "build the image again"
                raise TreeError(f"layer {layer.short}: {error.message}", hint=hint) from error
        diff_ids = [str(layer.diff_id) for layer in self.image.layers]
        return treefile.flatten(root, diff_ids, default_mtime_ns=self.default_mtime_ns)

    def _check_claim(self, layer: Layer) -> None:
        """That the blob which was read under the layer's digest, here or elsewhere, is what our image says it is.

        Another image's config may claim another diffID for it; another copy of it may be good and ours not.
        """
        receipt = self.store.receipt(layer.digest) if layer.digest else None
        if receipt is None:
            return
        if receipt.diff_id != str(layer.diff_id):
            raise wrong_diff_id(layer, receipt)
        place = layer.place
        if layer.key in self.copied and isinstance(place, BlobPlace):
            try:
                same = fingerprint.of_chunks(place.chunks()) == receipt.fingerprint
            except OSError as error:
                raise damaged(layer, f"it cannot be read: {os_reason(error)}") from error
            if not same:
                raise damaged(layer, "another copy of it is good, this one differs")

    def tree(self) -> tuple[TreeFile, str]:
        """The tree that `make_tree` wrote, and its fingerprint.

        Raises OutputError.
        """
        path = self.places.tree
        try:
            content = safely.read(path, treefile.MAX_SIZE)
            return treefile.decode(content), fingerprint.of_bytes(content)
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error
        except ValueError as error:
            raise OutputError(f"{path}: {error}", hint="delete it and run again") from error

    # rootfs:

    def make_rootfs(self) -> None:
        """Raises LayerError, OutputError."""
        files.remove_tree(self.places.rootfs_facts_file)  # it must never lie beside another root than its own
        root = self.write_rootfs(self.places.part(ROOTFS))
        files.write(self.places.rootfs_facts_file, record.encode_rootfs(root))

    def write_rootfs(self, target: str) -> WrittenRootfs:
        """Writes the root, by way of a temporary name, which it loses when it is whole. What the published one has
        unchanged is shared with it. Gives what is to be said of it.

        Raises LayerError, OutputError.
        """
        tree, tree_fingerprint = self.tree()
        unfinished = f"{os.path.dirname(target)}/.{ROOTFS}"
        files.remove_tree(unfinished)
        try:
            with files.removed_on_failure(unfinished):
                left_out = directory.write(tree, self.tar, unfinished, self._previous(tree))
                if tree.size >= _WORTH_SYNCING:
                    syncing.begin_to_sync(self.places.parts)
                files.remove_tree(target)
                safely.rename(unfinished, target)
                waiting.note(self.places, target)
        except OSError as error:
            need = f" (the whole root takes {tree.size} bytes)"
            raise OutputError(f"{target}: cannot be written: {os_reason(error)}{need}") from error
        entries = tree.entry_count - left_out.devices
        return WrittenRootfs(RootfsFacts(tree_fingerprint, tree.size, entries, left_out, builder().ids), builder())

    def _previous(self, tree: TreeFile) -> Previous | None:
        """The published root, with what of it is as in `tree`; None unless it can be trusted."""
        stands = standing.root(self.places)
        if stands is None:
            return None
        old, facts, path = stands
        if facts.ids != builder().ids:
            return None
        old_tars, tars = ([self.store.tar(one) for one in each.diff_ids()] for each in (old, tree))
        with closing(sameness.MappedTars()) as layers:

            def same(before: Content, now: Content, length: int) -> bool:
                one, other = (old_tars[before.layer], before.offset), (tars[now.layer], now.offset)
                return one == other or layers.same(*one, *other, length)

            return Previous(path, difference.kept(old, tree, same), facts.left_out.xattrs)

    def tar(self, number: int) -> str:
        """The tar of a layer, made again if it was evicted from the store since the layer was read.

        Raises LayerError, OutputError.
        """
        layer = self.image.layers[number]
        path = self.store.tar(layer.diff_id)
        receipt = self.store.receipt(layer.digest) if layer.digest else None
        if not self.store.has_tar(layer.diff_id, receipt.tar_size if receipt else None):
            self.store.ensure([layer])
        self.store.use(layer.diff_id)
        return path

    # spec: and boot:

    def make_spec(self) -> None:
        """Raises SpecError, OutputError."""
        image_json, config = self._config()
        user = users.User()
        if config.user:
            tree, _ = self.tree()
            root = treefile.grow(tree)
            passwd, group = (self._user_file(tree, root, config.user, path) for path in (b"etc/passwd", b"etc/group"))
            user = users.resolve(config.user, passwd, group)
        profile = PROFILES[self.bundle.profile]
        spec = runtime_spec(config, user, profile, terminal=self.bundle.process.terminal)
        files.write_if_changed(self.places.part(IMAGE), image_json)
        files.write_if_changed(self.places.part(SPEC), spec)

    def _config(self) -> tuple[bytes, ImageConfig]:
        """image.json's text, and what it says."""
        try:
            text = with_overrides(self.image.config, self.bundle.process)
            return text, ImageConfig.parse(text)
        except ValueError as error:
            raise SpecError(f"image config {self.image.config_digest.short}: {error}") from error

    def _user_file(self, tree: TreeFile, root: Inode, user: str, path: bytes) -> bytes | None:
        """The content of a file of the image, found as from inside it; None where there is none."""
        shown = f"user {user!r}: /{path.decode()}"
        hint = "build the image again with a proper one"
        try:
            inode = lookup(root, path)
        except OSError as error:
            raise SpecError(f"{shown} cannot be reached in this image: {os_reason(error)}", hint=hint) from error
        if inode is None:
            return None
        if inode.kind != FILE:
            raise SpecError(f"{shown} is not a regular file in this image", hint=hint)
        if inode.size > _MAX_USER_FILE:
            raise SpecError(f"{shown} is {inode.size} bytes, more than is read ({_MAX_USER_FILE})", hint=hint)
        if inode.content is None:
            return b""
        layer, offset, sparse = inode.content
        tar = self.tar(layer)
        try:
            return read_content(tar, offset, inode.size, sparse)
        except OSError as error:
            raise SpecError(f"{shown} cannot be read: {os_reason(error)}") from error

    def make_boot(self) -> None:
        """Raises OutputError."""
        architecture = self.image.parsed.architecture
        text = boot_config(architecture, self.bundle.boot, PROFILES[self.bundle.profile])
        files.write_if_changed(self.places.part(INITCONFIG), text)

    # What the bundle has of them:

    @property
    def part_names(self) -> tuple[str, ...]:
        """The files of the bundle, but for its record."""
        return (IMAGE, SPEC, INITCONFIG) if self.has_rootfs else (INITCONFIG,)

    def facts(self) -> dict[str, Any]:
        """All that bundle.json says of the bundle's inputs, by name."""
        bundle, image = self.bundle, self.image
        return {
            "source": bundle.source.text,
            "manifest": str(image.manifest_digest),
            "image_config": str(image.config_digest),
            "layers": [str(layer.digest or layer.diff_id) for layer in image.layers],
            "created_ns": self.default_mtime_ns,
            **record.options(bundle),
        }

    def known_tar_size(self, layer: Layer) -> int | None:
        """The bytes of a layer's tar, if they can be told without reading it."""
        receipt = self.store.receipt(layer.digest) if layer.digest else None
        if receipt is not None:
            return receipt.tar_size
        try:
            return self.store.tar_size(layer.diff_id)
        except OSError:
            return None
