"""The ranking in place of ScanCode's search changes no answer."""

import random

import numpy as np
import pytest

from licensing import candidates


@pytest.fixture(scope="module")
def searches(scancode):
    from licensedcode import match_set

    filtered = match_set.compute_candidates
    plain = next(
        cell.cell_contents
        for name, cell in zip(filtered.__code__.co_freevars, filtered.__closure__, strict=True)
        if name == "search"
    )
    return filtered, plain


@pytest.mark.parametrize("high_resemblance", [False, True])
def test_same_candidates(scancode, license_text, searches, high_resemblance):
    from licensedcode.cache import get_index
    from licensedcode.query import build_query

    filtered, plain = searches
    assert filtered is not plain
    index = get_index()
    rng = random.Random(7)
    for key in ("mit", "apache-1.1", "bsd-original", "zlib"):
        words = license_text(key).split()
        for _ in range(1 + (key == "mit")):
            kept = " ".join(word for word in words if rng.random() < 0.8)
            query = build_query(query_string=kept, idx=index)
            run = query.whole_query_run()
            arguments = {"top": 70, "high_resemblance": high_resemblance}
            expected = plain(run, index, index.approx_matchable_rids, **arguments)
            assert filtered(run, index, index.approx_matchable_rids, **arguments) == expected


@pytest.mark.parametrize("top", [3, 50])
def test_same_candidates_where_many_rules_pass(scancode, license_text, searches, top):
    """More rules than the second ranking takes: which ones, and in which order, hangs on the last bit of a score."""
    from licensedcode.cache import get_index
    from licensedcode.query import build_query

    filtered, plain = searches
    index = get_index()
    rng = random.Random(top)
    words = [word for key in ("gpl-2.0", "apache-2.0", "epl-1.0") for word in license_text(key).split()]
    query = build_query(query_string=" ".join(w for w in words if rng.random() < 0.9), idx=index)
    run = query.whole_query_run()
    found = filtered(run, index, index.approx_matchable_rids, top=top)
    assert len(found) == top and found == plain(run, index, index.approx_matchable_rids, top=top)


def test_rounding_is_pythons():
    values = np.array(
        [k / 20 for k in range(400)] + [k / 7 for k in range(400)] + [0.05, 0.15, 0.25, 0.35, 2.675]
    )
    assert candidates._rounded(values).tolist() == [round(value, 1) for value in values.tolist()]


def test_another_search_is_left_alone(monkeypatch):
    """A ScanCode whose ranking may differ does its own."""
    from licensedcode import match_set

    monkeypatch.setattr(candidates, "_KNOWN_SOURCES", "another")
    assert candidates.ranked(match_set, None) is match_set.compute_candidates


@pytest.mark.slow
def test_same_detections_on_changed_license_texts(scancode, searches, monkeypatch):
    from licensedcode import match_set
    from licensedcode.cache import get_licenses_db

    rng = random.Random(11)
    texts = [lic.text for key, lic in sorted(get_licenses_db().items()) if lic.text][::40]
    changed = [" ".join(w for w in text.split(" ") if rng.random() < 0.97)[:20_000] for text in texts]
    fast = [scancode.detect(text) for text in changed]
    monkeypatch.setattr(match_set, "compute_candidates", searches[1])
    assert [scancode.detect(text) for text in changed] == fast
