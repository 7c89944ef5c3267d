"""Files and folders that others may write to: reached through no link of theirs, written whole, locked,
synced, removed.

May import `errors`.
Tests: tests/disk.
"""
