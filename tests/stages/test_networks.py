"""Fork networks against a plain union-find, whatever the forks and roots and in however many buckets."""

from __future__ import annotations

import hashlib
import tempfile

import pytest
from given_rows import given
from hypothesis import given as examples_of
from hypothesis import settings
from hypothesis import strategies as st

from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.stage import Output, Stage
from pipeline.stages.networks import connect, count
from pipeline.stages.origins import origins
from pipeline.tables import METADATA, ORIGINS, STANDING


def url(number: int) -> str:
    return f"https://example.org/{number}"


def oid(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def labelled(
    roots: dict[int, int | None], forks: list[tuple[int, int]], buckets: int
) -> tuple[dict[int, tuple[str, int]], int, int]:
    """Origin -> (network, its size); the number of networks; and the passes that it took."""
    with tempfile.TemporaryDirectory() as work:
        store, _ = open_workdir(work, buckets, default_buckets=buckets)
        runner = Runner(store, InProcess(), buckets, Progress(quiet=True))
        standing = [
            {"origin_id": oid(url(n)), "origin": url(n), "opted_out": False, "is_fork": False, "stars": 0, "forks": 0,
             "directory": None if root is None else oid(f"root {root}"), "reason": "no_full_visit" if root is None else None}
            for n, root in roots.items()
        ]  # fmt: skip
        rows = given(runner, "standing", STANDING, "origin_id", standing)
        with_root = [row for row in standing if row["directory"]]
        by_root = given(runner, "by_root", STANDING, "directory", with_root)
        edges = {oid(url(a)): {"origin_id": oid(url(a)), "fork_of": url(b)} for a, b in forks}
        metadata = given(runner, "metadata", METADATA, "origin_id", list(edges.values()))
        arcs = connect(runner, by_root.ref("rows"), [metadata.ref("rows")])
        ledger = runner.run(
            Stage(
                name="origins",
                run=origins,
                inputs={"rows": rows.ref("rows"), "arcs": arcs},
                outputs={
                    "ledger": Output(schema=ORIGINS, order=("origin_id",)),
                    "by_root": Output(schema=ORIGINS, order=("directory", "origin_id"), route="directory"),
                },
            )
        )
        counted = count(runner, ledger.ref("ledger"))
        sizes = {row["network"]: row["origins"] for row in runner.table(counted.ref("networks")).to_pylist()}
        found = {
            int(row["origin"].rpartition("/")[2]): (row["network"], sizes[row["network"]])
            for row in runner.table(ledger.ref("ledger")).to_pylist()
        }
        passes = sum(name.endswith(".large") for name, _, _ in runner.plan)
        return found, sum(facts["networks"] for facts in counted.facts), passes


def expected(roots: dict[int, int | None], forks: list[tuple[int, int]]) -> dict[int, tuple[str, int]]:
    """The same by union-find; of several forks of one origin the last counts, as in `labelled`."""
    parent: dict[object, object] = {}

    def find(x: object) -> object:
        parent.setdefault(x, x)
        while parent[x] != x:
            x = parent[x]
        return x

    for n, root in roots.items():
        if root is not None:
            parent[find(n)] = find(("root", root))
    for a, b in dict(forks).items():
        parent[find(a)] = find(b)
    everyone = {*roots, *(n for pair in dict(forks).items() for n in pair)}
    groups: dict[object, set[int]] = {}
    for n in everyone:
        groups.setdefault(find(n), set()).add(n)
    return {
        n: (min(oid(url(m)) for m in groups[find(n)]), len(groups[find(n)] & roots.keys())) for n in roots
    }


@settings(max_examples=25, deadline=None, derandomize=True)
@examples_of(
    st.dictionaries(st.integers(0, 14), st.one_of(st.none(), st.integers(0, 5)), min_size=1),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=25),
    st.sampled_from((1, 4)),
)
def test_networks_are_those_of_a_union_find(
    roots: dict[int, int | None], forks: list[tuple[int, int]], buckets: int
) -> None:
    """Breach: a network is split, or two are one, because of a cycle, a chain, or where its origins lie."""
    found, networks, _ = labelled(roots, forks, buckets)
    assert found == expected(roots, forks)
    assert networks == len({network for network, _ in found.values()})


@pytest.mark.parametrize("length", [30, pytest.param(2_000, marks=pytest.mark.slow)])
def test_a_long_chain_takes_few_passes(length: int) -> None:
    """Breach: one pass per fork, so that a chain of forks (or a hostile file) makes as many stages as it has origins."""
    chain = [(n + 1, n) for n in range(length)]
    found, networks, passes = labelled(dict.fromkeys(range(length + 1)), chain, 2)
    assert networks == 1 and {size for _, size in found.values()} == {length + 1}
    assert passes <= 2 * length.bit_length()
