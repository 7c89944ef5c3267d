"""Compressors of archives: the same output for the same input, whatever the clock and the number of cores."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Compression = Literal["gzip", "zstd"]
_GZIP_FORMAT = 31


class Compressor(Protocol):
    """Compresses bytes that come one after another."""

    def compress(self, content: Any, /) -> bytes:
        """Takes `content`, and gives what is compressed so far, which may be nothing."""

    def flush(self) -> bytes:
        """The rest of what is compressed, and the end of the stream."""


def compressor(compression: Compression, level: int | None = None) -> Compressor:
    """A compressor for one stream. The level is 0 to 3 for gzip (ISA-L's; 2 by default) and 1 to 22 for zstd (3).

    A gzip header has the time 0 and no name. Another version of a library may compress otherwise, and ISA-L does on
    a processor without SSE 4.2. zstd gets no threads of its own: with them, 1.5.7 at level 1 was seen to give
    different bytes from one run to the next.
    """
    made: Compressor
    match compression:
        case "gzip":
            from isal import isal_zlib

            made = isal_zlib.compressobj(2 if level is None else level, isal_zlib.DEFLATED, _GZIP_FORMAT)
        case "zstd":
            import zstandard

            made = zstandard.ZstdCompressor(3 if level is None else level).compressobj()
    return made
