"""What was fetched from registries and is kept: documents and compressed blobs, each held against its digest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from c2wtasks.audit.finding import Finding, reason, shown
from c2wtasks.audit.reading import open_whole
from c2wtasks.audit.store import digest_of, digests_in
from c2wtasks.audit.threads import each
from c2wtasks.disk import files
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.reading import MAX_INDEX_FILE
from c2wtasks.telling import stages


@dataclass(frozen=True, slots=True)
class Fetched:
    """The documents and compressed blobs in a cache. `blobs` is the folder of the blobs, `sizes` gives the sizes
    (bytes) that one may have, none if they are not known."""

    documents: Documents
    blobs: str
    sizes: Callable[[Digest], Collection[int]]

    def check(self, workers: int) -> dict[str, list[Finding]]:
        """The findings, by `document` or `blob` and the digest: those of what is wrong. Nothing is changed.

        Raises OutputError.
        """
        found: dict[str, list[Finding]] = {}
        for digest in digests_in(self.documents.root):
            if self.documents.get(digest, MAX_INDEX_FILE) is None:
                wrong = Finding(shown(self.documents.path(digest)), "content", str(digest), "another content")
                found[f"document {digest}"] = [wrong]
        blobs = digests_in(self.blobs)
        stages.begin("checking what was fetched", len(blobs))
        for digest, have in zip(blobs, stages.counted(each(self._wrong, blobs, workers)), strict=True):
            if have:
                found[f"blob {digest}"] = [Finding(shown(self._blob(digest)), "content", str(digest), have)]
        return found

    def _blob(self, digest: Digest) -> str:
        return f"{self.blobs}/{digest.algorithm}/{digest.hex}"

    def _wrong(self, digest: Digest) -> str:
        """What a blob is instead; empty where it is what it should be."""
        try:
            with open_whole(self._blob(digest), self.sizes(digest)) as stream:
                have = digest_of(stream, digest)
        except FileNotFoundError:  # another run has just removed it
            return ""
        except OSError as error:
            return reason(error)
        return "" if have == digest else str(have)

    def mend(self, found: Iterable[str]) -> None:
        """Removes what `check` has found wrong: it is fetched again where it is needed.

        Raises OutputError.
        """
        for of in found:
            kind, _, text = of.partition(" ")
            digest = Digest.parse(text)
            files.remove_tree(self._blob(digest) if kind == "blob" else self.documents.path(digest))
