import sqlite3

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from licensing.cache import DetectionCache
from licensing.evidence import detect_batch

NAMES = ["LICENSE", "package.json", "main.py", "README.md"]
BODIES = [b"SPDX-License-" + b"Identifier: MIT\n", b'{"license": "ISC"}', b"hello", None]


def arrays(rows):
    return pa.array([row[0] for row in rows], pa.string()), pa.array(
        [row[1] for row in rows], pa.large_binary()
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(BODIES)), max_size=12))
def test_the_cache_changes_no_answer(rows):
    names, bodies = arrays(rows)
    cache = DetectionCache(sqlite3.connect(":memory:"), "one", None)
    expected = detect_batch(names, bodies, scancode=None)
    assert cache.detect_batch(names, bodies).to_pylist() == expected.to_pylist()
    assert cache.detect_batch(names, bodies).to_pylist() == expected.to_pylist()


def test_a_second_time_nothing_is_detected(monkeypatch, tmp_path):
    names, bodies = arrays([("LICENSE", BODIES[0])] * 3)
    first = DetectionCache(sqlite3.connect(tmp_path / "c"), "one", None).detect_batch(names, bodies)
    asked = []

    def detect(names, bodies, *, scancode):
        asked.append(len(names))
        return detect_batch(names, bodies, scancode=scancode)

    monkeypatch.setattr("licensing.cache.detect_batch", detect)
    again = DetectionCache(sqlite3.connect(tmp_path / "c"), "one", None).detect_batch(names, bodies)
    assert again.equals(first) and asked == []
    DetectionCache(sqlite3.connect(tmp_path / "c"), "two", None).detect_batch(names, bodies)
    assert asked == [1]  # other detectors; and a content is detected once
