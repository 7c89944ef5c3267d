"""What may go from the cache: what no bundle needs, what killed runs left, and tars beyond a size.

May import `changes`, `output` and what lies below.
Tests: tests/commands (test_gc), tests/graph (test_cache_max_size).
"""
