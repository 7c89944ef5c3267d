"""Where the files of a bundle lie, its record, how it is put together and published, and catalog.json.

May import `packages`, `page`, `rootfs`, `vm` and what lies below.
Tests: tests/engine (test_killed_publishing, test_power_loss), tests/graph (test_sharing).
"""
