"""Where benchmarks are read from, and what the manifest says of them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from pipeline.config_contamination import Benchmark, Contamination
from pipeline.engine.store import Store
from pipeline.errors import ConfigError
from pipeline.stages.text_contamination import Benchmarks, open_benchmarks

EXAMPLES = Path(__file__).parents[2] / "examples" / "benchmarks"
HUMANEVAL = (EXAMPLES / "humaneval-like.jsonl").read_bytes()


def opened(*named: tuple[str, str], **more) -> Benchmarks:
    benchmarks = tuple(Benchmark(name=name, path=path) for name, path in named)
    found = open_benchmarks(Contamination(benchmarks=benchmarks, **more))
    assert found is not None
    return found


def test_nothing_named_is_nothing_looked_for():
    assert open_benchmarks(Contamination()) is None


def test_a_benchmark_on_s3_is_the_same_as_on_disk(s3_bucket):
    Store(s3_bucket).put("some/he.jsonl", HUMANEVAL)
    Store(s3_bucket).put("some/more/he.jsonl", HUMANEVAL)
    local = opened(("he", str(EXAMPLES / "humaneval-like.jsonl")))
    for address in (f"{s3_bucket}/some/he.jsonl", f"{s3_bucket}/some/more", f"{s3_bucket}/some/more/"):
        remote = opened(("he", address))
        assert remote.index.digest == local.index.digest
        assert remote.described == local.described
        assert remote.stores("keep") == local.stores("keep")
    with pytest.raises(ConfigError, match="holds no file"):
        opened(("he", f"{s3_bucket}/none"))


def test_the_digest_is_that_of_the_bytes(tmp_path):
    one = opened(("he", str(EXAMPLES / "humaneval-like.jsonl")))
    assert one.described["he"]["digest"] == hashlib.sha256(HUMANEVAL).hexdigest()
    for folder in ("a", "b"):
        shutil.copytree(EXAMPLES, tmp_path / folder)
    (tmp_path / "b" / "mbpp-like.jsonl").rename(tmp_path / "b" / "renamed.jsonl")
    two, three = (opened(("all", str(tmp_path / folder))) for folder in ("a", "b"))
    assert two.index.digest == three.index.digest
    assert two.described["all"]["digest"] != three.described["all"]["digest"], (
        "the names of several files count"
    )
    assert two.described["all"]["items"] == 8


def test_the_same_item_in_two_files_is_refused(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(HUMANEVAL)
    with pytest.raises(ConfigError, match=r"b.jsonl: 'Example/0' is in another file of he, too"):
        opened(("he", str(tmp_path)))


def test_names_and_length_are_in_the_key_of_the_store_and_the_threshold_is_not():
    path = str(EXAMPLES / "humaneval-like.jsonl")
    keys = [
        opened((name, path), **more).stores("keep")["contamination"]
        for name, more in (("a", {}), ("a", {"threshold": "0.9"}), ("b", {}), ("a", {"ngram": 6}))
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
