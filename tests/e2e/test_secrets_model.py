"""A release that asks a model, too: its findings are redacted under its digest, and stored texts are kept by it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import e2e_archives as archives
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest

from manifests.verify import verify_release
from pipeline.errors import ConfigError

TAGGER = Path(__file__).parents[1] / "pii" / "tiny_tagger.py"


def model_at(folder: Path, sure: float = 20.0) -> str:
    spec = importlib.util.spec_from_file_location("tiny_tagger", TAGGER)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    tokenizer = made.words_tokenizer(["ann", "lee"])
    labels = ["O", "B-PER", "I-PER"]
    return made.save(
        folder, made.knowing(tokenizer, labels, {"ann": "B-PER", "lee": "I-PER"}, sure), tokenizer
    )


def rows(folder: Path):
    return [
        row for file in sorted(folder.glob("data/*/*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


def test_a_release_asks_the_model(tmp_path):
    text = archives.python("named") + b"THANKS = 'thanks to Ann Lee'\n"
    world = archives.World(
        origins=[
            archives.Origin(
                url="https://one.example/r",
                files={b"a.py": archives.File(text), b"b.py": archives.File(archives.python("other"))},
                licenses={b"": "MIT"},
            )
        ]
    )
    archive = archives.write(world, tmp_path / "archive")
    model = {"path": model_at(tmp_path / "tagger"), "labels": {"PER": "name"}}
    secrets = {"kinds": {"name": "high"}, "model": model}
    made = runs.release(archive, tmp_path, version="1.0", secrets=secrets)
    verify_release(made.directory)
    (row,) = [row for row in rows(made.directory) if row["redactions"]]
    assert row["content"].endswith("THANKS = 'thanks to <NAME_1>'\n")
    (mark,) = row["redactions"]
    manifest = json.loads((made.directory / "manifest.json").read_text())
    digest = manifest["inputs"]["secrets"]["model"]
    assert mark["rule"] == f"model/tagger@{digest[:12]}"
    config = (made.directory / "config.yaml").read_text()
    assert str(tmp_path) not in config and "PER: name" in config

    # With another one of the same name, what is kept is not taken for what it would say.
    other = {**model, "path": model_at(tmp_path / "other" / "tagger", sure=0.001)}
    unsure = runs.release(archive, tmp_path, version="2.0", secrets={**secrets, "model": other})
    assert not any(row["redactions"] for row in rows(unsure.directory))


@pytest.mark.parametrize(
    "model, message",
    [
        ({"labels": {"PER": "person"}}, "unknown kind 'person'"),
        ({"labels": {"PER": "name"}, "threshold": "2"}, "at most 1"),
        ({}, "labels"),
    ],
    ids=["kind", "threshold", "no labels"],
)
def test_what_is_wrong_in_the_configuration(model, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        runs.parsed(tmp_path, secrets={"model": {"path": "x", **model}})
