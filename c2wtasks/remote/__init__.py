"""A cache that machines share: signed claims of what comes of which inputs, and the bytes that these name. Nothing of
it is believed but what a key signed that the catalog trusts; what goes wrong with it is made as if it were not there.

May import `sources` and what lies below.
Tests: tests/remote.
"""
