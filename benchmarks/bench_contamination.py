"""The search for benchmark texts: what it finds of changed copies, what it finds where nothing is, and how fast it is.

    python benchmarks/bench_contamination.py [NAME=FILE ...] [--input DIR] [--words 5,8,13] [--rounds N] [--hits]

Without NAME=FILE: the examples of examples/benchmarks. Without --input: the files of the default release.

recall: every item with a prompt and a solution is planted, changed, in the midst of a file of the input; a row is one kind of
change, and tells the share of items that are found at each threshold (any part of the item). Changes are drawn from a fixed seed.
false: files of the input that reach a threshold, with --hits each of them; the input should hold no benchmark.
speed: megabytes of text a second of one core (process time, median of the rounds) over the input.
Beside it, on a part of the input: every whole part of 40 bytes or more, white space and case removed, in every file (as The Stack
v2 compares; plain Python), and datatrove's filter, any 12-gram, where it is installed.
One JSON object per row.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import io
import json
import keyword
import random
import statistics
import tempfile
import time
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
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
SLOW_MEGABYTES = 4.0  # of the input that the slow peers see
SHORTEST_NEEDLE = 40  # bytes without white space: a shorter part would be in any file


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


Peers = dict[str, Callable[[list[bytes]], list[bool]]]


def recall(
    index: Index, items: dict[str, dict[str, str]], around: list[bytes], peers: Peers
) -> Iterator[dict]:
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
        others = {peer: round(sum(search(texts)) / len(texts), 3) for peer, search in peers.items()}
        yield {"recall": name, "items": len(best), "found_at": at, "peers": others}


# -------------------------------------------------------------------------------------------------------- false, speed


def false(index: Index, found: list[list[dict]], corpus: Corpus, peers: Peers, hits: bool) -> Iterator[dict]:
    best = [Fraction(m[0]["matched"], m[0]["ngrams"]) if m else Fraction(0) for m in found]
    at = {t: sum(share >= Fraction(t) for share in best) for t in THRESHOLDS}
    yield {"false": f"{index.ngram}-grams", "files": len(found), "hits_at": at}
    few = part_of(corpus.texts)
    for name, search in peers.items():
        yield {"false": name, "files": len(few), "hits": sum(search(few))}
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


class Datatrove:
    """datatrove's filter, which refuses a text with any of the parts' n-grams; raises ImportError where it is not installed."""

    WORDS = 12  # its default

    def __init__(self, parts: list[bytes]) -> None:
        from datatrove.data import Document
        from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter
        from datatrove.utils.text import ngrams, simplify_text

        self._document = Document
        self._filter = NGramsDecontFilter(tempfile.mkdtemp(), config=NGramsDecontConfig(n_grams=self.WORDS))
        held = {}
        for part in parts:
            text = simplify_text(part.decode(), self._filter.config.norm_config)
            for one in ngrams(self._filter.tokenizer.word_tokenize(text), self.WORDS):
                held[self._filter.hash_func(" ".join(one))] = "benchmark"
        self._filter._index_hashes = held

    def __call__(self, texts: list[bytes]) -> list[bool]:
        """Which texts hold one."""
        documents = (self._document(text.decode("utf-8", "replace"), "0") for text in texts)
        return [self._filter.filter(one) is not True for one in documents]


class WholeParts:
    """Every part as it is but for white space and case, in every text: The Stack v2's comparison, in Python."""

    def __init__(self, parts: list[bytes]) -> None:
        self._needles = [without_space(part) for part in parts if len(without_space(part)) >= SHORTEST_NEEDLE]

    def __call__(self, texts: list[bytes]) -> list[bool]:
        """Which texts hold one."""
        return [any(needle in hay for needle in self._needles) for hay in map(without_space, texts)]


def peers_of(parts: list[bytes]) -> dict[str, Callable[[list[bytes]], list[bool]]]:
    found: dict[str, Callable[[list[bytes]], list[bool]]] = {"whole parts": WholeParts(parts)}
    with contextlib.suppress(ImportError):
        found["datatrove, any 12-gram"] = Datatrove(parts)
    return found


def speed(index: Index, texts: list[bytes], peers: Peers, rounds: int) -> Iterator[dict]:
    bodies = pa.array(texts, pa.large_binary())
    size = sum(map(len, texts)) / 1e6
    index.search(bodies.slice(0, 10))
    took = seconds(lambda: index.search(bodies), rounds)
    yield {"speed": "stackmill", "megabytes": round(size, 1), "megabytes_per_second": round(size / took, 1)}
    few = part_of(texts)
    held = sum(map(len, few)) / 1e6
    for name, search in peers.items():
        took = seconds(lambda search=search: search(few), min(rounds, 3))
        yield {"speed": name, "megabytes": round(held, 1), "megabytes_per_second": round(held / took, 2)}


def part_of(texts: list[bytes]) -> list[bytes]:
    """Texts drawn from a fixed seed, of `SLOW_MEGABYTES`: what the slow peers see."""
    held, few = 0, []
    for text in random.Random(1).sample(texts, len(texts)):
        if held >= SLOW_MEGABYTES * 1e6:
            break
        few.append(text)
        held += len(text)
    return few


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
    peers = peers_of([text.encode() for _, text in texts])
    for words in map(int, chosen.words.split(",")):
        index = build(texts, words)
        left = Counter(f"{one.part.field}: {one.reason}" for one in index.unsearchable)
        found = index.search(corpus.array()).to_pylist()
        rows = (
            [{"index": words, "parts": len(index.parts), "unsearchable": dict(sorted(left.items()))}],
            recall(index, items_of(texts), around, peers),
            false(index, found, corpus, peers, chosen.hits),
            speed(index, corpus.texts, peers, chosen.rounds),
        )
        for row in chain.from_iterable(rows):
            print(json.dumps(row), flush=True)
        peers = {}  # theirs do not depend on the length


if __name__ == "__main__":
    main()
