"""Code and configuration that parsed still parse when values planted in them are replaced."""

from __future__ import annotations

import importlib.util
import random
import sysconfig
from pathlib import Path

import pytest

from pii import redact_one

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location(
    "redaction_syntax", ROOT / "benchmarks" / "redaction_syntax.py"
)
bench = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bench)

SOURCES = {
    "C": r"""
#include <stdio.h>
#define LIMIT 1024 /* of a line */
#if VERSION >= 201112L
static const char *names[] = {"one", "two\n", "it's \"three\""};
#endif
// a comment with words
int main(int argc, char **argv) {
    char quote = '"';
    for (int i = 0; i < 10 && i<argc; i++) printf("%d: %s\n", i, names[i % 3]);
    return quote == 34 ? 0 : 1;
}
""",
    "C++": r"""
#include <map>
#include <string>
/* a block comment
   of two lines */
std::map<std::string, int> counts = {{"a", 1}, {"b c", 20}};
auto raw = R"(raw "text" here)";
template <typename T> T twice(T x) { return x * 2; }  // twice it
int main() { return twice<int>(21) > 40 && counts["a"] < 3 ? 0 : 'x'; }
""",
    "C#": r"""
using System;
/// <summary>What it does.</summary>
class Program {
    const string Path = @"C:\temp\file";
    static void Main() {
        var name = "x"; int port = 8080;
        Console.WriteLine($"on {name} at {port}" + "\n"); // greet them all
    }
}
""",
    "Go": r"""
package main

import "fmt"

// Config is what it is.
type Config struct {
	Name string `json:"name"`
	Port int
}

func main() {
	c := Config{Name: "name\tx", Port: 8080}
	fmt.Println(`raw "text"`, c.Name, 'x', 12345)
}
""",
    "Java": r"""
/** What it is. <p>More of it</p> */
public class A {
    private static final String NAME = "name: \"x\"\n";
    java.util.Map<String, Integer> map = new java.util.HashMap<>();
    int f(int x) { return x < 100 && x > 7 ? 42 : "text".length(); } // a comment here
}
""",
    "JavaScript": r"""
// a module of some words
const re = /["'`]/g, url = "http://host/path", n = 12345;
const t = `template ${n + 1} text`;
function f(a, b) { return a<b ? 'one' : "it's"; }
const view = (x) => <p className="c">text {x} more <b>bold</b></p>;
export default { name: 'x', port: 8080, list: [1, 2, 3] };
""",
    "PHP": r"""
<html><body><?php
// a comment of words
$name = "hello $user\n"; $port = 8080;
$list = ['a' => 'one', 'b' => "two"];
/* block comment */
echo $name . $list['a'] . 'it\'s';
?></body></html>
""",
    "Python": r'''
"""A module of some words."""
import os  # a comment here

NAME = "name: 'x'\n"
RAW = r"\d+ text"
PORT = 8080


def f(x, y=10):
    """Say what."""
    return f"{x} and {y:>10}" if x < 3 else b"bytes here"


TABLE = {"a": 1, "b": [20, 30], 'c': 'it"s'}
''',
    "Ruby": r"""
# a comment of words
class A
  NAME = "name #{1 + 2} text\n"
  def f(x = 10)
    x < 5 ? 'one two' : %w[a b c]
  end
end
puts A.new.f(12345), :sym, "it's", /re "x"/
""",
    "Rust": r"""
//! A crate of words.
const NAME: &str = "name \"x\"\n";
/// What it is.
fn longest<'a>(x: &'a str, y: &'a str) -> &'a str { if x.len() > 10 { x } else { y } }
fn main() {
    let raw = r"raw text"; // a comment here
    let v: Vec<u64> = vec![1, 22, 333];
    println!("{} {}", longest(raw, NAME), v[0]);
}
""",
    "TypeScript": r"""
// a module of words
interface A<T> { name: string; value: T }
const a: A<number> = { name: "x y", value: 12345 };
export const f = (s: string): Promise<string> => Promise.resolve(`t ${s} u` + 'it\'s');
""",
    "TSX": r"""
const a: string = "x y"; // words here
export const View = (p: { n: number }) => <div id="a b">some text <i>{p.n + 10}</i> and more</div>;
""",
    "JSON": '{"a": "one", "b": [1, 22, "two"], "c": {"d": 333, "e": "three four"}}\n',
    "YAML": "a: one\nb:\n  - two\n  - three\nc:\n  d: four\n  e: 'five six'\n  f: \"seven\"\n",
    "TOML": 'a = "one"\nb = 12\nc = [1, 22, 333]\n[d]\ne = "two three"\n',
    "XML": '<?xml version="1.0"?>\n<!-- words here -->\n<a b="one" c="two">\n  <d>three four</d><e f="five"/>\n</a>\n',
    "INI": "[a]\nb = one\nc = two three\n[d]\ne = 12\n",
    "Shell": "#!/bin/sh\nset -e\nfor f in *; do echo \"$f\"; done\n",
}  # fmt: skip


@pytest.mark.parametrize("replacement", ["placeholder", "fake"])
@pytest.mark.parametrize("language", SOURCES)
def test_what_parsed_still_parses(language, replacement):
    """Breach: a value in a string, a comment, a number or a plain word is replaced, and the file does not parse any more."""
    text = SOURCES[language].encode()
    assert bench.parses(language, text)
    tried = 0
    for seed in range(60):
        body, spans = bench.plant(text, language, random.Random(seed), most=6)
        if bench.parses(language, body):
            tried += 1
            assert bench.parses(language, redact_one(body, spans, replacement)[0]), seed
    assert tried >= 30


@pytest.mark.parametrize("language", SOURCES)
def test_the_parsers_see_what_breaks(language):
    """Breach: the test above passes because nothing is an error."""
    broken = {
        "JSON": b'{"a": <KEY_1>}', "YAML": b"a: [b", "TOML": b"a = KEY_1\n",
        "XML": b"<a>&</a>", "INI": b"x y z", "Shell": b"echo <KEY_1>\n",
        "PHP": b"<?php (((",
    }.get(language, b"(((")  # fmt: skip
    assert not bench.parses(language, broken)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["planted", "found"])
def test_files_of_the_installed_packages_still_parse(run):
    """Breach: 99.9 % is missed on real files."""
    texts = bench.read([Path(sysconfig.get_path("purelib"))], 150, seed=1)
    assert {"C", "JavaScript", "Python", "JSON"} <= texts.keys()
    files = kept = 0
    for language, bodies in texts.items():
        for replacement in bench.get_args(bench.Replacement):
            count = getattr(bench, run)(language, bodies, replacement, 1)
            files, kept = files + count["files"], kept + count["kept"]
    assert files > 1000 and kept >= 0.999 * files
