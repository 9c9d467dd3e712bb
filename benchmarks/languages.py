"""Languages: accuracy on files that nothing here was made from, and speed, beside Pygments and Magika in the same run.

    pip download --no-deps --no-binary :all: pygments==2.21.0 && tar xzf pygments-2.21.0.tar.gz
    apt-get download ruby-rouge golang-github-alecthomas-chroma-v2-dev && for p in *.deb; do dpkg-deb -x $p ${p%%_*}; done
    pip install pygments magika
    python benchmarks/languages.py --pygments pygments-2.21.0 --rouge ruby-rouge \\
        --chroma golang-github-alecthomas-chroma-v2-dev --tree DIR

`--tree`: any folder of real files. They are timed, and those whose name decides alone are shown to the model without it.
Times are CPU seconds of one process, numba and RE2 warm. Writes Markdown to stdout.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.language_sets import Labelled, chroma_tests, language_of, pygments_examples, rouge_demos
from pipeline.content import guesslang
from pipeline.content.ambiguous import AMBIGUOUS
from pipeline.content.languages import HEAD_BYTES, decide
from pipeline.content.names import name_class
from pipeline.content.taxonomy import LANGUAGES, named

REAL_FILES = 20_000  # of a tree, evenly over its paths
PER_LANGUAGE = 40  # of a tree, for the model


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("pygments", "rouge", "chroma"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--tree", type=Path, action="append", default=[])
    arguments = parser.parse_args()
    sets = {
        "Pygments": pygments_examples(arguments.pygments),
        "Rouge": rouge_demos(arguments.rouge),
        "Chroma": chroma_tests(arguments.chroma),
    }
    for name, (files, left_out) in sets.items():
        languages = len({one.language for one in files})
        print(f"{name}: {len(files)} files, {languages} languages; {len(left_out)} left out\n")
    pygments_files = sets["Pygments"][0]
    named_files(pygments_files)
    ambiguous_names(pygments_files, "Pygments")
    ambiguous_names(
        sets["Rouge"][0] + sets["Chroma"][0],
        "Rouge and Chroma (the classifier's weights were chosen on these)",
    )
    without_names(pygments_files, "Pygments' files")
    for tree in arguments.tree:
        real = real_files(tree)
        without_names(labelled_by_name(real), f"real files of {tree.name}")
        speed(real)


def answers(files: Sequence[Labelled], names: Sequence[bytes]) -> list[tuple[str | None, str]]:
    """Language and step of every file under a name."""
    heads = pa.array([one.text[:HEAD_BYTES] for one in files], pa.large_binary())
    decided = decide(name_class(pa.array(names, pa.binary())), heads)
    return list(zip(decided.language.to_pylist(), decided.by.to_pylist(), strict=True))


# --------------------------------------------------------------------------------------------------------
# Accuracy


def named_files(files: Sequence[Labelled]) -> None:
    """Files with their own names: by step, beside the peers."""
    found = answers(files, [one.name for one in files])
    print("### Files with their own names\n\n| step | files | right |\n|---|---|---|")
    by_step(found, files)
    print("\n| | right | of its own languages |\n|---|---|---|")
    for peer, guess in peers().items():
        guessed = [guess(one.name.decode(), one.text) for one in files]
        right = sum(a == one.language for a, one in zip(guessed, files, strict=True))
        print(
            f"| {peer} | {right} of {len(files)} ({right / len(files):.3f}) | {own(peer, guessed, files)} |"
        )
    right = sum(a == one.language for (a, _), one in zip(found, files, strict=True))
    print(f"| this project | {right} of {len(files)} ({right / len(files):.3f}) | all |")
    print("\nWrong ones (file: language, answer, step):\n")
    for (language, by), one in zip(found, files, strict=True):
        if language != one.language:
            print(f"- `{one.path}`: {one.language}, {language or 'unknown'}, {by}")
    print()


def own(peer: str, guessed: Sequence[str | None], files: Sequence[Labelled]) -> str:
    """Right ones among the languages that a peer ever answers here: what it can be held to."""
    known = {one for one in guessed if one}
    rows = [(a, one.language) for a, one in zip(guessed, files, strict=True) if one.language in known]
    right = sum(a == b for a, b in rows)
    return f"{right} of {len(rows)} ({right / max(1, len(rows)):.3f})"


def by_step(found: Iterable[tuple[str | None, str]], files: Iterable[Labelled]) -> None:
    """Table rows: how many files each step decided, and how many of these are right."""
    given, right = Counter(), Counter()
    for (language, by), one in zip(found, files, strict=True):
        given[by] += 1
        right[by] += language == one.language
    for by, number in given.most_common():
        print(f"| {by} | {number} | {right[by]} ({right[by] / number:.3f}) |")
    print(f"| all | {given.total()} | {right.total()} ({right.total() / max(1, given.total()):.3f}) |")


def ambiguous_names(files: Sequence[Labelled], what: str) -> None:
    """Every text under every ambiguous extension of its language."""
    cases = [
        (one, b"a" + key)
        for one in files
        for key, choice in AMBIGUOUS.items()
        if key.startswith(b".") and one.language in choice.candidates
    ]
    texts = [one for one, _ in cases]
    found = answers(texts, [name for _, name in cases])
    print(f"### Every text under every shared extension of its language: {what}\n")
    print("| step | cases | right |\n|---|---|---|")
    by_step(found, texts)
    usual = [AMBIGUOUS[name[1:]].otherwise == one.language for one, name in cases]
    without = sum(right for right, (_, by) in zip(usual, found, strict=True) if by == "classifier")
    print(
        f"\nWhere the classifier decided, the usual language of the name would have been right {without} times."
    )
    confusion = Counter(
        (one.language, language or "unknown", name.decode())
        for (language, _), (one, name) in zip(found, cases, strict=True)
        if language != one.language
    )
    print("\n| language | taken for | extensions | times |\n|---|---|---|---|")
    rows = Counter()
    where: dict[tuple[str, str], set[str]] = {}
    for (language, answer, name), number in confusion.items():
        rows[language, answer] += number
        where.setdefault((language, answer), set()).add(name[1:])
    for (language, answer), number in sorted(rows.items(), key=lambda item: (-item[1], item[0])):
        print(f"| {language} | {answer} | {' '.join(sorted(where[language, answer]))} | {number} |")
    print()


def without_names(files: Sequence[Labelled], what: str) -> None:
    """Texts without a name: how often the model answers, and how often that is right."""
    found = answers(files, [b""] * len(files))
    supported = set(guesslang.LANGUAGES.values())
    kinds = {
        "code of the 54 languages": lambda one: (
            one in supported and LANGUAGES[one].kind in ("programming", "markup")
        ),
        "code of other languages": lambda one: (
            one not in supported and LANGUAGES[one].kind in ("programming", "markup")
        ),
        "prose and data": lambda one: LANGUAGES[one].kind in ("prose", "data"),
    }
    print(
        f"### Texts without a name: {what}\n\n| | files | by mode line, `#!`, XML | by the model | right |\n|---|---|---|---|---|"
    )
    total = right = 0
    for kind, belongs in kinds.items():
        rows = [(a, by, one) for (a, by), one in zip(found, files, strict=True) if belongs(one.language)]
        said = [(a, one) for a, by, one in rows if by == "model"]
        good = sum(a == one.language for a, one in said)
        declared = sum(by in ("modeline", "shebang", "xml") for _, by, _ in rows)
        print(f"| {kind} | {len(rows)} | {declared} | {len(said)} | {good} |")
        total, right = total + len(said), right + good
    print(f"\nPrecision of the model: {right} of {total} ({right / max(1, total):.3f}). Wrong ones:\n")
    for (language, by), one in zip(found, files, strict=True):
        if by == "model" and language != one.language:
            print(f"- `{one.path}`: {one.language}, {language}")
    print()
    alone = guesslang.guesses(pa.array([one.text[:HEAD_BYTES] for one in files], pa.large_binary()))
    good = sum(a == one.language for a, one in zip(alone, files, strict=True))
    print(f"guesslang alone answers all {len(files)}: {good} right ({good / len(files):.3f}).\n")


def real_files(tree: Path) -> list[Labelled]:
    """Up to `REAL_FILES` texts of a tree, evenly over its sorted paths; the label is empty."""
    paths = sorted(Path(root) / name for root, _, names in os.walk(tree) for name in names)
    step = max(1, len(paths) // REAL_FILES)
    files = []
    for path in paths[::step]:
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if b"\0" not in head:
                files.append(Labelled(str(path.relative_to(tree)), os.fsencode(path.name), head, ""))
    return files


def labelled_by_name(files: Sequence[Labelled]) -> list[Labelled]:
    """Files whose name is that of one language only, labelled so; at most `PER_LANGUAGE` of each, without `#!` lines."""
    seen: Counter[str] = Counter()
    kept = []
    classes = name_class(pa.array([one.name for one in files], pa.binary())).to_pylist()
    for class_, one in zip(classes, files, strict=True):
        languages = named(class_)[1]
        if len(languages) == 1 and len(one.text) >= 200 and not one.text.startswith(b"#!"):
            seen[languages[0]] += 1
            if seen[languages[0]] <= PER_LANGUAGE:
                kept.append(Labelled(one.path, one.name, one.text, languages[0]))
    return kept


# --------------------------------------------------------------------------------------------------------
# Peers and speed


def peers() -> dict[str, Callable[[str, bytes], str | None]]:
    """Name -> (file name, text) -> language of the taxonomy or None, for each peer that is installed."""
    found: dict[str, Callable[[str, bytes], str | None]] = {}
    try:
        import pygments
        from pygments.lexers import guess_lexer_for_filename
        from pygments.util import ClassNotFound

        def by_pygments(name: str, text: bytes) -> str | None:
            try:
                lexer = guess_lexer_for_filename(name, text.decode("utf-8", "replace"))
            except ClassNotFound:
                return None
            return next(filter(None, map(language_of, (lexer.name, *lexer.aliases))), None)

        found[f"Pygments {pygments.__version__}"] = by_pygments
    except ImportError:
        pass
    try:
        import magika

        model = magika.Magika()

        def by_magika(_name: str, text: bytes) -> str | None:
            return language_of(str(model.identify_bytes(text).output.label))

        found[f"Magika {magika.__version__}"] = by_magika
    except ImportError:
        pass
    return found


def speed(files: Sequence[Labelled]) -> None:
    """Files per CPU second: the rules, the whole cascade, and the peers on as many as they get through."""
    found = answers(files, [one.name for one in files])
    steps = {
        "name alone": ("name",),
        "rules on content": ("rule", "usual", "modeline", "shebang", "xml"),
        "models": ("classifier", "model", "nothing"),
    }
    parts = {
        what: [one for one, (_, by) in zip(files, found, strict=True) if by in some]
        for what, some in steps.items()
    }
    parts["whole cascade"] = list(files)
    mean = sum(len(one.text) for one in files) / len(files)
    print(
        f"### Speed: {len(files)} files, {mean:,.0f} bytes looked at in each\n\n| | files | files/s per core |\n|---|---|---|"
    )
    for what, some in parts.items():
        rates = []
        for _ in range(5):
            start = time.process_time()
            for at in range(0, len(some), 1000):
                answers(some[at : at + 1000], [one.name for one in some[at : at + 1000]])
            rates.append(len(some) / (time.process_time() - start))
        print(f"| {what} | {len(some)} | {sorted(rates)[2]:,.0f} |")
    for peer, guess in peers().items():
        some = files[:: max(1, len(files) // 300)]
        start, wall = time.process_time(), time.perf_counter()
        for one in some:
            guess(one.name.decode("utf-8", "replace"), one.text)
        cpu, wall = time.process_time() - start, time.perf_counter() - wall
        print(f"| {peer} | {len(some)} | {len(some) / cpu:,.0f} ({len(some) / wall:,.0f} by the clock) |")
    print()


if __name__ == "__main__":
    main()
