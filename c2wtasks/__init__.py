"""Builds container2wasm VM bundles for a catalog of container images, as doit tasks."""
