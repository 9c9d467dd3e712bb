"""croissant.json: Croissant's own reader finds nothing to say against it, and reads the rows of every configuration."""

from __future__ import annotations

import dataclasses
import json
from urllib.parse import unquote

import pytest

from manifests import canonical
from manifests.card_facts import CardFacts
from manifests.croissant import croissant, license_urls, record_set_id, semantic_version
from manifests.facts import Parent, StageTotals
from manifests.manifest import Manifest
from manifests.reader import Release
from manifests.schema import DATA


@pytest.fixture(scope="module")
def manifest(pristine) -> Manifest:
    return Release.open(pristine).manifest


@pytest.fixture(scope="module")
def value(manifest):
    return json.loads(croissant(manifest))


@pytest.mark.filterwarnings("ignore")  # of what it uses inside
def test_mlcroissant_reads_every_configuration(release, manifest, monkeypatch):
    mlcroissant = pytest.importorskip("mlcroissant")
    file = release / "croissant.json"
    file.write_bytes(croissant(manifest, CardFacts(publisher="P", homepage="https://example.org/x")))
    data = mlcroissant.Dataset(str(file))
    issues = data.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert data.metadata.ctx.is_v1_1() and data.metadata.version == "2.1.0"
    configs = {facts.config_name: facts.rows for facts in manifest.languages.values()}
    for config, rows in {**configs, "default": manifest.totals.kept}.items():
        found = list(data.records(record_set_id(config)))
        assert len(found) == rows
        languages = {row[f"{record_set_id(config)}/language"].decode() for row in found}
        assert len(languages) == (len(configs) if config == "default" else 1)
    first = found[0]
    ours = {
        row["row_id"]: row
        for batch in Release.open(release).batches(verify=False)
        for row in batch.to_pylist()
    }[first["default/row_id"].decode()]
    assert [name.split("/", 1)[1] for name in first] == DATA.names
    assert first["default/content"].decode() == ours["content"]
    assert first["default/license_evidence"][0]["default/license_evidence/path"] == b"LICENSE"
    assert first["default/detected_licenses"] == [one.encode() for one in ours["detected_licenses"]]
    assert first["default/num_lines"] == ours["num_lines"] and first["default/is_vendor"] is False


def test_every_shard_has_its_checksum(value, manifest):
    files = {unquote(one["@id"]): one for one in value["distribution"] if one["@type"] == "cr:FileObject"}
    wanted = [*manifest.shards, *(file for file in manifest.files if file.path == "ids.parquet")]
    assert {path: (one["sha256"], one["contentSize"]) for path, one in files.items()} == {
        one.path: (one.sha256, f"{one.bytes} B") for one in wanted
    }


def test_every_column_of_every_configuration_is_typed(value):
    for record_set in value["recordSet"]:
        assert [field["name"] for field in record_set["field"]] == DATA.names
        for field in record_set["field"]:
            for leaf in field.get("subField", [field]):
                assert leaf["dataType"].startswith(("sc:", "cr:"))
    ids = [field["@id"] for record_set in value["recordSet"] for field in record_set["field"]]
    assert len(ids) == len(set(ids))


def test_provenance_names_input_stages_configuration_and_code(manifest):
    stage = StageTotals(name="licenses", entered=126, left=70, dropped=dict(manifest.totals.dropped))
    one = dataclasses.replace(
        manifest,
        totals=dataclasses.replace(manifest.totals, stages=(stage,)),
        parent=Parent(version="2.0", digest="ef" * 32),
    )
    value = json.loads(croissant(one))
    assert [source["prov:label"] for source in value["prov:wasDerivedFrom"]] == [
        "Archive of source code",
        "Release 2.0",
    ]
    assert manifest.inputs["origins_digest"] in value["prov:wasDerivedFrom"][0]["description"]
    run, licenses = value["prov:wasGeneratedBy"]
    assert manifest.digests.code in run["prov:wasAssociatedWith"]["@id"]
    assert manifest.digests.configuration in run["prov:hadPlan"]["@id"]
    assert "126 occurrences came in, 70 were left" in licenses["description"]
    assert value["usageInfo"]["text"] and value["rai:dataCollection"]


def test_it_is_a_function_of_the_manifest_and_canonical(manifest):
    data = croissant(manifest)
    assert data == croissant(manifest) and canonical.dumps(json.loads(data)) == data
    assert json.loads(data)["datePublished"] == "2025-03-01"  # the newest visit: no clock
    assert json.loads(croissant(manifest, CardFacts(published="2026-01-02")))["datePublished"] == "2026-01-02"


def test_its_size_is_linear(factory, tmp_path):
    def size(languages: int, version: str) -> int:
        texts = {f"Language{number:03}": [f"text {number}\n"] for number in range(languages)}
        return len(
            croissant(Release.open(factory.make_release(tmp_path, texts=texts, version=version)).manifest)
        )

    ten, twenty, thirty = size(10, "1.0"), size(20, "2.0"), size(30, "3.0")
    assert abs((thirty - twenty) - (twenty - ten)) < 100 and (twenty - ten) / 10 < 15_000


def test_licenses_are_links_to_spdx(manifest):
    def of(*expressions: str) -> list[str]:
        contents = dataclasses.replace(manifest.contents, licenses=dict.fromkeys(expressions, 1))
        return [
            url.rsplit("/", 1)[1].removesuffix(".html")
            for url in license_urls(dataclasses.replace(manifest, contents=contents))
        ]

    assert of("MIT") == ["MIT"]
    assert of("(MIT OR GPL-2.0-only WITH Classpath-exception-2.0) AND 0BSD", "MIT") == [
        "0BSD",
        "GPL-2.0-only",
        "MIT",
    ]
    assert of("LicenseRef-x AND NOASSERTION", "<script>") == []


@pytest.mark.parametrize(
    ("version", "semantic"),
    [
        ("2.1", "2.1.0"),
        ("2.1.3", "2.1.3"),
        ("2.1-rc.1", "2.1.0-rc.1"),
        ("2.1.3.4", "2.1.3+4"),
        ("2.1+removals.0123abcd", "2.1.0+removals.0123abcd"),
    ],
)
def test_versions(version, semantic):
    assert semantic_version(version) == semantic
