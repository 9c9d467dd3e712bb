"""Finishing a release: the same bytes every time, and nothing is published that should not be."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.errors import ManifestError, ReleaseError
from manifests.facts import Totals
from manifests.merkle import ids_leaf_hashes, root_of
from manifests.reader import Release
from manifests.release_writer import finish_release
from manifests.schema import IDS
from manifests.shards import shard_ids
from manifests.verify import verify_release


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture
def staging(factory, tmp_path):
    tables = {language: factory.make_rows(language, count) for language, count in factory.ROWS.items()}
    return tmp_path / "staging", factory.write_shards(tmp_path / "staging", tables)


def arguments(pristine: Path, facts, **changes) -> dict:
    manifest = Release.open(pristine).manifest
    values = {
        "name": manifest.name,
        "version": manifest.version,
        "shards": facts,
        "totals": manifest.totals,
        "origins": manifest.origins,
        "inputs": manifest.inputs,
        "contents": manifest.contents,
        "digests": manifest.digests,
        "opt_out_head": manifest.opt_out_head,
        "config_yaml": b"",
    }
    return {**values, **changes}


def test_same_arguments_same_bytes(factory, pristine, tmp_path):
    assert files_of(factory.make_release(tmp_path)) == files_of(pristine)


def test_order_of_shards_and_ids_does_not_matter(factory, pristine, staging):
    folder, facts = staging
    ids = [shard_ids(folder / shard.path, shard.path) for shard in reversed(facts)]
    first = finish_release(folder, **arguments(pristine, facts))
    again = finish_release(folder, **arguments(pristine, list(reversed(facts)), ids=iter(ids)))
    batches = [batch for table in ids for batch in table.to_batches(max_chunksize=3)]
    assert first == again == finish_release(folder, **arguments(pristine, facts, ids=batches))
    assert first == finish_release(folder, **arguments(pristine, facts, ids=pa.concat_tables(ids)))
    assert verify_release(folder).ok


def test_release_is_what_it_says(pristine):
    release = Release.open(pristine)
    ids = pq.read_table(pristine / "ids.parquet")
    assert ids.schema.equals(IDS)
    assert ids.column("row_id").to_pylist() == sorted(ids.column("row_id").to_pylist())
    assert root_of(ids_leaf_hashes(ids)).hex() == release.manifest.merkle_root
    assert (pristine / "config.yaml").read_bytes() == b"name: stackmill-test\n"
    assert "70 rows" in (pristine / "CHANGELOG.md").read_text()


def test_shards_may_lie_elsewhere(factory, pristine, staging, tmp_path):
    """Where there is no rename, the shards are in an object store: the small files, and the digest, are the same."""
    folder, facts = staging
    ids = [shard_ids(folder / shard.path, shard.path) for shard in facts]
    whole = finish_release(folder, **arguments(pristine, facts, ids=ids))
    small = tmp_path / "small"
    small.mkdir()
    assert finish_release(small, **arguments(pristine, facts, ids=ids, shards_elsewhere=True)) == whole
    shards = {shard.path for shard in facts}
    assert files_of(small) == {path: data for path, data in files_of(folder).items() if path not in shards}
    with pytest.raises(ReleaseError, match="ids of shards that are elsewhere must be given"):
        finish_release(small, **arguments(pristine, facts, shards_elsewhere=True))
    with pytest.raises(ReleaseError, match=rf"the shard {facts[0].path} is missing"):
        finish_release(small, **arguments(pristine, facts, ids=ids))


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils is not installed")
def test_plain_sha256sum_checks_the_release(pristine):
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=pristine, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.count(": OK") == len(files_of(pristine)) - 1


def test_further_files_are_listed(pristine, staging):
    folder, facts = staging
    (folder / "removals.jsonl").write_bytes(b"{}\n")
    with pytest.raises(ReleaseError, match=r"removals\.jsonl.*not part"):
        finish_release(folder, **arguments(pristine, facts))
    finish_release(folder, **arguments(pristine, facts, extra=["removals.jsonl"]))
    assert "removals.jsonl" in Release.open(folder).manifest.listed()
    assert verify_release(folder).ok


def test_an_interrupted_call_can_be_repeated(pristine, staging):
    folder, facts = staging
    digest = finish_release(folder, **arguments(pristine, facts))
    (folder / "SHA256SUMS").unlink()
    (folder / "README.md").write_bytes(b"half")
    assert finish_release(folder, **arguments(pristine, facts)) == digest


@pytest.mark.parametrize(
    "extra", ["manifest.json", "SHA256SUMS", "README.md", "manifest.json.sig", "../x", "/x"]
)
def test_reserved_or_unsafe_further_files(pristine, staging, extra):
    folder, facts = staging
    with pytest.raises(ValueError, match=r"cannot be given|path"):
        finish_release(folder, **arguments(pristine, facts, extra=[extra]))


def test_missing_and_altered_shards(pristine, staging):
    folder, facts = staging
    with pytest.raises(ReleaseError, match="its facts say"):
        finish_release(folder, **arguments(pristine, [replace(facts[0], bytes=1), *facts[1:]]))
    (folder / facts[0].path).unlink()
    with pytest.raises(ReleaseError, match="is missing"):
        finish_release(folder, **arguments(pristine, facts))
    (folder / facts[0].path).symlink_to(folder / facts[1].path)
    with pytest.raises(ReleaseError, match="is missing"):
        finish_release(folder, **arguments(pristine, facts))


def test_rows_that_are_not_unique(factory, pristine, tmp_path):
    for column in ("row_id", "content_sha256"):
        one, two = factory.make_rows("C", 3), factory.make_rows("D", 3)
        at = two.schema.get_field_index(column)
        values = [one.column(column)[0].as_py(), *two.column(column).to_pylist()[1:]]
        two = two.set_column(at, two.schema.field(at), pa.array(values))
        folder = tmp_path / column
        facts = factory.write_shards(folder, {"C": one, "D": two})
        with pytest.raises(ReleaseError, match=f"two rows have the same {column}: {values[0]}"):
            finish_release(folder, **arguments(pristine, facts))


def test_ids_must_be_the_rows_of_the_shards(pristine, staging):
    folder, facts = staging
    ids = pa.concat_tables([shard_ids(folder / shard.path, shard.path) for shard in facts])
    with pytest.raises(ReleaseError, match="ids of data/"):
        finish_release(folder, **arguments(pristine, facts, ids=ids.slice(1)))
    with pytest.raises(ReleaseError, match="schema"):
        finish_release(folder, **arguments(pristine, facts, ids=ids.drop_columns(["row"])))


def test_figures_that_do_not_add_up(pristine, staging):
    folder, facts = staging
    with pytest.raises(ManifestError, match="not conserved"):
        finish_release(folder, **arguments(pristine, facts, totals=Totals(found=71, kept=70, dropped={})))
    with pytest.raises(ManifestError, match="rows"):
        finish_release(folder, **arguments(pristine, facts, totals=Totals(found=69, kept=69, dropped={})))
    assert not (folder / "manifest.json").exists()


def test_nothing_kept_is_refused(pristine, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="without a single row"):
        finish_release(
            tmp_path / "empty",
            **arguments(pristine, [], totals=Totals(found=1, kept=0, dropped={"license": 1})),
        )
