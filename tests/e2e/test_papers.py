"""The papers of a made release: listed and checked, and a function of what is in the release."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import e2e_runs as runs
import pytest
import yaml

from manifests.card import render_card
from manifests.names import CONFIG_FILE, NOTICES_FILE
from manifests.notices import read_noticed
from manifests.papers import papers
from manifests.reader import Release
from manifests.removals import Tombstone, format_removals
from manifests.verify import verify_release
from pipeline.apply_removals import apply_removals
from pipeline.card import card_facts
from pipeline.errors import ConfigError

PUBLISHER = {
    "pretty_name": "Code <of> everybody",
    "publisher": "Example Foundation",
    "contact": "optout@example.org",
    "homepage": "https://example.org/code",
    "published": "2026-03-01",
}


@pytest.fixture(scope="module")
def signed_off(archive, made, tmp_path_factory) -> Path:
    """The made release once more, with a publisher: only its papers are made anew."""
    folder = tmp_path_factory.mktemp("papers")
    shutil.copytree(made[1] / "work", folder / "work")
    return runs.release(archive, folder, version="1.1", card=PUBLISHER).directory


def test_the_papers_can_be_made_again_from_the_release(signed_off, world):
    release = Release.open(signed_off)
    text = card_facts(
        yaml.safe_load((signed_off / CONFIG_FILE).read_text()),
        opt_out_entries=len(yaml.safe_load(world.registry())),
    )
    assert render_card(release.manifest, text) == (signed_off / "README.md").read_bytes()
    sheets = papers(text, read_noticed(signed_off / NOTICES_FILE))
    assert set(sheets) == {"croissant.json", "EU-SUMMARY.md", "NOTICE.md"}
    for path, make in sheets.items():
        assert make(release.manifest) == (signed_off / path).read_bytes(), path
    assert {file.path for file in release.manifest.files} >= set(sheets)
    assert verify_release(signed_off).ok


def test_they_say_what_the_release_is(signed_off, world):
    manifest = Release.open(signed_off).manifest
    card = (signed_off / "README.md").read_text()
    assert f"{manifest.totals.dropped['opted_out']:,} occurrences were left out" in card
    for stage in manifest.totals.stages:
        assert f"{stage.entered:,} came in, {stage.left:,} were left." in card
    for path in ("README.md", "EU-SUMMARY.md"):
        assert "Example Foundation" in (signed_off / path).read_text()
    value = json.loads((signed_off / "croissant.json").read_bytes())
    assert value["creator"]["email"] == PUBLISHER["contact"] and value["datePublished"] == "2026-03-01"
    assert len(value["prov:wasGeneratedBy"]) == 1 + len(manifest.totals.stages)


def test_a_copy_that_was_brought_in_line_has_papers_of_its_own(signed_off, tmp_path):
    old = Release.open(signed_off).manifest
    row = next(Release.open(signed_off).batches(["row_id", "content_sha256"])).to_pylist()[0]
    removals = tmp_path / "removals.jsonl"
    removals.write_bytes(format_removals([Tombstone(**row, version="1.1")]))
    copy = Path(apply_removals(str(signed_off), str(removals), out=str(tmp_path / "copy")).directory)
    ours = Release.open(copy).manifest
    assert ours.totals.kept == old.totals.kept - 1
    card = (copy / "README.md").read_text()
    assert (
        "Example Foundation" in card and f"{ours.totals.kept:,} of {ours.totals.kept:,} rows (100 %)" in card
    )
    value = json.loads((copy / "croissant.json").read_bytes())
    listed = {one["contentUrl"]: one["sha256"] for one in value["distribution"] if "sha256" in one}
    assert {shard.sha256 for shard in ours.shards} <= set(listed.values())
    assert f"{ours.totals.kept:,} files under" in (copy / "NOTICE.md").read_text()


def test_a_publisher_changes_the_papers_and_nothing_else(made, signed_off):
    other = Release.open(made[0].directory).manifest
    ours = Release.open(signed_off).manifest
    assert ours.shards == other.shards and ours.merkle_root == other.merkle_root
    assert ours.digests.configuration != other.digests.configuration


@pytest.mark.filterwarnings("ignore")  # of what it uses inside
def test_croissants_own_reader_has_nothing_to_say(made):
    mlcroissant = pytest.importorskip("mlcroissant")
    folder = Path(made[0].directory)
    data = mlcroissant.Dataset(str(folder / "croissant.json"))
    issues = data.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert sum(1 for _ in data.records("default")) == Release.open(folder).manifest.totals.kept


@pytest.mark.parametrize(
    "card",
    [
        {"homepage": "javascript:x"},
        {"publisher": "a\x1b[0m"},
        {"contact": 7},
        {"published": "soon"},
        {"title": "x"},
    ],
)
def test_facts_that_cannot_be_published_are_refused(archive, card):
    with pytest.raises(ConfigError, match=rf"card\.{next(iter(card))}"):
        runs.parsed(archive, card=card)
