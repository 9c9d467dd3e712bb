"""The engine: bucketed tasks over a store, committed one by one, on two executors.

store.py        one class for local folders and S3: atomic put, conditional put, ranges, listings
buckets.py      which bucket an id belongs to; tables split into one row group per target bucket
keys.py         what a stage's key is made of: configuration, inputs, sources, library versions
lookup.py       rows of given ids out of a bucketed table, without reading the rest
stage.py        Stage, its outputs and the context that a task sees
runner.py       runs stages: skips what is done, retries, folds sidecars
executor.py     what an executor is; the one in this process
on_ray.py       the executor on Ray, on this machine or on a cluster
cluster.py      what that one knows of a Ray cluster: addresses, nodes, memory, versions
inputs.py       the user's files that stages read, kept in the work directory
annotations.py  append-only stores of what was learnt about a content
progress.py     what a person sees on stderr, and what is written to <workdir>/runs/
"""
