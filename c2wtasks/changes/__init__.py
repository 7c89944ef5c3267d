"""What changed from one bundle to the next: compared, composed over several nights, grouped by cause, and told.

May import `packages`, `page`, `rootfs`, `vm` and what lies below.
Tests: tests/changes, tests/graph (test_changes).
"""
