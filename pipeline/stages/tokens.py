"""How many tokens the released texts have, by the user's tokenizer: an annotation of each content, summed by shard.

A name of a special token in a file, such as `<|endoftext|>`, is text like any other: it is counted as its letters.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from manifests.facts import Tokenizer
from pipeline.engine.annotations import require_all
from pipeline.engine.runner import Done, Runner
from pipeline.engine.stage import Output, Ref, Stage, Task
from pipeline.errors import ConfigError
from pipeline.stages.reading import in_batches
from pipeline.stages.scopes import ScopedAnnotator
from pipeline.stages.secrets import TextForm, released_stores, released_texts

TOKENS = pa.schema([("sha256", pa.string()), ("tokens", pa.int64())])
BY_CONTENT = pa.schema([("content_sha256", pa.string()), ("tokens", pa.int64())])
PLACES = pa.schema([("content_sha256", pa.string()), ("shard", pa.string())])
BATCH_BYTES = 4 << 20  # of text at once: its tokens take some 50 times as much memory
MAX_TOKENIZER_BYTES = 256 << 20

TOKENS_OF = ScopedAnnotator(
    name="tokens",
    ids=("sha256", "scope"),
    schema=pa.schema([*TOKENS, ("scope", pa.string())]),
    modules=("pipeline.stages.tokens",),
    libraries=("tokenizers",),
)


def load(data: bytes, where: str) -> Any:
    """A tokenizer that counts: special names are text, nothing is added, cut off or filled up. Raises ConfigError."""
    if importlib.util.find_spec("tokenizers") is None:
        raise ConfigError(
            f"{where}: to count tokens needs the tokenizers library; install it with `pip install 'stackmill[train]'`"
        )
    from tokenizers import Tokenizer as Fast

    try:
        made = Fast.from_str(data.decode("utf-8"))
    except Exception as error:
        raise ConfigError(f"{where}: not a tokenizer.json: {str(error)[:200]}") from error
    made.no_truncation()
    made.no_padding()
    made.encode_special_tokens = True
    return made


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOKENIZER_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"tokens.tokenizer: {path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_TOKENIZER_BYTES:
        raise ConfigError(f"tokens.tokenizer: {path}: larger than {MAX_TOKENIZER_BYTES:,} bytes")
    return data


def describe(path: str | None, name: str) -> Tokenizer | None:
    """What the manifest says of the tokenizer file; None without one. Raises ConfigError when it cannot count."""
    if path is None:
        return None
    data = _read(Path(path))
    load(data, f"tokens.tokenizer: {path}")
    return Tokenizer(name=name, digest=hashlib.sha256(data).hexdigest())


def annotate_tokens(task: Task) -> Mapping[str, pa.Table]:
    """Count the tokens of every kept content of the bucket that was not seen before."""
    kept = task.sql("select sha256, released_bytes from t order by sha256", t=task.read("kept"))
    store = TOKENS_OF.open(task)
    missing = store.missing(kept)
    task.count("annotated.tokens", missing.num_rows)
    if missing.num_rows:
        file = task.kept("tokenizer")
        assert file is not None
        tokenizer = load(file.read_bytes(), "tokens.tokenizer")
        for piece in in_batches(missing, "released_bytes", BATCH_BYTES):
            texts = released_texts(task, piece)
            task.bytes_in += texts.nbytes
            words = texts["content"].cast(pa.large_string()).to_pylist()
            counts = [len(one.ids) for one in tokenizer.encode_batch_fast(words, add_special_tokens=False)]
            store.append(pa.table([texts["sha256"], counts], schema=TOKENS))
        store.compact()
    return {}


def by_content(task: Task) -> Mapping[str, pa.Table]:
    """The counts of the taken contents, routed to where their text's hash says."""
    kept = task.read("kept")
    rows = task.sql(
        "select k.content_sha256, t.tokens from k join t using (sha256)",
        k=kept,
        t=TOKENS_OF.open(task).read(wanted=kept.select(["sha256"])),
    )
    require_all("tokens", kept.num_rows, rows.num_rows)
    return {"counts": rows}


def places(task: Task) -> Mapping[str, pa.Table]:
    """The shard of every row, routed likewise."""
    return {"places": task.read("ids", columns=PLACES.names)}


def by_shard(task: Task) -> Mapping[str, pa.Table]:
    """Tokens of each shard, as far as its rows are in this bucket."""
    placed, counts = task.read("places"), task.read("counts")
    rows = task.sql("select p.shard, c.tokens from p join c using (content_sha256)", p=placed, c=counts)
    require_all("tokens", placed.num_rows, rows.num_rows)
    summed = task.sql(
        "select shard, sum(tokens)::bigint as tokens from t group by shard order by shard", t=rows
    )
    task.facts["tokens"] = dict(zip(summed["shard"].to_pylist(), summed["tokens"].to_pylist(), strict=True))
    return {}


def token_stores(tokenizer: Tokenizer | None, text_form: TextForm) -> dict[str, str]:
    """Keys of the stores that counts are made from and kept in; none without a tokenizer."""
    if tokenizer is None:
        return {}
    texts = released_stores(text_form)
    return {**texts, "tokens": TOKENS_OF.key(tokenizer=tokenizer.digest, texts=texts["released"])}


def count_tokens(
    runner: Runner, kept: Done, path: str, stores: Mapping[str, str], inputs: Mapping[str, Ref]
) -> None:
    """Annotate the contents of the stage `kept`; `inputs`: as of `TextForm`, here and below."""
    runner.run(
        Stage(
            name="annotate.tokens",
            run=annotate_tokens,
            inputs={"kept": kept.ref("kept"), **inputs},
            outputs={},
            config={"stores": dict(stores)},
            extra={"tokenizer": runner.keep(path)},
            libraries=("duckdb", "pyarrow", "tokenizers"),
        )
    )


def tokens_by_shard(
    runner: Runner, kept: Done, shards: Done, stores: Mapping[str, str], inputs: Mapping[str, Ref]
) -> Mapping[str, int]:
    """Path of a shard -> tokens of its rows. `kept`: what is taken, counted; `shards`: the stage that lists the row ids."""
    counted = runner.run(
        Stage(
            name="tokens.contents",
            run=by_content,
            inputs={"kept": kept.ref("kept"), **inputs},
            outputs={"counts": Output(schema=BY_CONTENT, order=("content_sha256",), route="content_sha256")},
            config={"stores": dict(stores)},
        )
    )
    placed = runner.run(
        Stage(
            name="tokens.places",
            run=places,
            inputs={"ids": shards.ref("ids")},
            outputs={"places": Output(schema=PLACES, order=("content_sha256",), route="content_sha256")},
        )
    )
    summed = runner.run(
        Stage(
            name="tokens.shards",
            run=by_shard,
            inputs={"places": placed.ref("places"), "counts": counted.ref("counts")},
            outputs={},
        )
    )
    total: Counter[str] = Counter()
    for facts in summed.facts:
        total.update(facts["tokens"])
    return dict(total)
