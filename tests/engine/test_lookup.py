"""Look-ups: the rows of the ids that are asked for, all of them, and no more read than what may hold them."""

from __future__ import annotations

import io

import engine_stages as stages
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.engine.buckets import bucket_of
from pipeline.engine.executor import InProcess
from pipeline.engine.point import bucket_of_id, rows_of, scalar
from pipeline.engine.progress import Progress
from pipeline.engine.runner import Runner, open_workdir
from pipeline.engine.stage import Output, Stage
from pipeline.engine.store import Store
from pipeline.errors import IntegrityError

NUMBERS = range(300)


@pytest.fixture
def tables(runner_at, calls, monkeypatch):
    """A runner, and the same rows twice: routed, and in their buckets by row groups of 10 rows."""
    monkeypatch.setattr("pipeline.engine.buckets.ROW_GROUP_ROWS", 10)
    runner = runner_at(buckets=4)
    extra = {"calls": str(calls)}
    items = ({"range": [0, 200]}, {"range": [100, 300]})
    routed = runner.run(
        Stage(name="made", run=stages.make, outputs={"rows": stages.BY_ID}, units=items, extra=extra)
    )
    output = Output(schema=stages.ROWS, order=("id", "number"))
    local = runner.run(Stage(name="local", run=stages.double_quietly, inputs={"rows": routed.ref("rows")},
                             outputs={"rows": output}))  # fmt: skip
    return runner, {"routed": routed.ref("rows"), "local": local.ref("rows")}


def looked_up(runner, table, ids, *, kept=False, times=1):
    """The numbers that are found, ascending."""
    item = {"unit": f"x{len(runner.plan)}", "ids": ids, "kept": kept, "times": times}
    outputs = {"rows": Output(schema=stages.ROWS, order=("id", "number"))}
    done = runner.run(Stage(name=f"look{len(runner.plan)}", run=stages.look_up, inputs={"rows": table}, outputs=outputs,
                            units=(item,)))  # fmt: skip
    rows = runner.table(done.ref("rows")).to_pylist()
    assert all(row["id"] == stages.identifier(row["number"]) for row in rows)
    return sorted(row["number"] for row in rows)


@pytest.mark.parametrize("kind", ["routed", "local"])
@pytest.mark.parametrize("kept", [False, True])
def test_the_rows_of_given_ids(tables, kind, kept):
    """A row that is missed or given twice; ids that nothing has, none at all, all of them."""
    runner, refs = tables
    for wanted in ([], [5], [0, 99, 100, 199, 299, 1000, 1001], range(1000, 1100), NUMBERS):
        expected = sorted(n for n in [*range(200), *range(100, 300)] if n in wanted)
        assert (
            looked_up(runner, refs[kind], [stages.identifier(n) for n in wanted], kept=kept, times=2)
            == expected
        )


def test_a_few_ids_read_a_few_row_groups(tables, monkeypatch):
    """A look-up that reads the whole table: one id lies in one or two groups of forty."""
    runner, refs = tables
    read = []
    real = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda file, n, **k: read.append(n) or real(file, n, **k)
    )
    assert looked_up(runner, refs["local"], [stages.identifier(7)]) == [7]
    assert 1 <= len(read) <= 2


def test_kept_parts_are_read_once(tables, monkeypatch):
    runner, refs = tables
    opened = []
    real = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda file, n, **k: opened.append(n) or real(file, n, **k)
    )
    ids = [stages.identifier(n) for n in NUMBERS]
    looked_up(runner, refs["local"], ids, kept=True, times=1)
    once = len(opened)
    looked_up(runner, refs["local"], ids, kept=True, times=5)
    assert len(opened) == 2 * once
    monkeypatch.setattr("pipeline.engine.lookup._KEPT_BYTES", 0)
    looked_up(runner, refs["local"], ids, kept=True, times=5)
    assert len(opened) == 7 * once


def test_from_an_object_store(s3_bucket, calls):
    """Parts that are read at once come in another order, or one is lost."""
    store, count = open_workdir(f"{s3_bucket}/lookup", None, default_buckets=4)
    runner = Runner(store, InProcess(), count, Progress(io.StringIO()))
    items = ({"range": [0, 200]}, {"range": [100, 300]})
    routed = runner.run(Stage(name="made", run=stages.make, outputs={"rows": stages.BY_ID}, units=items,
                              extra={"calls": str(calls)}))  # fmt: skip
    output = Output(schema=stages.ROWS, order=("id", "number"))
    local = runner.run(Stage(name="local", run=stages.double_quietly, inputs={"rows": routed.ref("rows")},
                             outputs={"rows": output}))  # fmt: skip
    wanted = [5, 99, 100, 199, 299, 1000]
    for done in (routed, local):
        found = looked_up(
            runner, done.ref("rows"), [stages.identifier(n) for n in wanted], kept=True, times=2
        )
        assert found == [5, 99, 100, 100, 199, 199, 299]


def test_one_id_is_one_object(tables, monkeypatch):
    """Breach: a question asks more than the bucket of its id, or what is missing is taken for nothing there."""
    runner, refs = tables
    opened = []
    original = Store.parquet
    monkeypatch.setattr(Store, "parquet", lambda self, key: opened.append(key) or original(self, key))
    for number in (0, 5, 99, 100, 150, 299, 1000):
        ref, identity = refs["local"], stages.identifier(number)
        found = rows_of(runner.store, ref, "id", identity, buckets=4)["number"].to_pylist()
        assert found == [n for n in [*range(200), *range(100, 300)] if n == number]
        assert rows_of(runner.store, ref, "id", identity, buckets=4, columns=["number"]).num_rows == len(
            found
        )
    assert len(opened) == 14
    assert bucket_of_id("fff0", 1) == 0 and bucket_of_id("fff0", 4096) == 0xFFF
    assert all(
        bucket_of_id(stages.identifier(n), 16) == bucket_of(pa.array([stages.identifier(n)]), 16)[0]
        for n in NUMBERS
    )
    runner.store.delete(opened[0])
    with pytest.raises(IntegrityError, match="is missing"):
        rows_of(runner.store, ref, "id", stages.identifier(0), buckets=4)


@pytest.mark.parametrize("value", ["", "abc", "déjà", b"", b"\xff\x00"])
def test_a_value_to_compare_with(value):
    assert scalar(value).as_py() == value
