"""The form `iso`: an ISO 9660 image with Rock Ridge, as `mkisofs -R` makes it, for Linux to mount.

Sources: ECMA-119 (interchange level 3), SUSP 1.12 and RRIP 1.12, and what Linux's isofs and mkisofs make of them.

What is held: every name, of any bytes; owners, modes, symlinks, devices, FIFOs, files of more than 4 GiB in several
extents, hard links as one extent (and one file serial number) with several names, times in seconds from 1900 to 2155.
Directories deeper than eight levels stay where they are, as with `mkisofs -D` or xorriso: they are never relocated to
an `rr_moved` that Linux would show. More than 65,535 of them are no error: see `records.path_table`.

What is not:
- xattrs (and so capabilities) and nanoseconds are left out; times before 1900 or after 2155 become the nearest in them.
- A sparse file's holes are holes in the image, but a file on it shows none.
- A file of more than 100 extents (some 400 GiB) and a device of major 0 with a minor above 255 are refused: Linux would
  not show them as they are. So are images of 8 TiB or more.

What Linux shows otherwise than it is in the image, whoever made it: names of one file as files of their own, though each
says how many names there are; of a name of 254 or 255 bytes the first 253; a name that is one byte above 127, or \\x01,
in listings only, as it cannot be opened; and, up to Linux 6.1 at least, times outside 1901 to 2038 as others in it.
"""

from c2wtasks.rootfs.iso.image import DEFAULT_VOLUME_ID, write

__all__ = ["DEFAULT_VOLUME_ID", "write"]
