import random
import re
import textwrap
import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from licensing import evidence, residue
from licensing.expressions import REMARK, UNEXPLAINED, conjunction
from licensing.known import KnownTexts, kernel, plain
from licensing.known.table import Kind, TableError, installed_scancode, pack, shipped, unpack
from licensing.known.words import read_words
from licensing.scancode import ScanCode
from licensing.text import read_text

MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction, including
without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED
TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL
THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
DEALINGS IN THE SOFTWARE.
"""
HEAD = "The MIT License (MIT)\n\nCopyright (c) 2020-2024 Jane Q. Public <jane@example.org>\n\n"


@pytest.fixture(scope="session")
def known():
    return KnownTexts.load()


@pytest.fixture(scope="session")
def licenses():
    """Of every license of ScanCode's collection with a text: key, SPDX id and text (the index is not loaded)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # typecode, about where the system keeps libmagic
        from licensedcode.models import load_licenses
    found = [
        (lic.key, lic.spdx_license_key, lic.text) for lic in load_licenses(with_deprecated=False).values()
    ]
    return sorted(row for row in found if row[2] and len(row[2].split()) > 20)


def decided(*texts, name="LICENSE"):
    """The answers of the cascade without ScanCode; None where it must be asked."""
    bodies = pa.array([t.encode() for t in texts], pa.large_binary())
    table, sure = evidence.known_batch(pa.array([name] * len(texts)), bodies, scancode=ScanCode())
    return [row if ok else None for row, ok in zip(table.to_pylist(), sure.to_pylist(), strict=True)]


def stated(found):
    return conjunction(d.expression for d in found.detections)


def test_a_known_text_is_complete(known):
    found = known.find(HEAD + MIT)
    assert found.complete and stated(found) == "MIT"
    assert (HEAD + MIT)[: found.detections[-1].end].endswith("DEALINGS IN THE SOFTWARE")
    assert decided(HEAD + MIT)[0]["expression"] == "MIT"


def test_the_table_is_that_of_the_installed_scancode(known):
    assert known.scancode == installed_scancode()
    assert known.version.startswith("known 1 scancode ")


def test_another_scancode_makes_the_table_silent(monkeypatch):
    monkeypatch.setattr(ScanCode, "version", "scancode 1.0.0")
    assert decided(MIT) == [None]


def test_a_sample_of_the_rules_is_in_the_table(known):
    """What the committed table says of rules is what the installed rules say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # typecode, about where the system keeps libmagic
        from licensedcode.models import Rule, rules_data_dir
    table = unpack(shipped())
    place = {digest.tobytes(): i for i, digest in enumerate(table.digests)}
    names = sorted(rule for rule in table.rules if rule.endswith(".RULE"))
    for name in random.Random(7).sample(names, 300):
        rule = Rule.from_file(f"{rules_data_dir}/{name}")
        words = read_words(rule.text.replace("{{", " ").replace("}}", " "))
        entry = place[words.digest(0, len(words))]
        assert table.lengths[entry] == len(words)
        assert table.rules[entry] == name or len(words)
        if rule.is_license_text and table.kinds[entry] != Kind.AMBIGUOUS:
            assert table.kinds[entry] == Kind.TEXT


@pytest.mark.slow
def test_building_it_again_gives_the_same_entries():
    from licensing.known.build import scancode_entries, unique

    built = unpack(pack(unique(scancode_entries()), scancode="x", spdx="y"))
    table = unpack(shipped())
    ours = [i for i, rule in enumerate(table.rules) if not rule.startswith("spdx:")]
    assert [table.rules[i] for i in ours] == built.rules
    assert (table.digests[ours] == built.digests).all()
    assert [table.expressions[table.expression_of[i]] for i in ours] == [
        built.expressions[i] for i in built.expression_of
    ]


@pytest.mark.parametrize("damage", ["format", "cut", "noise"])
def test_a_damaged_table_is_refused(damage):
    import lzma

    raw = lzma.decompress(shipped())
    bad = {
        "format": lzma.compress(raw.replace(b'"format":1', b'"format":9', 1), preset=0),
        "cut": lzma.compress(raw[:-1000], preset=0),
        "noise": b"not a table",
    }[damage]
    with pytest.raises(TableError):
        unpack(bad)


def test_every_license_text_is_known_as_itself(known, licenses):
    """SPDX's ids by the texts that ScanCode has of them, and ScanCode's own licenses."""
    right = wrong = 0
    for _key, spdx, text in licenses:
        found = known.find(text)
        if found.complete:
            expressions = {d.expression for d in found.detections}
            right += spdx in expressions
            wrong += spdx not in expressions
    assert right > 0.97 * len(licenses)
    assert wrong <= 0.01 * len(licenses)  # texts that are another license's word for word


def _wrapped(text, width):
    return "\n\n".join(
        "\n".join(
            textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
            for line in paragraph.splitlines()
        )
        for paragraph in text.split("\n\n")
    )


PERTURBED = {
    "holder": lambda text: "Copyright (C) 1999 Ångström & Sons, Inc.\nAll rights reserved.\n\n" + text,
    "indented": lambda text: textwrap.indent(text, "      "),
    "hash": lambda text: textwrap.indent(text, "# ", lambda line: True),
    "star": lambda text: "/*\n" + textwrap.indent(text, " * ", lambda line: True) + "\n */\n",
    "upper": lambda text: text.upper(),
    "crlf": lambda text: text.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("change", sorted(PERTURBED))
def test_perturbed_texts_are_the_same_license(known, licenses, change):
    same = other = 0
    for _, _, text in licenses[::12]:
        before, after = known.find(text), known.find(PERTURBED[change](text))
        if before.complete and after.complete:
            same += stated(before) == stated(after)
            other += stated(before) != stated(after)
    assert other == 0
    assert same > 0.8 * len(licenses[::12])


def test_wrapping_does_not_matter(known, licenses):
    texts = [text for _, spdx, text in licenses[::12] if known.find(text).complete]
    kept = sum(known.find(_wrapped(text, width)).complete for text in texts for width in (50, 100))
    assert kept > 0.75 * 2 * len(texts)


def test_a_truncated_text_is_not_that_text(known, licenses):
    for _, _, text in licenses[::10]:
        whole = known.find(text)
        half = known.find(text[: len(text) // 2])
        rules = {d.rule for d in whole.detections if d.end - d.start > 0.9 * len(text.strip())}
        assert not rules & {d.rule for d in half.detections}


def test_no_refused_license_becomes_permitted(licenses, policy):
    """Texts of licenses that the policy refuses, alone and with a permissive one, without asking ScanCode."""
    refused = [
        text
        for _, spdx, text in licenses
        if spdx and not policy.decide(spdx).permitted and not policy.ignores(spdx)
    ]
    assert len(refused) > 1_000
    answers = decided(*refused, *(MIT + "\n\n" + text for text in refused[::10]))
    sure = [row for row in answers if row is not None]
    assert len(sure) > 1_000
    assert [row["expression"] for row in sure if policy.decide(row["expression"]).permitted] == []


@pytest.mark.slow
def test_no_refused_license_becomes_permitted_when_scancode_is_asked(licenses, policy, scancode):
    """The same of those that the table does not decide, and of texts wrapped so that it does not know them."""
    refused = [
        text
        for _, spdx, text in licenses
        if spdx and not policy.decide(spdx).permitted and not policy.ignores(spdx)
    ]
    left = [text for text, row in zip(refused, decided(*refused), strict=True) if row is None]
    texts = [*left, *(_wrapped(text, 50) for text in refused[::5])]
    assert len(texts) > 200
    bodies = pa.array([text.encode() for text in texts], pa.large_binary())
    found = evidence.detect_batch(pa.array([b"LICENSE"] * len(texts)), bodies, scancode=scancode)[
        "expression"
    ].to_pylist()
    wrong = [
        (text[:200], one) for text, one in zip(texts, found, strict=True) if policy.decide(one).permitted
    ]
    assert wrong == []


VOCABULARY = (
    "you may not use this software for evil only with permission commercial must pay fee free license MIT the "
    "of sun tree happy users train models military GPL a is are and never except weekdays Ada 2024 http example "
    "org thanks to all p li it they redistribution in form source unless agreed zebra quilt lamps"
)
WORDS = st.sampled_from(VOCABULARY.split())
SENTENCES = st.lists(WORDS, min_size=1, max_size=12).map(" ".join) | st.text(min_size=1, max_size=60)


@settings(max_examples=150)
@given(sentence=SENTENCES, place=st.sampled_from(["before", "after", "inside"]))
def test_any_sentence_changes_the_result(known, sentence, place):
    read = read_text((sentence + "\n").encode())
    assume(read is not None)
    sentence = read.text  # as detectors see it, without invisible characters
    said = read_words(sentence).words
    assume(said and not plain.connects(said) and not plain.spans(sentence))
    first, second = MIT.split("\n\n", 1)
    text = {
        "before": f"{sentence}\n\n{MIT}",
        "after": f"{MIT}\n{sentence}\n",
        "inside": f"{first}\n\n{sentence}\n\n{second}",
    }[place]
    found, whole = known.find(text), known.find(MIT)
    assert not found.complete or [d.rule for d in found.detections] != [d.rule for d in whole.detections]
    answer, before = decided(text, MIT)
    assert before["expression"] == "MIT"
    if answer is not None:  # ScanCode is not asked: then it is in the evidence
        changed = {d["expression"] for d in answer["detections"]} - {"MIT"}
        assert changed or len(answer["detections"]) != len(before["detections"])


RIDERS = [
    "This software may not be used on Sundays.",
    "You must send a postcard to the author.",
    "Use by companies with more than 50 employees requires a paid subscription.",
    "Free for students.",
    "The Software is licensed only to members of the association.",
    "Redistribution without written consent is forbidden.",
    "If you are a company, contact us for a license.",
    "No part of it may be used to train language models.",
]


@pytest.mark.parametrize("rider", RIDERS)
def test_restricting_sentences_are_refused(rider, policy):
    text = f"{MIT}\n{rider}\n"
    words = read_words(text)
    end = len(MIT)
    left = residue.unexplained(words, [(0, end)])
    found = residue.find(text, words, left)
    assert [d.expression for d in found] == [UNEXPLAINED]
    assert text[found[0].start : found[0].end] == rider
    assert policy.decide(conjunction(["MIT", UNEXPLAINED])).sub_reason == "unrecognised"


@pytest.mark.parametrize(
    "remark",
    [
        "Kineto is a library.",
        "Thanks to all contributors.",
        "Except where noted, files are under this license:",
    ],
)
def test_other_sentences_are_evidence(remark):
    text = f"{remark}\n\n{MIT}"
    words = read_words(text)
    (found,) = residue.find(text, words, residue.unexplained(words, [(len(remark), len(text))]))
    assert found.expression == REMARK and 90 < found.score < 100
    assert text[found.start : found.end] == remark


def test_one_word_inside_a_license_is_seen():
    text = MIT.replace("is hereby granted", "is not hereby granted")
    words = read_words(text)
    word = words.words.index("not")
    explained = [(s, e) for i, (s, e) in enumerate(zip(words.starts, words.ends, strict=True)) if i != word]
    (found,) = residue.find(text, words, residue.unexplained(words, explained))
    assert found.expression == UNEXPLAINED and found.rule == "unexplained: not"


@pytest.mark.parametrize(
    "line",
    [
        "Copyright (c) 2020 Jane Doe",
        "Copyright 2011-2024 The Foo Authors. All rights reserved.",
        "(c) 2019 Will Grant <will@example.org>",
        "# Copyright (C) 2001, 2002 Free Software Foundation, Inc.",
        "Portions Copyright 2003 by the Regents of the University of California",
    ],
)
def test_copyright_lines_are_plain(line):
    assert plain.is_copyright_line(line)


@pytest.mark.parametrize(
    "line",
    [
        "Copyright 2020 Jane Doe, non-commercial use only",
        "Copyright 2020 Jane Doe. You must pay.",
        "Copyright 2020 Jane Doe. Licensed under the GPL.",
        "Copyright law applies.",
        "Copyright (c) Evil Corp. Use Prohibited.",
    ],
)
def test_terms_are_no_copyright_line(line):
    assert not plain.is_copyright_line(line)


def test_texts_of_repeated_beginnings_are_bounded(known):
    text = "permission is hereby granted free of charge to any person " * 2_000
    words = read_words(text)
    assert not known.find(text).complete
    table = unpack(shipped())
    numbers = np.zeros(len(words), dtype=np.uint64)
    prefix, powers = kernel.prefix_hashes(numbers)
    starts, _, _ = kernel.candidates(prefix, powers, table.arrays, 8)
    assert len(starts) <= 8 * len(words)


@pytest.mark.parametrize(
    "text",
    [
        "must " * 12_000,
        "not a b c " * 6_000,
        "you " * 16_000,
        "if a " * 12_000,
        "(c) " * 16_000,
        "x" * 65_536,
        "1. " * 20_000,
    ],
    ids=["must", "not", "you", "if", "mark", "word", "numbers"],
)
def test_hostile_texts_are_read_to_their_end(known, text):
    words = read_words(text)
    found = residue.find(text, words, residue.unexplained(words, []))
    assert known.find(text).detections == []
    assert all(0 <= d.start <= d.end <= len(text) for d in found)


def test_same_text_same_answer(known):
    assert known.find(HEAD + MIT).detections == known.find(HEAD + MIT).detections
    assert re.fullmatch(r"known 1 scancode [\d.]+ spdx [\d.]+ [0-9a-f]{16}", known.version)
