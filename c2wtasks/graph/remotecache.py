"""The remote cache of a catalog, as this machine uses it; and the documents of images that are taken from it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection

from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.process.runoptions import RunOptions
from c2wtasks.remote.documents import documents_of
from c2wtasks.remote.knocking import nobody_at
from c2wtasks.remote.session import HASTY, Remote
from c2wtasks.remote.transport import RemoteFailure

SCOPE = "C2WTASKS_REMOTE_SCOPE"
"""The variable with the scope of what this machine writes, which it then reads, too."""
_PLAIN = re.compile("[A-Za-z0-9_-]{1,40}")


def remote_of(file: BundleFile, options: RunOptions) -> Remote | None:
    """The remote cache of a catalog, as this machine uses it; None where it has none, or is not to ask for it."""
    cache = file.remote_cache
    if cache is None or (options.offline and cache.type.asks):
        return None
    scope = os.environ.get(SCOPE, "") or cache.scope
    name = file.name or "all"
    if not _PLAIN.fullmatch(name):
        name = hashlib.sha256(name.encode()).hexdigest()[:16]
    shard = f".{options.shard.replace('/', '-of-')}" if options.shard else ""
    indexes = (f"{scope}.{name}{shard}", f"{scope}.{name}", f"{cache.scope}.{name}")
    return Remote(cache, Access(file.registries), scope, tuple(dict.fromkeys(indexes)))


def documents(file: BundleFile, options: RunOptions, wanted: Collection[Digest]) -> tuple[dict[Digest, bytes], str]:
    """Those of the `wanted` documents that the remote cache of a catalog has; and why it has failed, if it has."""
    found: dict[Digest, bytes] = {}
    remote = remote_of(file, options)
    if remote is None:
        return found, ""
    try:
        if nobody := nobody_at(remote.cache.url, remote.access, HASTY.connect):
            return found, nobody
        to = remote.reached(HASTY)
        for catalog in remote.indexes:
            if left := [digest for digest in wanted if digest not in found]:
                found |= documents_of(to, catalog, left)
    except RemoteFailure as error:
        return found, error.reason
    return found, ""
