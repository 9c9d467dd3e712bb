"""Signals that need the language, beside the libraries that people use for them: MB/s of one core, and agreement.

    python benchmarks/code_signals.py [--bytes 6000000] [--runs 3] [FOLDER ...]

The input is the source files of the folders (without one: of the installed packages), by the name's extension, each
language up to a share of `--bytes`. Peers, in the same run and on the same texts (a sample where they are slow, named in the
table): Pygments' comment tokens; tree-sitter's comment nodes, as the reference of agreement; BeautifulSoup on lxml with
script, style and template taken out; `json` load, clear, dump, which is what nbstripout and nbconvert do to a notebook.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from bs4 import BeautifulSoup
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, String

from pipeline.content.comments import comment_shares, comment_spans
from pipeline.content.html import visible_text
from pipeline.content.notebook import strip_outputs
from pipeline.content.syntax import GRAMMARS, PARSED_BYTES, syntax
from pipeline.content.syntax_process import Grammar

EXTENSIONS = {
    ".c": "C", ".cpp": "C++", ".cc": "C++", ".hpp": "C++", ".cs": "C#", ".go": "Go", ".java": "Java", ".js": "JavaScript",
    ".php": "PHP", ".py": "Python", ".rb": "Ruby", ".rs": "Rust", ".ts": "TypeScript", ".html": "HTML", ".htm": "HTML",
}  # fmt: skip
SAMPLE = 400_000  # bytes that a slow peer gets


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    options.add_argument("--bytes", type=int, default=6_000_000)
    options.add_argument("--runs", type=int, default=3)
    asked = options.parse_args()
    folders = asked.folders or [Path(path) for path in sys.path if path.endswith("site-packages")]
    files = _files(folders, asked.bytes)
    for language, texts in sorted(files.items()):
        print(f"{language:<12} {len(texts):>5} files {sum(map(len, texts)):>11,} bytes")
    code = {name: texts for name, texts in files.items() if name in GRAMMARS}
    print("\n| what | MB/s | peer | MB/s | times |\n|---|---|---|---|---|")
    _comments(code, asked.runs)
    _syntax(code, asked.runs)
    if "HTML" in files:
        _html(files["HTML"], asked.runs)
    _notebooks(code.get("Python", [b"x = 1\n"]), asked.runs)
    print(
        "\n| language | files | same comments, to the byte | bytes told alike | of comment bytes: both / either |"
    )
    print("|---|---|---|---|---|")
    for language, texts in sorted(code.items()):
        _agreement(language, texts)


def _files(folders: list[Path], limit: int) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            language = EXTENSIONS.get(path.suffix)
            if language is None or not path.is_file():
                continue
            body = path.read_bytes()
            texts = found.setdefault(language, [])
            if b"\0" not in body and 0 < len(body) <= PARSED_BYTES and sum(map(len, texts)) < limit // 10:
                try:
                    body.decode()
                except UnicodeDecodeError:
                    continue
                texts.append(body)
    return found


def _rate(function: Callable[[], object], size: int, runs: int) -> float:
    seconds = []
    for _ in range(runs):
        start = time.process_time() + _children()
        function()
        seconds.append(time.process_time() + _children() - start)
    return size / 1e6 / statistics.median(seconds)


def _children() -> float:
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _row(what: str, ours: float, peer: str = "", theirs: float | None = None) -> None:
    right = f"{theirs:.3g} | {ours / theirs:.0f}" if theirs is not None else " | "
    print(f"| {what} | {ours:.3g} | {peer} | {right} |", flush=True)


def _flat(files: dict[str, list[bytes]]) -> tuple[pa.Array, pa.Array, int]:
    pairs = [(name, text) for name, texts in files.items() for text in texts]
    texts = pa.array([text for _, text in pairs], pa.large_binary())
    return pa.array([name for name, _ in pairs]), texts, sum(len(text) for _, text in pairs)


def _some(texts: list[bytes], limit: int) -> list[bytes]:
    taken, size = [], 0
    for text in texts:
        if size + len(text) <= limit:
            taken.append(text)
            size += len(text)
    return taken


def _comments(code: dict[str, list[bytes]], runs: int) -> None:
    languages, texts, size = _flat(code)
    comment_shares(languages, texts)  # compiles
    ours = _rate(lambda: comment_shares(languages, texts), size, runs)
    some = {name: _some(texts, SAMPLE // 4) for name, texts in code.items()}
    lexers = {
        name: get_lexer_by_name({"C#": "csharp", "C++": "cpp"}.get(name, name.lower())) for name in some
    }

    def pygments() -> None:
        for name, those in some.items():
            for text in those:
                sum(
                    len(value)
                    for kind, value in lexers[name].get_tokens(text.decode())
                    if kind in Comment or kind in String.Doc
                )

    sampled = sum(len(text) for those in some.values() for text in those)
    _row("comment and documentation shares", ours, "Pygments, sample", _rate(pygments, sampled, runs))


def _syntax(code: dict[str, list[bytes]], runs: int) -> None:
    languages, texts, size = _flat(code)
    ours = _rate(lambda: syntax(languages, texts), size, runs)
    grammars = {name: Grammar(name) for name in code}

    def bare() -> None:
        for name, those in code.items():
            for text in those:
                grammars[name].parse(text)

    _row(
        "syntax, in its process",
        ours,
        "tree-sitter alone: no bound on memory, no counts",
        _rate(bare, size, runs),
    )


def _html(pages: list[bytes], runs: int) -> None:
    texts = pa.array(pages, pa.large_binary())
    found = visible_text(texts).to_pylist()
    ours = _rate(lambda: visible_text(texts), sum(map(len, pages)), runs)
    some = _some(pages, SAMPLE)
    shown: list[int] = []

    def soup() -> None:
        shown[:] = [_shown(page) for page in some]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _row(
            "visible text of HTML",
            ours,
            "BeautifulSoup on lxml, sample",
            _rate(soup, sum(map(len, some)), runs),
        )
    rule = [n >= 100 and 0.2 * len(page.decode()) <= n for n, page in zip(shown, some, strict=True)]
    mine = dict(zip(pages, found, strict=True))
    alike = sum(
        (mine[page]["html_visible_chars"] >= 100 and mine[page]["html_visible_fraction"] >= 0.2) == passes
        for page, passes in zip(some, rule, strict=True)
    )
    equal = sum(mine[page]["html_visible_chars"] == n for n, page in zip(shown, some, strict=True))
    print(
        f"| (rule of The Stack v2 alike: {alike} of {len(some)} pages; same number of characters: {equal}) | | | | |"
    )


def _shown(page: bytes) -> int:
    soup = BeautifulSoup(page.decode(), "lxml")
    for element in soup(["script", "style", "template"]):
        element.decompose()
    return len(" ".join(soup.get_text().split()))


def _notebooks(sources: list[bytes], runs: int) -> None:
    """Made of real sources: 20 cells of code, each with a text and every fourth with an image of 40 kB as output."""
    image = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo" * 3_700}, "metadata": {}}
    text = {"output_type": "stream", "name": "stdout", "text": ["0.1 0.2\n"] * 20}
    books = []
    for start in range(0, min(len(sources), 400), 20):
        cells = [
            {"cell_type": "code", "execution_count": n, "metadata": {}, "source": source.decode().splitlines(keepends=True),
             "outputs": [text, image] if n % 4 == 0 else [text]}
            for n, source in enumerate(sources[start : start + 20])
        ]  # fmt: skip
        books.append(
            json.dumps(
                {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1
            ).encode()
        )
    texts, size = pa.array(books, pa.large_binary()), sum(map(len, books))
    strip_outputs(texts)

    def by_json() -> None:
        for book in books:
            data = copy.deepcopy(json.loads(book))  # as nbstripout: read, clear, write
            for cell in data["cells"]:
                cell["outputs"], cell["execution_count"] = [], None
            json.dumps(data, indent=1, ensure_ascii=False).encode()

    _row(
        "notebooks",
        _rate(lambda: strip_outputs(texts), size, runs),
        "json: load, clear, dump",
        _rate(by_json, size, runs),
    )


def _agreement(language: str, texts: list[bytes]) -> None:
    grammar, files, same, alike, dense, both, either = Grammar(language), 0, 0, 0, 0, 0, 0
    for text in texts:
        tree = grammar.parse(text)
        if tree is None or tree.root_node.has_error:
            continue
        shown = np.frombuffer(text, np.uint8) > 32
        marks = []
        for spans in (_nodes(tree), comment_spans(language, text)):
            inside = np.zeros(len(text), bool)
            for start, end in spans:
                inside[start:end] = True
            marks.append(inside & shown)
        files += 1
        same += bool((marks[0] == marks[1]).all())
        alike += int((marks[0] == marks[1])[shown].sum())
        dense += int(shown.sum())
        both += int((marks[0] & marks[1]).sum())
        either += int((marks[0] | marks[1]).sum())
    if files:
        print(
            f"| {language} | {files} | {same / files:.1%} | {alike / dense:.4%} | {both / max(1, either):.4f} |",
            flush=True,
        )


def _nodes(tree: object) -> Iterator[tuple[int, int]]:
    cursor = tree.walk()  # type: ignore[attr-defined]
    while True:
        node = cursor.node
        if "comment" in node.type:
            yield node.start_byte, node.end_byte
        elif cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


if __name__ == "__main__":
    main()
