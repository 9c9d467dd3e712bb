"""The search for benchmark texts: what it finds of changed copies, what it finds where nothing is, and how fast it is.

    python benchmarks/bench_contamination.py [NAME=FILE ...] [--input DIR] [--words 5,8,13] [--rounds N] [--hits]

Without NAME=FILE: the examples of examples/benchmarks. Without --input: the files of the default release.

recall: every item with a prompt and a solution is planted, changed, in the midst of a file of the input; a row is one kind of
change, and tells the share of items that are found at each threshold (any part of the item). Changes are drawn from a fixed seed.
false: files of the input that reach a threshold, with --hits each of them; the input should hold no benchmark.
speed: megabytes of text a second of one core (process time, median of the rounds) over the input, which holds no match but the
false ones; beside it a plain search of every normalised text of the benchmarks (white space and case removed, as The Stack v2
compares) in every normalised file, in Python, and datatrove's filter by 12-grams where it is installed, both on a part of it.
One JSON object per row.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import io
import json
import keyword
import random
import statistics
import time
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
from dedup_corpus import Corpus, read_corpus

from pipeline.content.contamination import Index, Part, build
from pipeline.content.contamination_records import parts_of

EXAMPLES = Path(__file__).parent.parent / "examples" / "benchmarks"
THRESHOLDS = ("0.25", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1")
PROMPTS, SOLUTIONS = ("prompt", "text"), ("canonical_solution", "code")
FILLER = [
    "note",
    "that",
    "this",
    "step",
    "only",
    "keeps",
    "the",
    "running",
    "state",
    "of",
    "what",
    "was",
    "seen",
    "so",
    "far",
    "in",
    "order",
]
SLOW_MEGABYTES = 8.0  # of the input that the slow peers see


# --------------------------------------------------------------------------------------------------------------- changes


def verbatim(prompt: str, solution: str, _: random.Random) -> str:
    return prompt + "\n" + solution


def white_space(prompt: str, solution: str, draw: random.Random) -> str:
    """Other line breaks and indents between all words, and upper case."""
    return "".join(
        draw.choice((" ", "\n", "\n\t", "  \r\n    ")) if c.isspace() else c
        for c in verbatim(prompt, solution, draw).upper()
    )


def in_comments(prompt: str, solution: str, draw: random.Random) -> str:
    """All of it as comments of 60 columns."""
    lines, line = [], "//"
    for word in verbatim(prompt, solution, draw).split():
        if len(line) + len(word) > 60:
            lines.append(line)
            line = "//"
        line += " " + word
    return "\n".join([*lines, line])


def comments_added(prompt: str, solution: str, draw: random.Random) -> str:
    """A comment of 6 to 10 words behind every line."""
    lines = verbatim(prompt, solution, draw).splitlines()
    return "\n".join(f"{line}  # {' '.join(draw.choices(FILLER, k=draw.randint(6, 10)))}" for line in lines)


def renamed(prompt: str, solution: str, draw: random.Random) -> str:
    """Every argument and variable has another name; the words of the docstring stay."""
    text = verbatim(prompt, solution, draw)
    if not prompt.rstrip().endswith(('"""', "'''")):
        text = solution  # a prompt that is no code stands before it, unchanged
    try:
        tree = ast.parse(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, tokenize.TokenError):
        return verbatim(prompt, solution, draw)
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    names |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    names -= {*keyword.kwlist, *dir(builtins)}
    other = {name: f"{draw.choice(FILLER)}_{number}" for number, name in enumerate(sorted(names))}
    changed = [
        (t.type, other.get(t.string, t.string) if t.type == tokenize.NAME else t.string) for t in tokens
    ]
    made = tokenize.untokenize(changed)
    return made if text != solution else f"{prompt}\n{made}"


def one_word_in(every: int) -> Callable[[str, str, random.Random], str]:
    def change(prompt: str, solution: str, draw: random.Random) -> str:
        words = prompt.split(" ")
        for at in range(draw.randrange(every), len(words), every):
            words[at] = draw.choice(FILLER)
        return " ".join(words) + "\n" + solution

    return change


def solution_alone(_: str, solution: str, __: random.Random) -> str:
    return solution


def prompt_alone(prompt: str, _: str, __: random.Random) -> str:
    return prompt


def half_of_the_prompt(prompt: str, _: str, __: random.Random) -> str:
    return prompt[: len(prompt) // 2]


def prompt_reworded(prompt: str, solution: str, draw: random.Random) -> str:
    """The prompt without its solution, a word in ten another one: a task told again in other words."""
    return one_word_in(10)(prompt, "", draw)


CHANGES: dict[str, Callable[[str, str, random.Random], str]] = {
    "verbatim": verbatim,
    "as a JSON string": lambda p, s, d: json.dumps(verbatim(p, s, d)),
    "white space and case": white_space,
    "in comments": in_comments,
    "a comment behind every line": comments_added,
    "variables renamed": renamed,
    "prompt alone": prompt_alone,
    "prompt alone, 1 word in 20 other": lambda p, s, d: one_word_in(20)(p, "", d),
    "prompt alone, 1 word in 10 other": prompt_reworded,
    "prompt alone, 1 word in 5 other": lambda p, s, d: one_word_in(5)(p, "", d),
    "half of the prompt": half_of_the_prompt,
    "solution alone": solution_alone,
    "solution alone, variables renamed": lambda p, s, d: (
        renamed("", p + "\n" + s, d).split('"""')[-1] if '"""' in p else renamed("", s, d)
    ),
}


def recall(index: Index, items: dict[str, dict[str, str]], around: list[bytes]) -> Iterator[dict]:
    for name, change in CHANGES.items():
        draw = random.Random(name)
        texts, wanted = [], []
        for item, parts in items.items():
            made = change(parts["prompt"], parts["solution"], draw).encode()
            before, behind = draw.choices(around, k=2)
            texts.append(before + b"\n" + made + b"\n" + behind)
            wanted.append(item)
        found = index.search(pa.array(texts, pa.large_binary())).to_pylist()
        best = [
            max(
                (Fraction(m["matched"], m["ngrams"]) for m in matches if m["item"] == item),
                default=Fraction(0),
            )
            for item, matches in zip(wanted, found, strict=True)
        ]
        at = {t: round(sum(share >= Fraction(t) for share in best) / len(best), 3) for t in THRESHOLDS}
        yield {"recall": name, "items": len(best), "found_at": at}


# -------------------------------------------------------------------------------------------------------- false, speed


def false(index: Index, found: list[list[dict]], corpus: Corpus, hits: bool) -> Iterator[dict]:
    best = [Fraction(m[0]["matched"], m[0]["ngrams"]) if m else Fraction(0) for m in found]
    at = {t: sum(share >= Fraction(t) for share in best) for t in THRESHOLDS}
    yield {"false": f"{index.ngram}-grams", "files": len(found), "hits_at": at}
    if hits:
        for path, text, matches in zip(corpus.paths, corpus.texts, found, strict=True):
            for match in matches[:1]:
                shown = text[match["start"] : min(match["end"], match["start"] + 300)]
                yield {"hit": path, **match, "text": shown.decode("utf-8", "replace")}


def seconds(run: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        run()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def without_space(text: bytes) -> bytes:
    return b"".join(text.split()).lower()


def in_python(texts: list[bytes], parts: list[bytes]) -> int:
    needles = [without_space(part) for part in parts]
    return sum(any(needle in hay for needle in needles) for hay in map(without_space, texts))


def datatrove(texts: list[bytes], parts: list[bytes]) -> Callable[[], int] | None:
    """datatrove's words, n-grams and hashes over the same texts; None where it is not installed."""
    try:
        from datatrove.data import Document
        from datatrove.pipeline.decont.n_grams import (
            NGramsDecontConfig,
            NGramsDecontFilter,
            NGramsDecontIndexer,
        )
    except ImportError:
        return None
    import tempfile

    config = NGramsDecontConfig(n_grams=12, find_query_ngrams=False, find_overlap_ngrams=False)
    folder = tempfile.mkdtemp()
    indexer = NGramsDecontIndexer(folder, config=config)
    held: set[int] = set()
    for part in parts:
        held |= set(indexer.compute_hashes(part.decode("utf-8", "replace")))
    search = NGramsDecontFilter(folder, config=config)
    search._index_hashes = {"benchmark": held}
    documents = [Document(text.decode("utf-8", "replace"), str(n)) for n, text in enumerate(texts)]
    return lambda: sum(search.filter(one) is not True for one in documents)


def speed(index: Index, texts: list[bytes], parts: list[bytes], rounds: int) -> Iterator[dict]:
    bodies = pa.array(texts, pa.large_binary())
    size = sum(map(len, texts)) / 1e6
    index.search(bodies.slice(0, 10))
    took = seconds(lambda: index.search(bodies), rounds)
    yield {"speed": "stackmill", "megabytes": round(size, 1), "megabytes_per_second": round(size / took, 1)}
    few, held = [], 0.0
    for text in texts:
        if held >= SLOW_MEGABYTES:
            break
        few.append(text)
        held += len(text) / 1e6
    peers = {"python, whole parts": lambda: in_python(few, parts)}
    if (peer := datatrove(few, parts)) is not None:
        peers["datatrove, 12-grams"] = peer
    for name, run in peers.items():
        took = seconds(run, min(rounds, 3))
        yield {"speed": name, "megabytes": round(held, 1), "megabytes_per_second": round(held / took, 2)}


# ------------------------------------------------------------------------------------------------------------------ main


def items_of(texts: list[tuple[Part, str]]) -> dict[str, dict[str, str]]:
    """Items with a prompt and a solution."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for part, text in texts:
        kind = "prompt" if part.field in PROMPTS else "solution" if part.field in SOLUTIONS else part.field
        found[part.item][kind] = text
    return {item: parts for item, parts in found.items() if {"prompt", "solution"} <= set(parts)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmarks", nargs="*", metavar="NAME=FILE")
    parser.add_argument("--input", type=Path, action="append", default=[])
    parser.add_argument("--words", default="5,8,13")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hits", action="store_true")
    chosen = parser.parse_args()
    named = dict(one.split("=", 1) for one in chosen.benchmarks) or {
        path.stem: str(path) for path in sorted(EXAMPLES.glob("*.jsonl"))
    }
    texts = [one for name, path in named.items() for one in parts_of(name, Path(path).read_bytes(), path)]
    corpus = read_corpus(chosen.input)
    print(json.dumps({"input": corpus.source, "files": len(corpus), "megabytes": round(corpus.megabytes, 1)}))
    around = [text for text in corpus.texts if b"\n    return " in text and len(text) < 50_000][:2_000]
    for words in map(int, chosen.words.split(",")):
        index = build(texts, words)
        left = Counter(f"{one.part.field}: {one.reason}" for one in index.unsearchable)
        print(
            json.dumps(
                {"index": words, "parts": len(index.parts), "unsearchable": dict(sorted(left.items()))}
            )
        )
        for row in recall(index, items_of(texts), around):
            print(json.dumps({"ngram": words, **row}))
        found = index.search(corpus.array()).to_pylist()
        for row in false(index, found, corpus, chosen.hits):
            print(json.dumps(row))
        for row in speed(index, corpus.texts, [text.encode() for _, text in texts], chosen.rounds):
            print(json.dumps({"ngram": words, **row}))


if __name__ == "__main__":
    main()
