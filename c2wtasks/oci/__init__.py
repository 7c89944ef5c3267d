"""Digests, platforms, references, manifests and image configs, read as Go reads them. Pure.

May import `errors`, `fingerprint`, `near`, `runoptions`, `sealed`, `sizes`.
Tests: tests/oci.
"""
