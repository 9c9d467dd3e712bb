"""ORC alone: instants in any zone, the tail in plain Python, blocks instead of many small reads."""

from __future__ import annotations

import io
import random
import zoneinfo
from pathlib import Path

import graph_exports as exports
import pyarrow as pa
import pyorc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.engine.store import Store
from pipeline.sources import block_file
from pipeline.sources.block_file import BlockFile
from pipeline.sources.graph import conform
from pipeline.sources.orc_process import CONVERTERS, Opened
from pipeline.sources.orc_tail import NotOrcError, parse_tail, tail_bytes
from pipeline.sources.orc_writer import write_orc
from pipeline.tables import DATE, GRAPH

QUICK = settings(max_examples=60, deadline=None, derandomize=True,
                 suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip

SECONDS = st.one_of(
    st.integers(-(1 << 62), 1 << 62),
    st.integers(-62_135_596_801, -62_135_596_790),
    st.integers(253_402_300_790, 253_402_300_810),
    st.integers(-5, 5),
    st.integers(0, 1 << 31),
)
INSTANTS = st.tuples(SECONDS, st.one_of(st.just(0), st.integers(0, 999_999))).filter(
    lambda pair: pair[0] != -1 or pair[1] == 0  # the format cannot tell -0.5 s from 0.5 s
)


def orc_file(path: Path, schema: str, rows: list[tuple], **options: object) -> Opened:
    with path.open("wb") as stream, pyorc.Writer(stream, schema, converters=CONVERTERS, **options) as writer:
        writer.writerows(rows)
    return Opened(Store(str(path.parent)), path.name, path.stat().st_size)


@QUICK
@given(
    st.lists(st.one_of(st.none(), INSTANTS), max_size=8),
    st.sampled_from(["UTC", "GMT", "Europe/Paris", "Asia/Kolkata"]),
)
def test_instants_come_back_whatever_the_writer_s_zone(tmp_path: Path, instants: list, zone: str) -> None:
    """A stored time is that of the clock on the writer's wall: year 1 in Paris is off by 9 minutes and 21 seconds."""
    rows = [(None if one is None else (one[0], one[1] * 1000), "x") for one in instants]
    file = orc_file(
        tmp_path / "f.orc", "struct<d:timestamp,s:string>", rows, timezone=zoneinfo.ZoneInfo(zone)
    )
    if not rows:
        return
    found = file.stripe(0, {"s": "plain", "d": "date"})
    wanted = [None if one is None else {"seconds": one[0], "microseconds": one[1]} for one in instants]
    assert found["d"].to_pylist() == wanted and found["d"].type == DATE
    times = file.stripe(0, {"d": "time"})["d"].cast(pa.int64()).to_pylist()
    for one, time in zip(instants, times, strict=True):
        if one is None or abs(one[0]) < 1 << 42:
            assert time == (None if one is None else one[0] * 1_000_000 + one[1])
        else:
            assert abs(time) > 253_402_300_800_000_000  # still outside of every calendar


@QUICK
@given(st.lists(INSTANTS, min_size=1, max_size=6))
def test_dates_are_the_same_in_both_forms(tmp_path: Path, instants: list) -> None:
    rows = [{"id": exports.oid(n), "date": exports.date(*one)} for n, one in enumerate(instants)]
    table = pa.Table.from_pylist(rows, schema=GRAPH["revision"])
    write_orc(table, tmp_path / "r.orc", "revision")
    file = Opened(Store(str(tmp_path)), "r.orc", (tmp_path / "r.orc").stat().st_size)
    assert file.stripe(0, {"date": "date"})["date"].to_pylist() == table["date"].to_pylist()


def test_a_fraction_of_the_last_second_before_1970_is_what_the_format_loses(tmp_path: Path) -> None:
    file = orc_file(tmp_path / "f.orc", "struct<d:timestamp>", [((-1, 500_000_000),)])
    assert file.stripe(0, {"d": "time"})["d"].cast(pa.int64()).to_pylist() == [500_000]


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("s"),
        pa.timestamp("ms"),
        pa.timestamp("us"),
        pa.timestamp("ns"),
        pa.timestamp("us", "UTC"),
    ],
)
def test_a_timestamp_becomes_a_date(kind: pa.DataType) -> None:
    """A converted export may have the dates of revisions as timestamps of Parquet."""
    schema = pa.schema([("date", DATE)])
    given_ = pa.table({"date": pa.array([-7, 0, 7_000_000_001, None], pa.int64()).cast(kind)})
    per = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[kind.unit]
    wanted = [
        None if n is None else {"seconds": n // per, "microseconds": n % per * 10**6 // per}
        for n in (-7, 0, 7_000_000_001, None)
    ]
    assert conform(given_, schema)["date"].to_pylist() == wanted


def tail_of(data: bytes) -> object:
    return parse_tail(data[-tail_bytes(data[-1 << 16 :], len(data)) :], len(data))


@pytest.mark.parametrize(
    "codec", [pyorc.CompressionKind.NONE, pyorc.CompressionKind.ZLIB, pyorc.CompressionKind.ZSTD]
)
def test_the_tail_says_what_the_library_says(codec: pyorc.CompressionKind) -> None:
    stream = io.BytesIO()
    schema = "struct<a:string,b:binary,c:int,d:smallint,e:bigint,f:timestamp,g:struct<x:int,y:string>,h:array<int>,i:date>"
    with pyorc.Writer(stream, schema, compression=codec, stripe_size=20_000, batch_size=100) as writer:
        writer.set_user_metadata(swh_uuid=b"u", other=b"\xff")
        draw = random.Random(1)
        for n in range(3000):
            writer.write((str(draw.random()), draw.randbytes(400), n, 1, n, None, (n, "y"), [n], None))
    tail = tail_of(stream.getvalue())
    stream.seek(0)
    reader = pyorc.Reader(stream)
    assert [name for name, _ in tail.columns] == list("abcdefghi")
    assert [kind for _, kind in tail.columns] == [
        "string",
        "binary",
        "int",
        "smallint",
        "bigint",
        "timestamp",
        "struct",
        "array",
        "date",
    ]
    stripes = list(reader.iter_stripes())
    assert len(stripes) > 3
    assert [(s.offset, s.bytes, s.rows) for s in tail.stripes] == [
        (s.bytes_offset, s.bytes_length, len(s)) for s in stripes
    ]
    assert tail.labels == {"swh_uuid": b"u", "other": b"\xff"} == reader.user_metadata


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_a_damaged_tail_is_refused_or_read(data: st.DataObject) -> None:
    stream = io.BytesIO()
    with pyorc.Writer(stream, "struct<a:string,b:int>", compression=pyorc.CompressionKind.ZSTD) as writer:
        writer.write(("x", 1))
    whole = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = (
        bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole)
    )
    try:
        tail_of(damaged)
    except NotOrcError as error:
        assert str(error)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    size=st.integers(0, 400),
    reads=st.lists(st.tuples(st.integers(0, 420), st.integers(-1, 300)), max_size=12),
)
def test_blocks_read_what_a_file_reads(
    tmp_path_factory: pytest.TempPathFactory, size: int, reads: list
) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    data = random.Random(size).randbytes(size)
    (folder / "x").write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_file, "BLOCK_BYTES", 16)
        patch.setattr(block_file, "BLOCKS", 3)
        file, true = BlockFile(Store(str(folder)), "x", size), io.BytesIO(data)
        for at, length in reads:
            file.seek(at)
            true.seek(at)
            assert file.read(length) == true.read(length)
            assert len(file._blocks) <= 3


def test_a_stripe_costs_few_requests_and_unread_columns_none(s3_bucket: str, tmp_path: Path) -> None:
    """Messages are most of the bytes of revisions: what is fetched is the blocks that hold the other columns."""
    draw = random.Random(3)
    rows = [
        {
            "id": exports.oid(n),
            "directory": exports.oid(-n),
            "date": exports.date(n),
            "message": draw.randbytes(2000),
        }
        for n in range(6000)
    ]
    write_orc(pa.Table.from_pylist(rows, schema=GRAPH["revision"]), tmp_path / "r.orc", "revision")
    data = (tmp_path / "r.orc").read_bytes()
    store = Store(s3_bucket)
    store.put("r.orc", data)
    file = Opened(store, "r.orc", len(data))
    table = file.stripe(0, {"id": "plain", "directory": "plain", "date": "date", "committer_date": "date"})
    assert table.num_rows == 6000 and len(data) > 12_000_000
    assert file.file.requests <= 4
    file = Opened(store, "r.orc", len(data))
    file.stripe(0, {"message": "plain"})
    assert file.file.requests <= 1 + len(data) // block_file.BLOCK_BYTES + 1
