"""The parsers: what they count, and that no file can take down or hold up who asks."""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.content import syntax as asking
from pipeline.content.code_schema import NUMBERS, SCHEMA
from pipeline.content.code_signals import MEASURED, code_signals
from pipeline.content.signal_schema import KNOWN
from pipeline.content.syntax import GRAMMARS, PARSED_BYTES, syntax
from pipeline.content.syntax_process import Grammar, measure
from pipeline.content.taxonomy import LANGUAGES

EXAMPLES = {  # language: text, functions, classes
    "C": ("struct a { int b; };\nenum c { D };\nint f(void) { return 1; }\nint g(void);", 1, 2),
    "C#": ("class A { A() {} void F() { int g() => 1; } }\nstruct B {}\ninterface C {}\nenum D {}\nrecord E();", 3, 5),
    "C++": ("class A { int f() { return 1; } };\nstruct B { int x; };\nint g() { return 1; }", 2, 2),
    "Go": ("package a\ntype T struct { a int }\ntype I interface { F() }\nfunc f() {}\nfunc (t T) g() {}", 2, 2),
    "Java": ("class A { A() {} int f() { return 1; } }\ninterface B {}\nenum C { D }\nrecord E(int a) {}", 2, 4),
    "JavaScript": ("class A { f() {} }\nfunction g() {}\nconst h = () => 1, i = function () {};\nfunction* j() {}", 5, 1),
    "PHP": ("<p><?php class A { function f() {} }\ninterface B {}\ntrait C {}\nfunction g() {} ?>", 2, 3),
    "Python": ("class A:\n    def f(self): ...\n\nasync def g(): ...\n", 2, 1),
    "Ruby": ("module A\n  class B\n    def f; end\n    def self.g; end\n  end\nend\n", 2, 2),
    "Rust": ("struct A { b: u8 }\nenum C { D }\ntrait E { fn f() {} }\nimpl A { fn g() {} }\nfn h() {}", 3, 3),
    "TSX": ("interface A { b: string }\nconst f = () => <b>{1}</b>;", 1, 1),
    "TypeScript": ("interface A { b: string }\nabstract class B { f(): void {} }\nenum C { D }\nconst g = () => 1;", 2, 3),
}  # fmt: skip


def asked(*files: tuple[str | None, bytes]) -> list[dict]:
    languages, texts = zip(*files, strict=True)
    return syntax(pa.array(languages, pa.string()), pa.array(texts, pa.large_binary())).to_pylist()


def test_functions_and_classes_by_example():
    assert set(EXAMPLES) == set(GRAMMARS) <= set(LANGUAGES)
    rows = asked(*((name, text.encode()) for name, (text, _, _) in EXAMPLES.items()))
    found = dict(zip(EXAMPLES, rows, strict=True))
    assert {
        name: (row["syntax_errors"], row["functions"], row["classes"]) for name, row in found.items()
    } == {name: (0, functions, classes) for name, (_, functions, classes) in EXAMPLES.items()}


@pytest.mark.parametrize("language", sorted(EXAMPLES))
def test_a_truncated_or_misnamed_file_has_errors(language):
    grammar, text = Grammar(language), EXAMPLES[language][0].encode()
    for broken in (
        text[: text.rindex(b"{") + 1] if b"{" in text else text[:7],
        b"<?php " * (language == "PHP") + b"= ) } ] %",
    ):
        parsed, error_bytes, errors, _, _ = measure(grammar, broken)
        assert parsed and errors > 0 and 0 <= error_bytes <= len(broken)


def test_python_sources_have_the_functions_that_python_finds():
    grammar = Grammar("Python")
    for path in sorted(Path(pipeline.__file__).parent.rglob("*.py"))[::9]:
        text = path.read_bytes()
        nodes = list(ast.walk(ast.parse(text)))
        functions = sum(isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) for one in nodes)
        classes = sum(isinstance(one, ast.ClassDef) for one in nodes)
        assert measure(grammar, text) == (True, 0, 0, functions, classes), path


def test_what_is_not_parsed_says_why():
    large = b"x = 1\n" * (PARSED_BYTES // 6 + 1)
    rows = asked(
        ("Python", large), ("COBOL", b"x"), (None, b"x"), ("Python", large[:PARSED_BYTES]), ("Python", b"")
    )
    assert [row["not_parsed"] for row in rows] == ["too_large", None, None, None, None]
    assert [row["functions"] for row in rows] == [None, None, None, 0, 0]
    assert rows[4]["syntax_error_fraction"] == 0


HOSTILE = {  # 8 kB of each take hundreds of MB, or as many steps as a MB of source
    "Java": ("Java", b")!"), "Java, deep": ("Java", b"a<"), "C++": ("C++", b")&"),
    "Java, 2 GB": ("Java", b"a=>"),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow) if one == "Java, 2 GB" else one for one in HOSTILE]
)
def test_a_file_that_costs_too_much_is_given_up_and_the_next_is_parsed(name):
    language, unit = HOSTILE[name]
    files = [(language, unit * (8_000 // len(unit))), (language, EXAMPLES[language][0].encode())]
    first, second = asked(*files)
    assert first == {**dict.fromkeys(first), "not_parsed": "too_complex"}
    assert second["syntax_errors"] == 0
    assert asked(*reversed(files)) == [second, first], "the order matters"


@pytest.mark.parametrize("unit", [b"(", b"[", b"{", b"-", b"a."])
def test_deep_nesting_takes_no_stack(unit):
    rows = asked(*((name, unit * (100_000 // len(unit))) for name in ("Python", "C")))
    assert all(row["not_parsed"] in (None, "too_complex") for row in rows)


TOKENS = [
    b"(",
    b")",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b"'",
    b'"',
    b"`",
    b"\\",
    b"#",
    b"/*",
    b"//",
    b"<<A\n",
    b"\n",
]
TOKENS += [
    b"    ",
    b"if ",
    b"class ",
    b"def ",
    b"fn ",
    b"=>",
    b"->",
    b";",
    b",",
    b"a",
    b"1",
    b"\xff",
    b"\x00",
    b"\xc3\xa9",
]
TOKENS += [b'R"(', b"%w[", b'f"{', b"${", b"#{", b"*", b"&", b"!"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.sampled_from(sorted(GRAMMARS)),
    st.lists(st.sampled_from(TOKENS), max_size=60).map(b"".join) | st.binary(max_size=100),
)
def test_any_bytes(grammars, language, text):
    """In this process: a grammar that dies of an input ends the test run."""
    grammar = grammars.setdefault(language, Grammar(language))
    parsed, error_bytes, errors, functions, classes = measure(grammar, text)
    assert parsed and 0 <= error_bytes <= len(text) and min(errors, functions, classes) >= 0
    assert measure(grammar, text) == (parsed, error_bytes, errors, functions, classes)


@pytest.fixture(scope="module")
def grammars() -> dict[str, Grammar]:
    return {}


def test_a_process_that_dies_of_a_file_is_started_again(monkeypatch, tmp_path):
    """As a crash of the parser looks to who asks: the process is there, takes the file, and ends by a signal."""
    program = tmp_path / "dies.py"
    program.write_text(
        "import os, signal, sys\nsys.stdin.buffer.read(9)\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    start, begun = asking._start, []

    def begin() -> subprocess.Popen[bytes]:
        begun.append(1)
        if len(begun) > 1:
            return start()
        return subprocess.Popen(["python", str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(asking, "_start", begin)
    monkeypatch.setenv("PATH", f"{Path(os.sys.executable).parent}:{os.environ['PATH']}")
    first, second = asked(("Python", b"x = 1\n" * 40_000), ("Python", b"x = 1\n"))
    assert (first["not_parsed"], second["syntax_errors"], len(begun)) == ("too_complex", 0, 2)


def test_a_process_that_ends_otherwise_is_an_error(monkeypatch):
    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["false"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr(asking, "_start", begin)
    with pytest.raises(RuntimeError, match="parses Python"):
        asked(("Python", b"x"))


# ------------------------------------------------------------------------------------------------ all signals together


def test_signals_are_null_where_they_mean_nothing():
    languages = ["Python", "HTML", "COBOL", None, "Text", "HTML"]
    texts = [b'"""d"""\n# c\n', b"<p>ab</p>", b"*> a\n", b"# x", b"# x", b""]
    columns = pa.array(languages, pa.string()), pa.array(texts, pa.large_binary())
    rows = code_signals(*columns, parsers=True).to_pylist()
    assert [row["comment_fraction"] is not None for row in rows] == [True, True, True, False, False, False]
    assert [row["html_visible_chars"] for row in rows] == [None, 2, None, None, None, 0]
    assert [row["functions"] for row in rows] == [0, None, None, None, None, None]
    off = code_signals(*columns, parsers=False).to_pylist()
    assert [row["not_parsed"] for row in off] == ["off", None, None, None, None, None]
    assert {"Python", "HTML", "COBOL"} <= MEASURED and "Text" not in MEASURED
    assert set(NUMBERS) == set(SCHEMA.names) - {"not_parsed"}
    assert [KNOWN[name] for name in NUMBERS] == [SCHEMA.field(name).type for name in NUMBERS]


def test_a_batch_is_its_rows():
    files = [(name, text.encode()) for name, (text, _, _) in EXAMPLES.items()] + [
        ("HTML", b"<p>a"),
        (None, b"x"),
        ("R", b"# a"),
    ]
    whole = code_signals(
        pa.array([n for n, _ in files]), pa.array([t for _, t in files], pa.large_binary()), parsers=True
    )
    for number, (name, text) in enumerate(files):
        one = code_signals(pa.array([name], pa.string()), pa.array([text], pa.large_binary()), parsers=True)
        assert one.to_pylist() == whole.slice(number, 1).to_pylist()
