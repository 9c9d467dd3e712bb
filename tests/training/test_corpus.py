"""Every row is trained on, held out, or left out for one reason; no group is on both sides; filters say what they left out."""

import hashlib
import itertools
import json
import shutil
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from dedup.sketch import sketch
from training.config import FilterConfig, TrainConfig
from training.corpus import filters, licenses, networks
from training.corpus.select import Corpus, select
from training.corpus.sources import open_source
from training.errors import TrainingConfigError, TrainingDataError

STRINGS = (
    "content",
    "language",
    "origin",
    "repo_name",
    "directory_id",
    "revision_id",
    "snapshot_id",
    "license_expression",
)
SCHEMA = pa.schema([(name, pa.string()) for name in STRINGS])


class Rows:
    """A source of rows in memory."""

    missing, numbers = (), ("length_bytes",)

    def __init__(self, name: str, rows: list[dict]) -> None:
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        texts = table["content"].to_pylist()
        self.table = (
            table.append_column(
                "content_sha256", [[hashlib.sha256(text.encode()).hexdigest() for text in texts]]
            )
            .append_column("length_bytes", pa.chunked_array([[len(text) for text in texts]], pa.int64()))
            .append_column("problem", pa.chunked_array([[None] * len(texts)], pa.string()))
        )
        self.name, self.digest = name, name
        self.known = self.languages = tuple(sorted(set(table["language"].to_pylist())))

    def about(self) -> dict:
        return {"kind": "memory", "name": self.name}

    def index(self, columns):
        return self.table.select([*columns, "problem"])

    def texts(self, chosen, columns=("content",)):
        rows = np.flatnonzero(chosen)
        for at in range(0, len(rows), 3):
            part = rows[at : at + 3]
            yield part, self.table.take(pa.array(part)).select(list(columns)).combine_chunks().to_batches()[0]


def config(sources, *, evaluation=None, data=None, **more) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "sources": [{"name": s.name, "jsonl": "x"} if not isinstance(s, dict) else s for s in sources],
            "output": "o",
            "steps": 1,
            "evaluation": evaluation or {},
            "data": data or {},
            **more,
        }
    )


WORDS = [f"w{n}" for n in range(12)]
row = st.fixed_dictionaries(
    {
        "content": st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join),
        "language": st.sampled_from(["C", "Go", "Lua"]),
        "origin": st.none()
        | st.tuples(
            st.sampled_from(["x.org", "y.org"]), st.sampled_from("ABCDE"), st.sampled_from("rst")
        ).map(lambda parts: "https://{}/{}/{}".format(*parts)),
        "repo_name": st.none() | st.tuples(st.sampled_from("abcde"), st.sampled_from("rst")).map("/".join),
        "directory_id": st.none() | st.integers(0, 30).map(str),
        "revision_id": st.none() | st.integers(0, 30).map(str),
        "snapshot_id": st.none(),
        "license_expression": st.sampled_from(
            ["MIT", "GPL-3.0-only", "MIT OR GPL-3.0-only", "MIT AND GPL-3.0-only", "NONE"]
        ),
    }
)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(row, min_size=1, max_size=25), min_size=1, max_size=3),
    st.sampled_from(["network", "owner"]),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from([None, 0.3, 0.5]),
    st.sampled_from([None, 20, 200]),
    st.sampled_from([None, 20, 200]),
    st.sampled_from([{}, {"licenses": ["MIT"]}, {"exclude_licenses": ["GPL-3.0-only"]}]),
    st.sampled_from([{}, {"Go": 1.0}]),
)
def test_every_row_is_in_one_place_and_no_group_on_both_sides(
    rows, split_by, fraction, near, max_train, max_eval, chosen, mix
):
    sources = [Rows(f"s{number}", some) for number, some in enumerate(rows)]
    settings_ = config(
        sources,
        evaluation={"fraction": fraction, "split_by": split_by, "near": near, "max_bytes": max_eval},
        data={"max_train_bytes": max_train, "mix": {"languages": mix}},
        filters=chosen,
    )
    try:
        corpus = select(sources, settings_)
    except TrainingDataError:
        event("refused")  # nothing left on one side: said, see below
        return
    everything = [each for some in rows for each in some]
    left = corpus.reason >= 0
    assert (corpus.train.astype(int) + corpus.held_out + left == 1).all()
    assert sum(corpus.left_out.values()) == left.sum()
    reasons = [corpus.reasons[code] if code >= 0 else "" for code in corpus.reason]
    # no group on both sides, by an own walk over what repositories share
    links = defaultdict(set)
    for number, (each, reason) in enumerate(zip(everything, reasons, strict=True)):
        assert (reason in ("filters.licenses", "filters.exclude_licenses")) == (not passes(each, chosen))
        if each["origin"]:
            links["owner", networks.owner_of(each["origin"])].add(number)
        elif each["repo_name"]:
            links["account", each["repo_name"][0]].add(number)
        if split_by == "network":
            if each["repo_name"]:
                links["name", each["repo_name"]].add(number)
            for column in ("directory_id", "revision_id"):
                if each[column]:
                    links[column, each[column]].add(number)
    for members in links.values():
        sides = {reasons[n] if reasons[n] in ("near_training", "max_eval_bytes") else "" for n in members}
        assert not (
            any(corpus.train[list(members)]) and (any(corpus.held_out[list(members)]) or sides - {""})
        )
    # the same text is used once, by the first row that passes the filters
    used = [n for n, reason in enumerate(reasons) if reason != "duplicate" and passes(everything[n], chosen)]
    assert len({everything[n]["content"] for n in used}) == len(used)
    for n, reason in enumerate(reasons):
        if reason == "duplicate":
            assert any(everything[m]["content"] == everything[n]["content"] for m in used if m < n)
    # near training rows, by comparing all
    made = sketch(pa.array([each["content"] for each in everything], pa.large_string()))
    for n in np.flatnonzero(
        corpus.held_out | np.array([r in ("near_training", "max_eval_bytes") for r in reasons])
    ):
        best = max(
            ((made.signatures[n] == made.signatures[m]).mean() for m in np.flatnonzero(corpus.train)),
            default=0,
        )
        found = near is not None and made.counts[n] > 0 and best >= near
        assert (reasons[n] == "near_training") == found
    assert (
        max_train is None
        or sum(len(everything[n]["content"]) for n in np.flatnonzero(corpus.train)) <= max_train
    )
    assert not mix or {everything[n]["language"] for n in np.flatnonzero(corpus.train)} <= set(mix)


def passes(each: dict, chosen: dict) -> bool:
    mit = each["license_expression"] in ("MIT", "MIT OR GPL-3.0-only")
    if "licenses" in chosen:
        return mit
    return mit or each["license_expression"] == "NONE" or "exclude_licenses" not in chosen


def place(origin, directory, text, **more) -> dict:
    return {
        "content": text, "language": "C", "origin": origin, "repo_name": None, "directory_id": directory,
        "revision_id": None, "snapshot_id": None, "license_expression": "MIT", **more,
    }  # fmt: skip


def numbered(rows: list[dict], split_by="network") -> list[int]:
    table = Rows("s", rows).table
    group, names = networks.groups(table, split_by)
    assert len(set(names)) == len(names) > group.max()
    return group.tolist()


def test_what_connects():
    rows = [
        place("https://a.org/one/x", "1", "t0"),
        place("https://a.org/ONE/y", "2", "t1"),  # the owner of the first
        place("https://b.org/two/x", "2", "t2"),  # the files of the second
        place("https://c.org/three/x", "3", "t3", revision_id="9"),
        place("https://d.org/four/x", "4", "t4", revision_id="9"),  # the history of the one before
        place("https://e.org/Five/x", "5", "t5", repo_name="Five/x"),
        place("https://f.org/five/x", "6", "t6", repo_name="five/x"),  # the name of the one before
        place(None, None, "t7", repo_name="five/x"),
        place(None, None, "t8", repo_name="five/z"),  # the account of the one before
        place(None, None, "t9"),
        place(None, None, "t10"),
    ]
    group = numbered(rows)
    assert [group.index(g) for g in group] == [0, 0, 0, 3, 3, 5, 5, 5, 5, 9, 10]
    group = numbered(rows, "owner")
    assert [group.index(g) for g in group] == [0, 0, 2, 3, 4, 5, 6, 7, 7, 9, 10]


@settings(deadline=None, max_examples=40)
@given(st.lists(row, min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_rows(rows, random):
    shuffled = list(range(len(rows)))
    random.shuffle(shuffled)
    first, names = networks.groups(Rows("s", rows).table, "network")
    other, other_names = networks.groups(Rows("s", [rows[n] for n in shuffled]).table, "network")
    # rows of equal text without an owner have equal names, and are interchangeable
    assert [names[first[n]] for n in shuffled] == [other_names[g] for g in other]


LICENSES = [
    # expression, met with MIT and Apache-2.0 alone, met without GPL-3.0-only
    ("MIT", True, True),
    ("mit", True, True),
    ("MIT AND Apache-2.0", True, True),
    ("MIT OR GPL-3.0-only", True, True),
    ("MIT AND GPL-3.0-only", False, False),
    ("MIT AND (GPL-3.0-only OR Apache-2.0)", True, True),
    ("MIT OR Apache-2.0 AND GPL-3.0-only", True, True),  # AND binds first
    ("(MIT OR Apache-2.0) AND GPL-3.0-only", False, False),
    ("GPL-3.0-only AND MIT OR Apache-2.0", True, True),
    ("Apache-2.0 WITH LLVM-exception", True, True),
    ("GPL-3.0-only WITH Classpath-exception-2.0", False, False),
    ("BSD-3-Clause", False, True),
    ("LicenseRef-scancode-public-domain OR MIT", True, True),
    ("NONE", False, True),
    ("", False, False),
    ("MIT AND", False, False),
    ("(MIT", False, False),
    ("MIT)", False, False),
    ("MIT MIT", False, False),
    ("AND", False, False),
    ("MIT\x00", False, False),
    ("(" * 5000 + "MIT" + ")" * 5000, False, False),
    ("MIT WITH OR", False, False),
]


@pytest.mark.parametrize(
    ("expression", "met", "without"), LICENSES, ids=[str(n) for n in range(len(LICENSES))]
)
def test_license_expressions(expression, met, without):
    assert licenses.can_be_met(expression, frozenset({"mit", "apache-2.0"})) == met
    assert licenses.can_be_met_without(expression, frozenset({"gpl-3.0-only"})) == without


def test_license_expressions_as_the_library_reads_them():
    """All short expressions over three ids, against license-expression's own parser and truth tables."""
    from license_expression import Licensing

    parser = Licensing(["A", "B", "C"])
    shapes = ["{} {} {} {} {}", "({} {} {}) {} {}", "{} {} ({} {} {})"]
    for shape, a, b, c, one, two in itertools.product(
        shapes, "ABC", "ABC", "ABC", ("AND", "OR"), ("AND", "OR")
    ):
        text = shape.format(a, one, b, two, c)
        parsed = parser.parse(text)
        for allowed in itertools.chain.from_iterable(itertools.combinations("ABC", n) for n in range(4)):
            expected = eval_tree(parsed, set(allowed))
            assert licenses.can_be_met(text, frozenset(x.lower() for x in allowed)) == expected, text


def eval_tree(node, allowed) -> bool:
    if hasattr(node, "key"):
        return node.key in allowed
    parts = [eval_tree(part, allowed) for part in node.args]
    return all(parts) if type(node).__name__ == "AND" else any(parts)


def test_exceptions_and_their_names():
    named = frozenset({"gpl-2.0-only with classpath-exception-2.0"})
    assert licenses.can_be_met("GPL-2.0-only WITH Classpath-exception-2.0", named)
    assert not licenses.can_be_met("GPL-2.0-only", named)
    assert not licenses.can_be_met_without("GPL-2.0-only WITH Classpath-exception-2.0", named)
    assert licenses.can_be_met_without("GPL-2.0-only", named)


def jsonl(tmp_path, rows, name="a", **more) -> dict:
    file = tmp_path / f"{name}.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return {"name": name, "jsonl": str(file), **more}


def chosen_of(sources: list[dict], **more) -> Corpus:
    settings_ = config(sources, **{"evaluation": {"fraction": 0.0}, **more})
    return select([open_source(source) for source in settings_.all_sources], settings_)


def rows_of(count: int, **more) -> list[dict]:
    return [{"text": f"text {n}", "language": "Go", **more} for n in range(count)]


def test_what_each_filter_leaves_out_is_counted(release, tmp_path):
    own = [
        {"text": "a", "license_expression": "MIT", "alphanum_fraction": 0.5},
        {"text": "b", "license_expression": "MIT", "alphanum_fraction": 0.5, "is_vendor": True},
        {"text": "c", "license_expression": "MIT", "alphanum_fraction": 0.5, "is_generated": True},
        {"text": "d", "license_expression": "MIT", "alphanum_fraction": 0.1},
        {"text": "e", "license_expression": "MIT"},
        {"text": "f", "alphanum_fraction": 0.5},
        {"text": "g", "license_expression": "MIT AND Apache-2.0", "alphanum_fraction": 0.5},
        {"text": "a"},
    ]
    wanted = {
        "licenses": ["MIT"],
        "vendored": "drop",
        "generated": "drop",
        "ranges": {"alphanum_fraction": [0.25, None]},
    }
    corpus = chosen_of([jsonl(tmp_path, own), {"name": "r", "release": str(release)}], filters=wanted)
    assert corpus.train[:8].tolist() == [True] + [False] * 7
    assert corpus.left_out.pop("filters.licenses") > 3
    of_own = Counter(corpus.reasons[code] for code in corpus.reason[1:8])
    assert of_own == {
        "filters.licenses": 3, "filters.vendored": 1, "filters.generated": 1, "filters.ranges.alphanum_fraction": 2,
    }  # fmt: skip
    # a source's own filters stand in place of the common ones
    free = chosen_of(
        [jsonl(tmp_path, own, filters={}), {"name": "r", "release": str(release)}], filters=wanted
    )
    assert free.train[:7].all()
    assert free.reasons[free.reason[7]] == "duplicate"


def test_ranges_hold_their_limits(release):
    values = (
        chosen_of([{"name": "r", "release": str(release)}])
        .sources[0]
        .index(["num_lines"])["num_lines"]
        .to_numpy()
    )
    low, high = int(np.percentile(values, 20)), int(np.percentile(values, 80))
    corpus = chosen_of(
        [{"name": "r", "release": str(release)}], filters={"ranges": {"num_lines": [low, high]}}
    )
    assert corpus.train.tolist() == ((values >= low) & (values <= high)).tolist()
    assert 0 < corpus.left_out["filters.ranges.num_lines"] < len(values)


@pytest.fixture(scope="module")
def with_signals(tmp_path_factory):
    """A release with `quality-signals.parquet`."""
    import importlib.util
    from pathlib import Path

    from manifests.quality_signals import quality_signals_schema, write_quality_signals

    spec = importlib.util.spec_from_file_location(
        "factory", Path(__file__).parents[1] / "manifests/release_factory.py"
    )
    factory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(factory)
    folder = tmp_path_factory.mktemp("signals") / "2.1"
    folder.mkdir()
    tables = {"C": factory.make_rows("C", 30), "Go": factory.make_rows("Go", 10)}
    shards = factory.write_shards(folder, tables)
    rows = pa.concat_tables(tables.values()).sort_by("row_id").select(["row_id", "language", "length_bytes"])
    schema = quality_signals_schema([pa.field("twice", pa.float32()), pa.field("not_parsed", pa.bool_())])
    twice = [None if size % 5 == 0 else 2.0 * size for size in rows["length_bytes"].to_pylist()]
    table = pa.table(
        [rows["row_id"], rows["language"], pa.array(twice, pa.float32()), [True] * 40], schema=schema
    )
    write_quality_signals([table], folder / "quality-signals.parquet", schema)
    factory.finish(folder, shards, extra=["quality-signals.parquet"])
    return folder


def test_ranges_over_the_signals_beside_the_rows(with_signals, tmp_path):
    source = {"name": "r", "release": str(with_signals)}
    size = chosen_of([source]).sources[0].index(["length_bytes"])["length_bytes"].to_numpy()
    middle = int(np.median(size))
    corpus = chosen_of([source], filters={"ranges": {"twice": [2 * middle, None]}})
    assert corpus.train.tolist() == ((size >= middle) & (size % 5 != 0)).tolist()
    with pytest.raises(TrainingConfigError, match="no numeric column 'not_parsed'"):
        chosen_of([source], filters={"ranges": {"not_parsed": [0, 1]}})
    shutil.copytree(with_signals, tmp_path / "2.1")
    file = tmp_path / "2.1/quality-signals.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(
        ValueError, match=r"quality-signals.parquet is not the file that the manifest describes"
    ):
        chosen_of([{"name": "r", "release": str(file.parent)}], filters={"ranges": {"twice": [1, None]}})


def test_misspelt_filters_are_refused(release, tmp_path):
    source = {"name": "r", "release": str(release)}
    with pytest.raises(
        TrainingConfigError, match=r"no numeric column 'alphanum_fractoin'; did you mean 'alphanum_fraction'"
    ):
        chosen_of([source], filters={"ranges": {"alphanum_fractoin": [0.1, None]}})
    with pytest.raises(
        TrainingConfigError, match=r"source 'a' has no numeric column 'stars' \(it has: length_bytes"
    ):
        chosen_of([jsonl(tmp_path, rows_of(1))], filters={"ranges": {"stars": [1, None]}})
    with pytest.raises(
        TrainingConfigError,
        match=r"'Apache2.0' is no SPDX license, and no row has it; did you mean 'Apache-2.0'",
    ):
        chosen_of([source], filters={"exclude_licenses": ["Apache2.0"]})
    chosen_of([source], filters={"exclude_licenses": ["GPL-3.0-only", "gpl-2.0"]})  # known to SPDX, an old id
    chosen_of([source], filters={"exclude_licenses": ["GPL-2.0-only  with Classpath-exception-2.0"]})
    for name in ("MIT OR Apache-2.0", "MIT OR", "MIT WITH"):
        with pytest.raises(TrainingConfigError, match=f"'{name}' is not one license"):
            chosen_of([source], filters={"licenses": [name]})
    with pytest.raises(ValueError, match=r"0.9 is more than 0.1"):
        FilterConfig.model_validate({"ranges": {"alphanum_fraction": [0.9, 0.1]}})
    assert filters.columns(FilterConfig()) == []


def test_languages_over_several_sources(release, tmp_path):
    """A language of all sources may be missing in some; one that a source itself asks for may not."""
    own, other = jsonl(tmp_path, rows_of(3)), {"name": "r", "release": str(release)}
    corpus = chosen_of([own, other], languages=["Go", "Python"])
    assert corpus.languages == ("Go", "Python")
    assert corpus.train[:3].all()
    with pytest.raises(
        TrainingDataError, match=r"source 'a' has no row of Python \(it has: Go\); leave it out"
    ):
        chosen_of([own, other], languages=["Python"])
    with pytest.raises(TrainingDataError, match=r"source 'r' has no row of language 'Go'"):
        chosen_of([own, {**other, "languages": ["Go", "Python"]}])
    with pytest.raises(TrainingDataError, match=r"no row of language 'Pyton'; did you mean 'Python'"):
        chosen_of([own, other], languages=["Go", "Pyton"])
    with pytest.raises(
        TrainingDataError,
        match=r"data.mix.languages: no source has a row of language 'go'; did you mean 'Go'",
    ):
        chosen_of([own, other], data={"mix": {"languages": {"go": 1.0}}})


def test_a_language_of_which_no_row_is_left_is_an_error(tmp_path):
    rows = [{"text": "a", "language": "Go", "license_expression": "MIT"}, {"text": "b", "language": "C"}]
    with pytest.raises(
        TrainingDataError, match=r"no row of language 'C' left \(left out: 1 by filters.licenses\)"
    ):
        chosen_of([jsonl(tmp_path, rows)], languages=["Go", "C"], filters={"licenses": ["MIT"]})
    with pytest.raises(
        TrainingDataError, match=r"source 'a' has no row left \(left out: 1 by filters.licenses\)"
    ):
        chosen_of([jsonl(tmp_path, rows[1:])], filters={"licenses": ["MIT"]})


def test_the_same_text_in_two_sources_is_taken_from_the_first(release, tmp_path):
    first = chosen_of([{"name": "r", "release": str(release)}])
    texts = [t for _, batch in first.texts(first.train) for t in batch["content"].to_pylist()][:5]
    own = jsonl(tmp_path, [{"text": text} for text in [*texts, "new", "new"]])
    corpus = chosen_of([{"name": "r", "release": str(release)}, own])
    assert corpus.left_out == {"duplicate": 6}
    assert corpus.train.sum() == len(first.train) + 1
    turned = chosen_of([own, {"name": "r", "release": str(release)}])
    assert turned.train[:6].all()
    assert turned.left_out == {"duplicate": 6}


def test_a_limit_does_not_make_a_small_source_with_a_weight_vanish(tmp_path):
    """Breach: the limit leaves it a hundredth, as it has of the data, and no repetition reaches its weight."""
    big = jsonl(tmp_path, [{"text": f"big {n:06}", "language": "Go"} for n in range(500)], "big", weight=1.0)
    small = jsonl(
        tmp_path, [{"text": f"small {n:04}", "language": "C"} for n in range(5)], "small", weight=1.0
    )
    corpus = chosen_of([big, small], data={"max_train_bytes": 500})
    assert corpus.train[500:].all()
    assert corpus.train[:500].sum() == 45
    assert corpus.left_out == {"max_train_bytes": 455}
    languages = chosen_of(
        [{**one, "weight": None} for one in (big, small)],
        data={"max_train_bytes": 40, "mix": {"languages": {"Go": 1.0, "C": 3.0}}},
    )
    assert (languages.train[:500].sum(), languages.train[500:].sum()) == (1, 3)


def test_a_source_that_a_limit_makes_vanish_is_said(tmp_path):
    sources = [
        jsonl(tmp_path, [{"text": f"big {n:06}"} for n in range(500)], "big"),
        jsonl(tmp_path, [{"text": "small"}], "small"),
    ]
    settings_ = config(sources, evaluation={"fraction": 0.0}, data={"max_train_bytes": 100})
    lines: list[str] = []
    corpus = select([open_source(each) for each in settings_.all_sources], settings_, report=lines.append)
    assert not corpus.train[500]
    assert (
        len(lines) == 1
        and "source 'small': none of its rows is trained on, because of data.max_train_bytes" in lines[0]
    )


def test_only_sources_with_chosen_rows_are_read(tmp_path):
    """Breach: each unit of one source reads all others."""
    sources = [jsonl(tmp_path, rows_of(3), "a"), jsonl(tmp_path, [{"text": "other"}], "b")]
    corpus = chosen_of(sources)
    (tmp_path / "b.jsonl").unlink()
    assert [rows.tolist() for rows, _ in corpus.texts(np.arange(4) < 2)] == [[0, 1]]


def test_when_all_held_out_rows_are_like_training_rows_it_is_said(tmp_path):
    text = " ".join(f"word{n}" for n in range(50))
    rows = [{"text": f"{text} {n}", "origin": f"https://x.org/o{n}/r"} for n in range(4)]
    with pytest.raises(TrainingDataError, match="all 1 held-out rows are near-duplicates of training rows"):
        chosen_of([jsonl(tmp_path, rows)], evaluation={"fraction": 0.25})
    corpus = chosen_of([jsonl(tmp_path, rows)], evaluation={"fraction": 0.25, "near": None})
    assert (corpus.held_out.sum(), corpus.train.sum(), corpus.groups, corpus.held_out_groups) == (1, 3, 4, 1)


def test_the_split_is_a_function_of_the_data(release):
    one = chosen_of([{"name": "r", "release": str(release)}], evaluation={"fraction": 0.3}, seed=1)
    two = chosen_of([{"name": "r", "release": str(release)}], evaluation={"fraction": 0.3}, seed=2)
    assert one.held_out.tolist() == two.held_out.tolist()
    assert one.held_out.any()
