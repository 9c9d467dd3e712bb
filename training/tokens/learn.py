"""A tokenizer learnt from a release, and what a tokenizer does to one: the work behind `pipeline tokenizer`."""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from training.config import EvaluationConfig, TrainConfig
from training.corpus.select import Corpus, select
from training.corpus.sources import Report, open_source
from training.errors import TrainingConfigError, TrainingDataError
from training.tokens import control, encoder, sample
from training.tokens import tokenizer as tokenizers
from training.tokens.cache import Progress
from training.tokens.stored import aside, writing
from training.tokens.tokenizer import CodeTokenizer, byte_alphabet


def open_corpus(release: str, languages: Sequence[str] | None, held_out: float) -> Corpus:
    """The rows of a release, split as `pipeline train` would with this `evaluation.fraction`."""
    config = TrainConfig(
        release=release,
        output="-",  # nothing is written
        steps=1,
        languages=tuple(languages) if languages else None,
        evaluation=EvaluationConfig(fraction=held_out, near=None),
    )
    return select([open_source(source) for source in config.all_sources], config)


def learn(
    corpus: Corpus, out: Path, *, vocab_size: int, train_bytes: int, seed: int, report: Report
) -> dict[str, Any]:
    """Train a tokenizer on a balanced sample of the corpus's training rows and save it in `out`.

    Args:
        corpus: rows to learn from.
        out: a folder that does not exist or has no tokenizer.
        vocab_size: entries, control tokens included.
        train_bytes: size of the sample (see `training.tokens.sample`).
        seed: of the sample.
        report: takes lines for the user.

    Returns:
        What was made: size, digest, documents and bytes of each language, seconds of processor time, peak memory.

    Raises:
        TrainingConfigError: `out` has a tokenizer already.
        TrainingDataError: there is no text to learn from.
        OutputError: it cannot be written.
    """
    if (out / tokenizers.FILE).exists():
        raise TrainingConfigError(f"{out} has a tokenizer already; give another folder, or remove it")
    if vocab_size < (least := 256 + len(control.CONTROL_TOKENS)):
        raise TrainingConfigError(
            f"a vocabulary of {vocab_size} is too small: bytes and control tokens are {least}"
        )
    started = time.process_time()
    chosen = sample.balanced(corpus, corpus.train, train_bytes, seed)
    used: dict[str, list[int]] = {}
    progress = Progress("reading", int(sample.row_sizes(corpus)[chosen].sum()), report)

    def texts() -> Iterator[str]:
        for rows, batch in corpus.texts(chosen):
            for row, text in zip(rows.tolist(), batch["content"].to_pylist(), strict=True):
                if text:
                    counts = used.setdefault(corpus.languages[corpus.language[row]], [0, 0])
                    counts[0] += 1
                    counts[1] += len(text.encode())
                    yield text
            progress(sum(size for _, size in used.values()))

    with writing(out):
        temporary = aside(out)
    try:
        made = tokenizers.train(texts(), vocab_size)
        if not used:
            raise TrainingDataError("no row that may be learnt from has any text")
        with writing(out):
            made.save(temporary)
            if out.is_dir():
                for file in temporary.iterdir():
                    file.replace(out / file.name)
            else:
                temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if made.size < vocab_size:
        report(
            f"the sample gave {made.size} entries only, not {vocab_size}: raise --train-bytes, or give more text"
        )
    return {
        "tokenizer": str(out),
        "size": made.size,
        "digest": made.digest,
        "languages": {
            name: {"documents": documents, "bytes": size} for name, (documents, size) in sorted(used.items())
        },
        "bytes": sum(size for _, size in used.values()),
        "cpu_seconds": round(time.process_time() - started, 2),
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe(tokenizer: CodeTokenizer) -> dict[str, Any]:
    """What a tokenizer is: its size, its control tokens, what it lacks, and which encoder it gets."""
    lines: list[str] = []
    chosen = encoder.choose(tokenizer, lines.append)
    ids = {
        name: getattr(tokenizer.control, name)
        for name in ("end_of_text", "pad", "prefix", "middle", "suffix", "repo_name", "file_sep")
    }
    return {
        "size": tokenizer.size,
        "digest": tokenizer.digest,
        "control": {
            name: None if index is None else {"id": index, "token": tokenizer.full.id_to_token(index)}
            for name, index in ids.items()
        },
        "missing": list(control.missing(tokenizer.control)),
        "notes": list(tokenizer.notes),
        "encoder": chosen.name,
        "why_slow": lines[0].partition(": ")[2] if lines else None,
    }


def measure(
    tokenizer: CodeTokenizer, corpus: Corpus, rows: np.ndarray, limit: int, seed: int
) -> dict[str, Any]:
    """What a tokenizer does to a balanced sample of about `limit` bytes of the rows marked in `rows`.

    Returns:
        `languages`: bytes, tokens and bytes per token of each; `all`: the same of all; `round_trip`: documents, and how
        many of them do not come back byte for byte; `encoder_differs`: content id of a document that the chosen encoder
        encodes otherwise than the Hugging Face tokenizer, or null.
    """
    engine = encoder.choose(tokenizer, lambda _: None)
    table = _byte_table(tokenizer)
    size = np.zeros((len(corpus.languages), 2), np.int64)
    documents, changed, differs = 0, 0, None
    for numbers, batch in corpus.texts(sample.balanced(corpus, rows, limit, seed)):
        pieces = encoder.pieces_of(pc.fill_null(batch["content"], ""))
        ids, lengths = engine.encode(pieces)
        if differs is None and engine.name != encoder.Reference.name:
            wrong = encoder.difference(engine, tokenizer, pieces)
            differs = None if wrong is None else batch["content_sha256"][wrong].as_py()
        language = corpus.language[numbers]
        np.add.at(size, (language, 0), np.diff(pieces.bounds))
        np.add.at(size, (language, 1), lengths)
        stops = np.cumsum(lengths)
        for index in range(len(pieces)):
            own = ids[stops[index] - lengths[index] : stops[index]].tolist()
            changed += b"".join([table[i] for i in own]) != pieces.text(index).encode()
        documents += len(pieces)
    return {
        "languages": {
            name: _rate(*size[number]) for number, name in enumerate(corpus.languages) if size[number, 0]
        },
        "all": _rate(*size.sum(axis=0)),
        "round_trip": {"documents": documents, "changed": changed},
        "encoder_differs": differs,
    }


def _rate(size: int, tokens: int) -> dict[str, Any]:
    return {
        "bytes": int(size),
        "tokens": int(tokens),
        "bytes_per_token": round(float(size / tokens), 4) if tokens else None,
    }


def _byte_table(tokenizer: CodeTokenizer) -> list[bytes]:
    """Bytes of each id; none for control tokens."""
    byte_of = {letter: byte for byte, letter in enumerate(byte_alphabet())}
    result = [b""] * tokenizer.size
    for token, index in tokenizer.vocabulary().items():
        if not tokenizer.is_control[index]:
            result[index] = bytes(byte_of[letter] for letter in token)
    return result
