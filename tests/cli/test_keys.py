"""Keys and signatures as a user has them: `pipeline keys`, `pipeline sign`, `pipeline release --sign-key`."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from commands import modes_count, run

from manifests.names import MANIFEST, SIGNATURE
from manifests.signing import check_envelope, load_trusted_keys
from pipeline.attestation import provenance, sign_release, times
from pipeline.engine.store import Store
from pipeline.errors import ConfigError
from pipeline.keys import PASSPHRASE, load_signing_key, make_keys

FACTORY = Path(__file__).parents[1] / "manifests" / "release_factory.py"


@pytest.fixture
def release_dir(tmp_path):
    spec = importlib.util.spec_from_file_location("release_factory", FACTORY)
    factory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(factory)
    return factory.make_release(tmp_path / "releases", rows={"Python": 3})


@pytest.fixture
def pair(tmp_path):
    key, public = make_keys(tmp_path / "release.key")
    return key, tmp_path / "release.key", public


def test_a_key_pair_is_made_and_shown(tmp_path):
    made, again, ours, theirs, missing = run(
        tmp_path / "io",
        tmp_path,
        ["keys", "new", "sub/release.key"],
        ["keys", "new", "sub/release.key"],
        ["keys", "show", "sub/release.key", "--json"],
        ["keys", "show", "sub/release.key.pub"],
        ["keys", "show", "nothing"],
    )
    assert made.code == 0, made.message
    again.refused(2, "exists")
    missing.refused(2, "No such file")
    assert ours.data["keys"] == theirs.out.decode().split()
    assert ours.data["keys"][0] in made.out.decode()
    assert b"PRIVATE" not in made.out
    assert stat.S_IMODE((tmp_path / "sub/release.key").stat().st_mode) == 0o600


def test_a_passphrase_protects_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv(PASSPHRASE, "some words")
    key, _ = make_keys(tmp_path / "release.key")
    assert b"ENCRYPTED" in (tmp_path / "release.key").read_bytes()
    assert load_signing_key(tmp_path / "release.key").id == key.id
    monkeypatch.setenv(PASSPHRASE, "others")
    with pytest.raises(ConfigError, match="passphrase is wrong"):
        load_signing_key(tmp_path / "release.key")
    monkeypatch.delenv(PASSPHRASE)
    with pytest.raises(ConfigError, match=PASSPHRASE):
        load_signing_key(tmp_path / "release.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_refused(pair, mode):
    pair[1].chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signing_key(pair[1])


def test_what_is_no_key(tmp_path, pair):
    for name, data in (("empty", b""), ("text", b"hello"), ("public", pair[2].read_bytes())):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(ConfigError, match=name):
            load_signing_key(tmp_path / name)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "."):
        with pytest.raises(ConfigError, match=r"cannot be read|not a file"):
            load_signing_key(tmp_path / name)


def test_a_release_is_signed_once_and_by_two(tmp_path, pair, release_dir):
    _, file, public = pair
    make_keys(tmp_path / "other.key")
    before = {path: path.read_bytes() for path in release_dir.rglob("*") if path.is_file()}
    first, again, second, none = run(
        tmp_path / "io",
        tmp_path,
        ["sign", str(release_dir), "--key", str(file)],
        ["sign", str(release_dir), "--key", str(file)],
        ["sign", str(release_dir), "--key", "other.key"],
        ["sign", str(tmp_path), "--key", "other.key"],
    )
    assert (first.code, again.code, second.code) == (0, 0, 0), (first.message, again.message, second.message)
    assert b"already" in again.out and b"further" in second.out
    none.refused(2, "not a release")
    envelope, manifest = ((release_dir / name).read_bytes() for name in (SIGNATURE, MANIFEST))
    for key in (public, tmp_path / "other.key.pub"):
        found = check_envelope(envelope, manifest, load_trusted_keys(key.read_bytes()))
        assert len(found.key_ids) == 2
    assert found.predicate["runDetails"]["builder"]["id"] == "urn:stackmill:sign"
    assert {path: path.read_bytes() for path in before} == before


def test_a_signature_file_that_is_none(tmp_path, pair, release_dir):
    (release_dir / SIGNATURE).write_bytes(b"{}")
    (refused,) = run(tmp_path / "io", tmp_path, ["sign", str(release_dir), "--key", str(pair[1])])
    refused.refused(2, "remove that file")


@pytest.mark.skipif(not modes_count(), reason="file modes bind nobody here")
def test_a_release_that_may_not_be_written(tmp_path, pair, release_dir):
    release_dir.chmod(0o555)
    try:
        (refused,) = run(tmp_path / "io", tmp_path, ["sign", str(release_dir), "--key", str(pair[1])])
    finally:
        release_dir.chmod(0o755)
    refused.refused(5, SIGNATURE)


def test_the_predicate_says_how_and_names_no_machine(release_dir):
    from manifests.reader import Release

    manifest = Release.open(release_dir).manifest
    run_times = times(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 60.4)
    assert run_times == {"startedOn": "2026-01-02T03:04:05Z", "finishedOn": "2026-01-02T03:05:05Z"}
    text = json.dumps(provenance(manifest, run=run_times))
    assert '"python"' in text and '"pyarrow"' in text and "startedOn" in text
    assert str(release_dir.parent) not in text and os.uname().nodename not in text.split('"')
    assert Store(str(release_dir)).read(MANIFEST)


def test_a_release_on_s3_is_signed(pair, release_dir, s3_bucket):
    place = Store(f"{s3_bucket}/2.1")
    place.put(MANIFEST, (release_dir / MANIFEST).read_bytes())
    assert [sign_release(place, pair[0]) for _ in range(2)] == ["signed", "already"]
    assert check_envelope(
        place.read(SIGNATURE), place.read(MANIFEST), load_trusted_keys(pair[2].read_bytes())
    )
