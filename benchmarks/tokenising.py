"""From released text to tokens on disk: MB/s of processor time and memory, beside other encoders on the same texts.

    python benchmarks/tokenising.py RELEASE [--vocab-size 32768] [--runs 3] [--slow-bytes 8000000] [--tokenizer DIR | --form FORM]

Every contestant runs in a process of its own, with one thread, on all texts of the release (a sample where the name says
so), each text once: a second look at a text would measure caches of words. Not counted are imports, the loading of the
tokenizer and of compiled kernels, and the check with built-in texts (about two seconds of a process). Reading the release is
counted in the whole path only, and there the comparison of a sample with the Hugging Face tokenizer, too.
MB/s are bytes of text by seconds of processor time, the median of `--runs`; memory is the peak of the process, less what it
had before. Ids are compared with those of the Hugging Face tokenizer on the sample.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    del sys.path[0]  # or `import training` would find benchmarks/training.py

FORMS = {
    "starcoder": (["digits"], True),
    "deepseek-coder": (
        ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", "digits"],
        False,
    ),
}
"""Pre-tokenisers of several steps: expressions that isolate, digits, and whether GPT-2's expression comes last."""
OF_FORMS = ("reference", "arrow", "path-0")
"""Contestants that take such a tokenizer."""

CONTESTANTS = {
    "tokenizers encode_batch_fast (sample)": "reference",
    "tiktoken encode_ordinary": "tiktoken",
    "gigatoken as_hf (list of str)": "as_hf",
    "gigatoken encode_batch (list of str)": "strings",
    "ours: gigatoken on Arrow's memory": "arrow",
    "ours: whole path, no FIM": "path-0",
    "ours: whole path, FIM 0.5, first epoch": "path-0.5",
    "ours: whole path, FIM 0.5, second epoch": "epoch-0.5",
    "ours: reading the release only": "reading",
    "ours: whole path with tokenizers instead (sample)": "path-slow",
}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("release")
    options.add_argument("--tokenizer", type=Path)
    options.add_argument("--form", choices=FORMS, help="learn a tokenizer with this family's pre-tokeniser")
    options.add_argument("--vocab-size", type=int, default=32_768)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--slow-bytes", type=int, default=8_000_000)
    options.add_argument("--one", choices=CONTESTANTS.values(), help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.one:
        print(json.dumps(_one(asked.one, asked.release, asked.tokenizer, asked.slow_bytes)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if asked.tokenizer is None:
            asked.tokenizer = Path(folder, "tokenizer")
            _train(asked.release, asked.tokenizer, asked.vocab_size, asked.form)
        print("| | MB | MB/s | memory, MB | same ids |\n|---|---|---|---|---|")
        for name, code in CONTESTANTS.items():
            if asked.form and code not in OF_FORMS:
                continue
            found = [_run(code, asked) for _ in range(asked.runs)]
            rate = statistics.median(one["rate"] for one in found)
            memory = max(one["memory"] for one in found)
            same = {True: "yes", False: "NO", None: ""}[found[0]["same"]]
            print(
                f"| {name} | {found[0]['bytes'] / 1e6:.1f} | {rate:.1f} | {memory / 1e6:.0f} | {same} |",
                flush=True,
            )


def _train(release: str, folder: Path, vocab_size: int, form: str | None) -> None:
    from training.tokens import learn

    corpus = learn.open_corpus(release, None, 0.05)
    if form is not None:
        _train_form(corpus, folder, vocab_size, form)
        return
    found = learn.learn(corpus, folder, vocab_size=vocab_size, train_bytes=10_000_000, seed=0, report=print)
    print(
        f"tokenizer: {found['size']:,} entries from {found['bytes'] / 1e6:.1f} MB in {found['cpu_seconds']} s, peak "
        f"{found['peak_bytes'] / 1e6:.0f} MB\n"
    )


def _train_form(corpus: Any, folder: Path, vocab_size: int, form: str) -> None:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    from training.tokens import sample
    from training.tokens.tokenizer import CodeTokenizer

    steps, split_at_last = FORMS[form]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(
                pre_tokenizers.Digits(individual_digits=True)
                if step == "digits"
                else pre_tokenizers.Split(Regex(step), "isolated")
                for step in steps
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split_at_last),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    made.train_from_iterator(
        sample.texts(corpus, sample.balanced(corpus, corpus.train, 4_000_000, 0)), trainer
    )
    CodeTokenizer(made.to_str().encode()).with_control_tokens().save(folder)


def _run(code: str, asked: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, asked.release, "--one", code, "--tokenizer", str(asked.tokenizer)]
    threads = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [*command, "--slow-bytes", str(asked.slow_bytes)],
        stdout=subprocess.PIPE,
        env={**os.environ, **threads},
        check=True,
    )
    return json.loads(done.stdout.decode().splitlines()[-1])


def _one(code: str, release: str, folder: Path, slow_bytes: int) -> dict[str, Any]:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    from training.tokens import learn
    from training.tokens.tokenizer import CodeTokenizer

    tokenizer = CodeTokenizer.load(folder)
    if code in {"reading", "path-0", "path-0.5", "epoch-0.5", "path-slow"}:
        return _path(code, release, tokenizer, slow_bytes)
    corpus = learn.open_corpus(release, None, 0.0)
    chunks = [batch["content"] for _, batch in corpus.texts(corpus.train)]
    texts = pa.concat_arrays(chunks).cast(pa.large_string())
    encode = _encoder(code, tokenizer)
    some = _sample(texts, slow_bytes)
    used = some if code == "reference" else texts
    wanted = _wanted(tokenizer, some)
    same = None if code == "reference" else _flat(encode(some)) == wanted
    encode = _encoder(code, tokenizer)  # anew: it may remember the words of the sample
    before, size = learn.peak_bytes(), _size(used)
    started = time.process_time()
    encode(used)
    seconds = time.process_time() - started
    return {"bytes": size, "rate": size / 1e6 / seconds, "memory": learn.peak_bytes() - before, "same": same}


def _size(texts: pa.Array) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.binary_length(texts)).as_py())


def _sample(texts: pa.Array, size: int) -> pa.Array:
    step = max(1, _size(texts) // size)
    return texts.take(pa.array(np.arange(0, len(texts), step)))


def _wanted(tokenizer: Any, texts: pa.Array) -> list[int]:
    from training.tokens.encoder import Reference, pieces_of

    return Reference(tokenizer).encode(pieces_of(texts))[0].tolist()


def _flat(found: Any) -> list[int]:
    return found.tolist() if isinstance(found, np.ndarray) else [index for ids in found for index in ids]


def _encoder(code: str, tokenizer: Any) -> Callable[[pa.Array], Any]:
    """Texts to ids, in whatever form the library gives them."""
    import gigatoken
    import tokenizers

    from training.tokens.encoder import Gigatoken, pieces_of

    if code == "reference":
        whole = tokenizers.Tokenizer.from_str(tokenizer.plain)
        return lambda texts: whole.encode_batch_fast(texts.to_pylist(), add_special_tokens=False)
    if code == "arrow":
        engine = Gigatoken(tokenizer)
        return lambda texts: engine.encode(pieces_of(texts))[0]
    if code == "strings":
        plain = gigatoken.Tokenizer.from_json(tokenizer.plain)
        return lambda texts: plain.encode_batch(texts.to_pylist(), parallel=False)
    if code == "as_hf":
        wrapped = gigatoken.Tokenizer.from_json(tokenizer.plain).as_hf()
        return lambda texts: wrapped(texts.to_pylist(), add_special_tokens=False)["input_ids"]
    return _tiktoken(tokenizer)


def _tiktoken(tokenizer: Any) -> Callable[[pa.Array], Any]:
    """tiktoken numbers its tokens by rank: ranks are the ids' order, and are translated back."""
    import tiktoken

    from training.tokens.learn import _byte_table

    table = _byte_table(tokenizer)
    ids = [index for index, text in enumerate(table) if text]
    ranks = {table[index]: rank for rank, index in enumerate(ids)}
    split = json.loads(tokenizer.plain)["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    engine = tiktoken.Encoding("ours", pat_str=split, mergeable_ranks=ranks, special_tokens={})
    back = np.array(ids)
    return lambda texts: np.concatenate(
        [back[engine.encode_ordinary(text)] for text in texts.to_pylist() if text]
    )


def _path(code: str, release: str, tokenizer: Any, slow_bytes: int) -> dict[str, Any]:
    from training.config import DataConfig, FimConfig
    from training.tokens import assemble, cache, encoder, learn, sample

    corpus = learn.open_corpus(release, None, 0.0)
    before = learn.peak_bytes()
    if code == "reading":
        started = time.process_time()
        size = sum(batch["content"].nbytes for _, batch in corpus.texts(corpus.train))
        seconds = time.process_time() - started
        return {
            "bytes": size,
            "rate": size / 1e6 / seconds,
            "memory": learn.peak_bytes() - before,
            "same": None,
        }
    if code == "path-slow":
        encoder._why_not[tokenizer.digest] = "the benchmark wants it"
        object.__setattr__(corpus, "train", sample.balanced(corpus, corpus.train, slow_bytes, 0))
    else:
        encoder.choose(tokenizer, print)  # once in a process: a quarter of a second
    engine = encoder.Gigatoken(tokenizer)  # another one: only the kernels are to be warm
    for rate in (0.0, 1.0):
        fim = FimConfig(rate=rate)
        assemble.encode_documents(
            tokenizer, engine, pa.array(["x = 1"]), ["x"], fim=fim, seed=0, epoch=0, row_tokens=64
        )
    rate = 0.5 if code.endswith("0.5") else 0.0
    data = DataConfig(sequence_length=4096, fim=FimConfig(rate=rate))
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(2 if code.startswith("epoch") else 1):
            started = time.process_time()
            made = cache.tokenised(
                corpus,
                "train",
                tokenizer,
                data,
                seed=0,
                epoch=epoch,
                cache=Path(folder),
                report=lambda _: None,
            )
            seconds = time.process_time() - started
    size = int(made.text_bytes.sum())
    return {
        "bytes": size,
        "rate": size / 1e6 / seconds,
        "memory": learn.peak_bytes() - before,
        "same": None,
    }


if __name__ == "__main__":
    main()
