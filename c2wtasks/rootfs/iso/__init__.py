"""The form `iso`: an ISO 9660 image with Rock Ridge, as `mkisofs -R` makes it, for Linux to mount.

Sources: ECMA-119 (interchange level 3), SUSP 1.12 and RRIP 1.12, and what Linux's isofs and mkisofs make of them.

What is held: names of any bytes; owners, modes, symlinks, devices, FIFOs; files of more than 4 GiB, in several
extents; hard links, as one extent and one file serial number with several names; times in seconds, from 1900 to 2155.
Directories deeper than eight levels stay where they are, as with xorriso or `mkisofs -D`, and do not move to an
`rr_moved` that Linux would show. More than 65,535 of them are no error: see `records.path_table`.

What is not:
- xattrs (capabilities and ACLs among them) and parts of seconds are left out. Times before 1900 become its first
  second, those after 2155 its last one.
- Holes of a sparse file are holes of the image, but the file in it has none.
- Refused, as Linux would show them wrong: files of more than 100 extents (some 400 GiB), and devices of major number
  0 with a minor number above 255. So are images of 8 TiB or more.

What Linux shows in another way than the image has it, whoever wrote that: the names of one file are files of their
own, though each says how many names there are; a name of 254 or 255 bytes is its first 253; a name of the single byte
0x01 is listed but cannot be opened, nor can, up to Linux 6.1 on x86, one of a single byte above 0x7f; up to 6.1 at
least, times outside 1901 to 2038 are others within.
"""

from __future__ import annotations

from c2wtasks.bundlefile.model import Form
from c2wtasks.rootfs.forms import Maker, Making
from c2wtasks.rootfs.holding import FormLimits
from c2wtasks.rootfs.iso.writer import write

__all__ = ["MAKER", "write"]


def _make(making: Making, form: Form, folder: str) -> None:
    is_whole = form.option("tree") == "vm"
    tree, tars = making.whole("") if is_whole else (making.tree, making.tars)
    write(tree, tars, f"{folder}/{'vm' if is_whole else 'rootfs'}.iso", created_ns=making.created_ns)


_1900, _2156 = -2_208_988_800, 5_869_584_000  # the beginning of these years, in seconds since 1970
MAKER = Maker(
    _make, FormLimits(xattrs=(), whole_seconds=True, first=_1900, last=_2156 - 1), holes=lambda _form: False
)
