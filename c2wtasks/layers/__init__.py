"""The layer store: blobs to tars, each read and checked once, and the index of a tar's entries.

May import `sources` and what lies below.
Tests: tests/layers.
"""
