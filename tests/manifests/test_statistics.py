"""`stats.json`: every figure is that of the manifest or of the rows, and a file that says otherwise is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pytest

from manifests import canonical
from manifests.errors import ReleaseError
from manifests.facts import Contents
from manifests.manifest import Manifest
from manifests.reader import Release
from manifests.row_figures import figures_of_rows
from manifests.statistics import (
    GROUP_LIMITS,
    LINE_LIMITS,
    SIZE_LIMITS,
    STATS_VERSION,
    TOP_ORIGINS,
    TOP_ROWS,
    alarming,
    build_stats,
    compare_manifests,
    read_stats,
)
from manifests.summary import STATS_FILE, summarize


def naive_histogram(values: list[int], limits: tuple[int, ...], first: int) -> list[dict]:
    bounds = [first, *limits, None]
    return [
        {"from": low, "below": high, "rows": sum(low <= v and (high is None or v < high) for v in values)}
        for low, high in pairwise(bounds)
    ]


def naive_best(rows: list[dict], key: str) -> list[dict]:
    best = sorted((row for row in rows if row[key] > 1), key=lambda row: (-row[key], row["sha256"]))
    names = ("row_id", "language", "origin", "path", "length_bytes", "num_lines", key)
    return [{name: row[name] for name in names} for row in best[:TOP_ROWS]]


def naive(rows: list[dict]) -> dict:
    """All figures, counted row by row in Python."""
    origins = Counter(row["origin"] for row in rows)
    sizes = Counter()
    for row in rows:
        sizes[row["origin"]] += row["length_bytes"]
    kinds = Counter(span["kind"] for row in rows for span in row["redactions"])
    years = Counter(
        "unknown" if row["revision_date"] is None else str(row["revision_date"].year) for row in rows
    )
    languages = {row["language"] for row in rows}
    return {
        "language_licenses": {
            name: Counter(row["license_expression"] for row in rows if row["language"] == name) for name in languages
        },
        "original_bytes": sum(row["length_bytes"] for row in rows),
        "encodings": Counter(row["src_encoding"] for row in rows),
        "redactions": {
            kind: {"spans": n, "rows": sum(any(s["kind"] == kind for s in row["redactions"]) for row in rows)}
            for kind, n in kinds.items()
        },
        "redacted_rows": sum(bool(row["redactions"]) for row in rows),
        "generated_rows": sum(row["is_generated"] for row in rows),
        "vendored_rows": sum(row["is_vendor"] for row in rows),
        "copies_represented": sum(row["num_occurrences"] - 1 for row in rows),
        "near_duplicates_represented": sum(row["cluster_size"] - 1 for row in rows),
        "file_sizes": naive_histogram([row["length_bytes"] for row in rows], SIZE_LIMITS, 0),
        "lines": naive_histogram([row["num_lines"] for row in rows], LINE_LIMITS, 0),
        "copies": naive_histogram([row["num_occurrences"] for row in rows], GROUP_LIMITS, 1),
        "clusters": naive_histogram([row["cluster_size"] for row in rows], GROUP_LIMITS, 1),
        "years": years,
        "largest_clusters": naive_best(rows, "cluster_size"),
        "most_copied": naive_best(rows, "num_occurrences"),
        "origins_with_rows": len(origins),
        "top_origins": [
            {"origin": origin, "rows": n, "bytes": sizes[origin]}
            for origin, n in sorted(origins.items(), key=lambda item: (-item[1], item[0]))[:TOP_ORIGINS]
        ],
    }  # fmt: skip


def with_stats(folder, change=lambda stats: stats):
    """Put a stats.json into a release and list it in the manifest (which then has another digest)."""
    from release_factory import duplication  # which conftest.py has loaded

    release = Release.open(folder)
    near = {
        "languages": {"Python": {"entered": 50, "dropped": 10}},
        "origins": {"alarms": [], "alarms_without_rows": 0},
    }
    stats = change(
        build_stats(release.manifest, figures_of_rows(release), near=near, duplication=duplication())
    )
    data = canonical.dumps(stats)
    (folder / STATS_FILE).write_bytes(data)
    manifest = release.manifest.to_json()
    manifest["files"].append(
        {"path": STATS_FILE, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    )
    manifest["files"].sort(key=lambda file: file["path"])
    (folder / "manifest.json").write_bytes(Manifest.parse(canonical.dumps(manifest)).to_bytes())
    return Release.open(folder)  # fmt: skip


def test_the_figures_are_those_of_a_naive_count(pristine):
    release = Release.open(pristine)
    rows = [row for batch in release.batches() for row in batch.to_pylist()]
    assert figures_of_rows(release) == naive(rows)


def test_the_figures_do_not_depend_on_how_rows_lie_in_shards(factory, tmp_path):
    rows = {"Python": 60, "C": 11}
    one = factory.make_release(tmp_path / "a", rows=rows, split=1_000)
    many = factory.make_release(tmp_path / "b", rows=rows, split=5)
    assert len(Release.open(one).manifest.shards) < len(Release.open(many).manifest.shards)
    assert figures_of_rows(Release.open(one)) == figures_of_rows(Release.open(many))


def test_long_lists_keep_the_best_and_ties_go_by_hash(factory, tmp_path):
    table = factory.make_rows("C", 90)
    for name, values in {
        "cluster_size": [1 + number % 7 for number in range(90)],
        "origin": [f"https://example.org/{number}" for number in range(90)],
    }.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    folder = tmp_path / "r"
    factory.finish(folder, factory.write_shards(folder, {"C": table}, split=40))
    rows = [row for batch in Release.open(folder).batches() for row in batch.to_pylist()]
    figures = figures_of_rows(Release.open(folder))
    assert figures == naive(rows) and len(figures["largest_clusters"]) == TOP_ROWS


def test_a_summary_from_the_file_is_that_of_the_rows(release, factory):
    opened = with_stats(release)
    kept, counted = summarize(opened), summarize(opened, recount=True)
    assert kept["counted_from"] == STATS_FILE and counted["counted_from"] == "rows"
    assert kept["near"]["languages"]["Python"]["dropped"] == 10 and counted["near"] is None
    assert kept["duplication"] == factory.duplication() and counted["duplication"] is None
    for name in ("counted_from", "near", "duplication"):
        del kept[name], counted[name]
    assert kept == counted


@pytest.mark.parametrize(
    ("version", "lacking"),
    [
        (1, {"duplication", "language_licenses", "unknown_licenses", "secrets"}),
        (2, {"language_licenses", "unknown_licenses", "secrets"}),
        (3, {"secrets"}),
    ],
)
def test_a_file_of_an_earlier_version_is_read(release, version, lacking):
    """What it did not have is null; nothing else was another."""

    def earlier(stats: dict) -> dict:
        return {name: part for name, part in stats.items() if name not in lacking} | {
            "stats_version": version
        }

    kept = summarize(with_stats(release, earlier))
    assert all(kept[name] is None for name in lacking)
    assert kept["near"] is not None and kept["stats_version"] == STATS_VERSION


def test_a_file_of_an_earlier_version_that_lacks_only_some_of_what_it_lacked_is_refused(release):
    def odd(stats: dict) -> dict:
        return {name: part for name, part in stats.items() if name != "duplication"} | {"stats_version": 1}

    with pytest.raises(ReleaseError, match="missing or unknown"):
        summarize(with_stats(release, odd))


def test_the_file_alone_is_enough(release):
    opened = with_stats(release)
    expected = summarize(opened)
    shutil.rmtree(release / "data")
    assert summarize(Release.open(release)) == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda stats: {**stats, "rows": stats["rows"] + 1}, r"\$\.rows: these are not the figures"),
        (lambda stats: {**stats, "licenses": {"MIT": 70}}, r"\$\.licenses"),
        (lambda stats: {**stats, "stats_version": 99}, "version 99"),
        (lambda stats: {**stats, "stats_version": True}, "version True"),
        (lambda stats: {**stats, "stats_version": 1}, r"\$\.stats_version"),
        (lambda stats: [stats], "version"),
        (lambda stats: {**stats, "more": 1}, "'more' is missing or unknown"),
        (lambda stats: {name: part for name, part in stats.items() if name != "lines"}, "'lines' is missing"),
        (lambda stats: {**stats, "redactions": {"key": 3}}, r"\$\.redactions\.'key': should be an object"),
        (lambda stats: {**stats, "redacted_rows": -1}, r"\$\.redacted_rows: should be a count"),
        (lambda stats: {**stats, "redacted_rows": True}, r"\$\.redacted_rows: should be a count"),
        (
            lambda stats: {**stats, "top_origins": [{"origin": 5, "rows": 1, "bytes": 1}]},
            r"\[0\]\.origin: should be a text",
        ),
        (lambda stats: {**stats, "years": []}, r"\$\.years: should be an object"),
        (lambda stats: {**stats, "near": {"languages": {}}}, r"\$\.near: should be an object with the keys"),
        (lambda stats: {**stats, "comparison": []}, r"\$\.comparison"),
        (lambda stats: {**stats, "duplication": {}}, r"\$\.duplication: should be an object with the keys"),
        (
            lambda stats: stats | {"duplication": stats["duplication"] | {"search": {"compared": 1}}},
            r"\$\.duplication\.search: should be an object",
        ),
    ],
)
def test_a_file_that_contradicts_the_manifest_is_refused(release, change, said):
    with pytest.raises(ReleaseError, match=said):
        summarize(with_stats(release, change))


def test_a_file_that_is_not_the_listed_one_is_refused(release):
    opened = with_stats(release)
    data = (release / STATS_FILE).read_bytes()
    (release / STATS_FILE).write_bytes(data.replace(b'"rows":70', b'"rows":71'))
    with pytest.raises(ReleaseError, match="not the file that the manifest describes"):
        summarize(opened)
    (release / STATS_FILE).unlink()
    with pytest.raises(ReleaseError, match="missing"):
        summarize(opened)
    (release / STATS_FILE).symlink_to("manifest.json")
    with pytest.raises(ReleaseError, match="plain file"):
        summarize(opened)


@pytest.mark.parametrize("data", [b"", b"{", b"null", b'{"stats_version":1}', b'{"a":1,"a":2}', b"\xff" * 20])
def test_bytes_that_are_no_statistics_are_refused(pristine, data):
    with pytest.raises(ReleaseError, match=r"stats\.json"):
        read_stats(data, Release.open(pristine).manifest)


def test_alarms_need_a_share_and_a_number():
    assert alarming(100, 76) and not alarming(100, 75) and not alarming(99, 99) and not alarming(0, 0)
    assert alarming(10**15, 10**15 * 76 // 100)


def test_a_comparison_adds_up(pristine, factory, tmp_path):
    old = Release.open(
        factory.make_release(tmp_path, rows={"Python": 20, "COBOL": 3}, version="1.0")
    ).manifest
    new = Release.open(pristine).manifest
    new = replace(new, contents=Contents(licenses=new.contents.licenses, redactions={"key": 2}))
    found = compare_manifests(old, new)
    assert found["languages_gained"] == sorted(set(new.languages) - {"Python"})
    assert found["languages_lost"] == ["COBOL"]
    assert found["parent"] == {"name": old.name, "version": "1.0", "digest": old.digest}
    assert found["redactions"] == {
        "email": {"old": old.contents.redactions["email"], "new": 0}, "key": {"old": 0, "new": 2},
    }  # fmt: skip
    for side, manifest in (("old", old), ("new", new)):
        assert sum(one[side] for one in found["languages"].values()) == manifest.totals.kept
        assert sum(one[side] for one in found["licenses"].values()) == manifest.totals.kept
        dropped = sum(one[side] for one in found["dropped"].values())
        assert dropped + found["sums"]["rows"][side] == found["sums"]["occurrences"][side]
    json.dumps(canonical.dumps(found).decode())
