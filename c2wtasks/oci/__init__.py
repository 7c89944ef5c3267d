"""Digests, platforms, references, manifests and image configs, read as Go reads them; how hosts may be reached. Pure.

May import `errors`.
Tests: tests/oci.
"""
