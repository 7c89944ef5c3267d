"""What writers of forms share: contents from tars, pieces of files, xattrs and blocks of disks, compression.

May import what `rootfs` may.
Tests: tests/rootfs.
"""
