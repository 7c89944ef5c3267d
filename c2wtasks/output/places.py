"""Where a bundle's files lie.

<output>/catalog.json  catalog.html  feed.atom  feeds/<name>.atom
<output>/.history/                   private: what each run did (see `history`), and changed (see `changelog`)
<output>/<name>/<platform>/          published: what consumers read, replaced whole by one rename
    rootfs/  image.json  spec.json  initconfig.json  packages.json  bundle.json  SHA256SUMS  and files of other forms
    sbom.spdx.json  sbom.cdx.json    where they are asked for
<output>/.parts/<name>/<platform>/   private: what the tasks of the bundle made, for the next run and for publishing
    tree  packages  rootfs/  rootfs.json  image.json  spec.json  initconfig.json
    form-NAME/                       a form that is files: those that are published, as hard links
    form-NAME.json  form-NAME.times  what they are; the mtimes that they were given
    times                            those of the published files
    boot                             which folder rootfs/ is, and since which start of the machine it waits
    spare/  spare.note               the root before that one, which the next is made of; which folder it is
    spare.delta                      what the root that waits has otherwise than the published one; the stamps of both
    standing  standing.tree          which folder was published last, and the tree of its root
    changed.files                    which files the root that waits has otherwise than that one
    .changed                         what the bundle that is to be published has otherwise than that one in its root
<output>/.parts/.shared/             private: the pool (see `pool`)
<output>/<name>/.parts/<platform>/   only while a bundle is published to another disk: where it is made ready
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from c2wtasks.bundlefile.forms import DEFAULT_FORM, FORMS, JSON_FILES
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.disk.files import TEMPORARY_PREFIX

PARTS, HISTORY, POOL = ".parts", ".history", ".shared"
NEW, OLD, READY = ".new", ".old", ".ready"
"""In a bundle's private folder: what begins with a dot is unfinished, or on its way in or out."""
FORM_PREFIX, TIMES_SUFFIX = "form-", ".times"
IMAGE, SPEC, INITCONFIG = JSON_FILES
PACKAGES = "packages.json"
PAGE, FEED, FEEDS = "catalog.html", "feed.atom", "feeds"
"""Beside catalog.json: what people, and their readers of news, read. `FEEDS` is a folder, with a feed an image."""
RECORD, SUMS, ROOTFS = "bundle.json", "SHA256SUMS", FORMS[DEFAULT_FORM].folder
COPIES = {row.folder: row.copies for row in FORMS.values() if row.copies}
"""What forms that are folders have of the bundle's other files, by where the root lies in them: the name there -> the
usual one."""


@dataclass(frozen=True, slots=True)
class Places:
    """The paths of one bundle, relative to the folder of bundle.yaml."""

    published: str
    parts: str
    rootfs: str = ROOTFS  # where the root is to lie in the published folder

    @classmethod
    def of(cls, output: str, bundle: Bundle) -> Places:
        """The places of a bundle in the folder `output`."""
        inside = f"{bundle.name}/{bundle.platform.folder}"
        form = bundle.folder_form
        rootfs = form.type.folder if form is not None else ROOTFS
        return cls(f"{output}/{inside}", f"{output}/{PARTS}/{inside}", rootfs)

    @property
    def copies(self) -> Mapping[str, str]:
        """What the bundle has under a second name: that name -> the file's usual one."""
        return COPIES.get(self.rootfs, {})

    @property
    def tree(self) -> str:
        """The flat tree of the root."""
        return f"{self.parts}/tree"

    @property
    def packages(self) -> str:
        """The text of packages.json, sealed."""
        return f"{self.parts}/packages"

    @property
    def rootfs_facts_file(self) -> str:
        """The facts file of the root that `parts` or `published` holds; written when that is whole."""
        return f"{self.parts}/rootfs.json"

    @property
    def standing(self) -> str:
        """Tells which folder was published last."""
        return f"{self.parts}/standing"

    @property
    def standing_tree(self) -> str:
        """The flat tree of the root that was published last."""
        return f"{self.parts}/standing.tree"

    @property
    def spare(self) -> str:
        """The root that was published before, of which the next one is made."""
        return f"{self.parts}/spare"

    @property
    def spare_note(self) -> str:
        """What is known of the spare root, and which folder it is."""
        return f"{self.parts}/spare.note"

    @property
    def spare_delta(self) -> str:
        """What the root that is to take the place of the published one has otherwise."""
        return f"{self.parts}/spare.delta"

    @property
    def changed_files(self) -> str:
        """Which files a root that was written has otherwise than the published one."""
        return f"{self.parts}/changed.files"

    @property
    def changed(self) -> str:
        """What the root of the bundle that is to be published has otherwise than that of the published one."""
        return f"{self.parts}/.changed"

    @property
    def beside(self) -> str:
        """A private folder for what is to be published, on the file system of the published one."""
        image, platform = os.path.split(self.published)
        return f"{image}/{PARTS}/{platform}"

    @property
    def probe(self) -> str:
        """A name beside the published folder, for a moment."""
        image, platform = os.path.split(self.published)
        return f"{image}/{TEMPORARY_PREFIX}{platform}"

    @property
    def boot(self) -> str:
        """Tells which folder waits as `rootfs`, and since which start of the machine."""
        return f"{self.parts}/boot"

    @property
    def pool(self) -> str:
        """The names of the files that roots of the output share."""
        return f"{os.path.dirname(os.path.dirname(self.parts))}/{POOL}"

    def form(self, name: str) -> str:
        """The folder of the files of a form."""
        return f"{self.parts}/{FORM_PREFIX}{name}"

    def form_facts_file(self, name: str) -> str:
        """The facts file of a form: what is known of its files; written when they are whole, and on disk."""
        return f"{self.form(name)}.json"

    def form_times(self, name: str) -> str:
        """The mtimes of the files of a form."""
        return f"{self.form(name)}{TIMES_SUFFIX}"

    @property
    def times(self) -> str:
        """The mtimes of the published files."""
        return f"{self.parts}/times"

    def part(self, name: str) -> str:
        """The path of something in the private folder."""
        return f"{self.parts}/{name}"

    def output(self, name: str) -> str:
        """The path of something in the published folder."""
        return f"{self.published}/{name}"

    @property
    def record(self) -> str:
        """The path of the published bundle.json."""
        return self.output(RECORD)
