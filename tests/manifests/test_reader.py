"""Reading: every row once, in order, and never a row of a shard that is not what the manifest says."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import canonical
from manifests.errors import ReleaseError
from manifests.reader import Release
from manifests.schema import DATA


def test_all_rows_in_order(factory, pristine):
    release = Release.open(pristine)
    assert release.languages == tuple(sorted(factory.ROWS))
    table = pa.Table.from_batches(release.batches())
    assert table.schema.equals(DATA)
    assert table.num_rows == release.manifest.totals.kept == sum(factory.ROWS.values())
    languages = table.column("language").to_pylist()
    paths = [shard.path for shard in release.shards()]
    assert paths == sorted(paths) and len(release.shards("Python")) == 2
    expected = [shard.language for shard in release.shards() for _ in range(shard.rows)]
    assert languages == expected


def test_columns_languages_and_batches(pristine):
    release = Release.open(str(pristine))
    batches = list(release.batches(["row_id", "content"], ["C++", "Python", "C++"], batch_rows=7))
    assert all(batch.schema.names == ["row_id", "content"] and batch.num_rows <= 7 for batch in batches)
    whole = pa.Table.from_batches(
        release.batches(["row_id", "content"], ["C++", "Python"], batch_rows=10_000)
    )
    assert pa.Table.from_batches(batches).equals(whole)
    assert whole.num_rows == 49


@pytest.mark.parametrize(
    "arguments",
    [{"columns": ["nope"]}, {"languages": ["Cobol"]}, {"batch_rows": 0}, {"languages": ["python"]}],
)
def test_wrong_arguments_fail_at_once(pristine, arguments):
    with pytest.raises(ReleaseError):
        Release.open(pristine).batches(**arguments)


def test_no_row_of_an_altered_shard_is_handed_out(release):
    opened = Release.open(release)
    shard = opened.shards("C++")[0]
    file = release / shard.path
    group = pq.ParquetFile(file).metadata.row_group(0)
    content = group.column(DATA.get_field_index("content"))
    body = bytearray(file.read_bytes())
    body[content.data_page_offset + content.total_compressed_size - 20] ^= 1
    file.write_bytes(body)
    with pytest.raises(ReleaseError, match=r"C\+\+/train-all\.parquet is not the file"):
        next(opened.batches(languages=["C++"]))
    assert sum(batch.num_rows for batch in opened.batches(languages=["Python"])) == 40
    with pytest.raises(ReleaseError, match=r"C\+\+/train-all\.parquet"):
        list(opened.batches(languages=["C++"], verify=False))  # the page checksum is checked all the same


def test_missing_linked_and_foreign_shards(release):
    opened = Release.open(release)
    one, two = opened.shards("C++")[0], opened.shards("C#")[0]
    (release / one.path).unlink()
    with pytest.raises(ReleaseError, match="missing"):
        next(opened.batches(languages=["C++"]))
    (release / one.path).symlink_to(release / two.path)
    with pytest.raises(ReleaseError, match="not a plain file"):
        next(opened.batches(languages=["C++"]))
    (release / one.path).unlink()
    (release / one.path).write_bytes((release / "ids.parquet").read_bytes())
    with pytest.raises(ReleaseError, match="columns of a shard"):
        next(opened.batches(languages=["C++"], verify=False))


def test_what_is_not_a_release(release, tmp_path):
    with pytest.raises(ReleaseError, match="no such folder"):
        Release.open(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReleaseError, match=r"not a release: it has no manifest\.json"):
        Release.open(tmp_path / "empty")
    document = canonical.load((release / "manifest.json").read_bytes())
    (release / "manifest.json").write_bytes(canonical.dumps({**document, "schema_version": 99}))
    with pytest.raises(ReleaseError, match="schema_version"):
        Release.open(release)
    (release / "manifest.json").write_bytes(b"{")
    with pytest.raises(ReleaseError, match="not JSON"):
        Release.open(release)


@pytest.mark.parametrize("languages", [None, ["Python", "C++"]])
def test_numbered_rows_are_those_of_batches_and_what_is_not_wanted_is_not_read(pristine, languages):
    """Breach: a reader of some rows gets others under their numbers, or reads the whole release."""
    release = Release.open(pristine)
    whole = pa.Table.from_batches(list(release.batches(["row_id"], languages, batch_rows=7)))
    numbered = list(release.numbered(["row_id"], languages, batch_rows=7))
    sizes = [batch.num_rows for _, batch in numbered]
    assert [first for first, _ in numbered] == np.cumsum([0, *sizes[:-1]]).tolist()
    assert pa.Table.from_batches([batch for _, batch in numbered]).equals(whole)
    names = whole["row_id"].to_pylist()
    for first, stop in ((0, 1), (5, 13), (len(whole) - 1, len(whole)), (3, len(whole)), (4, 4)):
        opened = Release.open(pristine)

        def wanted(a: int, b: int, first: int = first, stop: int = stop) -> bool:
            return max(a, first) < min(b, stop)

        got = {}
        for start, batch in opened.numbered(["row_id"], languages, batch_rows=7, wanted=wanted):
            got |= dict(enumerate(batch["row_id"].to_pylist(), start))
        assert set(range(first, stop)) <= set(got)
        assert all(names[row] == name for row, name in got.items())
        assert len(got) <= stop - first + 2 * 6
        if stop - first <= 1:
            assert len(opened._verified) == stop - first  # no other shard was opened
