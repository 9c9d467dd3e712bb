"""An ids-only view is bound to its release, holds no text, and gives back exactly the release's rows, or says why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests import canonical
from manifests.checksums import sha256_file
from manifests.errors import ReleaseError
from manifests.ids_view import IDS_ROWS, VIEW, IdsView
from manifests.reader import Release
from pii.settings import Policy
from pipeline.cli.main import app
from pipeline.errors import ConfigError, IntegrityError, SourceError
from pipeline.hydrate import Texts, hydrate, make_view, notebooks_of, read_removals, redaction_of


@pytest.fixture(scope="module")
def release(made) -> Release:
    return Release.open(made[0].directory)


@pytest.fixture(scope="module")
def view(release, tmp_path_factory) -> Path:
    """A view; do not change it."""
    out = tmp_path_factory.mktemp("view") / "ids"
    make_view(release, out)
    return out


@pytest.fixture
def broken(view, tmp_path) -> Path:
    return Path(shutil.copytree(view, tmp_path / "ids"))


def rows_of(folder: Path) -> list[dict]:
    files = sorted((folder / "data").rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


# ------------------------------------------------------------------------------------------------------- round trip


def test_hydrated_ids_are_the_release(release, view, archive, tmp_path):
    """Breach: a column, a row, a byte of a shard is not what the release has."""
    opened = IdsView.open(view)
    done = hydrate(opened, Texts(str(archive), redaction_of(opened), notebooks_of(opened)), tmp_path / "out")
    assert rows_of(tmp_path / "out") == rows_of(release.directory)
    for shard in release.shards():
        assert sha256_file(tmp_path / "out" / shard.path)[0] == shard.sha256
    assert (done.rows, done.restored, done.lost) == (opened.source.totals.kept,) * 2 + (0,)
    assert done.identical_shards == done.shards == len(release.shards())
    assert done.same_rules
    assert (tmp_path / "out/left-out.jsonl").read_bytes() == b""
    assert any(row["redactions"] for row in rows_of(release.directory)), "nothing here was redacted"


def test_a_view_holds_no_text_and_no_place_of_a_secret(release, view, world):
    texts = {row["content"] for row in rows_of(release.directory)}
    for file in view.rglob("*.parquet"):
        assert pq.read_schema(file).equals(IDS_ROWS)
        assert not {"content", "redactions"} & set(pq.read_schema(file).names)
    data = b"".join(file.read_bytes() for file in sorted(view.rglob("*")) if file.is_file())
    assert not any(secret in data for secret in world.secrets)
    assert not any(text.encode()[:60] in data for text in texts)
    kinds = {
        row["row_id"]: sorted({r["kind"] for r in row["redactions"]}) for row in rows_of(release.directory)
    }
    assert {row["row_id"]: row["redaction_kinds"] for row in rows_of(view)} == kinds


def test_the_same_release_gives_the_same_view(release, view, tmp_path):
    make_view(release, tmp_path / "again")
    assert {p.relative_to(view): p.read_bytes() for p in view.rglob("*") if p.is_file()} == {
        p.relative_to(tmp_path / "again"): p.read_bytes()
        for p in (tmp_path / "again").rglob("*")
        if p.is_file()
    }
    assert list(IdsView.open(view).check()) == []


# ----------------------------------------------------------------------------------------- what cannot be had again


def test_what_cannot_be_had_is_listed_with_its_reason(release, view, archive, tmp_path):
    """Breach: a row is silently dropped, or a wrong text handed out under its id."""
    rows = rows_of(release.directory)
    plain = [row for row in rows if not row["redactions"]]
    secret = next(row for row in rows if any(r["kind"] == "email" for r in row["redactions"]))
    missing, corrupt, withdrawn = plain[0], plain[1], plain[2]
    content = tmp_path / "content"
    shutil.copytree(archive / "content", content)
    (content / missing["blob_id"]).unlink()
    data = (content / corrupt["blob_id"]).read_bytes()
    (content / corrupt["blob_id"]).write_bytes(data[:-9])
    (tmp_path / "removals.jsonl").write_text(
        json.dumps({"row_id": withdrawn["row_id"], "reason": "withdrawn"}) + "\n"
    )
    gone = read_removals(tmp_path / "removals.jsonl")
    opened = IdsView.open(view)

    class Unredacted(Texts):
        """A source whose rules do not find what the release's rules found."""

        def __call__(self, asked: pa.Table) -> pa.Table:
            told = super().__call__(asked)
            return told.set_column(
                1, "redactions", pa.array([[]] * len(told), told.schema.field("redactions").type)
            )

    done = hydrate(opened, Unredacted(str(content), Policy(), withdrawn=gone), tmp_path / "out")
    left = [json.loads(line) for line in (tmp_path / "out/left-out.jsonl").read_text().splitlines()]
    reasons = {one["row_id"]: one["reason"] for one in left}
    assert reasons[missing["row_id"]] == "missing"
    assert reasons[corrupt["row_id"]] == "corrupt"
    assert reasons[withdrawn["row_id"]] == "withdrawn"
    assert reasons[secret["row_id"]] == "text_differs"
    assert done.rows == len(rows) == done.restored + len(left)
    assert done.lost == len(left) - 1
    kept = {row["row_id"]: row for row in rows_of(tmp_path / "out")}
    assert kept == {row["row_id"]: row for row in rows if row["row_id"] not in reasons}
    summary = json.loads((tmp_path / "out/hydration.json").read_text())
    assert summary["left_out"]["withdrawn"] == 1 and summary["rows"] == len(rows)


def test_the_commands(release, archive, tmp_path):
    """`view ids`, `view check`, `hydrate`: what they print and how they end."""

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    ids, out = tmp_path / "ids", tmp_path / "out"
    assert run("view", "ids", release.directory, "--out", ids).exit_code == 0
    again = run("view", "ids", release.directory, "--out", ids)
    assert isinstance(again.exception, ConfigError) and "exists" in str(again.exception)
    assert "no fault" in run("view", "check", ids, "--release", release.digest).stdout
    assert isinstance(run("view", "check", ids, "--release", "0" * 64).exception, IntegrityError)
    done = run("hydrate", ids, "--content", archive, "--out", out, "--language", "JavaScript", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["restored"] == release.manifest.languages["JavaScript"].rows
    (tmp_path / "empty").mkdir()
    lost = run("hydrate", ids, "--content", tmp_path / "empty", "--out", tmp_path / "none")
    assert isinstance(lost.exception, (IntegrityError, SourceError))
    assert isinstance(
        run("hydrate", ids, "--content", tmp_path / "nope", "--out", tmp_path / "x").exception, ConfigError
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "ids", "none", "out"]


# --------------------------------------------------------------------------------------------------------- attacks


def faults(folder: Path) -> list[str]:
    try:
        return list(IdsView.open(folder).check())
    except ReleaseError as error:
        return [str(error)]


def test_every_flipped_byte_is_found(view, broken):
    """Breach: a view that was changed on its way checks out."""
    for file in sorted(path for path in broken.rglob("*") if path.is_file()):
        data = file.read_bytes()
        for place in (0, len(data) // 2, len(data) - 1):
            file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            assert faults(broken), f"byte {place} of {file.name}"
        file.write_bytes(data)
    assert list(IdsView.open(broken).check()) == []


def _fixed(folder: Path, change) -> None:
    """Change a table of the view, and have view.json say so."""
    record = canonical.load((folder / VIEW).read_bytes())
    shard = record["shards"][0]
    file = folder / shard["path"]
    table = change(pq.read_table(file, partitioning=None))
    pq.write_table(table, file)
    shard["sha256"], shard["bytes"] = sha256_file(file)
    shard["rows"] = table.num_rows
    (folder / VIEW).write_bytes(canonical.dumps(record))


def _with(name: str, value):
    def change(table: pa.Table) -> pa.Table:
        values = [value, *table[name].to_pylist()[1:]]
        return table.set_column(
            table.schema.get_field_index(name), table.schema.field(name), pa.array(values, table[name].type)
        )

    return change


@pytest.mark.parametrize(
    "change",
    [
        _with("content_sha256", "0" * 64), _with("row_id", "0" * 32), _with("blob_id", "../../../etc/passwd"),
        _with("sha256", "x"), _with("length_bytes", 1 << 40), _with("length_bytes", -1),
        lambda table: table.slice(1), lambda table: pa.concat_tables([table, table]), lambda table: table.drop(["path"]),
    ],
)  # fmt: skip
def test_rows_that_are_not_the_releases_are_refused(broken, archive, tmp_path, change):
    """Breach: rows slipped in with fixed checksums are fetched, from any path, and handed out as the release's."""
    _fixed(broken, change)
    with pytest.raises((ReleaseError, IntegrityError)):
        hydrate(IdsView.open(broken), Texts(str(archive), Policy()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_too_many_too_few_or_linked_is_found(broken):
    (broken / "extra.txt").write_text("x")
    assert any("extra.txt" in fault for fault in IdsView.open(broken).check())
    (broken / "extra.txt").unlink()
    (broken / "README.md").rename(broken.parent / "elsewhere")
    assert any("README.md is missing" in fault for fault in IdsView.open(broken).check())
    (broken / "README.md").symlink_to(broken.parent / "elsewhere")
    assert any("README.md" in fault for fault in IdsView.open(broken).check())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"format":"stackmill-ids-view"}'])
def test_a_view_that_is_none_is_refused(broken, data):
    (broken / VIEW).write_bytes(data)
    with pytest.raises(ReleaseError):
        IdsView.open(broken)


@pytest.mark.parametrize("line", ["{}", "no", '{"row_id": 1}', "[" * 5_000, '"x"'])
def test_a_bad_list_of_removals_names_its_line(tmp_path, line):
    (tmp_path / "r.jsonl").write_text('{"row_id": "a"}\n' + line + "\n")
    with pytest.raises(ConfigError, match=r"r\.jsonl:2:"):
        read_removals(tmp_path / "r.jsonl")
