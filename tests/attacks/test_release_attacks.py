"""Attacks on a signed release: whatever is done to it, `verify` finds it, names the file, and exits with 4.

The attacker can write any file of the copy, knows the format, and can compute every checksum and Merkle root anew. He has
not the maker's private key, and cannot reach what the reader keeps: trusted keys, pins, a digest.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests import canonical
from manifests.checksums import format_sums
from manifests.manifest import Manifest
from manifests.merkle import ids_leaf_hashes, root_of
from manifests.release_writer import sums_of
from manifests.schema import DATA
from manifests.shards import shard_ids, write_ids, write_shard
from manifests.signing import key_id, new_key, public_pem, sign
from manifests.trust import Expected, Pin
from manifests.verify import verify_release
from pipeline.cli.main import app
from pipeline.errors import ConfigError, IntegrityError

FACTORY = Path(__file__).parents[1] / "manifests" / "release_factory.py"
CPP, CSHARP = "data/C++/train-all.parquet", "data/C#/train-all.parquet"


@pytest.fixture(scope="module")
def factory():
    spec = importlib.util.spec_from_file_location("release_factory", FACTORY)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def key():
    return new_key()


@pytest.fixture(scope="module")
def trusted(key):
    return Expected(keys={key_id(key.public_key()): key.public_key()}, signed=True)


def signed_by(release, key):
    (release / "manifest.json.sig").write_bytes(sign((release / "manifest.json").read_bytes(), {}, key))
    return release


@pytest.fixture(scope="module")
def made(factory, key, tmp_path_factory):
    """Do not change it."""
    folder = tmp_path_factory.mktemp("made")
    return signed_by(factory.make_release(folder, rows={"C++": 4, "C#": 3}), key)


@pytest.fixture
def release(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "2.1"))


def faults(release, expected=None):
    return {(fault.path, fault.code) for fault in verify_release(release, expected=expected).faults}


def files(release):
    return sorted(p.relative_to(release).as_posix() for p in release.rglob("*") if p.is_file())


def forge(release, **changes):
    """Manifest and SHA256SUMS agree with the files as they are now; the signature is what it was."""
    document = {**canonical.load((release / "manifest.json").read_bytes()), **changes}
    for entry in document["shards"] + document["files"]:
        body = (release / entry["path"]).read_bytes()
        entry["sha256"], entry["bytes"] = hashlib.sha256(body).hexdigest(), len(body)
    for language, facts in document["languages"].items():
        facts["bytes"] = sum(s["bytes"] for s in document["shards"] if s["language"] == language)
    data = canonical.dumps(document)
    (release / "manifest.json").write_bytes(data)
    (release / "SHA256SUMS").write_bytes(sums_of(Manifest.parse(data), data))


def test_as_it_was_made(made, trusted):
    report = verify_release(made, expected=trusted)
    assert report.ok and report.signature == "trusted" and report.key_ids == tuple(trusted.keys)
    report = verify_release(made)
    assert report.ok and report.signature == "not checked" and report.key_ids == tuple(trusted.keys)


def test_every_kth_byte_of_every_file(release, trusted):
    """Each file in turn, bits flipped all over it, first and last byte included."""
    for name in files(release):
        original = (release / name).read_bytes()
        step = max(1, len(original) // 12)
        for position in sorted({*range(0, len(original), step), len(original) - 1}):
            body = bytearray(original)
            body[position] ^= 1 << position % 8
            (release / name).write_bytes(body)
            assert name in {path for path, _ in faults(release, trusted)}, (name, position)
        (release / name).write_bytes(original)
    assert not faults(release, trusted)


def test_add_remove_rename_truncate(release, trusted):
    for name in files(release):
        original = (release / name).read_bytes()
        (release / name).write_bytes(original[: len(original) // 2])
        assert name in {path for path, _ in faults(release, trusted)}
        (release / name).rename(release / "elsewhere")
        assert (name, "missing") in faults(release, trusted)
        (release / "elsewhere").unlink()
        (release / name).write_bytes(original)
    (release / "data/C#/more.parquet").write_bytes(original)
    assert faults(release, trusted) == {("data/C#/more.parquet", "extra")}


@pytest.mark.parametrize(
    "name",
    ["readme.md", "README.md ", "READМE.md", "README.md\u200b", "manifest.json.sig.bak", "Manifest.json"],
    ids=["case", "blank", "cyrillic", "zero-width", "backup", "case-manifest"],
)
def test_look_alike_names(release, trusted, name):
    (release / name).write_bytes((release / "README.md").read_bytes())
    assert {code for _, code in faults(release, trusted)} == {"extra"}


def test_shards_swapped(release, trusted):
    a, b = (release / CPP).read_bytes(), (release / CSHARP).read_bytes()
    (release / CPP).write_bytes(b)
    (release / CSHARP).write_bytes(a)
    assert {path for path, _ in faults(release, trusted)} == {CPP, CSHARP}


def edit(release):
    """A row with another text of the same length, and its checksum fixed in the shard."""
    rows = pq.read_table(release / CPP, partitioning=None).to_pylist()
    rows[1]["content"] = rows[1]["content"].swapcase()
    rows[1]["content_sha256"] = hashlib.sha256(rows[1]["content"].encode()).hexdigest()
    write_shard(pa.Table.from_pylist(rows, schema=DATA), release / CPP, path=CPP)


def test_an_edited_row_and_everything_fixed_but_the_signature(release, trusted):
    """Each fix moves the fault one step up; the last one needs the key."""
    edit(release)
    assert {path for path, _ in faults(release)} == {CPP}
    sums = dict(line.split("  ", 1)[::-1] for line in (release / "SHA256SUMS").read_text().splitlines())
    sums[CPP] = hashlib.sha256((release / CPP).read_bytes()).hexdigest()
    (release / "SHA256SUMS").write_bytes(format_sums(sums))
    assert {path for path, _ in faults(release)} == {CPP, "SHA256SUMS"}
    forge(release)
    assert {(CPP, "ids"), (CPP, "merkle")} <= faults(release)
    shards = [e["path"] for e in canonical.load((release / "manifest.json").read_bytes())["shards"]]
    tables = {path: shard_ids(release / path, path) for path in shards}
    ids = pa.concat_tables(tables.values()).sort_by("row_id")
    write_ids(ids, release / "ids.parquet")
    entries = canonical.load((release / "manifest.json").read_bytes())["shards"]
    for entry in entries:
        entry["merkle_root"] = root_of(ids_leaf_hashes(tables[entry["path"]])).hex()
    forge(release, merkle_root=root_of(ids_leaf_hashes(ids)).hex(), shards=entries)
    # The card gives the size of the shard: it could be forged, too, and is another file.
    assert {path for path, _ in faults(release)} <= {"README.md"}
    assert ("manifest.json.sig", "signature") in faults(release, trusted)
    (release / "manifest.json.sig").unlink()
    assert ("manifest.json.sig", "missing") in faults(release, trusted)


def test_figures_that_add_up_but_are_not_those_of_the_rows(release):
    document = canonical.load((release / "manifest.json").read_bytes())
    rows = sum(document["licenses"].values())
    forge(release, licenses={"Unlicense": rows}, redactions={**document["redactions"], "email": 99})
    assert faults(release) == {("manifest.json", "figures")}


def test_another_key_and_a_signature_of_another_release(factory, release, trusted, key, tmp_path):
    signed_by(release, new_key())
    assert faults(release, trusted) == {("manifest.json.sig", "signature")}
    other = signed_by(factory.make_release(tmp_path / "o", rows={"C++": 2}, version="2.0"), key)
    shutil.copy(other / "manifest.json.sig", release)
    assert faults(release, trusted) == {("manifest.json.sig", "signature")}


def test_an_older_release_is_replayed(factory, release, trusted, key, tmp_path):
    """A whole older release, truly signed: only who remembers can tell."""
    older = signed_by(factory.make_release(tmp_path / "old", rows={"C++": 2}, version="2.0"), key)
    assert not faults(older, trusted)
    digest = hashlib.sha256((release / "manifest.json").read_bytes()).hexdigest()
    name = "stackmill-test"
    for expected in (
        Expected(at_least="2.1"),
        Expected(pins={name: Pin("2.1", digest)}),
        Expected(pins={name: Pin("2.0", "ab" * 32)}),
        Expected(pins={name: Pin("2.0.0", "ab" * 32)}),
        Expected(pins={name: Pin("2.0.1-rc.1", "ab" * 32)}),
    ):
        assert faults(older, expected) == {("manifest.json", "rollback")}
    assert faults(older, Expected(digest=digest)) == {("manifest.json", "digest")}
    assert not faults(release, Expected(pins={name: Pin("2.1", digest)}, at_least="2.1-rc.9", digest=digest))
    shutil.copy(older / "manifest.json", release)
    assert {("manifest.json", "sums"), (CSHARP, "extra")} <= faults(release)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["files"][0].update(path="../outside"),
        lambda d: d["shards"][0].update(path="/etc/passwd"),
        lambda d: d["files"][0].update(path="data/../README.md"),
        lambda d: d.update(schema_version=99),
        lambda d: d.update(schema_version="2"),
        lambda d: d["totals"].update(found=1),
        lambda d: d["shards"][0].update(rows=True),
    ],
    ids=["parent-folder", "absolute", "inner-dots", "version", "version-type", "sums", "type"],
)
def test_manifests_that_cannot_be(release, change):
    document = canonical.load((release / "manifest.json").read_bytes())
    change(document)
    (release / "manifest.json").write_bytes(canonical.dumps(document))
    assert {path for path, _ in faults(release)} == {"manifest.json"}


def test_half_uploaded(release):
    """Whatever is not there yet is named; without the manifest, which comes last, there is no release."""
    (release / CPP).unlink()
    (release / "ids.parquet").unlink()
    (release / "SHA256SUMS").unlink()
    assert faults(release) == {(CPP, "missing"), ("ids.parquet", "missing"), ("SHA256SUMS", "missing")}
    (release / "manifest.json").unlink()
    assert faults(release) == {("manifest.json", "missing")}


def call(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_the_command_exits_with_4_naming_the_file(made, release, key, tmp_path, monkeypatch):
    public, other = tmp_path / "maker.pub", tmp_path / "other.pub"
    public.write_bytes(public_pem(key.public_key()))
    other.write_bytes(public_pem(new_key().public_key()))
    done = call(made, "--trusted-keys", public, "--pin", tmp_path / "pins.json")
    assert done.exit_code == 0 and f"good, by the trusted key {key_id(key.public_key())}" in done.stdout
    pins = json.loads((tmp_path / "pins.json").read_text())
    assert pins["releases"]["stackmill-test"]["version"] == "2.1"
    for arguments, named in (
        ((made, "--trusted-keys", other), "manifest.json.sig: signature: "),
        ((made, "--require-signature"), "manifest.json.sig: signature: "),
        ((made, "--at-least", "3.0"), "manifest.json: rollback: "),
        ((made, "--digest", "0" * 64), "manifest.json: digest: "),
        ((made, "--parent", made), "manifest.json: parent: "),
    ):
        done = call(*arguments)
        assert isinstance(done.exception, IntegrityError) and done.exception.exit_code == 4
        assert named in done.stdout
    (release / "manifest.json.sig").unlink()
    assert "UNSIGNED" in call(release).stdout and call(release).exit_code == 0
    for arguments in (
        ("--require-signature",),
        ("--trusted-keys", public),
    ):  # a signature cannot be taken away
        assert "manifest.json.sig: missing" in call(release, *arguments).stdout
    monkeypatch.setenv("STACKMILL_TRUSTED_KEYS", str(other))
    assert call(release).exit_code == 0
    assert "manifest.json.sig: signature" in call(made).stdout
    forge(release, opt_out_head="ee" * 32)
    monkeypatch.delenv("STACKMILL_TRUSTED_KEYS")
    assert "manifest.json: rollback" in call(release, "--pin", tmp_path / "pins.json").stdout
    for arguments in (
        ("--sample", "0"), ("--sample", "101%"), ("--sample", "x"), ("--seed", "1"), ("--digest", "z"),
        ("--at-least", "new"), ("--trusted-keys", made / "README.md"), ("--trusted-keys", tmp_path / "none"),
        ("--pin", made / "README.md"), ("--parent", tmp_path), ("--sigstore-identity", "me"),
    ):  # fmt: skip
        assert isinstance(call(made, *arguments).exception, ValueError), arguments
    with pytest.raises(ConfigError):
        raise call(made, "--row", "a", "--proof", "b").exception


def test_a_sample_says_what_it_leaves_out(made, release):
    done = call(made, "--sample", "50%", "--seed", "7")
    assert "1 of 2 shards opened" in done.stdout and "NOT their bytes" in done.stdout
    value = json.loads(call(made, "--sample", "1", "--seed", "7", "--json").stdout)
    assert value["checked"] == {"shards_opened": 1, "shards": 2, "seed": "7", "tokens": False}
    # Bytes of a shard that is not drawn may be wrong, its absence and its size may not.
    (release / CPP).write_bytes((release / CPP).read_bytes()[::-1])
    outcomes = {call(release, "--sample", "1", "--seed", seed).exit_code for seed in "abcdefgh"}
    assert outcomes == {0, 1}  # the runner knows our errors as exceptions only
    (release / CPP).write_bytes(b"short")
    assert all(call(release, "--sample", "1", "--seed", seed).exit_code for seed in "abcd")


def test_an_identity_is_asked_for_and_nobody_has_signed(made):
    """No service is asked: there is no bundle."""
    done = call(
        made, "--sigstore-identity", "someone@example.org", "--sigstore-issuer", "https://example.org"
    )
    assert isinstance(done.exception, IntegrityError)
    assert "manifest.json.sigstore.json: missing" in str(done.exception)


def test_a_parent_is_the_one_that_is_named(factory, made, tmp_path):
    """The manifest names its parent by digest; another release of that version is another parent."""
    older = factory.make_release(tmp_path / "one", rows={"C++": 2}, version="2.0")
    twin = factory.make_release(tmp_path / "two", rows={"C++": 3}, version="2.0")
    copy = Path(shutil.copytree(made, tmp_path / "2.1"))
    digest = hashlib.sha256((older / "manifest.json").read_bytes()).hexdigest()
    forge(copy, parent={"version": "2.0", "digest": digest})
    assert call(copy, "--parent", older).exit_code == 0
    assert "manifest.json: parent" in call(copy, "--parent", twin).stdout
    forge(copy, parent={"version": "1.9", "digest": digest})
    assert "manifest.json: parent" in call(copy, "--parent", older).stdout
