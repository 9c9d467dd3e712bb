"""The card: what `datasets` makes of it is what the manifest says, for every awkward language name."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.card import features, front_matter, metadata, read_front_matter, size_category
from manifests.card_facts import CardFacts
from manifests.errors import ReleaseError
from manifests.facts import LanguageFacts
from manifests.names import config_name
from manifests.reader import Release
from manifests.schema import DATA

AWKWARD = [
    "C++",
    "C#",
    "F*",
    "Objective-C",
    "1C Enterprise",
    "No",
    "Yes",
    "null",
    "1e3",
    "0x10",
    "Cap'n Proto",
    "E",
    "Q#",
]
AWKWARD += [
    "Visual Basic .NET",
    "NetLinx+ERB",
    "HTML+ECR",
    "Ren'Py",
    "Objective-C++",
    "PEG.js",
    "~",
    "M4Sugar",
    "{x}",
]


def facts(language: str, rows: int = 3) -> LanguageFacts:
    return LanguageFacts(
        config_name=config_name(language), rows=rows, text_bytes=10, memory_bytes=20, bytes=30, shards=1
    )


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """`datasets` with a private cache; what it does inside is not ours to be warned of."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return lambda *arguments, **options: datasets.load_dataset(
        *arguments, cache_dir=str(tmp_path / "cache"), split="train", **options
    )


@pytest.mark.filterwarnings("ignore")
def test_datasets_loads_every_configuration(pristine, offline):
    release = Release.open(pristine)
    rows = {facts.config_name: facts for facts in release.manifest.languages.values()}
    assert {"C++", "C#", "F-star", "Objective-C", "1C Enterprise"} <= set(rows)
    for config, expected in rows.items():
        loaded = offline(str(pristine), config)
        assert len(loaded) == expected.rows
        assert loaded.info.splits["train"].num_bytes == expected.memory_bytes
        streamed = list(offline(str(pristine), config, streaming=True))
        assert [row["row_id"] for row in streamed] == loaded["row_id"]
        assert {config_name(row["language"]) for row in streamed} == {config}
    everything = offline(str(pristine))
    assert len(everything) == release.manifest.totals.kept
    assert sum(1 for _ in offline(str(pristine), streaming=True)) == release.manifest.totals.kept


@pytest.mark.filterwarnings("ignore")
def test_datasets_keeps_the_columns(pristine, offline):
    datasets = pytest.importorskip("datasets")
    loaded = offline(str(pristine), "Python")
    wanted = datasets.Features.from_arrow_schema(DATA)
    assert loaded.features == wanted
    ours = {
        row["row_id"]: row
        for batch in Release.open(pristine).batches(languages=["Python"])
        for row in batch.to_pylist()
    }
    for row in loaded:
        assert ours[row["row_id"]] == row
    assert features(DATA) == wanted._to_yaml_list()


@pytest.mark.filterwarnings("ignore")
def test_datasets_refuses_a_wrong_number_of_rows(release, offline):
    datasets = pytest.importorskip("datasets")
    card = release / "README.md"
    card.write_text(card.read_text().replace("num_examples: 9\n", "num_examples: 8\n"))
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        offline(str(release), "C++")


@pytest.mark.filterwarnings("ignore")
def test_awkward_names_load(factory, offline, tmp_path):
    folder = factory.make_release(tmp_path / "r", texts={name: [f"text of {name}\n"] for name in AWKWARD})
    for name in AWKWARD:
        assert offline(str(folder), config_name(name))["language"] == [name]


def test_yaml_is_read_back_exactly():
    block = metadata(pretty_name="A: #name", languages={name: facts(name) for name in AWKWARD})
    text = front_matter(block)
    assert read_front_matter(text.encode()) == block
    assert text.count("- name: row_id") == 1  # the features stand there once


def test_names_are_quoted_for_every_yaml_reader():
    text = front_matter(metadata(pretty_name="No", languages={name: facts(name) for name in AWKWARD}))
    for line in re.findall(r"(?:config_name|path|pretty_name): (.*)", text):
        assert line[0] == '"' == line[-1]


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), st.integers(1, 10**12), max_size=5
    )
)
def test_any_language_name_survives_yaml(languages):
    known = {}
    for name, rows in languages.items():
        try:
            known[name] = facts(name, rows)
        except ValueError:
            continue
    block = metadata(pretty_name="x", languages=known)
    assert read_front_matter(front_matter(block).encode()) == block
    assert block["dataset_info"][0]["splits"][0]["num_examples"] == sum(fact.rows for fact in known.values())


@pytest.mark.parametrize(
    ("rows", "category"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**9, "1B<n<10B"), (10**12, "n>1T")],
)
def test_size_categories(rows, category):
    assert size_category(rows) == category


@pytest.mark.parametrize(
    "card",
    [
        b"",
        b"# x",
        b"---\na: 1\n",
        b"---\n[\n---\n",
        b"---\n- 1\n---\n",
        b"---\na: !!python/object:x {}\n---\n",
    ],
)
def test_cards_without_plain_yaml_are_refused(card):
    with pytest.raises(ReleaseError):
        read_front_matter(card)


def test_prose_says_what_it_must(pristine):
    card = (pristine / "README.md").read_text()
    block = yaml.safe_load(card.split("---")[1])
    assert block["license"] == "other" and block["language"] == ["code"]
    flat = " ".join(card.split())
    assert "A SWHID still leads to the unredacted original" in flat
    assert "redaction protects models and readers, it does not unpublish" in flat
    assert "Loading does not verify" in flat
    for reason in ("license", "binary", "exact_duplicate", "near_duplicate"):
        assert f"dropped: `{reason}`" in card
    assert "F\\*" in card and Release.open(pristine).manifest.merkle_root in card
    assert CardFacts().license_policy in flat
