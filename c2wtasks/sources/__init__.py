"""From a source to an image: the transports, which image is taken, what is remembered, locked or late.

May import `bundlefile`, `engine`, `registry` and what lies below.
Tests: tests/sources, tests/registry.
"""
