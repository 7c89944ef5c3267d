"""What the tasks of a bundle do: each reads what the step before left, calls the pure functions, writes its part.

Every step may be killed at any moment and run again: its outputs appear whole or not at all, and what it finds
of an earlier try it removes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Set
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import msgspec

from c2wtasks import files, fingerprint
from c2wtasks.bundlefile.model import Bundle, Form
from c2wtasks.catalog import publish, record, standing
from c2wtasks.catalog.places import FORM_PREFIX, IMAGE, INITCONFIG, RECORD, ROOTFS, SPEC, Places
from c2wtasks.catalog.record import FormFacts, Record, RootfsFacts
from c2wtasks.errors import OutputError, SpecError, TreeError, os_reason
from c2wtasks.layers import sameness
from c2wtasks.layers.store import Store, damaged, read_content, wrong_diff_id
from c2wtasks.layers.tarindex import bound_time
from c2wtasks.oci.image import ImageConfig
from c2wtasks.rootfs import directory
from c2wtasks.rootfs.builder import Builder
from c2wtasks.rootfs.directory import Previous
from c2wtasks.rootfs.forms import MAKERS, Making, is_here
from c2wtasks.sources.model import BlobPlace, Image, Layer
from c2wtasks.tree import difference, model, treefile
from c2wtasks.tree.apply import apply
from c2wtasks.tree.lookup import lookup
from c2wtasks.tree.model import FILE, Content, Inode
from c2wtasks.tree.treefile import TreeFile
from c2wtasks.vm import users
from c2wtasks.vm.bootconfig import boot_config
from c2wtasks.vm.imageconfig import with_overrides
from c2wtasks.vm.profile import TABLES
from c2wtasks.vm.runtimespec import runtime_spec

_FILE_MODE = 0o644
_MAX_USER_FILE = 16 << 20
_WORTH_SYNCING = 16 << 20  # of small roots, one sync of many is enough: each ends a transaction of the file system


@dataclass(frozen=True, slots=True)
class Work:
    """A bundle with its image, where its files lie, the store its layers are in, and what the builder may do.

    `copied` are the keys of blobs that lie in several places.
    """

    bundle: Bundle
    image: Image
    places: Places
    store: Store
    builder: Builder
    copied: Set[str] = frozenset()

    @property
    def has_rootfs(self) -> bool:
        """An external bundle is its initconfig.json alone, as a rule: the VM gets the rest from elsewhere."""
        return bool(self.bundle.forms)

    @property
    def missing_tools(self) -> list[str]:
        """What the forms need and is not here."""
        makers = {form.name: MAKERS[form.kind] for form in self.bundle.file_forms}
        return [
            f"form {name} needs {maker.tool} (Debian's package {maker.package})"
            for name, maker in makers.items()
            if maker.tool and not is_here(maker.tool)
        ]

    @property
    def blobs_size(self) -> int:
        """A measure of the work that the bundle makes."""
        return sum(layer.place.size for layer in self.image.layers) if self.has_rootfs else 0

    # tree:

    @property
    def default_mtime_ns(self) -> int:
        """That of directories which no layer names, and of what we write beside the root."""
        return bound_time(self.image.parsed.created_ns)

    def make_tree(self) -> None:
        """Raises LayerError, TreeError, OutputError."""
        root = model.new_directory()
        for number, layer in enumerate(self.image.layers):
            self._check_claim(layer)
            try:
                entries = self.store.entries(layer.diff_id)
                apply(root, entries, number, same_owner=self.bundle.same_owner)
            except TreeError as error:
                hint = error.hint or "build the image again"
                raise TreeError(f"layer {layer.short}: {error.message}", hint=hint) from error
        diff_ids = [str(layer.diff_id) for layer in self.image.layers]
        tree = treefile.flatten(root, diff_ids, default_mtime_ns=self.default_mtime_ns)
        files.write(self.places.tree, treefile.encode(tree))

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
                same = fingerprint.of_file(place.path, place.offset, place.size) == receipt.fingerprint
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
            content = _content(path)
            return treefile.decode(content), fingerprint.of_bytes(content)
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error
        except ValueError as error:
            raise OutputError(f"{path}: {error}", hint="delete it and run again") from error

    # rootfs:

    def make_rootfs(self) -> None:
        """Raises LayerError, OutputError."""
        tree, tree_fingerprint = self.tree()
        files.remove_tree(self.places.rootfs_stamp)  # it must never lie beside another root than its own
        self._write_rootfs(tree, self.places.part(ROOTFS))
        facts = self.rootfs_facts(tree, tree_fingerprint)
        files.write(self.places.rootfs_stamp, msgspec.json.encode(facts) + b"\n")

    def rootfs_facts(self, tree: TreeFile, tree_fingerprint: str) -> RootfsFacts:
        """What is to be said of the root, written as a folder."""
        devices = 0 if self.builder.mknod else sum(node.kind in (model.CHARACTER, model.BLOCK) for node in tree.nodes)
        return RootfsFacts(
            tree=tree_fingerprint,
            size=tree.size,
            entries=tree.entry_count - devices,
            owners=record.owners(self.builder),
            devices_left_out=devices,
        )

    def _write_rootfs(self, tree: TreeFile, target: str) -> None:
        """Writes the root, by way of a temporary name, which it loses when it is whole. What the published one has
        unchanged is shared with it."""
        unfinished = self.places.part(".rootfs")
        files.remove_tree(unfinished)
        try:
            with files.removed_on_failure(unfinished):
                directory.write(tree, self._tar, unfinished, self.builder, self._previous(tree))
                publish.note_boot(self.places)
                if tree.size >= _WORTH_SYNCING:
                    files.begin_to_sync(self.places.parts)
                files.remove_tree(target)
                os.rename(unfinished, target)
        except OSError as error:
            need = f" (the whole root takes {tree.size} bytes)"
            raise OutputError(f"{target}: cannot be written: {os_reason(error)}{need}") from error

    def _previous(self, tree: TreeFile) -> Previous | None:
        """The published root, with what of it is as in `tree`; None unless it can be trusted."""
        stands = standing.root(self.places)
        if stands is None:
            return None
        old, facts, path = stands
        if facts.owners != record.owners(self.builder):
            return None
        old_tars, tars = ([self.store.tar(one) for one in each.diff_ids()] for each in (old, tree))
        with closing(sameness.Tars()) as layers:

            def same(before: Content, now: Content, length: int) -> bool:
                one, other = (old_tars[before.layer], before.offset), (tars[now.layer], now.offset)
                return one == other or layers.same(*one, *other, length)

            return Previous(path, difference.kept(old, tree, same))

    def _tar(self, number: int) -> str:
        """The tar of a layer, made again if it was evicted from the store since the layer was read."""
        layer = self.image.layers[number]
        path = self.store.tar(layer.diff_id)
        try:
            os.utime(path)  # what was used lately is not evicted
        except FileNotFoundError:
            self.store.ensure([layer])
        except PermissionError:  # another user's, in a cache that is shared
            pass
        return path

    def make_form(self, form: Form) -> None:
        """Makes the files of a form of the root.

        Raises LayerError, OutputError.
        """
        tree, tree_fingerprint = self.tree()
        target, unfinished = self.places.form(form.name), self.places.part(f".{form.name}")
        files.remove_tree(self.places.form_stamp(form.name))  # it must never lie beside other files than its own
        files.remove_tree(unfinished)
        try:
            with files.removed_on_failure(unfinished):
                files.make_folders(unfinished)
                key = f"{tree_fingerprint} {self.bundle.name}".encode()
                making = Making(self.bundle, tree, self._tar, self.json_in(form), key, self.default_mtime_ns)
                MAKERS[form.kind].make(making, form, unfinished)
                facts = FormFacts(self.made_of(form, tree_fingerprint), self._settle(unfinished))
                files.remove_tree(target)
                os.rename(unfinished, target)
                files.sync_folder(self.places.parts)
        except OSError as error:
            raise OutputError(f"{target}: cannot be written: {os_reason(error)}") from error
        files.write(self.places.form_stamp(form.name), msgspec.json.encode(facts) + b"\n")

    def form_inputs(self, form: Form) -> dict[str, Any]:
        """All that a form is made from, beside the tree and the bundle's JSON files."""
        preset = {"preset": self.bundle.preset} if form.kind == "context" else {}  # it is in none of these
        return {
            "output_version": record.OUTPUT_VERSION,
            "form": dict(form.options),
            "created_ns": self.default_mtime_ns,
            **preset,
        }

    def json_in(self, form: Form) -> dict[str, str]:
        """The JSON files of the bundle that a form holds, too, by name, with where they lie."""
        return {name: self.places.part(name) for name in MAKERS[form.kind].json_files(form)}

    def made_of(self, form: Form, tree_fingerprint: str) -> str:
        """The fingerprint of all that a form is made from.

        Raises OSError.
        """
        json_files = {name: fingerprint.of_file(path) for name, path in self.json_in(form).items()}
        return fingerprint.of_value({"tree": tree_fingerprint, "json": json_files, **self.form_inputs(form)})

    def _settle(self, folder: str) -> dict[str, str]:
        """Gives the files of a form their metadata, sees to it that they are on disk, and gives their fingerprints.

        Raises OSError.
        """
        found: dict[str, str] = {}
        for name in files.below(folder):
            path = f"{folder}/{name}"
            os.chmod(path, _FILE_MODE)
            os.utime(path, ns=(self.default_mtime_ns, self.default_mtime_ns))
            files.sync_file(path)
            found[name] = fingerprint.of_file(path)
        for above in (*reversed(publish.folders_of(found)), ""):
            files.sync_folder(f"{folder}/{above}")
        return found

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
        table = TABLES[self.bundle.profile]
        spec = runtime_spec(config, user, table, terminal=self.bundle.process.terminal)
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
        tar = self._tar(layer)
        try:
            return read_content(tar, offset, inode.size, sparse)
        except OSError as error:
            raise SpecError(f"{shown} cannot be read: {os_reason(error)}") from error

    def make_boot(self) -> None:
        """Raises OutputError."""
        architecture = self.image.parsed.architecture
        text = boot_config(architecture, self.bundle.boot, TABLES[self.bundle.profile])
        files.write_if_changed(self.places.part(INITCONFIG), text)

    # bundle:

    @property
    def part_names(self) -> tuple[str, ...]:
        """The files of the bundle, but for its record."""
        return (IMAGE, SPEC, INITCONFIG) if self.has_rootfs else (INITCONFIG,)

    def stage(self) -> None:
        """Makes the bundle ready to be published.

        Raises LayerError, OutputError.
        """
        contents = {name: self._read_part(name) for name in self.part_names}
        contents |= {name: contents[part] for name, part in self.places.copies.items()}
        facts = self._read_rootfs() if self.bundle.folder_form else None
        forms = {form.name: self._whole(form) for form in self.bundle.file_forms}
        text = self.record_text(facts, contents, forms.values())

        def put_rootfs(new: str) -> None:
            for name, form in forms.items():
                publish.link(self.places.form(name), form.files, new, self.default_mtime_ns)
            if self.bundle.folder_form:
                self._put_rootfs(f"{new}/{self.places.rootfs}")
            self._drop_other_forms()

        publish.stage(self.places, {**contents, RECORD: text}, self.default_mtime_ns, put_rootfs)

    def _read_part(self, name: str) -> bytes:
        path = self.places.part(name)
        try:
            return _content(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error

    def _read_rootfs(self) -> RootfsFacts:
        facts = record.read_rootfs(self.places.rootfs_stamp)
        if facts is None:
            raise OutputError(f"{self.places.rootfs_stamp}: cannot be read", hint="run again")
        return facts

    def _whole(self, form: Form) -> FormFacts:
        """What is known of the files of a form, which is made again if one of them does not look as it was left.

        They are those that were published: somebody may have removed them, or written to a disk image.
        """
        stamp = self.places.form_stamp(form.name)
        facts = record.read_form(stamp)
        if facts is None or not all(
            self._is_untouched(f"{self.places.form(form.name)}/{name}") for name in facts.files
        ):
            self.make_form(form)
            facts = record.read_form(stamp)
        if facts is None:
            raise OutputError(f"{stamp}: cannot be read", hint="run again")
        return facts

    def _is_untouched(self, path: str) -> bool:
        try:
            found = os.lstat(path)
        except OSError:
            return False
        wanted = (stat.S_IFREG | _FILE_MODE, os.geteuid(), self.default_mtime_ns)
        return (found.st_mode, found.st_uid, found.st_mtime_ns) == wanted

    def _drop_other_forms(self) -> None:
        """Removes what was made of forms that the bundle no longer has."""
        wanted = {os.path.basename(self.places.form(form.name)) for form in self.bundle.file_forms}
        if not self.bundle.folder_form:
            files.remove_tree(self.places.rootfs_stamp)
            files.remove_tree(self.places.part(ROOTFS))
        for name in files.names(self.places.parts):
            if name.startswith(FORM_PREFIX) and name.removesuffix(".json") not in wanted:
                files.remove_tree(self.places.part(name))

    def _put_rootfs(self, target: str) -> None:
        """Moves the root that waits; where none does, it is published, and only what is beside it has changed."""
        waiting = self.places.part(ROOTFS)
        if os.path.isdir(waiting):
            os.rename(waiting, target)
        else:
            self._write_rootfs(self.tree()[0], target)

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

    def record_text(
        self, facts: RootfsFacts | None, contents: Mapping[str, bytes], forms: Iterable[FormFacts]
    ) -> bytes:
        """The text of bundle.json, for a bundle with these small files and forms.

        Raises LayerError, OutputError.
        """
        outputs = {name: fingerprint.of_bytes(content) for name, content in contents.items()}
        for form in forms:
            outputs |= form.files
        verbatim = contents.get(IMAGE, self.image.config) == self.image.config
        return record.encode(self._record(facts, outputs, verbatim))

    def _record(self, facts: RootfsFacts | None, outputs: dict[str, str], verbatim: bool) -> Record:
        return Record(
            name=self.bundle.name,
            platform=str(self.bundle.platform),
            source=self.bundle.source.text,
            manifest_digest=str(self.image.manifest_digest) if self.image.manifest_digest else None,
            config_digest=str(self.image.config_digest),
            layers=record.layer_facts(self.image, [self._tar_size(layer) for layer in self.image.layers]),
            options=record.options(self.bundle),
            image_config_verbatim=verbatim,
            outputs=outputs,
            rootfs=facts,
        )

    def _tar_size(self, layer: Layer) -> int | None:
        if not self.has_rootfs:
            return None
        known = self.known_tar_size(layer)
        return self.store.ensure([layer]).tar_size if known is None else known

    def known_tar_size(self, layer: Layer) -> int | None:
        """The bytes of a layer's tar, if they can be told without reading it."""
        receipt = self.store.receipt(layer.digest) if layer.digest else None
        if receipt is not None:
            return receipt.tar_size
        try:
            return os.stat(self.store.tar(layer.diff_id)).st_size
        except OSError:
            return None


def _content(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()
