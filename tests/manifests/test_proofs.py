"""Proofs of rows: what is in a release is shown to be, what is not is shown not to be, and nothing else is."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from manifests import canonical
from manifests.errors import ReleaseError
from manifests.manifest import Manifest
from manifests.merkle import _BLOCK, Tree, check_inclusion, leaf_hash, prove, root_of
from manifests.proofs import check_row_proof, prove_row
from pipeline.cli import verify
from pipeline.errors import ConfigError, IntegrityError


@pytest.fixture
def manifest(pristine):
    return Manifest.parse((pristine / "manifest.json").read_bytes())


@pytest.fixture
def ids(pristine):
    return pq.read_table(pristine / "ids.parquet")


def proof(pristine, manifest, row_id):
    with (pristine / "ids.parquet").open("rb") as file:
        return prove_row(file, row_id, manifest)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, _BLOCK - 1, _BLOCK + 1, 3 * _BLOCK + 5])
def test_streamed_proofs_are_those_of_the_tree(size):
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    tree, indices = Tree(leaves), sorted({0, size // 3, size - 1})
    root, count, found = prove(iter(leaves), indices)
    assert (root, count) == (root_of(leaves), size)
    assert found == {index: tree.proof(index) for index in indices}
    assert all(check_inclusion(root, leaves[index], index, size, found[index]) for index in indices)
    with pytest.raises(IndexError):
        prove(iter(leaves), [size])


def test_every_row_is_proven_present(pristine, manifest, ids):
    for row in ids.to_pylist()[::9]:
        made = proof(pristine, manifest, row["row_id"])
        facts = check_row_proof(canonical.dumps(made), manifest)
        assert facts.present and (facts.shard, facts.row) == (row["shard"], row["row"])
        assert facts.content_sha256 == row["content_sha256"]


def test_what_is_not_there_is_proven_absent_at_both_ends_too(pristine, manifest, ids):
    names = ids["row_id"].to_pylist()
    for row_id, leaves in (("!", 1), ("~", 1), (names[3] + "0", 2), (names[0] + "0", 2), ("0" * 64, 1)):
        made = proof(pristine, manifest, row_id)
        assert not made["present"] and len(made["leaves"]) == leaves
        assert check_row_proof(json.dumps(made).encode(), manifest).present is False


def test_no_change_of_a_proof_is_accepted(pristine, manifest, ids):
    names = ids["row_id"].to_pylist()
    present, absent = proof(pristine, manifest, names[5]), proof(pristine, manifest, names[5] + "0")
    before = proof(pristine, manifest, "!")

    def changed(made, change):
        made = copy.deepcopy(made)
        change(made)
        return made

    wrong = [
        changed(present, lambda p: p.update(row_id=names[6])),
        changed(present, lambda p: p.update(present=False)),
        changed(present, lambda p: p["leaves"][0].update(index=6)),
        changed(present, lambda p: p["leaves"][0]["leaf"].update(row=0, shard="data/x")),
        changed(present, lambda p: p["leaves"][0]["hashes"].pop()),
        changed(present, lambda p: p["leaves"][0]["hashes"].append("0" * 64)),
        changed(present, lambda p: p["leaves"][0]["hashes"].__setitem__(0, "0" * 64)),
        changed(present, lambda p: p.update(digest="0" * 64)),
        changed(present, lambda p: p.update(rows=p["rows"] + 1)),
        changed(present, lambda p: p.update(merkle_root="0" * 64)),
        changed(present, lambda p: p.update(proof_version=2)),
        changed(present, lambda p: p.update(more=1)),
        changed(present, lambda p: p["leaves"][0].update(index=True)),
        changed(present, lambda p: p["leaves"][0]["leaf"].update(row="0")),
        # A row that is there is not shown absent by neighbours that are none, or by one of them alone.
        changed(absent, lambda p: p.update(row_id=names[5])),
        changed(absent, lambda p: p.update(row_id=names[9])),
        changed(absent, lambda p: p["leaves"].pop()),
        changed(absent, lambda p: p["leaves"].reverse()),
        changed(absent, lambda p: p["leaves"].__setitem__(1, present["leaves"][0])),
        changed(absent, lambda p: p.update(present=True)),
        changed(before, lambda p: p.update(row_id=names[2])),
        changed(before, lambda p: p.update(leaves=[])),
    ]
    for number, made in enumerate(wrong):
        with pytest.raises(ReleaseError, match="proof"):
            check_row_proof(json.dumps(made).encode(), manifest)
        assert made not in (present, absent, before), number
    for data in (b"", b"[]", b"{}", b"null", b"\xff", b'{"proof_version":1}'):
        with pytest.raises(ReleaseError):
            check_row_proof(data, manifest)


def test_an_unsorted_or_foreign_list_proves_nothing(release, manifest):
    table = pq.read_table(release / "ids.parquet")
    for spoiled, message in (
        (table.take([1, 0, *range(2, table.num_rows)]), "sorted"),
        (table.slice(1), "root"),
    ):
        pq.write_table(spoiled, release / "ids.parquet")
        with pytest.raises(ReleaseError, match=message):
            proof(release, manifest, "a")


@pytest.fixture
def call():
    app = typer.Typer()
    verify.register(app)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_on_the_command_line(call, pristine, release, ids, tmp_path):
    """Shards are not hashed for a row: all others may be gone."""
    row = ids.to_pylist()[7]
    for other in set(ids["shard"].to_pylist()) - {row["shard"]}:
        (release / other).unlink()
    for row_id, said in ((row["row_id"], "is in release 2.1"), ("nobody", "is NOT in release 2.1")):
        made = call(release, "--row", row_id)
        assert made.exit_code == 0 and said in made.stdout and "UNSIGNED" in made.stdout
        (tmp_path / "proof.json").write_text(call(release, "--row", row_id, "--json").stdout)
        for address in (pristine, pristine / "manifest.json"):
            checked = call(address, "--proof", tmp_path / "proof.json")
            assert checked.exit_code == 0 and said in checked.stdout
        assert json.loads(call(pristine, "--proof", tmp_path / "proof.json", "--json").stdout)["ok"] is True
    other = json.loads((tmp_path / "proof.json").read_text())
    (tmp_path / "proof.json").write_text(json.dumps({**other, "row_id": row["row_id"]}))
    assert isinstance(call(pristine, "--proof", tmp_path / "proof.json").exception, IntegrityError)
    assert isinstance(call(pristine, "--row", "x\x1b").exception, ConfigError)
    assert isinstance(call(pristine / "manifest.json", "--row", "x").exception, ConfigError)
    assert isinstance(call(pristine, "--row", "x", "--digest", "0" * 64).exception, IntegrityError)
    (release / row["shard"]).write_bytes(b"PAR1" * 20)
    done = call(release, "--row", row["row_id"])
    assert isinstance(done.exception, IntegrityError) and row["shard"] in str(done.exception)


def test_the_program_in_the_documentation_agrees(pristine, manifest, ids, tmp_path):
    """Whoever has no software of ours checks a proof with the page's few lines."""
    page = (Path(__file__).parents[2] / "docs/verify.md").read_text(encoding="utf-8")
    (tmp_path / "check.py").write_text(page.split("```py\n")[1].split("```")[0], encoding="utf-8")
    row_id = ids["row_id"][11].as_py()

    def told(made):
        (tmp_path / "proof.json").write_text(json.dumps(made))
        command = [sys.executable, "-I", "check.py", str(pristine / "manifest.json"), "proof.json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    assert told(proof(pristine, manifest, row_id)) == "is in the release"
    for absent in (row_id + "0", "!", "~"):
        made = proof(pristine, manifest, absent)
        assert told(made) == "is not in the release"
        assert told({**made, "row_id": row_id}) == ""
        made["leaves"][0]["index"] += 1
        assert told(made) == ""
