"""Does a file parse, and what does it declare: errors, functions and types by tree-sitter's grammar of its language.

`syntax_errors` counts the places where the parser had to skip something or to assume a missing token; `syntax_error_fraction`
is the share of the file's bytes inside what it could not fit together, up to 1: one bracket too many near the top can make it 1.
`functions` counts definitions of functions and methods, `classes` those of types with a body: classes, interfaces, structures,
enumerations, traits, records.

Files above `PARSED_BYTES` are not parsed (`too_large`), nor is the parsing of one finished that costs more than any that a person
wrote (`too_complex`; how that is counted, and why in a process of its own: syntax_process.py). No clock decides.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from pipeline.content import syntax_process
from pipeline.content.code_schema import SYNTAX
from pipeline.content.syntax_process import ANSWER, GRAMMARS, REQUEST

PARSED_BYTES = 262_144
_OF_THE_FILE = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS))
"""How the parser dies of a file: no memory, or a defect. Whatever else ends the process says nothing about the file."""
DISTRIBUTIONS = ("tree-sitter", *sorted({module.replace("_", "-") for module, _, _ in GRAMMARS.values()}))
"""What changes an answer when its version changes."""


def syntax(languages: pa.Array, texts: pa.LargeBinaryArray) -> pa.Table:
    """What the parsers say of every text (`code_schema.SYNTAX`). No nulls among the texts."""
    with _Process() as process:
        rows = list(_rows(process, languages, texts))
    return pa.Table.from_pylist(rows, schema=SYNTAX)


def _rows(
    process: _Process, languages: pa.Array, texts: pa.LargeBinaryArray
) -> Iterator[dict[str, float | str | None]]:
    for language, text in zip(languages.to_pylist(), texts, strict=True):
        if language not in GRAMMARS:
            yield {}
            continue
        view = memoryview(text.as_buffer())
        if view.nbytes > PARSED_BYTES:
            yield {"not_parsed": "too_large"}
            continue
        parsed, error_bytes, errors, functions, classes = process.ask(language, view)
        if not parsed:
            yield {"not_parsed": "too_complex"}
            continue
        yield {
            "syntax_error_fraction": error_bytes / max(1, view.nbytes),
            "syntax_errors": errors,
            "functions": functions,
            "classes": classes,
        }


class _Process:
    """The process that parses, started when it is needed and again where a file has ended it."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._numbers = {name: number for number, name in enumerate(GRAMMARS)}

    def __enter__(self) -> _Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._stop(self._running)

    def ask(self, language: str, text: memoryview) -> tuple[bool, int, int, int, int]:
        """The fields of ANSWER; not parsed, where the process does not survive it."""
        if self._running is None:
            self._running = _start()
        running = self._running
        assert running.stdin is not None and running.stdout is not None
        try:
            running.stdin.write(REQUEST.pack(self._numbers[language], text.nbytes))
            running.stdin.write(text)
            running.stdin.flush()
            answer = running.stdout.read(ANSWER.size)
        except BrokenPipeError:
            answer = b""
        if len(answer) == ANSWER.size:
            fields: tuple[bool, int, int, int, int] = ANSWER.unpack(answer)
            return fields
        self._stop(running)
        self._running = None
        if -running.returncode not in _OF_THE_FILE:
            raise RuntimeError(
                f"the process that parses {language} ended with {running.returncode}; run again"
            )
        return False, 0, 0, 0, 0

    @staticmethod
    def _stop(running: subprocess.Popen[bytes]) -> None:
        for pipe in (running.stdin, running.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        running.wait()


def _start() -> subprocess.Popen[bytes]:
    # -P: the folder of the program is not searched for modules; its html.py is not Python's.
    program = [sys.executable, "-P", str(Path(syntax_process.__file__))]
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
