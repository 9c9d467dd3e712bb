"""A release on S3 is asked without fetching more than the question needs; texts come back from a bucket, too."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from manifests.ids_view import IdsView
from manifests.reader import Release
from pii.settings import Policy
from pipeline.cli.main import app
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.hydrate import Texts, hydrate, make_view


@pytest.fixture
def remote(s3_bucket, made) -> str:
    store = Store(f"{s3_bucket}/releases/1.0")
    for path in made[0].directory.rglob("*"):
        if path.is_file():
            store.put(path.relative_to(made[0].directory).as_posix(), path.read_bytes())
    return f"{s3_bucket}/releases/1.0"


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_only_the_shards_of_the_question_are_fetched(remote, made):
    """Breach: a question about one language fetches a release of a terabyte."""
    release = Release.open(made[0].directory)
    store = Store(remote)
    others = [shard.path for shard in release.shards() if shard.language != "JavaScript"]
    store.delete(*others)
    told = run("query", remote, "--language", "JavaScript", "--count")
    assert told.stdout == f"{release.manifest.languages['JavaScript'].rows}\n", told.output
    told = run("repositories", remote, "--language", "JavaScript", "--limit", "1")
    assert told.exit_code == 0 and len(told.stdout.splitlines()) == 1
    lost = run("query", remote, "--count")
    assert isinstance(lost.exception, IntegrityError) and re.search(
        r"s3://.* is missing", str(lost.exception)
    )
    nothing = run("query", remote.replace("1.0", "2.0"), "--count")
    assert isinstance(nothing.exception, ConfigError) and "is not a release" in str(nothing.exception)


def test_texts_come_back_from_a_bucket(s3_bucket, made, archive, tmp_path):
    release = Release.open(made[0].directory)
    make_view(release, tmp_path / "ids")
    store = Store(f"{s3_bucket}/archive")
    for path in (archive / "content").iterdir():
        store.put(f"content/{path.name}", path.read_bytes())
    texts = Texts(f"{s3_bucket}/archive/content", Policy(), anonymous=False, rate=10_000, in_flight=8)
    done = hydrate(IdsView.open(tmp_path / "ids"), texts, tmp_path / "out")
    assert done.identical_shards == len(release.shards()) and done.lost == 0
