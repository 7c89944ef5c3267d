"""Shards of a catalog, built by the workers of a Dask cluster: each is an ordinary run, with a state of its own.

Dask only carries them: nothing that a run has done is lost with a scheduler or a worker.
"""
