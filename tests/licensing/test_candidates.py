"""The inverted index in front of ScanCode's search changes no answer."""

import random

import pytest


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
