"""Figures of a release: the same as a count in plain Python, in however many buckets, and no origin named that has no row."""

from __future__ import annotations

import hashlib
import json

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from given_rows import given
from hypothesis import Phase, settings
from hypothesis import given as examples_of
from hypothesis import strategies as st

from manifests.row_figures import year_class
from manifests.statistics import TOP_ORIGINS, alarming
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.stage import Output, Stage
from pipeline.stages import figures, license_review, repositories

DAY = 86_400_000_000  # microseconds


@pytest.mark.parametrize(
    "date",
    [None, 0, -1, DAY * 365, -DAY, 1_700_000_000 * 10**6, 4_102_444_799_999_999, 4_133_980_800_000_000, -(2**63), 2**63 - 1,
     -62_135_596_800_000_000, 253_402_300_799_999_999, 253_402_300_800_000_000],
)  # fmt: skip
def test_years_are_those_that_the_rows_tell(date):
    """The stage counts with DuckDB, readers of the shards with Arrow."""
    given_date = pa.table({"revision_date": pa.array([date], pa.int64())})
    with duckdb.connect() as db:
        db.register("t", given_date)
        ((found,),) = db.execute(f"select {figures._YEAR} from t").fetchall()
    plain = pc.year(pa.array([date], pa.timestamp("us")))[0].as_py()
    assert found == year_class(plain)


def counted(work, origins: dict[str, tuple[int, int, int, int]], buckets: int) -> dict:
    """The merged figures of origins: name -> rows, bytes, entered, dropped; each split over two rows of the input."""
    store, _ = open_workdir(str(work), buckets, default_buckets=buckets)
    runner = Runner(store, InProcess(), buckets, Progress(quiet=True))
    rows = []
    for origin, amounts in origins.items():
        route = hashlib.sha256(origin.encode()).hexdigest()
        for part in range(2):
            split = [amount // 2 if part else amount - amount // 2 for amount in amounts]
            rows.append(dict(zip(figures.ORIGINS.names, [route, origin, *split], strict=True)))
    by_origin = runner.run(
        Stage(
            name="figures.origins",
            run=figures.count_origins,
            inputs={"origins": given(runner, "origins", figures.ORIGINS, "route", rows).ref("rows")},
            outputs={
                "counters": Output(schema=figures.COUNTERS, order=("section", "name")),
                "best": Output(schema=figures.BEST_ORIGINS, order=("list", "rows", "origin")),
            },
        )
    )
    nothing = given(runner, "rows", pa.schema([*figures.BEST_ROWS]), "sha256", [])
    no_copies = given(runner, "largest", repositories.LARGEST, "list", [])
    no_texts = given(runner, "unknown", license_review.UNKNOWN, "text_digest", [])
    merged = runner.run(
        Stage(
            name="figures",
            run=figures.merge,
            inputs={
                "counters": [by_origin.ref("counters")],
                "best_rows": nothing.ref("rows"),
                "best_origins": by_origin.ref("best"),
                "repositories": no_copies.ref("rows"),
                "unknown": no_texts.ref("rows"),
            },
            outputs={"figures": Output(schema=figures.RESULT, order=())},
            units="one",
            config={"near": True},
        )
    )
    return json.loads(runner.table(merged.ref("figures"))["figures"][0].as_py())


AMOUNTS = st.tuples(st.integers(0, 40), st.integers(0, 10**12), st.integers(0, 400), st.integers(0, 400)).map(
    lambda one: (one[0], one[1] if one[0] else 0, one[2], min(one[2], one[3]))
)


@settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.generate))
@examples_of(
    found=st.dictionaries(
        st.sampled_from([*(f"https://h/{n}" for n in range(150)), "a\x01", "é", "'"]), AMOUNTS, max_size=150
    )
)
def test_origins_are_added_up_ranked_and_kept_private(tmp_path_factory, found):
    told = [counted(tmp_path_factory.mktemp("w"), found, buckets) for buckets in (1, 8)]
    assert told[0] == told[1]
    rows, near = told[0]["rows"], told[0]["near"]["origins"]
    with_rows = {origin: one for origin, one in found.items() if one[0]}
    assert rows["origins_with_rows"] == len(with_rows)
    best = sorted(with_rows.items(), key=lambda item: (-item[1][0], item[0]))[:TOP_ORIGINS]
    assert rows["top_origins"] == [{"origin": o, "rows": one[0], "bytes": one[1]} for o, one in best]
    alarms = {origin: one for origin, one in found.items() if alarming(one[2], one[3])}
    assert near["alarms_without_rows"] == sum(not one[0] for one in alarms.values())
    named = sorted(((o, one) for o, one in alarms.items() if one[0]), key=lambda item: (-item[1][3], item[0]))
    assert near["alarms"] == [
        {"origin": o, "rows": one[0], "entered": one[2], "dropped": one[3]} for o, one in named[:TOP_ORIGINS]
    ]


def test_one_origin_that_lost_everything(tmp_path):
    told = counted(tmp_path, {"https://h/gone": (0, 0, 500, 500), "https://h/hurt": (10, 99, 100, 90)}, 2)
    assert told["near"]["origins"] == {
        "alarms": [{"origin": "https://h/hurt", "rows": 10, "entered": 100, "dropped": 90}],
        "alarms_without_rows": 1,
    }
    assert "gone" not in json.dumps(told)


def test_every_stage_and_reason_has_words_in_the_report():
    from manifests.report import words
    from pipeline.tables import STAGES, Reason

    assert set(words.STAGES) == set(STAGES)
    assert set(words.REASONS) == set(Reason) - {Reason.QUALITY}
