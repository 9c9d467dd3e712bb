"""Comments: by example per family, against syntax trees, and on whatever bytes there are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import pipeline
from pipeline.content.comment_syntax import DOCUMENTED, SYNTAX
from pipeline.content.comments import comment_shares, comment_spans
from pipeline.content.syntax_process import GRAMMARS, Grammar
from pipeline.content.taxonomy import LANGUAGES

# language: text in which «...» is comment and nothing else is
EXAMPLES = {
    "Ada": "X : Character := '\"'; «-- it's»\nY : String := \"-- no\";",
    "Assembly": "«; all»\n mov a, 'x' «// more»\n«# line»\n",
    "Batchfile": "«rem a note»\nremove x\n«:: another»\necho rem no\n",
    "C": "char *a = \"// no /* no\"; «/* yes \" */» char q = '\"'; «// don't»\nint x;",
    "C#": 'var a = @"c:\\"; «// yes»\nvar b = """ // no " """; «/* yes */» var c = \'"\';',
    "C++": 'auto a = R"x(// no )" no)x"; «// yes»\nint b = 1\'000; «/* yes */»',
    "CMake": 'set(A "# no") «# yes»\n«#[[ all\nof it ]]»\nset(B)',
    "COBOL": "«*> all»\n    DISPLAY '*> no'\n   «* old»\n",
    "CSS": "a { b: url('/*no*/'); } «/* yes */» // no\n",
    "Clojure": '(def a "; no") «; yes»\n',
    "Common Lisp": '(a "; no" «#| b #| c |# d |#» 1) «;; yes»\n',
    "D": "a; «/+ b /+ c +/ d +/» `// no`; «// yes»",
    "Dockerfile": "«# yes»\nRUN echo a # no\n",
    "Elixir": 'a = "# no" «# yes»\n',
    "Elm": 'a = "-- no" {- -}'.replace("{- -}", "«{- b {- c -} d -}»") + " «-- yes»\n",
    "Erlang": 'a() -> "% no". «% yes»\n',
    "F#": 'let a = "(* no" «(* b (* c *) *)» «// yes»\n',
    "Fortran": "a = '! no' «! yes»\n",
    "Go": "a := `// no\n\"` «// yes»\nr := '\"' «/* yes */»",
    "HTML": "<p> // no «<!-- yes -->» text",
    "Haskell": "f x' = x' --> 1 «-- yes»\n«{- a {- b -} c -}»",
    "Java": 'char a = \'"\'; «/** doc " */» String b = """\n// no """; «// yes»',
    "JavaScript": "let a = `// no ${b}`, c = /\\/[/\"]* no'/g; «// it's»\nlet d = 4 / 2; «/* b */» return /'/;",
    "Julia": 'a = "# no" «# yes»\n«#= b #= c =# d =#» 1\n',
    "Lean": "a «/- b /- c -/ d -/» «-- yes»\n",
    "Lua": "a = '-- no' «-- yes»\n«--[==[ all ]] of it ]==» b = [[ -- no ]]".replace("]==»", "]==]»"),
    "MATLAB": "«%{\n all\n%}»\na = \"% no\"; «% yes»\nb = a';\n",
    "Makefile": "a: b «# yes»\n\techo a#b\n",
    "Nim": "a = \"# no\" «#[ b #[ c ]# d ]#» «# yes»\n",
    "Nix": "a = ''\n # no\n''; «# yes»\n",
    "OCaml": "let a = \"(* no\" «(* b (* c *) d *)» let c = 'x'",
    "PHP": "# no <p> // no <?php $a = '// no'; «# yes»\n#[Attr]\n«/* b */» «// c »?> // no <?= 1 ?>",
    "Pascal": "a := '{ no }'; «{ yes }» «(* yes *)» «// yes»\n",
    "Perl": "$a = $#b; «# yes»\n«=pod\n\nall it's\n\n=cut»\n$c = '# no';\n",
    "PowerShell": "$a = '# no' «<# all #>» «# yes»\n$b#c\n",
    "Prolog": "a('% no'). «% yes»\n«/* b */»",
    "Python": "a = '# no' «# it's»\nb = r'\\\\' + '''# no\n' ''' «# yes»\n",
    "R": "a <- '# no' «# yes»\n",
    "Ruby": "a = '# no' «# yes»\n«=begin\nall it's\n=end»\nb = \"#{c}\"\nd = /'#/ «# e»\n",
    "Rust": "fn f<'a>(x: &'a str) {} «/* b /* c */ d */» let r = r#\"// no \"# ; «/// it's»\nlet c = '\"'; «// e»",
    "SQL": "select '-- no', \"/* no\" «-- yes»\n«/* all */»",
    "Scala": 'val a = """ // no """ «/* b /* c */ d */» «// yes»\n',
    "Shell": "a=${#b} c='# no' «# it's»\necho a#b; «# yes»\n",
    "Smalltalk": "a := 'no \"'. «\"yes\"» b.",
    "Swift": 'let a = "// no" «/* b /* c */ d */» «// yes»\n',
    "TOML": 'a = "# no" «# yes»\n',
    "TeX": "a «% yes»\nb",
    "TypeScript": "const a: string = '// no'; «// yes»\n",
    "VBScript": "«REM all»\na = \"' no\" «' yes»\n",
    "VHDL": "a <= '1'; «-- it's»\n",
    "Vim script": "«\" all»\nlet a = \"no\"\n",
    "XML": "<a b='// no'>«<!-- yes -->»</a>",
    "YAML": "a: b#c «# yes»\n".replace("b#c", '"# no"'),
    "Zig": 'const a = "// no"; «// yes»\n',
}  # fmt: skip


def marked(text: str) -> tuple[bytes, list[tuple[int, int]]]:
    """The text without the marks, and the spans that they hold."""
    plain, spans = b"", []
    for number, piece in enumerate(text.replace("»", "«").split("«")):
        start, plain = len(plain), plain + piece.encode()
        if number % 2:
            spans.append((start, len(plain)))
    return plain, spans


@pytest.mark.parametrize("language", sorted(EXAMPLES))
def test_comments_by_example(language):
    text, spans = marked(EXAMPLES[language])
    assert spans and comment_spans(language, text) == spans


def test_languages_are_those_of_the_taxonomy():
    assert set(SYNTAX) <= set(LANGUAGES) and len(SYNTAX) >= 300
    assert set(EXAMPLES) <= set(SYNTAX) and set(SYNTAX) >= DOCUMENTED


@pytest.mark.parametrize(
    ("text", "comment", "documentation"),
    [
        ('"""doc"""\nx\n', 0, 9),
        ("'doc'\nx\n", 0, 5),
        ('def f():\n    r"""doc # no\n    """\n', 0, 12),
        ('x = """no"""\n', 0, 0),
        ('f(\n"no"\n)\n', 0, 0),
        ('x = \\\n"no"\n', 0, 0),
        ('"no" + x\n', 0, 0),
        ('"doc" # yes\n', 4, 5),
        ('"doc"', 0, 5),
        ("", 0, 0),
    ],
    ids=range(10),
)
def test_documentation_is_a_string_that_is_a_statement(text, comment, documentation):
    [row] = shares(["Python"], [text.encode()])
    dense = sum(byte > 32 for byte in text.encode())
    found = [None if row[name] is None else round(row[name] * dense) for name in row]
    assert found == ([comment, documentation] if dense else [None, None])


def shares(languages: list[str | None], texts: list[bytes]) -> list[dict]:
    return comment_shares(pa.array(languages, pa.string()), pa.array(texts, pa.large_binary())).to_pylist()


def test_what_is_not_known_is_null():
    rows = shares(["C", None, "Text", "C", "Python"], [b"// a", b"// a", b"// a", b" \n", b"# a"])
    assert [row["comment_fraction"] for row in rows] == [1, None, None, None, 1]
    assert [row["docstring_fraction"] for row in rows] == [None, None, None, None, 0]


PIECES = st.sampled_from(
    ["/*", "*/", "//", "#", '"', "'", '"""', "\\", "\n", "\r", " ", "a", "`", "/", "[", "]", "--[[", "]]", "{-", "-}", "(*",
     "*)", "<?php", "?>", 'R"x(', ')x"', 'r#"', '"#', "=pod\n", "\n=cut", "%{", "<!--", "-->", "é", "REM ", ";", "--", "("]
)  # fmt: skip


@given(
    st.sampled_from(sorted(SYNTAX)),
    st.lists(PIECES, max_size=40).map(lambda p: "".join(p).encode()) | st.binary(max_size=80),
)
@example("C++", b'R"')
@example("Lua", b"--[==")
@example("PHP", b"<?php //")
@example("JavaScript", b"/" * 50)
def test_any_bytes_in_any_language(language, text):
    spans = comment_spans(language, text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(one[1] <= other[0] for one, other in pairwise(spans)), "comments overlap"
    [row] = shares([language], [text])
    dense = np.frombuffer(text, np.uint8) > 32
    inside = sum(int(dense[start:end].sum()) for start, end in spans)
    assert row["comment_fraction"] == (np.float32(inside / dense.sum()) if dense.any() else None)
    assert shares([None, language, None], [b"/*", text, b'"'])[1] == row, "neighbours in the batch matter"


@pytest.mark.parametrize(
    "unit", [b"/", b"/* ", b'"', b"'", b'R"a(', b"[=[", b"{-", b"#", b'r#"', b"<?", b"(", b"\\", b"r'"]
)
def test_a_hostile_megabyte_is_read_in_one_pass(unit):
    """Steps cannot be counted from here: the sizes are such that a quadratic search would not end."""
    text = unit * (1_000_000 // len(unit))
    languages = ["C", "C++", "Haskell", "JavaScript", "Lua", "PHP", "Perl", "Python", "Ruby", "Rust", "Shell"]
    assert len(shares(languages, [text] * len(languages))) == len(languages)


# ------------------------------------------------------------------------------------------------ against syntax trees


def _of_tree(language: str, text: bytes) -> Iterator[tuple[int, int]]:
    cursor = Grammar(language).parse(text).walk()
    while True:
        node = cursor.node
        is_comment = "comment" in node.type
        if is_comment:
            yield node.start_byte, node.end_byte
        if not is_comment and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return


@pytest.mark.parametrize("path", ["release.py", "content/comments.py", "content/decode.py", "explain.py"])
def test_comments_of_our_own_sources_are_those_of_the_syntax_tree(path):
    text = (Path(pipeline.__file__).parent / path).read_bytes()
    assert comment_spans("Python", text) == list(_of_tree("Python", text))


# The grammars are wrong here: Java's reads a comment inside a text block, PHP's one in the text behind `?>`.
@pytest.mark.parametrize("language", sorted(set(GRAMMARS) & set(EXAMPLES) - {"Java", "PHP"}))
def test_the_examples_are_those_of_the_syntax_tree(language):
    text, spans = marked(EXAMPLES[language])
    found = [(start, start + len(text[start:end].rstrip())) for start, end in _of_tree(language, text)]
    assert found == [(start, start + len(text[start:end].rstrip())) for start, end in spans]


def test_keywords_before_a_slash_leave_a_value_to_come():
    for word in ("return", "typeof", "case", "in", "of", "when", "if", "or"):
        assert comment_spans("JavaScript", f"{word} /'/; // a".encode())[-1:], word
