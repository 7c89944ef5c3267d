"""What people read of a catalog: the page catalog.html and the feeds, from a model of plain data. Pure: nothing is
read but our own templates, nothing is written.

May import `tree` and what lies below.
Tests: tests/page.
"""
