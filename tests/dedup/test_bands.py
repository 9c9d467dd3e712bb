"""Documents share the key of a band iff they agree on its rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup import DedupError, band_keys, sketch
from dedup.bands import by_leading_bits


def test_keys_are_equal_exactly_where_bands_are(edited_copies, binary):
    found = sketch(binary(edited_copies(400, seed=2)))
    keys = band_keys(found.signatures, found.counts)
    with_shingles = np.flatnonzero(found.counts > 0)
    assert keys.index.tolist() == np.repeat(with_shingles, 42).tolist()
    seen: dict[int, tuple] = {}
    back: dict[tuple, int] = {}
    for row, (key, document) in enumerate(zip(keys.keys.tolist(), keys.index.tolist(), strict=True)):
        band = row % 42
        content = (band, *found.signatures[document, 6 * band : 6 * band + 6].tolist())
        assert seen.setdefault(key, content) == content
        assert back.setdefault(content, key) == key


def test_bands_can_be_made_in_groups(edited_copies, binary):
    found = sketch(binary(edited_copies(60, seed=4)))
    whole = band_keys(found.signatures, found.counts, 25, 10).keys.reshape(-1, 25)
    for only in (range(25), range(3), range(3, 4), range(4, 25), range(0)):
        part = band_keys(found.signatures, found.counts, 25, 10, only=only)
        assert (part.keys.reshape(len(whole), len(only)) == whole[:, only.start : only.stop]).all()


def test_groups_share_no_key(edited_copies, binary):
    """Breach: documents of two languages meet; or those of one do not, because there are others."""
    found = sketch(binary(edited_copies(200, seed=6)))
    alone = band_keys(found.signatures, found.counts).keys.reshape(-1, 42)
    groups = np.arange(200, dtype=np.uint64) % np.uint64(3)
    mixed = band_keys(found.signatures, found.counts, groups=groups)
    keys, own = mixed.keys.reshape(-1, 42), groups[mixed.index].reshape(-1, 42)[:, 0]
    assert (keys[own == 0] == alone[own == 0]).all()
    for group in (1, 2):
        assert not np.isin(keys[own == group], alone).any()
        for band in (0, 41):
            of_group = own == group
            same = alone[of_group][:, None, band] == alone[of_group][None, :, band]
            assert (same == (keys[of_group][:, None, band] == keys[of_group][None, :, band])).all()
            assert same.sum() > of_group.sum(), "some share a key"


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=50), st.integers(0, 12))
@settings(deadline=None)
def test_rows_by_their_leading_bits(keys, bits):
    rows = np.array(keys, np.uint64), np.arange(len(keys), dtype=np.uint64)
    found = by_leading_bits(*rows, bits)
    wanted = sorted(zip(keys, range(len(keys)), strict=True), key=lambda row: row[0] >> (64 - bits))
    assert list(zip(*(column.tolist() for column in found), strict=True)) == wanted


def test_keys_spread_evenly_over_partitions(edited_copies, binary):
    found = sketch(binary(edited_copies(2000, seed=5, tokens=20)))
    keys = np.unique(band_keys(found.signatures, found.counts).keys)
    shares = np.bincount((keys >> np.uint64(60)).astype(np.int64), minlength=16) / len(keys)
    assert abs(shares - 1 / 16).max() < 0.01


def test_documents_without_shingles_have_no_keys(binary):
    found = sketch(binary([b"a b", b""]))
    assert len(band_keys(found.signatures, found.counts).keys) == 0


@pytest.mark.parametrize(("bands", "rows"), [(0, 6), (42, 0), (43, 6), (257, 1), (-1, -1)])
def test_bands_that_do_not_fit_are_refused(bands, rows, binary):
    found = sketch(binary([b"a b c d e"]))
    with pytest.raises(DedupError, match="bands x rows"):
        band_keys(found.signatures, found.counts, bands, rows)


def test_other_wrong_arguments_are_refused(binary):
    found = sketch(binary([b"a b c d e"]))
    with pytest.raises(DedupError, match="only"):
        band_keys(found.signatures, found.counts, only=range(40, 43))
    with pytest.raises(DedupError, match="signatures"):
        band_keys(found.signatures[:, :100], found.counts)
    with pytest.raises(DedupError, match="groups"):
        band_keys(found.signatures, found.counts, groups=np.zeros(2, np.uint64))
    with pytest.raises(DedupError, match="12 bits"):
        by_leading_bits(np.zeros(1, np.uint64), np.zeros(1, np.uint64), 13)
