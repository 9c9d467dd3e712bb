"""The sample: within its bounds, the same for any order, evidence of licenses first."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.sources.sampling import Bounds, Candidate, choose

names = st.sampled_from(
    [b"LICENSE", b"a/LICENSE", b"x.py", b"a/y.py", b"z.rare", b"setup.py", b"package.json", b"d"]
)
candidates = st.lists(
    st.builds(Candidate, st.sampled_from("pqr"), names, st.integers(0, 60)),
    unique_by=lambda c: (c.origin, c.path),
    max_size=30,
)
bounds = st.builds(
    Bounds,
    max_files=st.integers(1, 20),
    max_bytes=st.integers(1, 400),
    max_files_per_origin=st.integers(1, 10),
    max_file_bytes=st.integers(1, 60),
)


@settings(deadline=None)
@given(candidates, bounds, st.randoms(use_true_random=False))
def test_every_bound_holds_and_every_candidate_is_accounted_for(files, limits, order):
    chosen, left_out = choose(files, limits)
    taken = [files[index] for index in chosen]
    assert chosen == sorted(set(chosen))
    assert len(taken) <= limits.max_files
    assert sum(file.size for file in taken) <= limits.max_bytes
    assert all(file.size <= limits.max_file_bytes for file in taken)
    per_origin = Counter(file.origin for file in taken)
    assert max(per_origin.values(), default=0) <= limits.max_files_per_origin
    assert len(chosen) + left_out.total() == len(files)
    shuffled = files.copy()
    order.shuffle(shuffled)
    assert {shuffled[index] for index in choose(shuffled, limits)[0]} == set(taken)


def test_without_pressure_everything_is_taken():
    files = [Candidate("o", b"f%d.py" % n, 10) for n in range(100)]
    assert choose(files, Bounds()) == (list(range(100)), Counter())


def test_evidence_then_rare_extensions_then_the_rest():
    files = [Candidate("o", b"src/f%d.py" % n, 1) for n in range(500)]
    files += [
        Candidate("o", name, 1) for name in (b"LICENSE", b"pyproject.toml", b"sub/NOTICE", b"k.zig", b"k.nim")
    ]
    chosen, _ = choose(files, Bounds(max_files=5))
    assert {files[index].path for index in chosen} == {
        b"LICENSE",
        b"pyproject.toml",
        b"sub/NOTICE",
        b"k.zig",
        b"k.nim",
    }


def test_collections_of_license_texts_are_data_and_stay_out():
    files = [Candidate("o", b"data/%d.LICENSE" % n, 1) for n in range(300)]
    files += [Candidate("o", b"packages/p%d/LICENSE" % n, 1) for n in range(300)]
    chosen, left_out = choose(files, Bounds())
    taken = {files[index].path for index in chosen}
    assert sum(path.startswith(b"data/") for path in taken) == 25
    assert sum(path.startswith(b"packages/") for path in taken) == 300, (
        "each is evidence about its own folder"
    )
    assert left_out == {"license_collection": 275}


def test_the_sample_is_spread_and_stable():
    """One more file moves at most one other out: what is chosen does not depend on the neighbours."""
    files = [Candidate("o", b"d%d/f%d.py" % (n % 10, n), 1) for n in range(1000)]
    limits = Bounds(max_files=200)
    before = {files[index] for index in choose(files, limits)[0]}
    more = [*files, Candidate("o", b"new.py", 1)]
    after = {more[index] for index in choose(more, limits)[0]}
    assert len(before - after) <= 1
    assert len({file.path.split(b"/")[0] for file in before}) == 10
    random.Random(0).shuffle(files)
    assert {files[index] for index in choose(files, limits)[0]} == before


@pytest.mark.parametrize("name", ["max_files", "max_bytes", "max_files_per_origin", "max_file_bytes"])
def test_bounds_are_positive(name):
    with pytest.raises(ConfigError, match=name.replace("_", "-")):
        Bounds(**{name: 0})
