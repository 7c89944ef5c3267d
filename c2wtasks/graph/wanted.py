"""Which bundles the words of a command line are about, before the images, and so the tasks, are known. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.tasks import names

_OF_LAYERS = frozenset("layer:0123456789abcdef*?[]!-")
"""The characters of a pattern that may fit the task of a layer."""


def wanted(words: Sequence[str], file: BundleFile) -> frozenset[str] | None:
    """The bundles that `words` are about; of what is no single bundle's, all. None where a word means nothing that a
    graph has by itself: it is misspelt, or of the dodo's own tasks."""
    every = frozenset(str(bundle) for bundle in file.bundles)
    if not words:
        return every
    known = _known(file, every)
    of_all = (names.layer(""), f"{file.output}/", f"{file.cache}/")  # the last two are of targets
    found: set[str] = set()
    for word in words:
        if word in known:
            found |= known[word]
        elif word.startswith(of_all) or _may_fit_layers(word):
            found |= every
        elif "*" in word and (fitting := fnmatch.filter(known, word)):
            found.update(*(known[name] for name in fitting))
        else:
            return None
    return frozenset(found)


def _may_fit_layers(pattern: str) -> bool:
    """Whether the pattern may fit the tasks of layers, of which it is not known yet which there are."""
    begins = re.split(r"[*?\[]", pattern)[0]
    return "*" in pattern and _OF_LAYERS.issuperset(pattern) and names.layer("").startswith(begins)


def _known(file: BundleFile, every: frozenset[str]) -> dict[str, set[str] | frozenset[str]]:
    """What each name of an image, a bundle, its tasks, or a family of tasks is about."""
    known: dict[str, set[str] | frozenset[str]] = dict.fromkeys(names.FAMILIES, every)
    for bundle in file.bundles:
        for name in (str(bundle), *names.parts(bundle)):
            known[name] = {str(bundle)}
        known[bundle.name] = known.get(bundle.name, frozenset()) | {str(bundle)}
    return known
