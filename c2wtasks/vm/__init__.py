"""The JSON files that the VM boots with: spec.json, image.json and initconfig.json, as create-spec writes them. Pure.

May import `tree` and what lies below.
Tests: tests/vm, tests/reference.
"""
