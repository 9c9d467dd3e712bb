"""Candidate pairs are a function of (content, rank, sketch), whatever the buckets, groups of bands, memory and kills."""

from __future__ import annotations

import hashlib
import io
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from given_tables import given_table
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dedup import candidates as pairing
from dedup import signatures_to_arrow
from dedup.sketch import SLOTS
from pipeline.engine.buckets import bucket_of
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.stage import Stage, Task
from pipeline.stages import near_pairs
from pipeline.stages.near_pairs import candidate_wave, split
from pipeline.stages.sketches import SKETCH, SKETCH_OF
from pipeline.tables import ELECTED, RANKS

BANDS, ROWS, CAP, BEST = 5, 2, 4, 2
CONFIG = {
    "bands": BANDS, "rows": ROWS, "bucket_cap": CAP, "bucket_best": BEST, "band_groups": 1, "across_languages": True,
    "across_origins_only": False,
}  # fmt: skip


@dataclass(frozen=True)
class Content:
    sha256: str
    rank: int
    sketch: tuple[int, ...]
    shingles: int = 9
    language: str = "C"
    origin: str = "https://a"


def sha256(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def crowd(seed: int, count: int) -> list[Content]:
    """Contents of which many share a band, some crowd one, and some have the first bits of another's SHA-256."""
    rng = random.Random(seed)
    ranks = rng.sample(range(count), count)
    names = [sha256(rng.getrandbits(60)) for _ in range(count)]
    for at in range(0, count, 5):
        names[at] = names[at - 1][:20] + names[at][20:]
    return [
        Content(
            name,
            rank,
            tuple(rng.choice((1, 1, 2, 3, 5, 8)) for _ in range(BANDS * ROWS)),
            shingles=rng.choice((0, 1, 9, 9)),
            language=rng.choice(("C", "C++", "")),
            origin=rng.choice(("https://a", "https://b", "https://c")),
        )
        for name, rank in zip(names, ranks, strict=True)
    ]


def brute_force(contents: Sequence[Content], config: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(better-ranked, worse-ranked) by the definition."""
    buckets: dict[Any, list[Content]] = defaultdict(list)
    for one in contents:
        for band in range(config["bands"] if one.shingles else 0):
            language = None if config["across_languages"] else one.language
            values = one.sketch[band * ROWS : band * ROWS + ROWS]
            buckets[band, values, language].append(one)
    found = set()
    for members in buckets.values():
        members.sort(key=lambda one: one.rank)
        for a, b in itertools.combinations(members, 2):
            if len(members) > CAP and a not in members[:BEST]:
                continue
            if config["across_origins_only"] and a.origin == b.origin:
                continue
            found.add((a.sha256, b.sha256))
    return found


def annotate(task: Task) -> Mapping[str, pa.Table]:
    """Put the bucket's rows into the store, in two segments, of which one row is in both."""
    rows = task.read("rows")
    store = SKETCH_OF.open(task)
    store.append(rows.slice(0, 2))
    store.append(rows.slice(1))
    return {}


class Wave:
    """One work directory with the contents in it."""

    def __init__(self, folder: Path, contents: Sequence[Content], buckets: int = 1) -> None:
        store, _ = open_workdir(str(folder), buckets, default_buckets=buckets)
        self.runner = Runner(store, InProcess(), buckets, Progress(io.StringIO()))
        self.stores = {"sketch": "0" * 16}
        run = self.runner.run
        sketches = np.zeros((len(contents), SLOTS), np.uint32)
        for row, one in enumerate(contents):
            sketches[row, : len(one.sketch)] = one.sketch
        sketched = pa.table(
            {
                "sha256": [one.sha256 for one in contents],
                "shingles": [one.shingles for one in contents],
                "sketch": signatures_to_arrow(sketches),
            }
        ).cast(SKETCH)
        ranks = pa.table([[c.sha256 for c in contents], [c.rank for c in contents]], schema=RANKS)
        winners = {name: [getattr(c, name) for c in contents] for name in ("sha256", "language", "origin")}
        winners |= {name: pa.nulls(len(contents)) for name in ELECTED.names if name not in winners}
        elected = pa.table(winners).select(ELECTED.names).cast(ELECTED)
        rows = given_table(self.runner, "sketched", sketched, "sha256").ref("rows")
        run(
            Stage(
                name="annotate",
                run=annotate,
                inputs={"rows": rows},
                outputs={},
                config={"stores": self.stores},
            )
        )
        self.ranks = given_table(self.runner, "ranks", ranks, "sha256").ref("rows")
        self.winners = given_table(self.runner, "winners", elected, "sha256").ref("rows")

    def pairs(self, **changed: Any) -> tuple[list[tuple[str, str]], Counter[str]]:
        """Better- and worse-ranked SHA-256 of every candidate pair, and what was counted."""
        done = candidate_wave(
            self.runner, self.ranks, {**CONFIG, **changed}, near_pairs.bands, {"stores": self.stores},
            winners=self.winners, libraries=("numba",),
        )  # fmt: skip
        rows = self.runner.table(done.ref("pairs")).to_pylist()
        assert all(row["low"] < row["high"] for row in rows)
        for row in rows:
            assert (row["first"], row["second"]) == tuple(sorted((row["low_sha256"], row["high_sha256"])))
        for bucket in range(self.runner.buckets):
            names = self.runner.table(done.ref("pairs"), ["first"], bucket)["first"]
            assert set(bucket_of(names, self.runner.buckets).tolist()) <= {bucket}
        return [(row["low_sha256"], row["high_sha256"]) for row in rows], done.counts

    def on_disk(self, stage: str) -> list[str]:
        return [e.key for e in self.runner.store.list("stages") if e.key.startswith(f"stages/{stage}.")]


@settings(
    max_examples=10, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    seed=st.integers(0, 1 << 30),
    count=st.integers(0, 60),
    buckets=st.sampled_from([1, 4]),
    groups=st.integers(1, 7),
    memory=st.sampled_from([1 << 30, 800]),
    few=st.sampled_from([-1, 1 << 18]),
    across_languages=st.booleans(),
    across_origins_only=st.booleans(),
)
def test_pairs_are_those_of_the_definition(
    tmp_path_factory, seed, count, buckets, groups, memory, few, across_languages, across_origins_only
):
    """Breach: pairs depend on buckets, groups of bands, order, spilling; a limit on languages or origins leaks."""
    contents = crowd(seed, count)
    limits = {"across_languages": across_languages, "across_origins_only": across_origins_only}
    wanted = brute_force(contents, {**CONFIG, **limits})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Task, "memory_bytes", memory)
        patch.setattr(pairing, "PAIRS_AT_ONCE", 1 << 22 if memory > 800 else 7)
        patch.setattr(near_pairs, "FEW", few)
        wave = Wave(tmp_path_factory.mktemp("wave"), contents, buckets)
        found, counts = wave.pairs(band_groups=groups, **limits)
    assert set(found) == wanted
    if few < 0 or groups > 1:
        assert len(found) == len(wanted), "a pair comes twice"
    if across_origins_only and (few < 0 or groups > 1):
        every = brute_force(contents, {**CONFIG, "across_languages": across_languages})
        assert counts["pairs_of_one_origin"] == len(every) - len(wanted)


def test_the_cases_are_in_the_crowd():
    """Breach: the test above compares nothing with nothing."""
    contents = crowd(1, 60)
    every = brute_force(contents, CONFIG)
    assert len(every) > 100
    assert len(brute_force(contents, {**CONFIG, "across_languages": False})) < len(every)
    assert 0 < len(brute_force(contents, {**CONFIG, "across_origins_only": True})) < len(every)
    assert any(a[:20] == b[:20] for a, b in every), "no pair has the same first bits"


def test_keys_of_one_group_are_on_disk_at_a_time(tmp_path):
    """Breach: the keys of all bands lie there together, or for ever."""
    wave = Wave(tmp_path, crowd(2, 30), 2)
    seen = []
    wave.runner.before_stage = lambda: seen.append(
        len({key.split("/")[1] for key in wave.on_disk("near.bands") if key.endswith(".segments")})
    )
    found, _ = wave.pairs(band_groups=3)
    assert max(seen) == 1 and seen.count(1) == 3, seen
    assert wave.on_disk("near.bands") == []
    assert not [folder for folder in wave.runner.used if folder.startswith("stages/near.bands")]
    names = [name for name, *_ in wave.runner.plan if name.startswith("near.")]
    assert names == [f"near.{kind}.{group:03d}" for group in range(3) for kind in ("bands", "pairs")] + [
        "near.merged",
        "near.candidates",
    ]
    ran = wave.runner.ran_units
    assert wave.pairs(band_groups=3)[0] == found
    assert wave.runner.ran_units == ran, "a second run does nothing"


class _Killed(Exception):
    """In place of SIGKILL."""


@pytest.mark.parametrize("stop", range(2, 13))
def test_a_run_killed_anywhere_goes_on(tmp_path, stop):
    """Breach: keys that were removed, or half removed, are taken for there; pairs of a finished group are made again."""
    contents = crowd(3, 40)
    wave = Wave(tmp_path, contents, 2)
    store = wave.runner.store
    steps = itertools.count(1)

    class Stops(type(store)):  # type: ignore[misc]
        """Stops before the given change of the work directory."""

        def _step(self) -> None:
            if next(steps) == stop:
                raise _Killed

        def put(self, key, data):
            self._step()
            super().put(key, data)

        def delete(self, *keys):
            self._step()
            super().delete(*keys)

        def delete_all(self, prefix):
            self._step()
            super().delete_all(prefix)

    wave.runner.store = Stops(store.uri)
    try:
        wave.pairs(band_groups=2)
    except _Killed:
        pass
    else:
        pytest.fail("the run ended before it was killed: it has fewer steps than that")
    finished = [key for key in wave.on_disk("near.pairs") if key.endswith("stage.json")]
    wave.runner.store = store
    ran: list[str] = []
    wave.runner.before_stage = lambda: ran.append(wave.runner.plan[-1][0])
    found, _ = wave.pairs(band_groups=2)
    assert set(found) == brute_force(contents, CONFIG)
    assert wave.on_disk("near.bands") == []
    done = {key.split("/")[1] for key in finished}
    assert not done & set(ran)
    assert not {name.replace("pairs", "bands") for name in done} & set(ran)


def test_equal_sketches_by_the_thousands(tmp_path, monkeypatch):
    """Breach: a crowded bucket costs the square of its members, or all its pairs at once."""
    count = 10_000
    sizes: list[int] = []
    portions = pairing.Buckets.portions

    def seen(self, at_once=None):
        for words in portions(self, 1 << 13):
            sizes.append(len(words))
            yield words

    monkeypatch.setattr(pairing.Buckets, "portions", seen)
    contents = [Content(sha256(n), n, (1, 2, 3, 4)) for n in range(count)]
    wave = Wave(tmp_path, contents, 2)
    found, _ = wave.pairs(bands=2, rows=2, bucket_cap=64, bucket_best=16, band_groups=2)
    assert len(found) == 16 * 15 // 2 + (count - 16) * 16
    assert {low for low, _ in found} == {sha256(n) for n in range(16)}
    assert max(sizes) <= 1 << 13


@pytest.mark.parametrize(
    ("bands", "contents", "groups", "expected"),
    [
        (42, 0, None, [(0, 42)]),
        (42, 10**6, None, [(0, 42)]),
        (42, 3 * 10**9, None, 8),
        (42, 10**15, None, 42),
        (42, 10**6, 4, [(0, 10), (10, 21), (21, 31), (31, 42)]),
        (2, 10**6, 9, [(0, 1), (1, 2)]),
    ],
    ids=["none", "million", "archive", "more", "given", "few"],
)
def test_groups_of_bands(bands, contents, groups, expected):
    found = split(bands, contents, groups)
    assert list(itertools.chain.from_iterable(range(*group) for group in found)) == list(range(bands))
    assert found == expected if isinstance(expected, list) else len(found) == expected
