"""Small valid releases for tests: rows, shards and whole release directories, the same bytes for the same
arguments.

Load it by path from any test folder:

    file = ROOT / "tests/manifests/release_factory.py"
    spec = importlib.util.spec_from_file_location("release_factory", file)
    release_factory = importlib.util.module_from_spec(spec); spec.loader.exec_module(release_factory)
    folder = release_factory.make_release(tmp_path, rows={"Python": 40, "C++": 12})
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.facts import Contents, Digests, Origins, ShardFacts, Totals
from manifests.names import config_name, shard_path
from manifests.release_writer import CardFacts, finish_release
from manifests.schema import DATA
from manifests.shards import write_shard

ROWS: Mapping[str, int] = {
    "Python": 40,
    "C++": 9,
    "C#": 7,
    "F*": 5,
    "Objective-C": 4,
    "1C Enterprise": 3,
    "Shell": 2,
}
PLACEHOLDER = "<EMAIL_ADDRESS>"
DROPPED = {"license": 31, "binary": 4, "quality.line_length": 3, "exact_duplicate": 12, "near_duplicate": 6}
WORDS = (
    "count",
    "value",
    "read",
    "write",
    "index",
    "total",
    "name",
    "load",
    "path",
    "token",
    "naïve",
    "größe",
)


def source_text(rng: random.Random, number: int, lines: int | None = None) -> str:
    """Some text that looks like code, different for every number; one in four holds a placeholder."""
    body = [f"# file {number}"] + (["# by " + PLACEHOLDER] if number % 4 == 0 else [])
    for _ in range(rng.randint(3, 30) if lines is None else lines):
        a, b, c = (rng.choice(WORDS) for _ in range(3))
        body.append(f"def {a}_{b}(x):\n    return x.{c} + {rng.randint(0, 999)}")
    return "\n".join(body) + "\n"


def make_row(language: str, number: int, text: str, extension: str = "py") -> dict[str, Any]:
    """One row of schema DATA for a text; ids are true hashes of made-up originals."""
    body = text.encode()
    original = f"original {language} {number}\n".encode() + body
    git = hashlib.sha1(b"blob %d\0" % len(original) + original).hexdigest()
    sha256 = hashlib.sha256(original).hexdigest()
    start = body.find(PLACEHOLDER.encode())
    lines = text.split("\n")
    return {
        "row_id": sha256,
        "swhid": f"swh:1:cnt:{git}",
        "blob_id": hashlib.sha1(original).hexdigest(),
        "content_id": git,
        "sha256": sha256,
        "blake2s256": hashlib.blake2s(original).hexdigest(),
        "content": text,
        "content_sha256": hashlib.sha256(body).hexdigest(),
        "length_bytes": len(original),
        "src_encoding": "UTF-8",
        "language": language,
        "extension": extension,
        "path": f"src/module_{number}.{extension}" if number % 7 else f"src/m\\xff_{number}.{extension}",
        "path_raw": None if number % 7 else b"src/m\xff_%d." % number + extension.encode(),
        "origin": f"https://example.org/owner{number % 5}/repository{number % 3}",
        "repo_name": f"owner{number % 5}/repository{number % 3}",
        "snapshot_id": hashlib.sha1(b"snapshot %d" % (number % 15)).hexdigest(),
        "revision_id": hashlib.sha1(b"revision %d" % (number % 15)).hexdigest(),
        "branch_name": "refs/heads/main",
        "directory_id": hashlib.sha1(b"directory %d" % (number % 15)).hexdigest(),
        "visit_date": datetime(2025, 3, 1, 12, number % 60),
        "revision_date": datetime(2024, 1, 1 + number % 28) if number % 6 else None,
        "committer_date": datetime(2024, 1, 1 + number % 28) if number % 6 else None,
        "num_occurrences": 2 + number % 3,
        "num_origins": 1 + number % 2,
        "license_type": "permissive",
        "license_expression": "MIT" if number % 2 else "Apache-2.0",
        "detected_licenses": ["MIT"] if number % 2 else ["Apache-2.0", "MIT"],
        "license_evidence": [
            {
                "path": "LICENSE",
                "swhid": "swh:1:cnt:" + hashlib.sha1(b"license").hexdigest(),
                "expression": "MIT" if number % 2 else "Apache-2.0",
                "detector": "spdx-tag 1",
                "rule": "tag",
                "score": 100.0,
            }
        ],
        "cluster_id": sha256,
        "cluster_size": 1 + (number % 11 == 0),
        "redactions": []
        if start < 0
        else [{"kind": "email", "start": start, "end": start + len(PLACEHOLDER), "rule": "email"}],
        "is_vendor": False,
        "is_generated": False,
        "num_lines": len(lines),
        "avg_line_length": sum(map(len, lines)) / len(lines),
        "max_line_length": max(map(len, lines)),
        "alpha_fraction": sum(map(str.isalpha, text)) / max(1, len(text)),
        "alphanum_fraction": sum(map(str.isalnum, text)) / max(1, len(text)),
        "encoded_fraction": 0.0,
    }


def make_rows(language: str, count: int, *, seed: int = 0, texts: Sequence[str] | None = None) -> pa.Table:
    """`count` rows of one language (or one per text), as a table of schema DATA."""
    rng = random.Random(f"{seed} {language}")
    if texts is None:
        texts = [f"{language}\n" + source_text(rng, number) for number in range(count)]
    return pa.Table.from_pylist(
        [make_row(language, number, text) for number, text in enumerate(texts)], schema=DATA
    )


def write_shards(staging: Path, tables: Mapping[str, pa.Table], *, split: int = 25) -> list[ShardFacts]:
    """Write each language to one shard, or to two where it has more than `split` rows."""
    facts = []
    for language, table in tables.items():
        half = table.num_rows // 2
        parts = (
            {"all": table} if table.num_rows <= split else {"0": table.slice(0, half), "1": table.slice(half)}
        )
        (staging / "data" / config_name(language)).mkdir(parents=True)
        for prefix, part in parts.items():
            path = shard_path(language, prefix)
            facts.append(write_shard(part, staging / path, path=path))
    return facts


def finish(
    staging: Path,
    facts: Sequence[ShardFacts],
    *,
    name: str = "stackmill-test",
    version: str = "2.1",
    extra: Sequence[str] = (),
) -> str:
    """`finish_release` with plausible figures; returns the digest."""
    kept = sum(shard.rows for shard in facts)
    licenses: Counter[str] = Counter()
    redactions: Counter[str] = Counter()
    for shard in facts:
        table = pq.read_table(
            staging / shard.path, columns=["license_expression", "redactions"], partitioning=None
        )
        licenses.update(table["license_expression"].to_pylist())
        redactions.update(span["kind"] for spans in table["redactions"].to_pylist() for span in spans)
    return finish_release(
        staging,
        name=name,
        version=version,
        shards=facts,
        totals=Totals(found=kept + sum(DROPPED.values()), kept=kept, dropped=DROPPED),
        origins=Origins(found=9, resolved=7, unresolved={"no_branch": 1, "no_visit": 1}),
        contents=Contents(licenses=licenses, redactions=redactions),
        inputs={"origins": 9, "origins_digest": "ab" * 32, "newest_visit": "2025-03-01T12:59:00"},
        digests=Digests(
            configuration="01" * 32,
            code="23" * 32,
            policies={"license": "45" * 32, "opt_out": "67" * 32},
            detectors={"spdx-tag": "1"},
            libraries={"pyarrow": pa.__version__},
        ),
        opt_out_head="67" * 32,
        config_yaml=b"name: stackmill-test\n",
        text=CardFacts(pretty_name="A release made by tests"),
        extra=extra,
    )


def make_release(
    parent: Path,
    *,
    rows: Mapping[str, int] | None = None,
    texts: Mapping[str, Sequence[str]] | None = None,
    version: str = "2.1",
    name: str = "stackmill-test",
    seed: int = 0,
    split: int = 25,
) -> Path:
    """Make the release `parent/<version>` and return its folder.

    `rows`: language -> number of rows with generated text (default `ROWS`); `texts`: language -> the texts
    themselves. A language with more than `split` rows has two shards.
    """
    folder = parent / version
    folder.mkdir(parents=True)
    if texts is not None:
        tables = {language: make_rows(language, 0, texts=list(some)) for language, some in texts.items()}
    else:
        tables = {
            language: make_rows(language, count, seed=seed) for language, count in (rows or ROWS).items()
        }
    finish(folder, write_shards(folder, tables, split=split), name=name, version=version)
    return folder


def duplication(word: str = "https://example.org/one", amount: int = 12) -> dict[str, Any]:
    """A value of `duplication` in stats.json with everything in it; `word` stands for whatever strangers chose."""
    shared = {"found": amount, "origins": amount, "occurrences": amount, "rows": amount}
    one = dict.fromkeys(("origins", "occurrences", "rows"), amount)
    largest = [{"origin": word, **one}, {"origin": None, **one}]
    row = dict.fromkeys(("row_id", "language", "origin", "path"), word)
    return {
        "search": {
            "threshold": "0.7",
            "shortcut": {"accept": word, "reject": word},
            **dict.fromkeys(("bands", "rows", "bucket_cap", "bucket_best", "candidates"), amount),
            **dict.fromkeys(("hot_buckets", "hot_members", "pairs_not_made"), amount),
        },
        "roots": {**shared, "largest": largest},
        "networks": {**shared, "largest": largest},
        "containment": {
            "least": "0.8",
            **dict.fromkeys(("contained", "candidates", "compared", "hot_hashes", "hot_holders"), amount),
        },
        "repeated": {
            **dict.fromkeys(("lines", "bytes", "contents", "origins"), amount),
            "drop_above": "0.5",
            **dict.fromkeys(("frequent_blocks", "files", "repeated_bytes", "line_bytes"), amount),
            "most": [{**row, **dict.fromkeys(("line", "lines", "contents", "origins"), amount)}],
        },
    }
