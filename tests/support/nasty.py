"""A tree of all that is hard on a writer, with the tars that its contents lie in: each kind, and each field of each
kind at its limits. Linux can hold all of it, so that it can be unpacked and compared."""

from __future__ import annotations

import random
from pathlib import Path
from typing import BinaryIO

from c2wtasks.layers.fragments import pack
from c2wtasks.tree import treefile
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Content, Inode
from c2wtasks.tree.treefile import TreeFile

HIGHEST_ID = 2**32 - 2
LARGEST_DEVICE = (4095, 2**20 - 1)
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
YEAR_2023 = 1_700_000_000 * 10**9
TIMES = {
    "before-1902": -(2**31 - 5) * 10**9,
    "before-1970": -1_500_000_000,
    "just-before-1970": -1,
    "1970": 0,
    "nanosecond": 1,
    "last-of-31-bits": (2**31 - 1) * 10**9,
    "after-2038": 2**31 * 10**9 + 999_999_999,
    "last-of-32-bits": (2**32 - 1) * 10**9,
    "after-2106": 2**32 * 10**9 + 5,
    "after-2242": 2**33 * 10**9,  # also the first that a ustar header cannot hold
}
ODD_NAMES = [
    *[b" ", b" before", b"after ", b"two  words", b"new\nline", b"tab\t", b"\x01\x7f\x1b[31m", b"back\\slash"],
    *[b"'single'", b'"double"', b"`$(x)`", b"*?[a]", b"-rf", b"--", b"...", b"..x", b"semi;colon:1", b"a=b,c%20"],
    *["Straße".encode(), "日本".encode(), "e\u0301".encode(), "é".encode(), "😀".encode(), "\u202e".encode()],
    *[b"\xff\xfe", b"half\xc3", b"surrogate\xed\xa0\x80", b"\xe9", b"TRAILER!!!", b"rr_moved", b"RR_MOVED"],
    *[b"Case", b"CASE", b"case", b"CaSe", b"readme.txt", b"README.TXT", b"a.b.c", b"no-dot.", b"#hash", b"~"],
    *[b"x" * n for n in (8, 30, 31, 99, 100, 101, 155, 255)],
    *[b"N" * 255, b"\xff" * 255, "é".encode() * 127],
]


def nasty(folder: Path, *, files: int = 300, links: int = 200, hole: int = 8 << 20) -> tuple[TreeFile, list[str]]:
    """The tree, and the paths of the tars 0, 1, ... (written into `folder`), in which the contents lie end to end.

    `files` is how many lie in one directory, `links` how many names one file has, `hole` the bytes of each large
    hole. Numbers that are hard on more than speed: 100,000, 70,000 (ext4 takes 65,000), 5 << 30.
    The same arguments give the same tree and the same tars. No two files of some length have the same content.
    """
    with (folder / "nasty-0.tar").open("wb") as low, (folder / "nasty-1.tar").open("wb") as high:
        root = _Nasty([low, high]).tree(files, links, hole)
        tars = [low.name, high.name]
    return treefile.flatten(root, ["sha256:" + digit * 64 for digit in "01"], default_mtime_ns=YEAR_2023), tars


class _Nasty:
    def __init__(self, tars: list[BinaryIO]) -> None:
        self.tars = tars
        self.made = 0

    def tree(self, files: int, links: int, hole: int) -> Inode:
        many = {b"%06d" % n: self.small() for n in range(files)}
        root = self.folder(
            {
                b"deep": self.chain([b"%019d" % n for n in range(199)]),
                b"devices": self.folder(self.devices()),
                b"empty": self.folder({}),
                b"links": self.folder(dict.fromkeys([b"%06d" % n for n in range(links)], self.small())),
                b"long": self.chain([*[b"%d" % (n % 10) * 255 for n in range(15)], b"l" * 155]),
                b"lost+found": self.folder({}, mode=0o700),
                b"many": self.folder(many),
                b"metadata": self.folder(self.metadata()),
                b"names": self.folder({name: self.small() for name in ODD_NAMES}),
                b"folders": self.folder({name: self.folder({b"f": self.small()}) for name in ODD_NAMES}),
                b"sizes": self.folder(self.sizes()),
                b"sparse": self.folder(self.sparse(hole)),
                b"symlinks": self.folder(self.symlinks()),
                b"times": self.folder(self.times()),
                b"xattrs": self.folder(self.xattrs()),
            },
            mtime_ns=YEAR_2023 + 1,
        )
        names = root.names()
        names[b"other-names"] = self.folder(
            {
                b"character": names[b"devices"].names()[b"c-large"],
                b"fifo": names[b"devices"].names()[b"fifo"],
                b"sparse": names[b"sparse"].names()[b"hole in the middle"],
                b"symlink": names[b"symlinks"].names()[b"long"],
            }
        )
        names[b"000-before-all"] = names[b"xattrs"].names()[b"many"]
        return root

    def devices(self) -> dict[bytes, Inode]:
        return {
            b"b": Inode(BLOCK, 0o660, gid=6, mtime_ns=YEAR_2023, device=(8, 1)),
            b"b-large": Inode(BLOCK, 0o4711, mtime_ns=1, device=LARGEST_DEVICE),
            b"c": Inode(CHARACTER, 0o666, mtime_ns=YEAR_2023, device=(1, 3)),
            b"c-0": Inode(CHARACTER, 0, mtime_ns=YEAR_2023, device=(0, 0)),
            b"c-256": Inode(CHARACTER, 0o600, mtime_ns=YEAR_2023, device=(256, 256)),
            b"c-large": Inode(CHARACTER, 0o600, HIGHEST_ID, HIGHEST_ID, 7, device=LARGEST_DEVICE),
            b"fifo": Inode(FIFO, 0o1622, 5, 50, YEAR_2023 + 5, xattrs={b"security.x": b"1"}),
        }

    def metadata(self) -> dict[bytes, Inode]:
        made = {b"mode %04o" % mode: self.small(mode) for mode in (0, 0o1, 0o777, 0o4755, 0o2755, 0o6711, 0o7777)}
        made |= {b"folder %04o" % mode: self.folder({}, mode=mode) for mode in (0, 0o1777, 0o2775, 0o7000)}
        for number in (1, 999, 2**16 - 1, 2**16, 8**7 - 1, 8**7, 2**31, HIGHEST_ID):
            made[b"owner %d" % number] = self.small(uid=number)
            made[b"group %d" % number] = self.folder({}, gid=number)
        return made

    def sizes(self) -> dict[bytes, Inode]:
        sizes = (0, 1, 511, 512, 513, 2048, 4095, 4096, 4097, 65_535, 65_536, 65_537, 3_000_001)
        return {b"%d" % size: self.file(random.Random(size).randbytes(size)) for size in sizes}

    def sparse(self, hole: int) -> dict[bytes, Inode]:
        step = 12_288
        return {
            b"all hole": self.holes(hole, []),
            b"data at the end": self.holes(hole + 9, [(hole, 9)]),
            b"data at the start": self.holes(hole, [(0, 10)]),
            b"fragments end to end": self.holes(hole, [(0, 4096), (4096, 4096), (12_288, 1)]),
            b"fragments of nothing": self.holes(hole, [(0, 0), (4096, 100), (hole, 0)]),
            b"fragments, many": self.holes(300 * step, [(n * step + n, 100 + n) for n in range(300)]),
            b"fragments, odd": self.holes(hole + 20_000, [(1, 2), (5, 1), (4097, 5000), (hole + 1, 4099)]),
            b"hole in the middle": self.holes(hole + 8192, [(0, 4096), (hole + 4096, 4096)]),
            b"no hole": self.holes(5000, [(0, 5000)]),
            b"one byte": self.holes(1, []),
        }

    def symlinks(self) -> dict[bytes, Inode]:
        targets = {
            **{b"length %d" % n: b"t" * n for n in (1, 58, 59, 60, 61, 99, 100, 101, 249, 250, 251, 255)},
            b"absolute": b"/names/Case",
            b"dangling": b"no/such/file",
            b"loop": b"loop",
            b"long": b"/".join([b"s" * 249] * 16),
            b"odd": b" \n\\\xff\xc3 -> x",
            b"up": b"../names/./../names//Case",
        }
        made = {name: Inode(SYMLINK, 0o777, mtime_ns=YEAR_2023, target=target) for name, target in targets.items()}
        made[b"owned"] = Inode(SYMLINK, 0o777, HIGHEST_ID, 3, 2**31 * 10**9 + 1, target=b".")
        made[b"xattr"] = Inode(SYMLINK, 0o777, mtime_ns=5, target=b"..", xattrs={b"security.x": b"\0\n=" * 500})
        return made

    def times(self) -> dict[bytes, Inode]:
        made = {name.encode(): self.small(mtime_ns=time) for name, time in TIMES.items()}
        made |= {b"d-" + name.encode(): self.folder({}, mtime_ns=time) for name, time in TIMES.items()}
        return made

    def xattrs(self) -> dict[bytes, Inode]:
        large = bytes(range(256)) * 12
        many = {b"user.%02d" % n: b"%d" % n for n in range(40)}
        return {
            b"capability": self.small(0o755, xattrs={b"security.capability": CAPABILITY}),
            b"empty value": self.small(xattrs={b"user.empty": b""}),
            b"folder": self.folder({}, xattrs={b"user.a": b"1", b"trusted.overlay.opaque": b"y"}),
            b"large": self.small(xattrs={b"user.large": large[:3000]}),
            b"large folder": self.folder({b"f": self.small()}, xattrs={b"user.large": large[:3000]}),
            b"many": self.small(xattrs=many),
            b"odd names": self.small(xattrs={b"user.\xff\n": b"1", b"user. ": b"2", b"user.%3D": b"3"}),
            b"odd values": self.small(xattrs={b"user.a": b"\0", b"user.b": b"1=2\n\xff"}),
            b"device": Inode(CHARACTER, 0o600, mtime_ns=5, device=(1, 5), xattrs={b"security.x": b"1"}),
        }

    def chain(self, names: list[bytes]) -> Inode:
        """Directories in one another, and a file in the innermost."""
        inode = self.small()
        for name in reversed(names):
            inode = self.folder({name: inode})
        return inode

    def folder(self, children: dict[bytes, Inode], mode: int = 0o755, **fields: object) -> Inode:
        self.made += 1
        return Inode(DIRECTORY, mode, children=children, **{"mtime_ns": YEAR_2023 + self.made, **fields})  # type: ignore[arg-type]

    def small(self, mode: int = 0o644, **fields: object) -> Inode:
        return self.file(b"%d\n" % self.made, mode, **fields)

    def file(self, content: bytes, mode: int = 0o644, **fields: object) -> Inode:
        return self.lying(content, len(content), None, mode, **fields)

    def holes(self, size: int, sparse: list[tuple[int, int]]) -> Inode:
        content = random.Random(self.made).randbytes(sum(length for _, length in sparse))
        return self.lying(content, size, sparse, 0o644)

    def lying(
        self, content: bytes, size: int, sparse: list[tuple[int, int]] | None, mode: int, **fields: object
    ) -> Inode:
        """A file with its content put in one of the tars, by turns."""
        self.made += 1
        layer = self.made % len(self.tars)
        where = Content(layer, self.tars[layer].tell(), None if sparse is None else pack(sparse))
        self.tars[layer].write(content)
        fields = {"mtime_ns": YEAR_2023, **fields}
        return Inode(FILE, mode, size=size, content=where, **fields)  # type: ignore[arg-type]
