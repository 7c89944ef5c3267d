"""Builds container2wasm VM bundles for a catalog of container images, as doit tasks."""

LOCKED = "C2WTASKS_LOCKED"
OFFLINE = "C2WTASKS_OFFLINE"
"""Variables that stand for `doit --locked` and `doit --offline`, where they are neither empty nor 0."""

READING = "C2WTASKS_READING"
"""One that our commands set, while the dodo is loaded, where nothing is to be written."""

AFRESH = "C2WTASKS_AFRESH"
"""One that our commands set where nothing that was learnt of images before is to be taken for true."""

may_be_late = False
"""Whether the graph may be loaded before all images are known; `doit run` waits for the others when it has built the
rest."""
