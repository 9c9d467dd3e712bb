"""Equal roots and fork networks, counted as plain Python counts them; who opted out or has no row is not named."""

from __future__ import annotations

import hashlib
from collections import Counter

import pyarrow as pa
from given_rows import given
from hypothesis import Phase, settings
from hypothesis import given as examples_of
from hypothesis import strategies as st

from manifests.statistics import TOP_REPOSITORIES
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.stages import figures, repositories
from pipeline.tables import ORIGINS, ROOT_FILES, ROOTS

Origin = tuple[str, int, int, bool, int | None]  # URL, root, network, whether it opted out, rows or None


def hex_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def filled(schema: pa.Schema, **values: object) -> dict[str, object]:
    return {name: values.get(name) for name in schema.names}


def counted(
    work, origins: list[Origin], files: dict[int, int], buckets: int
) -> tuple[Counter, dict[str, list]]:
    """The counters of both sections, and both lists, over roots with so many files."""
    store, _ = open_workdir(str(work), buckets, default_buckets=buckets)
    runner = Runner(store, InProcess(), buckets, Progress(quiet=True))
    by_root, roots = [], []
    for url, root, network, opted_out, _ in origins:
        names = {"origin": url, "directory": hex_of(f"root {root}"), "network": hex_of(f"network {network}")}
        by_root.append(filled(ORIGINS, opted_out=opted_out, **names))
    for root in {one[1] for one in origins}:
        mine = [one for one in origins if one[1] == root]
        speaks = min((url for url, _, _, opted_out, _ in mine if not opted_out), default=None)
        out = sum(opted_out for *_, opted_out, _ in mine)
        roots.append(
            filled(ROOTS, root=hex_of(f"root {root}"), origins=len(mine), opted_out=out, origin=speaks)
        )
    listed = [
        filled(ROOT_FILES, root=hex_of(f"root {root}"))
        for root, amount in files.items()
        for _ in range(amount)
    ]
    rows = [
        {"route": hex_of(url), "origin": url, "rows": amount, "bytes": 0, "entered": 1, "dropped": 0}
        for url, *_, amount in origins
        if amount is not None
    ]
    counters, largest = repositories.repositories_wave(
        runner,
        files=given(runner, "files", ROOT_FILES, "root", listed).ref("rows"),
        roots=given(runner, "roots", ROOTS, "root", roots).ref("rows"),
        origins_of_roots=given(runner, "by_root", ORIGINS, "directory", by_root).ref("rows"),
        rows=given(runner, "rows", figures.ORIGINS, "route", rows).ref("rows"),
    )
    sums: Counter[tuple[str, str]] = Counter()
    for ref in counters:
        for one in runner.table(ref).to_pylist():
            sums[one["section"], one["name"]] += one["amount"]
            sums[one["section"], "found"] += one["rows"] * (one["name"] == "origins")
    listed: dict[str, list] = {"roots": [], "networks": []}
    for ref in largest:
        for one in runner.table(ref).to_pylist():
            listed[one.pop("list")].append((one["origin"], one["origins"], one["occurrences"], one["rows"]))
    return +sums, listed


ORIGINS_OF = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans(), st.none() | st.integers(0, 3)), max_size=14
)


@settings(max_examples=5, deadline=None, phases=(Phase.explicit, Phase.generate))
@examples_of(found=ORIGINS_OF, files=st.fixed_dictionaries({root: st.integers(0, 3) for root in range(5)}))
def test_copies_are_those_of_a_plain_count(tmp_path_factory, found, files):
    origins: list[Origin] = [(f"https://h/{number}", *one) for number, one in enumerate(found)]
    told = [counted(tmp_path_factory.mktemp("w"), origins, files, buckets) for buckets in (1, 4)]
    assert told[0][0] == told[1][0]
    stay = [one for one in origins if not one[3]]
    sums: Counter[tuple[str, str]] = Counter()
    lists: dict[str, list] = {"roots": [], "networks": []}
    for section, place in (("roots", 1), ("networks", 2)):
        for group in {one[place] for one in stay}:
            mine = [one for one in stay if one[place] == group]
            if len(mine) < 2:
                continue
            if section == "roots":
                url, _, _, _, rows = min(mine)
                name, occurrences, rows = (url if rows else None), (len(mine) - 1) * files[group], rows or 0
            else:
                best = min(((-(rows or 0), url) for url, _, _, _, rows in mine if rows), default=(0, None))
                name, rows = best[1], sum(one[4] or 0 for one in mine)
                occurrences = sum(files[root] for _, root, *_ in mine)
            lists[section].append((name, len(mine), occurrences, rows))
            for key, amount in zip(
                ("found", "origins", "occurrences", "rows"), (1, *lists[section][-1][1:]), strict=True
            ):
                sums[section, key] += amount
    assert told[0][0] == +sums
    for _, listed in told:
        assert {name: sorted(part, key=str) for name, part in listed.items()} == {
            name: sorted(part, key=str) for name, part in lists.items()
        }


def test_the_longest_are_told_and_ties_go_by_name(tmp_path):
    """25 roots with two origins each: those with most copies, in however many buckets."""
    origins: list[Origin] = [
        (f"https://h/{root:02}/{n}", root, 100 + root, False, 1) for root in range(25) for n in (0, 1)
    ]
    _, listed = counted(tmp_path, origins, {root: root // 2 for root in range(25)}, 1)
    assert len(listed["roots"]) == TOP_REPOSITORIES == len(listed["networks"])
    best = sorted(range(25), key=lambda root: (-(root // 2), root))[:TOP_REPOSITORIES]
    assert sorted(listed["roots"]) == sorted((f"https://h/{root:02}/0", 2, root // 2, 1) for root in best)
