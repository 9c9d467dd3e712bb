"""Exact and near duplicates: shingles, sketches, candidates, exact verification, decision, election.

Pure: Arrow and numpy in and out; no files, network, clock or configuration. `deduplicate` takes a table and gives what
stays of it; `Deduplicator` takes texts in portions or from disk, and can forget; `near_duplicates` is one call for texts
in memory. The stages of a release use the steps:

    texts --sketch--> signatures --band_keys--> (key, ordinal) --bucket_pairs--> candidates
    candidates + texts --shingle_sets, intersections--> exact similarities --decide--> dropped, kept

Bytes do not depend on machine, number of partitions or order of input.
"""

from __future__ import annotations

from dedup.bands import BandKeys, band_keys
from dedup.candidates import BucketStats, Pairs, bucket_pairs, merge_pairs
from dedup.decide import Decision, decide
from dedup.deduplicator import Deduplicator, deduplicate
from dedup.documents import MAX_DOCUMENT_BYTES
from dedup.election import ELECTION_ORDER, ElectionKey, election_key, log2_floor, order_by_sql
from dedup.errors import DedupError, DocumentTooLargeError, TextChangedError, ThresholdError
from dedup.near import NEAR_SCHEMA, compile_kernels, kernels_are_cached, near_duplicates, similar_documents
from dedup.outcome import Duplicates, Work
from dedup.shingles import SHINGLE_TOKENS
from dedup.sketch import (
    SLOTS,
    Method,
    Sketches,
    agreement,
    signatures_from_arrow,
    signatures_to_arrow,
    sketch,
)
from dedup.verify import ShingleSets, Threshold, intersections, shingle_sets

__all__ = [
    "ELECTION_ORDER",
    "MAX_DOCUMENT_BYTES",
    "NEAR_SCHEMA",
    "SHINGLE_TOKENS",
    "SLOTS",
    "BandKeys",
    "BucketStats",
    "Decision",
    "DedupError",
    "Deduplicator",
    "DocumentTooLargeError",
    "Duplicates",
    "ElectionKey",
    "Method",
    "Pairs",
    "ShingleSets",
    "Sketches",
    "TextChangedError",
    "Threshold",
    "ThresholdError",
    "Work",
    "agreement",
    "band_keys",
    "bucket_pairs",
    "compile_kernels",
    "decide",
    "deduplicate",
    "election_key",
    "intersections",
    "kernels_are_cached",
    "log2_floor",
    "merge_pairs",
    "near_duplicates",
    "order_by_sql",
    "shingle_sets",
    "signatures_from_arrow",
    "signatures_to_arrow",
    "similar_documents",
    "sketch",
]
