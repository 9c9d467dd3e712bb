"""Selections in a release: what is left out has its reason, the counts add up, and tokens are those of the texts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import e2e_expectation as expectation
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests.verify import verify_release
from pipeline.cli.main import app
from pipeline.errors import ConfigError
from pipeline.explain import explain


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    shards = sorted((folder / "data").rglob("*.parquet"))
    return {row["sha256"]: row for shard in shards for row in pq.read_table(shard).to_pylist()}


@pytest.fixture(scope="module")
def all_rows(made) -> dict[str, dict[str, Any]]:
    return rows_of(made[0].directory)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, all_rows) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(sorted(row["content"] for row in all_rows.values()), trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(made.to_str())
    return path


CAP = 6_000


@pytest.fixture(scope="module")
def capped(archive, tmp_path_factory, made, tokenizer):
    """The small world with a cap on Python and a tokenizer, from a copy-free work directory of its own."""
    folder = tmp_path_factory.mktemp("capped")
    sections = {
        "select": {"max_bytes": {"Python": CAP}},
        "tokens": {"tokenizer": str(tokenizer), "name": "tiny"},
    }
    return runs.release(archive, folder, buckets=2, **sections), folder, sections


def test_a_cap_takes_the_first_by_sha256_and_accounts_for_the_rest(capped, all_rows, world):
    """Breach: a file that a cap leaves out has no reason, or is counted twice."""
    outcome, _, _ = capped
    python = sorted(k for k, row in all_rows.items() if row["language"] == "Python")
    left, total = set(), 0
    for number, sha256 in enumerate(python):
        total += len(all_rows[sha256]["content"].encode())
        if total > CAP:
            left = set(python[number:])
            break
    assert left
    taken = rows_of(outcome.directory)
    assert set(taken) == set(all_rows) - left
    assert all(taken[sha256] == all_rows[sha256] for sha256 in taken), "what is taken is not changed"
    totals, plain = outcome.totals, expectation.expect(world).totals
    assert totals["found"] == plain["found"] == totals["kept"] + sum(totals["dropped"].values())
    assert totals["dropped"] == {**plain["dropped"], "over_cap": len(left)}
    assert totals["stages"][-1] == {
        "name": "selection", "entered": plain["kept"], "left": totals["kept"], "dropped": {"over_cap": len(left)},
    }  # fmt: skip
    assert verify_release(outcome.directory).ok


def test_explain_says_that_a_cap_left_it_out(capped, all_rows):
    outcome, folder, _ = capped
    gone = min(set(all_rows) - set(rows_of(outcome.directory)))
    told = json.dumps(explain(outcome.directory, gone, path=None, workdir=str(folder / "work")))
    assert '"over_cap"' in told and "the cap of its language was reached before it" in told


def test_tokens_are_those_of_the_rows(capped, tokenizer):
    """Breach: figures that nobody can count again; the name of a special token counts as one token."""
    from tokenizers import Tokenizer

    counter = Tokenizer.from_file(str(tokenizer))
    counter.encode_special_tokens = True
    outcome, _, _ = capped
    manifest = json.loads((outcome.directory / "manifest.json").read_bytes())
    assert manifest["tokenizer"] == {
        "name": "tiny", "digest": hashlib.sha256(tokenizer.read_bytes()).hexdigest(),
    }  # fmt: skip
    languages: Counter[str] = Counter()
    for shard in manifest["shards"]:
        table = pq.read_table(outcome.directory / shard["path"], columns=["content"], partitioning=None)
        tokens = sum(len(counter.encode(text).ids) for text in table["content"].to_pylist())
        assert shard["tokens"] == tokens
        languages[shard["language"]] += tokens
    assert {name: facts["tokens"] for name, facts in manifest["languages"].items()} == languages
    card = (outcome.directory / "README.md").read_text()
    assert "| tokens |" in card and f"| {languages['Python']:,} |" in card


def test_special_names_are_text(tokenizer):
    from pipeline.stages.tokens import load

    plain = load(tokenizer.read_bytes(), "here")
    assert len(plain.encode("<|endoftext|>").ids) > 3


def test_licenses_and_a_cap_of_tokens_in_other_buckets(archive, tmp_path, all_rows, capped, tokenizer):
    """Breach: a selection by license keeps another row, or drops one under `license`."""
    from tokenizers import Tokenizer

    counter = Tokenizer.from_file(str(tokenizer))
    sections = {"tokens": {"tokenizer": str(tokenizer)}}
    select = {"licenses": ["Apache-2.0"], "max_tokens": {"default": 1_500}}
    outcome = runs.release(archive, tmp_path, buckets=4, select=select, **sections)
    taken = rows_of(outcome.directory)
    assert {row["license_expression"] for row in taken.values()} == {"Apache-2.0"}
    held: Counter[str] = Counter()
    for row in taken.values():
        held[row["language"]] += len(counter.encode(row["content"]).ids)
    assert held and max(held.values()) <= 1_500
    totals = outcome.totals
    assert totals["found"] == totals["kept"] + sum(totals["dropped"].values())
    assert totals["dropped"]["license_not_selected"] > 0
    licenses = next(stage for stage in totals["stages"] if stage["name"] == "licenses")
    assert set(licenses["dropped"]) == {"license", "license_not_selected"}


@pytest.mark.slow
def test_any_number_of_buckets_gives_the_same_selection(archive, tmp_path, capped):
    outcome, _, sections = capped
    assert runs.release(archive, tmp_path, buckets=8, **sections).digest == outcome.digest


@pytest.mark.parametrize("broken", [b"{}", b"\xff\xfe", b"not json", None])
def test_a_file_that_is_no_tokenizer_is_refused_by_name(archive, tmp_path, broken):
    """Breach: a stack trace of a library, or an hour of work before the refusal."""
    path = tmp_path / "tokenizer.json"
    if broken is not None:
        path.write_bytes(broken)
    with pytest.raises(ConfigError, match=r"tokens\.tokenizer: .*tokenizer\.json"):
        runs.release(archive, tmp_path, tokens={"tokenizer": str(path)})
    assert not (tmp_path / "work" / "stages").exists(), "it was seen only after some work"


def test_a_sample_is_a_release_of_the_first_origins(archive, tmp_path, made, world):
    """Breach: `--sample` takes other origins than `origins.limit`, and so others next time."""
    line = runs.command(archive, tmp_path, "--in-process", "--quiet", "--json", "--sample", "4")
    result = CliRunner().invoke(app, line[3:])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert 0 < told["totals"]["kept"] < made[0].totals["kept"]
    urls = sorted((o.url for o in world.origins), key=lambda url: hashlib.sha1(url.encode()).hexdigest())
    sampled = Path(told["directory"])
    assert {row["origin"] for row in rows_of(sampled).values()} <= set(urls[:4])
    assert "limit: 4" in (sampled / "config.yaml").read_text()
