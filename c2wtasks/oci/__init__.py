"""Digests, platforms, references, manifests and image configs, read as Go reads them. Pure.

May import `errors`, `near`, `progress`, `runoptions`, `settled`, `sizes`.
Tests: tests/oci.
"""
