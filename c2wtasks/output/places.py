"""Where a bundle's files lie.

<output>/catalog.json
<output>/.history/                   private: what each run did (see `history`)
<output>/<name>/<platform>/          published: what consumers read, replaced whole by one rename
    rootfs/  image.json  spec.json  initconfig.json  bundle.json  SHA256SUMS  and the files of other forms
<output>/.parts/<name>/<platform>/   private: what the tasks of the bundle made, for the next run and for publishing
    tree  rootfs/  rootfs.json  image.json  spec.json  initconfig.json
    form-NAME/                       a form that is files: those that are published, as hard links
    form-NAME.json  form-NAME.times  what they are; the mtimes that they were given
    times                            those of the published files
    boot                             which folder rootfs/ is, and since which start of the machine it waits
    standing  standing.tree          which folder was published last, and the tree of its root
<output>/<name>/.parts/<platform>/   only while a bundle is published to another disk: where it is made ready
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from c2wtasks.bundlefile.forms import DEFAULT_FORM, FORMS, JSON_FILES
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.disk.files import TEMPORARY_PREFIX

PARTS, HISTORY = ".parts", ".history"
NEW, OLD, READY = ".new", ".old", ".ready"
"""In a bundle's private folder: what begins with a dot is unfinished, or on its way in or out."""
FORM_PREFIX, TIMES_SUFFIX = "form-", ".times"
IMAGE, SPEC, INITCONFIG = JSON_FILES
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
    def rootfs_facts_file(self) -> str:
        """What is known of the root that `parts` or `published` holds; written when it is whole."""
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

    def form(self, name: str) -> str:
        """The folder of the files of a form."""
        return f"{self.parts}/{FORM_PREFIX}{name}"

    def form_facts_file(self, name: str) -> str:
        """What is known of them; written when they are whole, and on disk."""
        return f"{self.form(name)}.json"

    def form_times(self, name: str) -> str:
        """The mtimes of its files."""
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
