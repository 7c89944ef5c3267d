"""Digests, platforms, references, manifests and image configs, read as Go reads them. Pure.

May import `disk` and what lies below.
Tests: tests/oci.
"""
