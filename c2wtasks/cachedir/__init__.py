"""The folders of the cache: their layout, who uses the cache and when, and whose word counts in it.

May import `disk`, `oci`, `telling` and what lies below.
Tests: tests/commands (test_gc_restored), tests/graph (test_shared_cache).
"""
