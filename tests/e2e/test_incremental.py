"""A release with the work of earlier ones at hand has the bytes of one from an empty work directory, and does each thing once.

A world of a few origins is changed step by step. After each step it is released twice: in the work directory of all steps
before, and in an empty one. Held against each other are all files of both releases, and what was computed: the annotation
stores of the first must have gained exactly what the second one needs and no step before did (a store's rows are counted with
their repetitions, so nothing was annotated twice).
"""

from __future__ import annotations

import copy
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import e2e_archives as archives
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline.stages import near

HOST = "https://forge.example"
CAP = 4  # members up to which a band bucket pairs all with all: low, so that steps can cross it
IDS = {"bodies": ("sha256",), "text": ("sha256",), "released": ("sha256",), "sketch": ("sha256",),
       "header": ("sha256",), "signals": ("sha256",), "language": ("sha256", "name_class"),
       "licenses": ("sha256", "name"), "similarity": ("first", "second")}  # fmt: skip
"""Annotation store -> the columns that name what was annotated."""

SIGNALS = {"samples": ("sha256",), "blocks": ("sha256",), "containment": ("sha256", "bigger")}
"""The same of the signals, which most walks leave out."""


@dataclass
class State:
    """A world that changes, and its metadata of origins."""

    origins: list[archives.Origin]
    stars: dict[str, int] = field(default_factory=dict)
    made: int = 0  # a number for each origin that was ever added

    def draw(self, number: int) -> archives.Origin:
        return self.origins[number % len(self.origins)]


def first_state() -> State:
    state = State([])
    for number in range(5):
        add(state, number)
    add_variants(state, 1, count=CAP - 1)
    return state


# ---------------------------------------------------------------------------------------------------------- the steps


def add(state: State, number: int) -> None:
    """A new origin: files of its own, one that others have, too, and one that resembles another's."""
    state.made += 1
    name = f"o{state.made}"
    state.origins.append(
        archives.Origin(
            url=f"{HOST}/{name}/repo",
            date=archives.NOW - (1_000 - 7 * state.made) * archives.DAY,
            licenses={b"": ("MIT", "Apache-2.0", "BSD-3-Clause")[state.made % 3]},
            files={
                b"own.py": archives.File(archives.python(name)),
                b"src/own.js": archives.File(archives.javascript(name)),
                b"shared.py": archives.File(archives.python(f"shared {state.made % 2}")),
                b"near.py": archives.File(
                    archives.edited(archives.python(f"near {state.made % 2}"), 9, name.encode())
                ),
            },
        )
    )


def remove(state: State, number: int) -> None:
    """An origin is gone: what it stood for may come back."""
    if len(state.origins) > 2:
        state.origins.remove(state.draw(number))


def rank_by_stars(state: State, number: int) -> None:
    """Another origin becomes the best-known one."""
    state.stars[state.draw(number).url] = 10 * (number + 1)


def rank_by_date(state: State, number: int) -> None:
    """Another origin turns out to be older than all."""
    state.draw(number).date = archives.NOW - (5_000 + number) * archives.DAY


def relicense(state: State, number: int) -> None:
    """A license that is not permitted, or one again that is."""
    origin = state.draw(number)
    origin.licenses = {b"": "MIT" if origin.licenses[b""].startswith("GPL") else "GPL-3.0-only"}


def opt_out(state: State, number: int) -> None:
    """An origin's owner opts out, or is back."""
    origin = state.draw(number)
    origin.opted_out = not origin.opted_out


def rename(state: State, number: int) -> None:
    """The same bytes under a name of another language."""
    files = state.draw(number).files
    if (body := files.pop(b"own.py", None)) is not None:
        files[b"own.pl"] = body
    elif (body := files.pop(b"own.pl", None)) is not None:
        files[b"own.py"] = body


def add_better(state: State, number: int) -> None:
    """A better-ranked origin with files that resemble those of another one."""
    add(state, number)
    newest, other = state.origins[-1], state.draw(number)
    newest.date = archives.NOW - (8_000 + state.made) * archives.DAY
    for path, file in list(other.files.items())[:2]:
        newest.files[b"better/" + path] = archives.File(archives.edited(file.body, 10, b"better"))


def add_variants(state: State, number: int, count: int = 3) -> None:
    """Files that all resemble each other: enough of them that a band bucket crosses its cap."""
    files, kind = state.draw(number).files, archives.python("variants")
    there = sum(path.startswith(b"variants/") for path in files)
    for variant in range(there, there + count):
        files[b"variants/%d.py" % variant] = archives.File(
            archives.edited(kind, 11, b"v%d_%d" % (number, variant))
        )


def edit(state: State, number: int) -> None:
    """A line more in one file."""
    files = state.draw(number).files
    path = sorted(files)[number % len(files)]
    files[path] = archives.File(files[path].body + b"# edited %d\n" % number)


STEPS: tuple[Callable[[State, int], None], ...] = (
    add, remove, rank_by_stars, rank_by_date, relicense, opt_out, rename, add_better, add_variants, edit,
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------- the two runs


class Walk:
    """Releases of a state that changes, in one work directory and each time in a fresh one."""

    def __init__(
        self,
        folder: Path,
        *,
        buckets: int = 2,
        form: str = "one task",
        signals: dict[str, object] | None = None,
    ) -> None:
        self.folder, self.buckets, self.number, self.form = folder, buckets, 0, form
        self.signals = signals or {}
        self.stores = {**IDS, **SIGNALS} if signals else IDS
        self.needed: dict[str, set[tuple[str, ...]]] = {name: set() for name in self.stores}
        self.first: dict[str, bytes] = {}  # of the fixture: the files of its release
        folder.mkdir(parents=True)

    def copy(self, folder: Path) -> Walk:
        """The same walk so far, in another folder, to go on from."""
        shutil.copytree(self.folder, folder, symlinks=True)
        other = copy.copy(self)
        other.folder, other.needed = folder, {name: set(known) for name, known in self.needed.items()}
        return other

    def release(self, state: State) -> tuple[Counter[str], dict[str, bytes]]:
        """Release the state both ways and compare; returns what was annotated anew, and the files."""
        self.number += 1
        rounds = self.form == "rounds" or (self.form == "turns" and self.number % 2 == 0)
        with mock.patch.object(near, "PAIRS_IN_ONE", 0 if rounds else near.PAIRS_IN_ONE):
            return self._release(state)

    def _release(self, state: State) -> tuple[Counter[str], dict[str, bytes]]:
        place = self.folder / f"step{self.number}"
        world = archives.World(state.origins)
        archive = archives.write(world, place / "archive")
        (place / "registry.yaml").write_text(world.registry())
        stars = "".join(f"{origin.url},{state.stars.get(origin.url, 0)}\n" for origin in state.origins)
        (place / "stars.csv").write_text("origin,stars\n" + stars)
        shared = {
            "version": f"1.{self.number}",
            "buckets": self.buckets,
            "origins": {"metadata": str(place / "stars.csv")},
            "near_duplicates": {"bucket_cap": CAP, "bucket_best": 2, **self.signals},
            "files": {"vendored": "keep"},
        }
        before = annotated(self.folder / "work", self.stores)
        again = runs.release(
            archive, self.folder, workdir=str(self.folder / "work"), out=str(place / "incremental"), **shared
        )
        scratch = runs.release(
            archive, place, workdir=str(place / "work"), out=str(place / "scratch"), **shared
        )
        found, wanted = files_of(again.directory), files_of(scratch.directory)
        assert found.keys() == wanted.keys()
        differing = [path for path in wanted if found[path] != wanted[path]]
        assert not differing, f"step {self.number}: {differing} differ from a release made from nothing"
        assert again.digest == scratch.digest

        after, needs = annotated(self.folder / "work", self.stores), annotated(place / "work", self.stores)
        new: Counter[str] = Counter()
        for name in self.stores:
            missing = set(needs[name]) - self.needed[name]
            done = after[name] - before[name]
            assert done == Counter(missing), f"step {self.number}: {name}: computed {done}, missing {missing}"
            assert max(after[name].values()) == 1, f"{name}: something was computed twice"
            self.needed[name] |= missing
            new[name] = len(missing)
        return new, found


def annotated(workdir: Path, stores: dict[str, tuple[str, ...]]) -> dict[str, Counter[tuple[str, ...]]]:
    """Annotation store -> what it holds, with repetitions."""
    found = {}
    for name, columns in stores.items():
        found[name] = Counter(
            tuple(row[column] for column in columns)
            for path in (workdir / "annotations" / name).rglob("*.parquet")
            for row in pq.read_table(path, columns=list(columns), partitioning=None).to_pylist()
        )
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Walk:
    """A walk whose first state is released; tests go on from copies."""
    walk = Walk(tmp_path_factory.mktemp("walk") / "start")
    new, walk.first = walk.release(first_state())
    assert all(new.values()), "the first release has everything to do"
    return walk


# -------------------------------------------------------------------------------------------------------------- tests

COMPUTES_NOTHING = (remove, rank_by_stars, rank_by_date, opt_out)


OFTEN = (remove, opt_out, rename, add_variants)
"""The others only in `make test-all`, 5 s each; `add_better` is the first step of the test after these."""


@pytest.mark.parametrize(
    "step",
    [pytest.param(one, id=one.__name__, marks=() if one in OFTEN else pytest.mark.slow) for one in STEPS],
)
def test_one_step(start, tmp_path, step):
    """Breach: an update differs from a release made from nothing, or does again what was done."""
    walk, state = start.copy(tmp_path / "walk"), first_state()
    step(state, 1)
    new, _ = walk.release(state)
    if step in COMPUTES_NOTHING:
        assert not +new, f"{step.__name__} brings no new content, but {dict(new)} were computed"
    if step is rename:
        assert +new == Counter(language=1), "one content has a new name, and only what reads names runs"


def test_what_a_removed_file_stood_for_comes_back(start, tmp_path):
    """Breach: a near-duplicate that was dropped once is lost for ever."""
    walk, state = start.copy(tmp_path / "walk"), first_state()
    add_better(state, 1)
    _, with_better = walk.release(state)
    best = state.origins.pop()
    new, without = walk.release(state)
    data = {path: body for path, body in without.items() if path.startswith("data/")}
    assert data == {path: body for path, body in start.first.items() if path.startswith("data/")}
    assert data != {path: body for path, body in with_better.items() if path.startswith("data/")}, best.url
    assert not +new


@pytest.mark.slow
@pytest.mark.parametrize("form", ["rounds", "turns"])
@pytest.mark.parametrize("step", [pytest.param(one, id=one.__name__) for one in STEPS])
def test_one_step_decided_in_rounds(start, tmp_path, step, form):
    """Breach: the same where near-duplicates are decided in rounds, or in rounds since the last release."""
    walk, state = start.copy(tmp_path / "walk"), first_state()
    walk.form = form
    step(state, 1)
    new, _ = walk.release(state)
    if step in COMPUTES_NOTHING:
        assert not +new, f"{step.__name__} brings no new content, but {dict(new)} were computed"


FORMS = st.sampled_from(["one task", "rounds", "turns"])
"""How near-duplicates are decided: by one task, in rounds over buckets, or now this way and now that."""


def _go(folder: Path, steps: list[tuple[Callable[[State, int], None], int]], buckets: int, form: str) -> None:
    walk, state = Walk(folder, buckets=buckets, form=form), first_state()
    walk.release(state)
    for step, number in steps:
        step(state, number)
        walk.release(state)


SEQUENCES = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), min_size=2, max_size=4)
QUICK = {"deadline": None, "phases": [Phase.generate], "suppress_health_check": list(HealthCheck)}


@settings(max_examples=1, **QUICK)
@given(SEQUENCES, st.sampled_from([1, 4]), st.just("turns"))
def test_some_steps_after_each_other(tmp_path_factory, steps, buckets, form):
    _go(tmp_path_factory.mktemp("steps") / "walk", steps, buckets, form)


@pytest.mark.slow
@settings(max_examples=25, **QUICK)
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), min_size=5, max_size=9),
    st.sampled_from([1, 4]),
    FORMS,
)
def test_many_steps_after_each_other(tmp_path_factory, steps, buckets, form):
    _go(tmp_path_factory.mktemp("steps") / "walk", steps, buckets, form)


def add_inside(state: State, number: int) -> None:
    """A file that lies in a bigger one, and a notice that many files have."""
    add(state, number)
    notice = b"".join(
        b"# a notice of several words that repeats itself, line %d\n" % line for line in range(5)
    )
    big = archives.python("big", 120)
    for name, body in {
        b"big.py": big + b"# %d\n" % number,
        b"part.py": b"".join(big.splitlines(True)[:40]),
    }.items():
        state.origins[-1].files[b"inside/" + name] = archives.File(notice + body)
    state.origins[-1].files[b"inside/notice.py"] = archives.File(
        notice + archives.python(f"after {number}", 3)
    )


def test_signals_follow_the_rows(tmp_path):
    """Breach: a signal names a row that is gone, or is missing, or a file is dropped by what counted once."""
    signals = {"containment": {}, "repeated": {"contents": 4, "drop_above": "0.5"}}
    walk, state = Walk(tmp_path / "walk", signals=signals), State([])
    add(state, 1)
    add_variants(state, 1, count=CAP + 1)
    add_inside(state, 1)
    add_inside(state, 2)
    _, after = walk.release(state)
    gone = state.origins.pop()
    assert gone.files
    new, back = walk.release(state)
    assert not any(new[name] for name in IDS)
    told = [json.loads(files["stats.json"])["duplication"] for files in (after, back)]
    assert [one["containment"]["contained"] for one in told] == [1, 1]
    assert all(one["search"]["hot_members"] >= (CAP + 1) * one["search"]["hot_buckets"] > 0 for one in told)
    assert [one["repeated"]["frequent_blocks"] > 0 for one in told] == [True, False]
    assert [
        json.loads(files["stats.json"])["totals"]["dropped"].get("repeated", 0) for files in (after, back)
    ] == [2, 0]


def test_two_configurations_take_turns_in_one_work_directory(start, tmp_path):
    """Breach: what one release left is taken for what the other one needs."""
    walk = start.copy(tmp_path / "walk")
    archive = walk.folder / "step1/archive"
    outcomes = {}
    for turn in range(2):
        for threshold in ("0.7", "0.95"):
            made = runs.release(
                archive, tmp_path, workdir=str(walk.folder / "work"), out=str(tmp_path / f"{turn}-{threshold}"),
                near_duplicates={"threshold": threshold},
            )  # fmt: skip
            assert outcomes.setdefault(threshold, made.digest) == made.digest
    assert len(set(outcomes.values())) == 2
