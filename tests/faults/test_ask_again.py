"""An object that was missing and appears later; a release in place that lost a file."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manifests.names import MANIFEST, SIGNATURE
from manifests.signing import check_envelope, load_trusted_keys
from pipeline import config as configuration
from pipeline.cli.main import app
from pipeline.engine.executor import InProcess
from pipeline.engine.progress import Progress
from pipeline.errors import IntegrityError
from pipeline.keys import make_keys
from pipeline.release import Outcome, make_release
from pipeline.sources.archive_writer import ArchiveWriter
from pipeline.sources.from_folder import add_folder


def _text(name: str) -> str:
    letters = str.maketrans("0123456789", "ghijklmnop")
    hashes = (hashlib.sha256(f"{name}{number}".encode()).hexdigest() for number in range(40))
    words = [digest[:7].translate(letters) for digest in hashes]
    return "".join(f"def {word}(value):\n    return value + len('{word}')\n\n" for word in words)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text('[project]\nname = "x"\nlicense = "MIT"\n')
    for name in ("one", "two", "three"):
        (source / f"{name}.py").write_text(_text(name))
    with ArchiveWriter(tmp_path / "archive") as writer:
        add_folder(writer, source, "https://example.org/a/x")
        writer.finish("test")
    return tmp_path / "archive"


def _release(archive: Path, place: Path, workdir: Path, *, ask_again: bool = False) -> Outcome:
    settings = configuration.parse(
        {"archive": {"uri": str(archive)}, "licenses": {"scancode": False}, "engine": {"buckets": 1}}
    )
    return make_release(
        settings,
        version="1.0",
        out=place,
        workdir=str(workdir),
        executor=InProcess(),
        progress=Progress(io.StringIO()),
        ask_again=ask_again,
    )


def test_an_object_that_appears_later_is_had_when_asked_for_again(archive: Path, tmp_path: Path) -> None:
    stored = archive / "content" / hashlib.sha1(_text("two").encode()).hexdigest()
    packed = stored.read_bytes()
    stored.unlink()
    work = tmp_path / "work"
    without = _release(archive, tmp_path / "a", work)
    assert without.totals["dropped"].get("missing") == 1

    stored.write_bytes(packed)
    assert _release(archive, tmp_path / "b", work).digest == without.digest, "nothing was asked for again"
    again = _release(archive, tmp_path / "c", work, ask_again=True)
    assert "missing" not in again.totals["dropped"] and again.totals["kept"] == without.totals["kept"] + 1
    assert again.digest == _release(archive, tmp_path / "d", tmp_path / "scratch").digest
    assert _release(archive, tmp_path / "c", work).state == "unchanged", "the answer stays"


def test_the_option_of_the_command_line_asks_again_and_the_key_signs(archive: Path, tmp_path: Path) -> None:
    """Breach: an option that the help promises does nothing."""
    config = tmp_path / "config.yaml"
    config.write_text("licenses: {scancode: false}\nengine: {buckets: 1}\n")
    key, public = make_keys(tmp_path / "release.key")
    stored = archive / "content" / hashlib.sha1(_text("two").encode()).hexdigest()
    packed = stored.read_bytes()
    stored.unlink()
    outcomes = []
    for place, more in (("a", []), ("b", ["--ask-again", "--sign-key", str(tmp_path / "release.key")])):
        command = [
            "release",
            "--config",
            str(config),
            "--version",
            "1.0",
            "--archive",
            str(archive),
            "--quiet",
        ]
        command += [
            "--in-process",
            "--json",
            "--out",
            str(tmp_path / place),
            "--workdir",
            str(tmp_path / "work"),
        ]
        done = CliRunner().invoke(app, [*command, *more])
        assert done.exit_code == 0, done.output
        outcomes.append(json.loads(done.stdout))
        stored.write_bytes(packed)
    assert "missing" in outcomes[0]["totals"]["dropped"] and "missing" not in outcomes[1]["totals"]["dropped"]
    assert (outcomes[0]["signed_by"], outcomes[1]["signed_by"]) == (None, key.id)
    assert not (tmp_path / "a/1.0/manifest.json.sig").exists()
    envelope, manifest = ((tmp_path / "b/1.0" / name).read_bytes() for name in (SIGNATURE, MANIFEST))
    found = check_envelope(envelope, manifest, load_trusted_keys(public.read_bytes()))
    assert found.predicate["runDetails"]["metadata"]["startedOn"].endswith("Z")


def test_a_release_in_place_that_lost_a_file_is_not_called_unchanged(archive: Path, tmp_path: Path) -> None:
    made = _release(archive, tmp_path / "a", tmp_path / "work")
    shard = next((made.directory / "data").glob("*/*.parquet"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    for workdir in ("work", "another"):
        with pytest.raises(IntegrityError, match=r"\.parquet is missing or has another size") as refused:
            _release(archive, tmp_path / "a", tmp_path / workdir)
        assert refused.value.exit_code == 4
    shard.write_bytes(whole)
    assert _release(archive, tmp_path / "a", tmp_path / "work").state == "unchanged"
