"""Digests, platforms, references, manifests and image configs, read as Go reads them. Pure.

May import `errors`, `near`, `runoptions`, `settled`, `sizes`.
Tests: tests/oci.
"""
